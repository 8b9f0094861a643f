"""Custom resource definitions: names, versions, and the end, as with kube-apiserver 1.36.3."""

from __future__ import annotations

from typing import Any

import pytest

from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.options import DeleteOptions, ListOptions, WatchOptions
from tests.sandbox.simulator.clusters import (
    NO_CONTROLLERS,
    Cluster,
    Json,
    define,
    definition,
    refusal,
    version,
    watch_from_now,
    watched,
)

GROUP = "example.com"
CRDS = "customresourcedefinitions"
EXTENSIONS = "apiextensions.k8s.io"
HELD = "x.io/held"


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(NO_CONTROLLERS)


def named(plural: str, kind: str, **names: Any) -> Json:
    body = definition(plural, kind)
    body["spec"]["names"] |= names
    return body


def status(cluster: Cluster, name: str = "foos.example.com") -> Json:
    found = cluster.look(CRDS, name, EXTENSIONS)
    assert found is not None
    whole: Json = found["status"]
    return whole


def conditions(cluster: Cluster, name: str = "foos.example.com") -> dict[str, str]:
    return {
        one["type"]: f"{one['status']} {one['reason']}: {one['message']}" for one in status(cluster, name)["conditions"]
    }


def served(cluster: Cluster, plural: str = "foos") -> list[str]:
    return [one.version for one in cluster.types.versions((GROUP, plural))]


def delete(cluster: Cluster, name: str = "foos.example.com") -> Json:
    return cluster.delete(cluster.type(CRDS, EXTENSIONS), "", name).object


# Names


def test_a_definition_is_served_when_its_names_are_accepted(cluster: Cluster) -> None:
    made = cluster.make(CRDS, "foos.example.com", EXTENSIONS, spec=definition()["spec"])
    assert made["status"] == {
        "conditions": None,
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": ["v1"],
    }
    assert served(cluster) == []
    cluster.settle()
    assert conditions(cluster) == {
        "NamesAccepted": "True NoConflicts: no conflicts found",
        "Established": "True InitialNamesAccepted: the initial names have been accepted",
    }
    assert status(cluster)["acceptedNames"] == {
        "plural": "foos",
        "kind": "Foo",
        "singular": "foo",
        "listKind": "FooList",
    }
    assert served(cluster) == ["v1"]


@pytest.mark.parametrize(
    ("body", "reason", "accepted"),
    [
        (
            named("bars", "Foo", listKind="BarList"),
            'KindConflict: "Foo" is already in use',
            {"plural": "bars", "singular": "foo", "listKind": "BarList"},
        ),
        (
            named("bars", "Bar", singular="foos"),
            'SingularConflict: "foos" is already in use',
            {"plural": "bars", "kind": "Bar", "listKind": "BarList"},
        ),
        (
            named("bars", "Bar", shortNames=["b", "f", "foos"]),
            'ShortNamesConflict: "f" is already in use, "foos" is already in use',
            {"plural": "bars", "kind": "Bar", "listKind": "BarList", "singular": "bar"},
        ),
    ],
    ids=["kind", "singular", "short names"],
)
def test_names_that_another_definition_has_are_not_accepted(
    cluster: Cluster, body: Json, reason: str, accepted: Json
) -> None:
    define(cluster, named("foos", "Foo", shortNames=["f"], singular="fo"))
    body["spec"]["names"].setdefault("singular", "bar")
    define(cluster, body)
    assert conditions(cluster, "bars.example.com") == {
        "NamesAccepted": f"False {reason}",
        "Established": "False NotAccepted: not all names are accepted",
    }
    shown = {name: value for name, value in status(cluster, "bars.example.com")["acceptedNames"].items() if value}
    assert shown == accepted
    assert served(cluster, "bars") == []
    delete(cluster)
    cluster.settle()
    assert conditions(cluster, "bars.example.com")["NamesAccepted"] == "True NoConflicts: no conflicts found"
    assert served(cluster, "bars") == ["v1"]


def test_another_group_may_have_the_same_names(cluster: Cluster) -> None:
    define(cluster)
    define(cluster, definition("foos", "Foo", "other.com"))
    assert [one.version for one in cluster.types.versions(("other.com", "foos"))] == ["v1"]


# Versions


@pytest.fixture
def versions(cluster: Cluster) -> Cluster:
    define(
        cluster,
        definition(
            "foos",
            "Foo",
            GROUP,
            version("v1"),
            version("v2", storage=False),
            version("v3", storage=False, served=False),
        ),
    )
    return cluster


