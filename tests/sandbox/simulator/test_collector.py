"""Garbage collection: who goes, who stays and who waits, as kube-controller-manager 1.36.3 decides."""

from __future__ import annotations

from typing import Any

import pytest

from engine.sandbox.simulator.controllers import Controllers
from engine.sandbox.simulator.options import DeleteOptions
from tests.sandbox.simulator.clusters import Cluster, Json, define, definition, refusal, watch_from_now, watched

HELD = "x.io/held"


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def owned_by(*owners: Json, block: bool = False) -> Json:
    """Return metadata that refers to owners."""
    references = []
    for owner in owners:
        metadata = owner["metadata"]
        reference = {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        references.append({**reference, "blockOwnerDeletion": True} if block else reference)
    return {"ownerReferences": references}


def missing(uid: str = "gone", **changes: Any) -> Json:
    """Return an owner that is not there."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gone", "uid": uid}, **changes}


def make(cluster: Cluster, name: str, *owners: Json, block: bool = False, **metadata: Any) -> Json:
    return cluster.make("configmaps", name, metadata={**owned_by(*owners, block=block), **metadata})


def delete(cluster: Cluster, name: str, policy: str | None = None) -> None:
    cluster.delete(cluster.type("configmaps"), "default", name, DeleteOptions(propagation_policy=policy))


def metadata(cluster: Cluster, name: str) -> Json:
    found = cluster.look("configmaps", name)
    assert found is not None
    found_metadata: Json = found["metadata"]
    return found_metadata


def names(cluster: Cluster) -> list[str]:
    cluster.settle()
    return [name for name in cluster.names("configmaps") if name != "kube-root-ca.crt"]


def owners_of(cluster: Cluster, name: str) -> list[str]:
    return [one["name"] for one in metadata(cluster, name).get("ownerReferences") or ()]


def test_dependents_go_after_their_owner_generation_by_generation(cluster: Cluster) -> None:
    child = make(cluster, "child", owner := make(cluster, "owner"))
    make(cluster, "grandchild", child)
    make(cluster, "other", owner, make(cluster, "second"))
    delete(cluster, "owner", "Background")
    assert "owner" not in cluster.names("configmaps")
    assert "child" in cluster.names("configmaps")
    assert names(cluster) == ["other", "second"]
    assert owners_of(cluster, "other") == ["second"]


def test_an_owner_that_never_was_takes_its_dependent_along(cluster: Cluster) -> None:
    make(cluster, "a", missing())
    make(cluster, "kept")
    assert names(cluster) == ["kept"]


@pytest.mark.parametrize(
    "owner",
    [
        missing(metadata={"name": "other", "uid": "gone"}),
        missing(metadata={"name": "owner", "uid": "earlier"}),
        missing(kind="Secret", metadata={"name": "owner", "uid": "gone"}),
    ],
    ids=["name", "uid", "kind"],
)
def test_an_owner_must_be_found_where_the_reference_says_with_the_same_uid(cluster: Cluster, owner: Json) -> None:
    make(cluster, "owner")
    make(cluster, "child", owner)
    assert names(cluster) == ["owner"]


def test_an_owner_in_another_namespace_is_none(cluster: Cluster) -> None:
    owner = cluster.make("configmaps", "owner", namespace="kube-system")
    make(cluster, "child", owner)
    assert names(cluster) == ["owner"]


def test_an_owner_may_be_in_no_namespace(cluster: Cluster) -> None:
    owner = cluster.make("namespaces", "owner")
    make(cluster, "child", owner)
    assert names(cluster) == ["child"]


def test_something_in_no_namespace_is_not_collected_for_an_owner_in_one(cluster: Cluster) -> None:
    cluster.make("clusterroles", "child", "rbac.authorization.k8s.io", rules=None, metadata=owned_by(missing()))
    cluster.pass_time(3600)
    assert cluster.look("clusterroles", "child", "rbac.authorization.k8s.io") is not None


def test_an_unserved_kind_of_owner_is_asked_for_until_it_is_served(cluster: Cluster) -> None:
    owner = {"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "a", "uid": "u"}}
    make(cluster, "child", owner)
    cluster.pass_time(3600)
    assert names(cluster) == ["child"]
    define(cluster)
    cluster.pass_time(2000)
    assert names(cluster) == []


def test_a_definition_that_goes_takes_instances_and_their_dependents_along(cluster: Cluster) -> None:
    define(cluster)
    owner = cluster.make("foos", "owner", "example.com")
    make(cluster, "child", owner)
    crd = cluster.type("customresourcedefinitions", "apiextensions.k8s.io")
    cluster.delete(crd, "", definition()["metadata"]["name"])
    cluster.pass_time(10)
    assert cluster.names("customresourcedefinitions", "apiextensions.k8s.io") == []
    assert names(cluster) == []


def test_references_to_owners_that_are_gone_are_taken_away_while_others_stay(cluster: Cluster) -> None:
    make(cluster, "child", missing("1"), make(cluster, "owner"), missing("2"))
    assert names(cluster) == ["child", "owner"]
    assert owners_of(cluster, "child") == ["owner"]


def test_an_owner_on_its_way_out_for_another_reason_still_counts(cluster: Cluster) -> None:
    make(cluster, "child", make(cluster, "owner", finalizers=[HELD]))
    delete(cluster, "owner", "Background")
    assert names(cluster) == ["child", "owner"]
    cluster.merge("configmaps", "owner", {"metadata": {"finalizers": None}})
    assert names(cluster) == []


def test_orphans_lose_their_references_and_stay(cluster: Cluster) -> None:
    owner = make(cluster, "owner")
    make(cluster, "child", owner)
    make(cluster, "other", owner, make(cluster, "second"))
    delete(cluster, "owner", "Orphan")
    assert metadata(cluster, "owner")["finalizers"] == ["orphan"]
    assert names(cluster) == ["child", "other", "second"]
    assert owners_of(cluster, "child") == []
    assert owners_of(cluster, "other") == ["second"]


def test_in_the_foreground_an_owner_goes_after_those_who_block_it(cluster: Cluster) -> None:
    owner = make(cluster, "owner")
    make(cluster, "blocks", owner, block=True, finalizers=[HELD])
    make(cluster, "free", owner, finalizers=[HELD])
    make(cluster, "quick", owner, block=True)
    delete(cluster, "owner", "Foreground")
    assert names(cluster) == ["blocks", "free", "owner"]
    assert metadata(cluster, "owner")["finalizers"] == ["foregroundDeletion"]
    cluster.merge("configmaps", "blocks", {"metadata": {"finalizers": None}})
    assert names(cluster) == ["free"]


@pytest.mark.parametrize("reference", [[], [{"blockOwnerDeletion": False}]], ids=["reference removed", "block removed"])
def test_a_waiting_owner_goes_when_nobody_blocks_it_any_more(cluster: Cluster, reference: list[Json]) -> None:
    owner = make(cluster, "owner")
    child = make(cluster, "child", owner, block=True, finalizers=[HELD])
    delete(cluster, "owner", "Foreground")
    assert names(cluster) == ["child", "owner"]
    references = [{**child["metadata"]["ownerReferences"][0], **one} for one in reference]
    cluster.merge("configmaps", "child", {"metadata": {"ownerReferences": references or None}})
    assert names(cluster) == ["child"]


def test_the_foreground_reaches_down_through_generations(cluster: Cluster) -> None:
    child = make(cluster, "child", make(cluster, "owner"), block=True)
    make(cluster, "grandchild", child, block=True, finalizers=[HELD])
    delete(cluster, "owner", "Foreground")
    assert names(cluster) == ["child", "grandchild", "owner"]
    assert metadata(cluster, "child")["finalizers"] == ["foregroundDeletion"]
    cluster.merge("configmaps", "grandchild", {"metadata": {"finalizers": None}})
    assert names(cluster) == []


def test_a_dependent_with_another_owner_is_not_waited_for(cluster: Cluster) -> None:
    owner = make(cluster, "owner")
    make(cluster, "shared", owner, make(cluster, "second"), block=True)
    delete(cluster, "owner", "Foreground")
    assert names(cluster) == ["second", "shared"]
    assert owners_of(cluster, "shared") == ["second"]


def test_a_circle_is_broken_up(cluster: Cluster) -> None:
    first = make(cluster, "first", finalizers=["foregroundDeletion"])
    second = make(cluster, "second", first, block=True)
    reference = owned_by(second, block=True)["ownerReferences"]
    cluster.merge("configmaps", "first", {"metadata": {"ownerReferences": reference}})
    delete(cluster, "first", "Foreground")
    assert names(cluster) == []


def test_a_dependent_keeps_the_policy_that_its_finalizers_ask_for(cluster: Cluster) -> None:
    child = make(cluster, "child", make(cluster, "owner"), finalizers=["orphan"])
    make(cluster, "grandchild", child)
    delete(cluster, "owner", "Background")
    assert names(cluster) == ["grandchild"]
    assert owners_of(cluster, "grandchild") == []


def test_a_dependent_on_its_way_out_is_left_alone(cluster: Cluster) -> None:
    make(cluster, "child", make(cluster, "owner"), finalizers=[HELD])
    delete(cluster, "child")
    before = metadata(cluster, "child")
    delete(cluster, "owner", "Background")
    cluster.settle()
    assert metadata(cluster, "child") == before


def test_a_refused_deletion_is_tried_again(cluster: Cluster) -> None:
    namespace = cluster.make("namespaces", "kube-public-child", metadata=owned_by(missing(kind="Namespace")))
    assert namespace is not None
    cluster.pass_time(60)
    assert cluster.look("namespaces", "kube-public-child") is None
    forbidden = cluster.type("namespaces")
    reference = owned_by(missing(kind="Namespace"))["ownerReferences"]
    cluster.merge("namespaces", "default", {"metadata": {"ownerReferences": reference}})
    cluster.pass_time(3600)
    assert cluster.look("namespaces", "default") is not None
    assert cluster.next_due() is not None
    assert refusal(lambda: cluster.delete(forbidden, "", "default")).code == 403


def test_a_restart_finds_what_is_left_to_do(cluster: Cluster) -> None:
    idle = Cluster(Controllers(garbage_collector=False))
    owner = make(idle, "owner")
    make(idle, "child", owner, block=True)
    make(idle, "dangling", missing())
    make(idle, "orphan", kept := make(idle, "kept"))
    assert kept is not None
    delete(idle, "owner", "Foreground")
    delete(idle, "kept", "Orphan")
    cluster.restore(idle.snapshot())
    assert names(cluster) == ["orphan"]


def test_after_a_restore_nothing_of_the_undone_future_counts(cluster: Cluster) -> None:
    make(cluster, "child", make(cluster, "owner"))
    past = cluster.snapshot()
    delete(cluster, "owner", "Background")
    cluster.restore(past)
    assert names(cluster) == ["child", "owner"]
    delete(cluster, "owner", "Background")
    assert names(cluster) == []


def test_a_deletion_is_told_before_those_that_follow_from_it(cluster: Cluster) -> None:
    make(cluster, "child", make(cluster, "owner"))
    watch = watch_from_now(cluster, "configmaps")
    delete(cluster, "owner", "Background")
    cluster.settle()
    assert [(kind, name) for kind, name, _ in watched(watch)] == [("DELETED", "owner"), ("DELETED", "child")]


def test_events_neither_own_nor_are_owned(cluster: Cluster) -> None:
    involved = {"namespace": "default", "kind": "Pod", "name": "p"}
    cluster.make("events", "e", metadata=owned_by(missing()), involvedObject=involved)
    cluster.settle()
    assert cluster.names("events") == ["e"]
