"""What is read for a request, and whom a change of it wakes: the same rule in both directions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.related import At, Related
from schemas import subjects
from schemas.names import ClusterName, ObjectRef, Resource
from tests.builders import C1, C2, C3

KIND = Resource("example.dev", "v1", "things")
WATCHED = Resource("example.dev", "v1", "owners")
names = st.text(alphabet="ab.-*>% ", min_size=1, max_size=5)


def request(cluster: ClusterName = C1, namespace: str = "ns", name: str = "it") -> ObjectRef:
    return ObjectRef(cluster, WATCHED.group, WATCHED.plural, namespace, name)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (At.NAME, [(C1, "ns", "it")]),
        (At.NAMESPACE, [(C1, "ns", "ns")]),
        (At.NAMESPACES, [(C1, "", "ns"), (C2, "", "ns"), (C3, "", "ns")]),
        (At.CLUSTER, []),
    ],
)
def test_places_follow_from_the_request(at: At, expected: list[tuple[str, str, str]]) -> None:
    found = Related(KIND, at).places(request(), (C1, C2, C3))
    assert [(ref.cluster, ref.namespace, ref.name) for ref in found] == expected


def test_what_is_in_no_namespace_reads_nothing_of_one() -> None:
    for at in (At.NAMESPACE, At.NAMESPACES):
        assert Related(KIND, at).places(request(namespace=""), (C1, C2)) == []


@given(st.sampled_from([At.NAME, At.NAMESPACE, At.NAMESPACES]), names, names, st.sampled_from([C1, C2]))
def test_whatever_is_read_for_a_request_wakes_it(at: At, namespace: str, name: str, cluster: ClusterName) -> None:
    wanted = request(cluster, namespace, name)
    related = Related(KIND, at)
    for place in related.places(wanted, (C1, C2)):
        assert any(subjects.matches(one, subjects.fact(wanted)) for one in related.wakes(place, [WATCHED]))


@given(names, names, names)
def test_all_of_a_type_in_the_cluster_are_read_and_wake_everyone_there(namespace: str, name: str, other: str) -> None:
    related, wanted = Related(KIND, At.CLUSTER), request(C1, namespace, name)
    read = ObjectRef(C1, KIND.group, KIND.plural, "", other)
    assert subjects.matches(related.pattern(wanted), subjects.fact(read))
    assert any(subjects.matches(one, subjects.fact(wanted)) for one in related.wakes(read, [WATCHED]))
    assert not any(subjects.matches(one, subjects.fact(wanted)) for one in related.wakes(read.on(C2), [WATCHED]))


def test_a_change_in_one_namespace_wakes_nobody_in_another() -> None:
    elsewhere = subjects.fact(request(namespace="other"))
    for at in (At.NAME, At.NAMESPACE, At.NAMESPACES):
        related = Related(KIND, at)
        for place in related.places(request(), (C1, C2)):
            assert not any(subjects.matches(one, elsewhere) for one in related.wakes(place, [WATCHED]))
