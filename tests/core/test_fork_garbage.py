"""What the collector would do in a fork: the deletes that follow from an owner's end, and the brakes that would hold them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.core.brake import Limits
from engine.core.fork import Forecast, Fork, foresee_all
from engine.core.fork_garbage import Collecting
from engine.core.history import Stored
from engine.core.ownership import (
    ADMIRALTY_FINALIZER,
    CASCADE_FINALIZER,
    OWNERS_ANNOTATION,
    PROPAGATION_ANNOTATION,
    OwnerReference,
    owned,
)
from schemas import subjects
from schemas.actions import Patch, Propagation
from schemas.clusters import cluster_ref
from schemas.facts import SyncType
from schemas.names import ClusterName, ObjectRef, Resource
from tests.builders import C1, C2, C3, NOW, cluster_fact, fact_message, reference_to, sync_fact

MAPS = Resource("", "v1", "configmaps")
Json = dict[str, Any]


def ref(cluster: ClusterName, name: str) -> ObjectRef:
    return ObjectRef(cluster, "", "configmaps", "default", name)


def body(name: str, *owners: tuple[ClusterName, str], finalizers: tuple[str, ...] = (), **notes: str) -> Json:
    whole: Json = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": "5"},
    }
    if finalizers:
        whole["metadata"]["finalizers"] = list(finalizers)
    if notes:
        whole["metadata"]["annotations"] = {PROPAGATION_ANNOTATION: notes["propagation"]}
    references = [reference(cluster, owner) for cluster, owner in owners]
    if references:
        whole = owned(whole, references[0])
    if len(references) > 1:
        whole["metadata"]["annotations"][OWNERS_ANNOTATION] = msgspec.json.encode(references).decode()
    return whole


def reference(cluster: ClusterName, owner: str) -> OwnerReference:
    return reference_to(ObjectRef(cluster, "", "configmaps", "default", owner), "ConfigMap", blocking=True)


def a_fork(*objects: tuple[ClusterName, Json], synced: SyncType = SyncType.COMPLETED) -> Fork:
    rows: dict[str, Stored] = {}
    for name in (C1, C2, C3):
        rows[subjects.fact(cluster_ref(name))] = Stored(len(rows) + 1, "", cluster_fact(name)[1])
        kind = synced if name == C1 else SyncType.COMPLETED
        rows[subjects.sync(name, "", "configmaps")] = Stored(len(rows) + 1, "", sync_fact(name, MAPS, kind))
    for cluster, one in objects:
        place = ref(cluster, one["metadata"]["name"])
        encoded = fact_message(place, MAPS, one, version=one["metadata"]["resourceVersion"])[1]
        rows[subjects.fact(place)] = Stored(len(rows) + 1, "", encoded)
    return Fork(rows, (C1, C2, C3), {}, NOW)


def foreseen(fork: Fork, limits: Limits | None = None) -> Forecast:
    return foresee_all(fork, [], [], Collecting(limits or Limits()))


def done(forecast: Forecast) -> list[tuple[str, str, str]]:
    return [(type(one.action).__name__, one.action.ref.cluster, one.action.ref.name) for one in forecast.steps]


FAMILY = ((C1, body("owner")), (C2, body("child", (C1, "owner"))), (C3, body("grandchild", (C2, "child"))))


def test_what_an_owner_that_is_deleted_leaves_goes_level_by_level() -> None:
    fork = a_fork(*FAMILY)
    fork.delete(ref(C1, "owner"))
    assert done(foreseen(fork)) == [("Delete", C2, "child"), ("Delete", C3, "grandchild")]


def test_nothing_follows_from_nothing() -> None:
    assert foreseen(a_fork(*FAMILY)).steps == []


def test_an_owner_that_we_hold_is_let_go_and_then_its_dependents_go() -> None:
    fork = a_fork((C1, body("owner", finalizers=(CASCADE_FINALIZER,))), *FAMILY[1:2])
    fork.delete(ref(C1, "owner"))
    assert done(foreseen(fork)) == [("RemoveFinalizer", C1, "owner"), ("Delete", C2, "child")]


@pytest.mark.parametrize(
    "owner",
    [
        body("owner", finalizers=(CASCADE_FINALIZER,), propagation=Propagation.FOREGROUND.value),
        body("owner", finalizers=(ADMIRALTY_FINALIZER,)),
    ],
)
def test_in_the_foreground_the_dependents_go_first(owner: Json) -> None:
    fork = a_fork((C1, owner), *FAMILY[1:2])
    fork.delete(ref(C1, "owner"))
    assert done(foreseen(fork)) == [("Delete", C2, "child"), ("RemoveFinalizer", C1, "owner")]


def test_a_dependent_with_another_owner_loses_the_reference_only() -> None:
    fork = a_fork((C1, body("owner")), (C3, body("other")), (C2, body("child", (C1, "owner"), (C3, "other"))))
    fork.delete(ref(C1, "owner"))
    forecast = foreseen(fork)
    assert [type(one.action) for one in forecast.steps] == [Patch]
    assert "uid-owner" not in str(fork.body(ref(C2, "child")))


def test_a_dependent_whose_other_owner_cannot_be_asked_stays_and_is_said_to_be_held() -> None:
    fork = a_fork((C1, body("owner")), (C3, body("other")), (C2, body("child", (C1, "owner"), (C3, "other"))))
    fork.lose(C3)
    fork.delete(ref(C1, "owner"))
    forecast = foreseen(fork)
    assert forecast.steps == []
    assert [one.action.ref for one in forecast.held] == [ref(C2, "child")]
    assert "cluster3 does not answer" in forecast.held[0].why


def test_an_owner_whose_type_is_not_synced_condemns_nobody() -> None:
    fork = a_fork(*FAMILY[:2], synced=SyncType.STARTED)
    fork.lack(ref(C1, "owner"))
    forecast = foreseen(fork)
    assert forecast.steps == []
    assert "not synced" in forecast.held[0].why


def owners(count: int) -> list[tuple[ClusterName, Json]]:
    found = []
    for number in range(count):
        found += [(C1, body(f"owner-{number}")), (C2, body(f"child-{number}", (C1, f"owner-{number}")))]
    return found


def test_many_owners_that_nobody_saw_go_trip_the_breaker_before_the_first_delete() -> None:
    fork = a_fork(*owners(30))
    for number in range(25):
        fork.lack(ref(C1, f"owner-{number}"))
    forecast = foreseen(fork)
    assert forecast.steps == []
    assert len(forecast.held) == 25
    assert {one.why for one in forecast.held} == {
        "the breaker trips for fleet: 25 owners missing that nobody saw go, the limit is 20 and 10 % of 30"
    }


def test_as_many_whose_deletion_was_asked_for_trip_nothing() -> None:
    fork = a_fork(*owners(30))
    for number in range(25):
        fork.delete(ref(C1, f"owner-{number}"))
    forecast = foreseen(fork)
    assert len(forecast.steps) == 25
    assert forecast.held == []


def test_a_few_that_nobody_saw_go_trip_nothing() -> None:
    fork = a_fork(*owners(30))
    for number in range(20):
        fork.lack(ref(C1, f"owner-{number}"))
    assert len(foreseen(fork).steps) == 20


def test_an_orphaned_owner_leaves_its_dependents_without_the_reference() -> None:
    fork = a_fork(*FAMILY[:2])
    fork.lack(ref(C1, "owner"))
    stone: Json = {
        "apiVersion": "crosscurrent.dev/v1alpha1",
        "kind": "OwnerTombstone",
        "metadata": {"name": "uid-owner"},
        "spec": {"disposition": "Orphaned"},
    }
    fork.put(ObjectRef(C1, "crosscurrent.dev", "ownertombstones", "", "uid-owner"), stone)
    assert done(foreseen(fork)) == [("Patch", C2, "child")]


def test_a_lost_cluster_takes_nothing_along() -> None:
    fork = a_fork(*FAMILY)
    fork.lose(C1)
    assert done(foreseen(fork)) == []


def test_a_dependent_of_another_engine_is_left_alone() -> None:
    fork = a_fork(*FAMILY[:2])
    fork.delete(ref(C1, "owner"))
    assert foresee_all(fork, [], [], Collecting(Limits(), engine="another")).steps == []
