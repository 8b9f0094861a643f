"""What is read for a request, and whom a change of it wakes: the same rule in both directions."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.authoring import Reconciler, reconciler
from engine.core.related import At, Related
from engine.core.view import View
from engine.runtime.mapper import Mapper
from engine.runtime.ports import Message
from engine.sandbox.memory_log import MemoryLog
from schemas import subjects
from schemas.actions import Decision, Request
from schemas.names import ClusterName, ObjectRef, Resource
from tests.builders import C1, C2, C3, fact_message
from tests.runtime.test_mapper import drain
from tests.world import eventually

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


def several() -> Reconciler:
    @reconciler(
        "several",
        watches=["example.dev/v1/owners", "example.dev/v1/others"],
        owns={"example.dev/v1/owners": ["v1/configmaps"], "example.dev/v1/others": ["v1/secrets", "v1/configmaps"]},
        reads={"example.dev/v1/things": "namespace"},
    )
    def answer(view: View, request: Request) -> Decision:
        return Decision.wait()

    return answer


def test_a_request_reads_of_the_types_of_its_own_kind_only() -> None:
    assert [str(kind) for kind in several().types_for(request().group, request().resource)] == [
        "example.dev/v1/owners",
        "v1/configmaps",
        "example.dev/v1/things",
    ]
    assert {str(kind) for kind in several().owns} == {"v1/configmaps", "v1/secrets"}


@pytest.mark.parametrize(
    ("place", "concerned"),
    [
        (("", "configmaps"), ["owners", "others"]),
        (("", "secrets"), ["others"]),
        (("example.dev", "owners"), ["owners"]),
        (("example.dev", "things"), ["owners", "others"]),
        (("example.dev", "strangers"), []),
    ],
)
def test_a_type_that_was_read_concerns_those_that_look_at_it(place: tuple[str, str], concerned: list[str]) -> None:
    assert [kind.plural for kind in several().concerned_by(*place)] == concerned


async def test_a_change_of_what_is_read_wakes_those_that_read_it_and_nobody_else() -> None:
    log = MemoryLog()
    for cluster, namespace in ((C1, "ns"), (C1, "other"), (C2, "ns")):
        await put(log, request(cluster, namespace), WATCHED)
    mapper = Mapper(log, several(), (C1, C2))
    await put(log, ObjectRef(C1, KIND.group, KIND.plural, "ns", "ns"), KIND)
    task = asyncio.create_task(mapper.run(1.0))
    await eventually(lambda: len(asked(log)) == 3)  # their own facts; then what is read, a second time
    await drain(log)
    await put(log, ObjectRef(C1, KIND.group, KIND.plural, "ns", "ns"), KIND, version="2")
    await eventually(lambda: asked(log) == {request(C1, "ns")})
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def put(log: MemoryLog, ref: ObjectRef, kind: Resource, version: str = "1") -> None:
    body = {"metadata": {"name": ref.name, "namespace": ref.namespace, "uid": f"{ref}"}}
    fact_id, encoded = fact_message(ref, kind, body, version=version)
    await log.publish([Message(subject=subjects.fact(ref), body=encoded, id=fact_id)])


def asked(log: MemoryLog) -> set[ObjectRef]:
    return {subjects.parse_keyed(record.subject)[1] for record in log.records("REQUESTS")}