def test_an_object_is_seen_in_every_served_version(versions: Cluster) -> None:
    assert served(versions) == ["v2", "v1"] or served(versions) == ["v1", "v2"]
    one, two = (versions.type("foos", GROUP, name) for name in ("v1", "v2"))
    watches = [watch_from_now(versions, "foos", GROUP)]
    versions.create(two, "default", "", {"apiVersion": "example.com/v2", "kind": "Foo", "metadata": {"name": "a"}})
    assert versions.get(one, "default", "a").object["apiVersion"] == "example.com/v1"
    assert versions.get(two, "default", "a").object["apiVersion"] == "example.com/v2"
    assert [item.object["apiVersion"] for item in versions.list(two, "default").items] == ["example.com/v2"]
    stored = versions.look("foos", "a", GROUP)
    assert stored is not None
    assert stored["apiVersion"] == "example.com/v1"
    assert [kind for kind, *_ in watched(watches[0])] == ["ADDED"]


def test_another_storage_version_is_remembered_and_takes_effect_with_the_next_write(versions: Cluster) -> None:
    two = versions.type("foos", GROUP, "v2")
    versions.make("foos", "a", GROUP)
    changed = [version("v1", storage=False), version("v2")]
    versions.merge(CRDS, "foos.example.com", {"spec": {"versions": changed}}, EXTENSIONS)
    versions.settle()
    assert status(versions)["storedVersions"] == ["v1", "v2"]
    before = versions.look("foos", "a", GROUP)
    versions.patch(two, "default", "a", {"metadata": {"labels": {"x": "y"}}})
    after = versions.look("foos", "a", GROUP)
    assert before is not None
    assert after is not None
    assert (before["apiVersion"], after["apiVersion"]) == ("example.com/v1", "example.com/v2")


def test_a_version_that_is_served_no_longer_is_gone_and_its_watches_end(versions: Cluster) -> None:
    two = versions.type("foos", GROUP, "v2")
    versions.make("foos", "a", GROUP)
    versions.merge(CRDS, "foos.example.com", {"spec": {"versions": [version("v1")]}}, EXTENSIONS)
    versions.settle()
    assert served(versions) == ["v1"]
    assert two not in versions.types
    assert versions.get(versions.type("foos", GROUP), "default", "a").object["apiVersion"] == "example.com/v1"


def test_a_change_of_the_definition_ends_watches_and_their_past(versions: Cluster) -> None:
    versions.make("foos", "a", GROUP)
    past = versions.store.rv
    watches = [watch_from_now(versions, "foos", GROUP), watch_from_now(versions, "foos", GROUP)]
    versions.merge("foos", "a", {"metadata": {"labels": {"x": "y"}}}, GROUP)
    versions.merge(CRDS, "foos.example.com", {"metadata": {"labels": {"x": "y"}}}, EXTENSIONS)
    versions.settle()
    assert [kind for kind, *_ in watched(watches[0])] == ["MODIFIED"]
    assert not watches[0].ended, "only a change of the spec makes a new storage"
    versions.merge(CRDS, "foos.example.com", {"spec": {"names": {"shortNames": ["f"]}}}, EXTENSIONS)
    versions.settle()
    versions.merge("foos", "a", {"metadata": {"labels": {"x": "z"}}}, GROUP)
    assert (watched(watches[0]), watches[0].ended) == ([], True)
    assert [kind for kind, *_ in watched(watches[1])] == ["MODIFIED"], "what was before the end is still told"
    assert watches[1].ended
    rtype = versions.type("foos", GROUP)
    late = versions.watch(rtype, "", WatchOptions(resource_version=str(past))).initial[0]
    assert (late.type, late.object["code"], late.object["reason"]) == ("ERROR", 410, "Expired")
    exact = ListOptions(resource_version=str(past), resource_version_match="Exact")
    assert len(versions.list(rtype, "", exact).items) == 1, "what is stored has kept its past"


