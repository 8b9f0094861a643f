"""Who may refer to an owner, and when deleting stops."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.brake import Limits, Scope, ScopeKind, Suspect, count_known, scopes_of, trips
from engine.core.grants import Verb, grants_namespace, is_signed, read_grants, sign, verbs_granted
from engine.core.ownership import OwnerReference
from schemas.names import ClusterId, ClusterName, ObjectRef, Uid

B = ClusterId("id-b")
OWNER = OwnerReference(
    cluster_id=ClusterId("id-a"), api_version="apps/v1", kind="Deployment", namespace="team", name="web", uid=Uid("u")
)
DEPENDENT = ObjectRef(ClusterName("b"), "", "configmaps", "shop", "cm")


def spec(**changes: Any) -> dict[str, Any]:
    whole = {
        "from": [{"cluster": "b", "namespace": "shop"}],
        "to": [{"group": "apps", "kind": "Deployment"}],
        "verbs": ["reference", "block"],
    }
    return {"spec": whole | changes}


@pytest.mark.parametrize(
    ("changes", "verbs"),
    [
        ({}, {"reference", "block"}),
        ({"verbs": ["reference"]}, {"reference"}),
        ({"from": [{"cluster": "id-b", "namespace": "shop"}]}, {"reference", "block"}),
        ({"from": [{"cluster": "*", "namespace": "*"}]}, {"reference", "block"}),
        ({"from": [{"cluster": "c", "namespace": "shop"}]}, set()),
        ({"from": [{"cluster": "b", "namespace": "other"}]}, set()),
        ({"from": [{"cluster": "b"}]}, set()),
        ({"from": []}, set()),
        ({"to": [{"group": "apps", "kind": "Deployment", "name": "web"}]}, {"reference", "block"}),
        ({"to": [{"group": "apps", "kind": "Deployment", "name": "db"}]}, set()),
        ({"to": [{"kind": "Deployment"}]}, set()),
        ({"verbs": ["own"]}, set()),
        ({"to": "everything"}, set()),
    ],
)
def test_a_grant_allows_what_it_names_and_nothing_else(changes: dict[str, Any], verbs: set[str]) -> None:
    assert verbs_granted(read_grants([spec(**changes)]), OWNER, B, DEPENDENT) == verbs


def test_without_a_grant_nothing_is_allowed() -> None:
    assert verbs_granted([], OWNER, B, DEPENDENT) == frozenset()
    assert read_grants([{}, {"spec": None}]) == []


def test_grants_for_cluster_scoped_owners_are_where_only_administrators_write() -> None:
    scoped = OwnerReference(cluster_id=B, api_version="v1", kind="Node", name="n", uid=Uid("u"))
    assert (grants_namespace(OWNER), grants_namespace(scoped)) == ("team", "kube-system")


def test_a_signature_holds_for_one_text_on_one_object_in_one_cluster() -> None:
    key, text = b"k" * 32, '[{"uid":"u"}]'
    good = sign(key, text, B, DEPENDENT)
    assert is_signed(key, text, good, B, DEPENDENT)
    assert not is_signed(key, text + " ", good, B, DEPENDENT)
    assert not is_signed(key, text, good, ClusterId("id-c"), DEPENDENT)
    assert not is_signed(key, text, good, B, ObjectRef(DEPENDENT.cluster, "", "configmaps", "shop", "other"))
    assert not is_signed(b"x" * 32, text, good, B, DEPENDENT)
    assert not is_signed(b"", text, sign(b"", text, B, DEPENDENT), B, DEPENDENT)
    assert Verb.BLOCK == "block"


# --- the breaker ---

C1 = ClusterName("a")
HERE = scopes_of(C1, "configmaps")


def suspects(count: int, *, since: float = 1000.0, apart: float = 0.0) -> list[Suspect]:
    return [Suspect(C1, "configmaps", since + apart * number) for number in range(count)]


def known(count: int) -> dict[Scope, int]:
    return dict(count_known((C1, "configmaps") for _ in range(count)))


def test_a_few_suspects_never_trip_whatever_their_share() -> None:
    assert trips(suspects(20), known(20), Limits(), now=1000.0, scopes=HERE) == []


def test_one_more_trips_every_scope_that_it_is_too_many_in() -> None:
    found = trips(suspects(21), known(21), Limits(), now=1000.0, scopes=HERE)
    assert [trip.scope.kind for trip in found] == [ScopeKind.FLEET, ScopeKind.CLUSTER, ScopeKind.KIND]
    assert {(trip.counted, trip.known) for trip in found} == {(21, 21)}


def test_a_share_of_many_owners_may_be_more_than_the_absolute_limit() -> None:
    slow = suspects(50, since=760.0, apart=4.0)
    assert trips(slow, known(500), Limits(), now=1000.0, scopes=HERE) == []
    assert trips(suspects(51, since=760.0, apart=4.0), known(500), Limits(), now=1000.0, scopes=HERE)


def test_too_many_within_a_minute_trip_whatever_their_share() -> None:
    fast, slow = suspects(101), suspects(101, since=740.0, apart=2.0)
    assert trips(fast, known(100_000), Limits(), now=1000.0, scopes=HERE)
    assert trips(slow, known(100_000), Limits(), now=1000.0, scopes=HERE) == []


def test_old_suspects_count_for_nothing() -> None:
    assert trips(suspects(50, since=600.0), known(50), Limits(), now=1000.0, scopes=HERE) == []


def test_other_clusters_and_kinds_count_in_the_fleet_only() -> None:
    elsewhere = [Suspect(ClusterName("z"), "foos", 1000.0) for _ in range(30)]
    found = trips([*elsewhere, *suspects(1)], {}, Limits(), now=1000.0, scopes=HERE)
    assert [trip.scope for trip in found] == [Scope(ScopeKind.FLEET)]


@given(st.lists(st.floats(700, 1000), max_size=200), st.integers(0, 2000))
def test_more_suspects_never_release_a_brake(times: list[float], owners: int) -> None:
    some = [Suspect(C1, "configmaps", time) for time in times]
    before = trips(some, known(owners), Limits(), now=1000.0, scopes=HERE)
    after = trips([*some, Suspect(C1, "configmaps", 1000.0)], known(owners), Limits(), now=1000.0, scopes=HERE)
    assert {trip.scope for trip in before} <= {trip.scope for trip in after}
