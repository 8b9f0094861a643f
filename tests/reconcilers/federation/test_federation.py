"""Federated objects as values: what is decided for a state of the world; and the definitions that are shipped."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from engine.core.ownership import DEPENDENTS_FINALIZER
from engine.core.view import View
from reconcilers.federation import federate, federation
from reconcilers.federation.definitions import as_yaml, main, shipped
from reconcilers.registry import UnknownReconciler, find
from schemas.actions import AddFinalizer, Apply, Delete, Patch, PatchStatus, RecordEvent, RemoveFinalizer
from schemas.clusters import ClusterState
from schemas.config import Config
from schemas.decisions import Target
from schemas.federation import DEFAULT_TYPES, FederationConfig
from schemas.names import ObjectRef
from tests.builders import C1, C2, C3, a_view, request

ROOT = Path(__file__).resolve().parents[3]
CONFIG = FederationConfig()
GROUP = "types.kubefed.io"
NAMESPACES = [(cluster, "", "namespaces") for cluster in (C1, C2, C3)]


def world(*objects: Any, synced: bool = True, **given: Any) -> View:
    """A view in which the federated object's own type has been read."""
    view = a_view(*objects, **given)
    if synced:
        view.synced |= {(C1, GROUP, "federateddeployments")}
    return view


def federated(kind: str = "Deployment", *, group: str = GROUP, **spec: Any) -> tuple[ObjectRef, dict[str, Any]]:
    ref = ObjectRef(C1, group, f"federated{kind.lower()}s", "default", "it")
    body = {
        "apiVersion": f"{group}/v1beta1",
        "kind": f"Federated{kind}",
        "metadata": {"name": "it", "namespace": "default", "uid": "fed-uid", "resourceVersion": "1", "generation": 1},
        "spec": spec,
    }
    return ref, body


def target(cluster: Any, body: dict[str, Any]) -> tuple[ObjectRef, dict[str, Any]]:
    metadata = {**body["metadata"], "uid": f"uid-{cluster}", "resourceVersion": "5", "generation": 1}
    return ObjectRef(cluster, "apps", "deployments", "default", "it"), {**body, "metadata": metadata}


def decide(ref: ObjectRef, view: Any, config: FederationConfig = CONFIG) -> list[Any]:
    return list(federate(view, request(ref, "federation"), config).actions)


def of(actions: list[Any], kind: type) -> list[Any]:
    return [action for action in actions if isinstance(action, kind)]


def conditions(actions: list[Any]) -> dict[str, tuple[str, str]]:
    (status,) = of(actions, PatchStatus)
    return {one["type"]: (one["status"], one["reason"]) for one in status.status["conditions"]}


def everywhere() -> dict[str, Any]:
    return {"clusterSelector": {}}


def applied(ref: ObjectRef, body: dict[str, Any]) -> dict[Any, dict[str, Any]]:
    return {one.ref.cluster: one.body for one in of(decide(ref, world((ref, body))), Apply)}


def test_it_is_held_before_its_first_copy_and_its_status_comes_last() -> None:
    ref, body = federated(template={"spec": {"replicas": 3}}, placement=everywhere())
    actions = decide(ref, world((ref, body)))
    assert isinstance(actions[0], AddFinalizer)
    assert isinstance(actions[-1], PatchStatus)
    assert [one.ref.cluster for one in of(actions, Apply)] == [C1, C2, C3]
    assert conditions(actions)["Placed"] == ("True", "Placed")


def test_the_template_names_no_place_of_its_own() -> None:
    metadata = {"name": "x", "namespace": "y", "generateName": "z", "labels": {"a": "b"}, "ownerReferences": [{}]}
    ref, body = federated(template={"metadata": metadata, "status": {"x": 1}}, placement=everywhere())
    found = applied(ref, body)[C2]
    assert (found["metadata"]["name"], found["metadata"]["namespace"]) == ("it", "default")
    assert "generateName" not in found["metadata"]
    assert "ownerReferences" not in found["metadata"]
    assert "status" not in found
    assert found["metadata"]["labels"]["a"] == "b"


def test_replicas_are_left_to_others_where_kubefed_retained_them() -> None:
    ref, body = federated(
        template={"spec": {"replicas": 3, "paused": True}}, placement=everywhere(), retainReplicas=True
    )
    assert applied(ref, body)[C2]["spec"] == {"paused": True}