def test_a_new_schema_holds_from_the_next_write_on(cluster: Cluster) -> None:
    define(cluster)
    assert cluster.make("foos", "a", GROUP, spec={"a": "1", "new": "x"})["spec"] == {"a": "1"}
    schema = version("v1")
    schema["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["new"] = {"type": "string"}
    cluster.merge(CRDS, "foos.example.com", {"spec": {"versions": [schema]}}, EXTENSIONS)
    cluster.settle()
    assert cluster.make("foos", "b", GROUP, spec={"a": "1", "new": "x"})["spec"] == {"a": "1", "new": "x"}


# The end


def test_instances_go_before_their_definition(cluster: Cluster) -> None:
    define(cluster)
    cluster.make("foos", "held", GROUP, metadata={"finalizers": [HELD]})
    cluster.make("foos", "a", GROUP, namespace="kube-system")
    watch = watch_from_now(cluster, "foos", GROUP)
    answer = delete(cluster)
    assert answer["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert "deletionTimestamp" in answer["metadata"]
    cluster.settle()
    assert conditions(cluster)["Terminating"] == (
        "True InstanceDeletionInProgress: CustomResource deletion is in progress"
    )
    assert cluster.names("foos", GROUP) == ["held"]
    cluster.merge("foos", "held", {"metadata": {"finalizers": None}}, GROUP)
    cluster.settle()
    assert (cluster.look(CRDS, "foos.example.com", EXTENSIONS), served(cluster)) == (None, [])
    assert sorted((kind, name) for kind, name, _ in watched(watch)) == [
        ("DELETED", "a"),
        ("DELETED", "held"),
        ("MODIFIED", "held"),
    ]
    assert watch.ended


def test_nothing_is_created_while_the_definition_ends(cluster: Cluster) -> None:
    define(cluster)
    cluster.make("foos", "held", GROUP, metadata={"finalizers": [HELD]})
    delete(cluster)
    cluster.settle()
    error = refusal(lambda: cluster.make("foos", "b", GROUP))
    why = "create not allowed while custom resource definition is terminating"
    assert (error.code, error.message) == (403, f'foos.example.com "b" is forbidden: {why}')


def test_a_definition_that_was_never_served_goes_at_once(cluster: Cluster) -> None:
    define(cluster)
    define(cluster, named("bars", "Foo"))
    delete(cluster, "bars.example.com")
    cluster.settle()
    assert cluster.names(CRDS, EXTENSIONS) == ["foos.example.com"]
    assert served(cluster) == ["v1"]


def test_a_definition_made_again_knows_nothing_of_the_former_instances(cluster: Cluster) -> None:
    define(cluster)
    cluster.make("foos", "a", GROUP)
    delete(cluster)
    cluster.settle()
    define(cluster)
    assert cluster.names("foos", GROUP) == []
    assert cluster.make("foos", "a", GROUP)["metadata"]["generation"] == 1


def test_a_finalizer_of_someone_else_keeps_the_definition_but_not_the_instances(cluster: Cluster) -> None:
    define(cluster)
    cluster.merge(CRDS, "foos.example.com", {"metadata": {"finalizers": [HELD]}}, EXTENSIONS)
    cluster.make("foos", "a", GROUP)
    delete(cluster)
    cluster.settle()
    assert conditions(cluster)["Terminating"] == "False InstanceDeletionCompleted: removed all instances"
    assert cluster.names("foos", GROUP) == []
    cluster.merge(CRDS, "foos.example.com", {"metadata": {"finalizers": None}}, EXTENSIONS)
    cluster.settle()
    assert cluster.names(CRDS, EXTENSIONS) == []


def test_a_refused_delete_of_an_instance_is_tried_again(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    define(cluster)
    cluster.make("foos", "a", GROUP)
    refused = ApiError(500, "InternalError", "no")

    def refuse(*_: object) -> None:
        raise refused

    monkeypatch.setattr(cluster, "delete_collection", refuse)
    delete(cluster)
    cluster.pass_time(1)
    assert cluster.names("foos", GROUP) == ["a"]
    monkeypatch.undo()
    cluster.pass_time(5)
    assert cluster.names(CRDS, EXTENSIONS) == []


# Restarts


def test_a_restore_serves_what_the_snapshot_defines(cluster: Cluster) -> None:
    define(cluster)
    cluster.make("foos", "a", GROUP)
    past = cluster.snapshot()
    delete(cluster)
    cluster.settle()
    define(cluster, definition("bars", "Bar"))
    cluster.restore(past)
    assert (served(cluster), served(cluster, "bars")) == (["v1"], [])
    assert cluster.names("foos", GROUP) == ["a"]


def test_a_restore_goes_on_with_a_definition_that_ends(cluster: Cluster) -> None:
    define(cluster)
    cluster.make("foos", "held", GROUP, metadata={"finalizers": [HELD]})
    delete(cluster)
    cluster.settle()
    past = cluster.snapshot()
    cluster.merge("foos", "held", {"metadata": {"finalizers": None}}, GROUP)
    cluster.settle()
    cluster.restore(past)
    assert cluster.names("foos", GROUP) == ["held"]
    cluster.merge("foos", "held", {"metadata": {"finalizers": None}}, GROUP)
    cluster.settle()
    assert cluster.names(CRDS, EXTENSIONS) == []


def test_deleting_an_instance_with_a_policy_of_its_own_is_as_with_any_type(cluster: Cluster) -> None:
    define(cluster)
    cluster.make("foos", "a", GROUP)
    options = DeleteOptions(propagation_policy="Foreground")
    answer = cluster.delete(cluster.type("foos", GROUP), "default", "a", options).object
    assert answer["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert answer["metadata"]["generation"] == 2
