"""The talk's Foo: what it answers for every state of the world, as values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from engine.core.authoring import timestamp
from engine.core.ownership import (
    DEPENDENTS_FINALIZER,
    OWNER_LABEL,
    OWNERS_ANNOTATION,
    PROPAGATION_ANNOTATION,
    owner_references,
)
from engine.core.plan import intent
from reconcilers.foo import foo
from schemas.actions import AddFinalizer, Apply, Decision, Delete, Patch, PatchStatus, Propagation, RemoveFinalizer
from schemas.clusters import ClusterState
from schemas.decisions import Target
from schemas.names import ClusterName, ResourceVersion, Uid
from tests.builders import C1, C2, C3, NOW, a_view, deployment_ref, foo_body, foo_ref, identity, request

SEEDS = Path(__file__).resolve().parents[2] / "examples" / "talk"


def decide(view: Any) -> Decision:
    return foo(view, request())


def of(decision: Decision, kind: type) -> list[Any]:
    return [action for action in decision.actions if isinstance(action, kind)]


def child(cluster: ClusterName, **changes: Any) -> dict[str, Any]:
    applies = {apply.ref.cluster: apply.body for apply in of(decide(a_view((foo_ref(), foo_body()))), Apply)}
    body = applies[cluster]
    return {**body, "metadata": {**body["metadata"], "uid": f"child-{cluster}", "resourceVersion": "5", **changes}}


def test_every_other_engaged_cluster_gets_the_deployment_of_the_talk() -> None:
    body = yaml.safe_load((SEEDS / "foo.yaml").read_text())
    body["metadata"] |= {"uid": "foo-uid", "resourceVersion": "1"}
    expected = yaml.safe_load((SEEDS / "foo-expected-deployment.yaml").read_text())
    applies = of(decide(a_view((foo_ref(), body))), Apply)

    assert [apply.ref for apply in applies] == [deployment_ref(C2), deployment_ref(C3)]
    for apply in applies:
        bare = {
            **apply.body,
            "metadata": {k: v for k, v in apply.body["metadata"].items() if k in ("name", "namespace")},
        }
        assert bare == expected


def test_a_child_names_its_owner_by_cluster_identity_and_uid() -> None:
    metadata = of(decide(a_view((foo_ref(), foo_body()))), Apply)[0].body["metadata"]
    (owner,) = owner_references(metadata)

    assert (owner.cluster_id, owner.uid, owner.controller, owner.block_owner_deletion) == (
        identity(C1),
        "foo-uid",
        True,
        True,
    )
    assert metadata["labels"][OWNER_LABEL] == "foo-uid"


def test_the_finalizer_comes_before_the_first_child() -> None:
    first, *_ = decide(a_view((foo_ref(), foo_body()))).actions
    assert isinstance(first, AddFinalizer)
    assert first.finalizer == DEPENDENTS_FINALIZER


def test_a_child_that_is_no_longer_wanted_is_deleted() -> None:
    renamed = foo_body()
    renamed["spec"]["deploymentName"] = "other"
    decision = decide(a_view((foo_ref(), renamed), (deployment_ref(C2), child(C2))))
    assert [delete.ref for delete in of(decision, Delete)] == [deployment_ref(C2)]
    assert {apply.ref for apply in of(decision, Apply)} == {deployment_ref(C2, "other"), deployment_ref(C3, "other")}


def test_somebody_elses_deployment_is_never_deleted() -> None:
    foreign = child(C2)
    foreign["metadata"]["annotations"] = {OWNERS_ANNOTATION: "[]"}
    doomed = foo_body(deletionTimestamp="now", finalizers=[DEPENDENTS_FINALIZER])
    assert of(decide(a_view((foo_ref(), doomed), (deployment_ref(C2), foreign))), Delete) == []


def test_a_deleted_foo_deletes_its_children_and_only_then_lets_go() -> None:
    doomed = foo_body(deletionTimestamp="now", finalizers=[DEPENDENTS_FINALIZER])
    with_children = decide(
        a_view((foo_ref(), doomed), (deployment_ref(C2), child(C2)), (deployment_ref(C3), child(C3)))
    )
    without = decide(a_view((foo_ref(), doomed)))

    assert {delete.ref for delete in with_children.actions} == {deployment_ref(C2), deployment_ref(C3)}
    assert all(isinstance(action, Delete) for action in with_children.actions)
    (let_go,) = without.actions
    assert isinstance(let_go, RemoveFinalizer)
    assert let_go.dependents == ("apps/v1/deployments",)


def test_a_foo_that_is_deleted_with_orphan_notes_it_parts_from_its_children_and_lets_go() -> None:
    doomed = foo_body(deletionTimestamp="now", finalizers=[DEPENDENTS_FINALIZER])
    children = [(deployment_ref(C2), child(C2)), (deployment_ref(C3), child(C3))]

    def orphaning(body: dict[str, Any], *objects: Any) -> Decision:
        view = a_view((foo_ref(), body), *objects)
        view.propagation = Propagation.ORPHAN
        return decide(view)

    (note,) = orphaning(doomed, *children).actions
    assert isinstance(note, Patch)
    assert (note.ref, note.patch) == (foo_ref(), {"metadata": {"annotations": {PROPAGATION_ANNOTATION: "Orphan"}}})
    noted = foo_body(**{**doomed["metadata"], "annotations": {PROPAGATION_ANNOTATION: "Orphan"}})
    parted = orphaning(noted, *children).actions
    assert {action.ref for action in parted} == {deployment_ref(C2), deployment_ref(C3)}
    for action in parted:
        assert isinstance(action, Patch)
        assert action.patch["metadata"] == {"annotations": {OWNERS_ANNOTATION: None}, "labels": {OWNER_LABEL: None}}
    (let_go,) = orphaning(noted).actions
    assert isinstance(let_go, RemoveFinalizer)


@pytest.mark.parametrize("propagation", [None, Propagation.BACKGROUND, Propagation.FOREGROUND])
def test_any_other_policy_deletes_the_children_first(propagation: Propagation | None) -> None:
    doomed = foo_body(deletionTimestamp="now", finalizers=[DEPENDENTS_FINALIZER])
    view = a_view((foo_ref(), doomed), (deployment_ref(C2), child(C2)))
    view.propagation = propagation
    (delete,) = decide(view).actions
    assert isinstance(delete, Delete)


def test_a_child_with_another_owner_loses_only_the_reference() -> None:
    shared = child(C2)
    (owner,) = owner_references(shared["metadata"])
    other = msgspec.structs.replace(owner, uid=Uid("other"), name="other")
    shared["metadata"]["annotations"] = {OWNERS_ANNOTATION: msgspec.json.encode([owner, other]).decode()}
    doomed = foo_body(deletionTimestamp="now", finalizers=[DEPENDENTS_FINALIZER])
    (part,) = decide(a_view((foo_ref(), doomed), (deployment_ref(C2), shared))).actions

    assert isinstance(part, Patch)
    assert owner_references(part.patch["metadata"]) == (other,)
    assert part.patch["metadata"]["labels"] == {OWNER_LABEL: "other"}


def test_a_deleted_foo_says_which_cluster_it_waits_for() -> None:
    doomed = foo_body(deletionTimestamp="now", finalizers=[DEPENDENTS_FINALIZER])
    view = a_view(
        (foo_ref(), doomed), (deployment_ref(C2), child(C2)), clusters={C1: ClusterState.LIVE, C2: ClusterState.SUSPECT}
    )
    (status,) = of(decide(view), PatchStatus)
    assert status.status["conditions"][0]["reason"] == "WaitingForCluster"
    assert "cluster2" in status.status["conditions"][0]["message"]


@pytest.mark.parametrize("name", ["", "Upper", "a_b", "-a", "x" * 254, None])
def test_an_invalid_foo_gets_a_condition_and_keeps_what_it_has(name: Any) -> None:
    body = foo_body()
    body["spec"]["deploymentName"] = name
    (status,) = decide(a_view((foo_ref(), body), (deployment_ref(C2), child(C2)))).actions
    assert isinstance(status, PatchStatus)
    ready = status.status["conditions"][0]
    assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec")
    assert "spec.deploymentName" in ready["message"]


def test_a_vanished_foo_needs_nothing() -> None:
    assert decide(a_view()) == Decision.wait()


def status_of(view: Any) -> dict[str, Any]:
    (patch,) = of(decide(view), PatchStatus)
    return patch.status


def test_each_cluster_has_its_own_condition() -> None:
    applies = of(decide(a_view((foo_ref(), foo_body()))), Apply)
    by_cluster = {apply.ref.cluster: apply for apply in applies}
    targets = (
        Target(
            ref=deployment_ref(C2),
            slot="apply",
            desired=intent(by_cluster[C2]),
            version=ResourceVersion("5"),
            uid=Uid("c"),
        ),
        Target(ref=deployment_ref(C3), slot="apply", attempts=1, reason="Invalid", message="spec.replicas: too many"),
    )
    live = child(C2)
    live["status"] = {"availableReplicas": 1}
    status = status_of(a_view((foo_ref(), foo_body()), (deployment_ref(C2), live), targets=targets))
    two, three = status["clusters"]

    assert two["conditions"][0]["status"] == "True"
    assert two["availableReplicas"] == 1
    assert three["conditions"][0]["message"] == "spec.replicas: too many"
    assert status["conditions"][0]["status"] == "False"
    assert "cluster3" in status["conditions"][0]["message"]


def test_a_cluster_that_does_not_answer_is_unknown_not_failed() -> None:
    status = status_of(a_view((foo_ref(), foo_body()), clusters={C1: ClusterState.LIVE, C2: ClusterState.SUSPECT}))
    assert status["clusters"][0]["conditions"][0]["status"] == "Unknown"
    assert status["clusters"][0]["state"] == "suspect"


def test_an_unchanged_condition_keeps_its_time() -> None:
    first = status_of(a_view((foo_ref(), foo_body())))
    body = foo_body()
    body["status"] = first
    later = status_of(a_view((foo_ref(), body), now=NOW + 100))
    assert later == first
    assert first["conditions"][0]["lastTransitionTime"] == timestamp(NOW)


def test_the_same_view_gives_the_same_decision() -> None:
    view = a_view((foo_ref(), foo_body()), (deployment_ref(C2), child(C2)))
    assert decide(view) == decide(view)