@pytest.mark.parametrize(
    ("spec", "notes", "says"),
    [
        ({"placement": {"clusters": [{}]}}, {}, "spec.placement.clusters[0].name"),
        ({"placement": "x"}, {}, "spec.placement: expected a mapping, not text"),
        ({"template": {"kind": "ConfigMap"}}, {}, "spec.template.kind"),
        ({"template": {"apiVersion": "batch/v1"}}, {}, "spec.template.apiVersion"),
        ({}, {"crosscurrent.dev/adopt": "perhaps"}, "metadata.annotations[crosscurrent.dev/adopt]"),
        ({}, {"crosscurrent.dev/target-name": "Not A Name"}, "metadata.annotations[crosscurrent.dev/target-name]"),
        ({}, {"kubefed.io/deleteoption": "[]"}, "metadata.annotations[kubefed.io/deleteoption]"),
        ({}, {"kubefed.io/deleteoption": '{"propagationPolicy": "Sideways"}'}, "kubefed.io/deleteoption"),
    ],
)
def test_what_cannot_be_understood_is_named_and_changes_nothing(spec: Any, notes: Any, says: str) -> None:
    ref, good = federated(template={}, placement=everywhere())
    copy = target(C2, applied(ref, good)[C2])
    ref, body = federated(**({"template": {}, "placement": everywhere()} | spec))
    body["metadata"]["annotations"] = notes
    actions = decide(ref, world((ref, body), copy))
    (status,) = actions
    assert isinstance(status, PatchStatus)
    placed = status.status["conditions"][0]
    assert (placed["status"], placed["reason"]) == ("False", "Invalid")
    assert says in placed["message"]


def test_what_has_not_been_read_selects_nothing_and_removes_nothing() -> None:
    ref, body = federated(template={}, placement=everywhere())
    copy = target(C2, applied(ref, body)[C2])
    view = world((ref, body), copy, clusters={C1: ClusterState.SUSPECT, C2: ClusterState.LIVE})
    actions = decide(ref, view)
    assert not of(actions, Delete)
    assert not of(actions, Apply)
    assert conditions(actions)["Placed"] == ("Unknown", "NotRead")


def test_a_stream_that_was_made_anew_deselects_nothing() -> None:
    """Its labels come from KubeFedClusters, of which it is not known yet whether there are any."""
    ref, body = federated(template={}, placement={"clusterSelector": {"matchLabels": {"tier": "gold"}}})
    copy = target(C2, applied(*federated(template={}, placement=everywhere()))[C2])
    actions = decide(ref, world((ref, body), copy, synced=False))
    assert not of(actions, Delete)
    assert conditions(actions)["Placed"] == ("Unknown", "NotRead")
    assert of(decide(ref, world((ref, body), copy)), Delete)


def test_without_its_namespace_federated_everything_goes_where_that_is_required() -> None:
    ref, body = federated(template={}, placement=everywhere())
    copy = target(C2, applied(ref, body)[C2])
    actions = decide(ref, world((ref, body), copy), FederationConfig(namespaces="required"))
    assert [one.ref for one in of(actions, Delete)] == [copy[0]]
    assert conditions(actions)["Placed"] == ("False", "NamespaceNotFederated")


def test_a_deselected_copy_stays_until_there_is_another() -> None:
    ref, body = federated(template={}, placement={"clusters": [{"name": C2}]})
    copy = target(C2, applied(ref, body)[C2])
    _, moved = federated(template={}, placement={"clusters": [{"name": C3}]})
    actions = decide(ref, world((ref, moved), copy))
    assert [one.ref.cluster for one in of(actions, Apply)] == [C3]
    assert not of(actions, Delete)
    assert conditions(actions)["Applied"][1] == "Pending"
    _, nowhere = federated(template={}, placement={"clusters": []})
    assert [one.ref for one in of(decide(ref, world((ref, nowhere), copy)), Delete)] == [copy[0]]


def test_a_preference_goes_no_further_than_its_namespace() -> None:
    ref, body = federated(template={"spec": {}}, placement={})
    wish = {"targetKind": "FederatedDeployment", "totalReplicas": 10}
    preference = ObjectRef(C1, "scheduling.kubefed.io", "replicaschedulingpreferences", "default", "it")
    space = ObjectRef(C1, GROUP, "federatednamespaces", "default", "default")
    limits = {"placement": {"clusters": [{"name": C2}, {"name": C3}]}}
    named = {"metadata": {"name": "x"}}
    view = world((ref, body), (preference, {**named, "spec": wish}), (space, {**named, "spec": limits}))
    found = {one.ref.cluster: one.body["spec"]["replicas"] for one in of(decide(ref, view), Apply)}
    assert found == {C2: 5, C3: 5}


@pytest.mark.parametrize(
    ("kind", "resource", "field"),
    [
        ("StatefulSet", "statefulsets", "replicas"),
        ("ReplicaSet", "replicasets", "replicas"),
        ("Job", "jobs", "parallelism"),
    ],
)
def test_a_preference_counts_whatever_has_a_scale(kind: str, resource: str, field: str) -> None:
    ref, body = federated(kind, template={"spec": {}}, placement={"clusters": [{"name": C2}, {"name": C3}]})
    ref = ObjectRef(C1, GROUP, f"federated{resource}", "default", "it")
    preference = ObjectRef(C1, "scheduling.kubefed.io", "replicaschedulingpreferences", "default", "it")
    wishes = {C2: {"weight": 1}, C3: {"weight": 2}}
    spec = {"targetKind": f"Federated{kind}", "totalReplicas": 9, "clusters": wishes}
    view = world((ref, body), (preference, {"metadata": {"name": "it"}, "spec": spec}))
    view.synced |= {(C1, GROUP, ref.resource)}
    assert {one.ref.cluster: one.body["spec"] for one in of(decide(ref, view), Apply)} == {
        C2: {field: 3},
        C3: {field: 6},
    }


@pytest.mark.parametrize(
    ("silent_for", "expected", "again"),
    [(59.0, {C2: 5, C3: 5}, 1.0), (60.0, {C2: 5, C3: 10}, None), (3600.0, {C2: 5, C3: 10}, None)],
)
def test_replicas_of_a_cluster_that_has_not_answered_for_a_minute_run_elsewhere_too(
    silent_for: float, expected: dict[str, int], again: float | None
) -> None:
    ref, body = federated(template={"spec": {}}, placement={"clusters": [{"name": C2}, {"name": C3}]})
    preference = ObjectRef(C1, "scheduling.kubefed.io", "replicaschedulingpreferences", "default", "it")
    wishes = {C2: {"weight": 1}, C3: {"weight": 1}}
    spec = {"targetKind": "FederatedDeployment", "totalReplicas": 10, "clusters": wishes}
    wished = (preference, {"metadata": {"name": "it"}, "spec": spec})
    shares = of(decide(ref, world((ref, body), wished)), Apply)
    view = world((ref, body), wished, *(target(one.ref.cluster, one.body) for one in shares))
    since = datetime.fromtimestamp(view.now - silent_for, UTC).isoformat()
    view.clusters[C2] = msgspec.structs.replace(view.clusters[C2], state=ClusterState.SUSPECT, since=since)
    decision = federate(view, request(ref, "federation"), CONFIG)
    found = {one.ref.cluster: one.body["spec"]["replicas"] for one in of(list(decision.actions), Apply)}
    assert found == expected
    assert decision.again_after == (None if again is None else pytest.approx(again))
    told = next(
        one for one in of(list(decision.actions), PatchStatus)[0].status["conditions"] if one["type"] == "Placed"
    )
    assert ("5 of them cannot run there" in told["message"]) is (again is None)


def test_a_deleted_object_that_has_to_wait_says_where_its_copies_still_are() -> None:
    ref, body = federated(template={}, placement=everywhere())
    copies = [target(cluster, applied(ref, body)[cluster]) for cluster in (C2, C3)]
    metadata = body["metadata"] | {"deletionTimestamp": "now", "finalizers": [DEPENDENTS_FINALIZER]}
    view = world((ref, {**body, "metadata": metadata}), *copies)
    away = {"state": ClusterState.SUSPECT, "since": "2026-01-01T00:00:00Z", "message": "no route to it"}
    view.clusters[C3] = msgspec.structs.replace(view.clusters[C3], **away)
    actions = decide(ref, view)
    assert {one.ref.cluster for one in of(actions, Delete)} == {C2, C3}
    assert conditions(actions)["Placed"] == ("False", "Deleting")
    assert conditions(actions)["Applied"] == ("False", "WaitingForCluster")
    (status,) = of(actions, PatchStatus)
    told = {
        one["name"]: (one["state"], one.get("unknownSince"), one["conditions"][0]) for one in status.status["clusters"]
    }
    assert [(name, *told[name][:2]) for name in told] == [(C2, "live", None), (C3, "suspect", "2026-01-01T00:00:00Z")]
    assert told[C3][2]["message"] == "no route to it"
    assert told[C3][2]["status"] == "Unknown"


def test_an_orphan_loses_its_reference_and_nothing_else() -> None:
    ref, body = federated(template={}, placement=everywhere())
    copy = target(C2, applied(ref, body)[C2])
    metadata = body["metadata"] | {"deletionTimestamp": "now", "finalizers": [DEPENDENTS_FINALIZER]}
    doomed = {**body, "metadata": {**metadata, "annotations": {"kubefed.io/orphan": "true"}}}
    (part,) = decide(ref, world((ref, doomed), copy))
    assert isinstance(part, Patch)
    assert part.patch["metadata"] == {
        "annotations": {"crosscurrent.dev/owners": None},
        "labels": {"crosscurrent.dev/owner-uid": None},
    }


def test_the_last_finalizer_to_go_is_kubefeds_own() -> None:
    ref, body = federated(template={}, placement=everywhere())
    for finalizers, expected in (
        ([DEPENDENTS_FINALIZER, "kubefed.io/sync-controller"], DEPENDENTS_FINALIZER),
        (["kubefed.io/sync-controller"], "kubefed.io/sync-controller"),
    ):
        doomed = {**body, "metadata": {**body["metadata"], "deletionTimestamp": "now", "finalizers": finalizers}}
        (removed,) = decide(ref, world((ref, doomed)))
        assert isinstance(removed, RemoveFinalizer)
        assert (removed.finalizer, removed.dependents) == (expected, ("apps/v1/deployments",))


def test_one_event_tells_of_all_clusters_that_fail_for_one_reason() -> None:
    override = {"clusterSelector": {}, "clusterOverrides": [{"op": "remove", "path": "/nothing"}]}
    ref, body = federated(template={}, placement=everywhere(), overrides=[override])
    (told,) = of(decide(ref, world((ref, body))), RecordEvent)
    assert (told.type, told.reason) == ("Warning", "OverrideFailed")
    assert all(name in told.message for name in (C1, C2, C3))


@pytest.mark.parametrize(
    ("code", "reason", "attempts", "events"),
    [
        (504, "Timeout", 1, 0),
        (504, "Timeout", 3, 1),
        (0, "Unreachable", 2, 0),
        (422, "Invalid", 1, 1),
        (500, "Invalid", 1, 1),
        (409, "NotOurs", 1, 1),
    ],
)
def test_what_may_pass_by_itself_is_told_by_an_event_once_it_has_lasted(
    code: int, reason: str, attempts: int, events: int
) -> None:
    ref, body = federated(template={}, placement={"clusters": [{"name": C2}]})
    place = ObjectRef(C2, "apps", "deployments", "default", "it")
    failed = Target(ref=place, slot="apply", attempts=attempts, code=code, reason=reason, message="no")
    actions = decide(ref, world((ref, body), targets=(failed,)))
    assert [one.reason for one in of(actions, RecordEvent)] == [reason] * events
    assert conditions(actions)["Applied"] == ("False", reason)


def test_the_same_view_gives_the_same_decision() -> None:
    ref, body = federated(template={"spec": {"replicas": 3}}, placement=everywhere())
    view = world((ref, body))
    assert decide(ref, view) == decide(ref, view)


def test_settings_change_the_code_so_that_everything_is_evaluated_again() -> None:
    assert federation(CONFIG).code != federation(FederationConfig(adopt="adopt")).code
    assert federation(CONFIG).code == federation(FederationConfig()).code


@pytest.mark.parametrize(
    ("types", "says"),
    [
        (("example.dev/v1/secrets",), "federatedsecrets are about v1/secrets"),
        (("apps/v1/deployments", "extensions/v1beta1/deployments"), "both federateddeployments"),
        (("deployments",), "is not GROUP/VERSION/PLURAL"),
    ],
)
def test_types_that_cannot_be_federated_are_named_at_the_start(types: tuple[str, ...], says: str) -> None:
    config = Config(apiVersion="crosscurrent.dev/v1alpha1", kind="Config", federation=FederationConfig(types=types))
    with pytest.raises(UnknownReconciler, match=says):
        find("federation", config=config)


def test_the_shipped_definitions_are_those_of_the_generator() -> None:
    directory = ROOT / "deploy/crds/federation"
    assert {path.stem for path in directory.glob("*.yaml")} == set(shipped())
    for name, definition in shipped().items():
        assert (directory / f"{name}.yaml").read_text() == as_yaml(definition)
    assert f"federatednamespaces.{GROUP}" in shipped()
    assert len(shipped()) == 2 * len([*DEFAULT_TYPES, "v1/secrets"]) + 4


def test_a_definition_for_any_other_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["Widget", "example.dev/v1/widgets"]) == 0
    printed = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [one["metadata"]["name"] for one in printed] == [
        "federatedwidgets.types.kubefed.io",
        "federatedwidgets.types.kubefed.k8s.io",
    ]
    assert main(["Widget"]) == 2
    assert "usage" in capsys.readouterr().err
