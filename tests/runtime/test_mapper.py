"""What wakes a key: its object, its dependents, the cluster set; and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from engine.core.authoring import dependent, reconciler
from engine.core.importing import IMPORTS, SERVICE_ACCOUNT_GRANTS
from engine.core.ownership import OWNERS_ANNOTATION
from engine.core.view import View
from engine.runtime import mapper as module
from engine.runtime.import_sources import ImportMapper
from engine.runtime.mapper import Mapper
from engine.runtime.ports import Message
from engine.sandbox.memory_log import MemoryLog
from reconcilers.foo import DEPLOYMENTS as KIND
from reconcilers.foo import deployment, foo
from reconcilers.imports import imports
from schemas import subjects
from schemas.actions import Decision, Request
from schemas.clusters import ClusterState
from schemas.decisions import Entry, EntryState, encode_entry
from schemas.facts import FactId, SyncType
from schemas.names import ClusterName, ObjectRef, Resource, ResourceVersion, Uid
from tests.builders import (
    C1,
    C2,
    DEPLOYMENTS,
    FOOS,
    a_view,
    deployment_ref,
    fact_message,
    foo_body,
    foo_ref,
    identity,
    sync_fact,
)
from tests.world import World, eventually

THINGS = Resource("example.dev", "v1", "things")


@pytest.fixture
async def woken() -> AsyncIterator[tuple[MemoryLog, World]]:
    log = MemoryLog()
    world = World(log, [C1, C2])
    await world.start()
    task = asyncio.create_task(Mapper(log, foo, (C1, C2)).run(1.0))
    await asyncio.sleep(0.05)
    yield log, world
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def child_of(name: str = "example-foo", uid: str = "foo-uid") -> dict[str, Any]:
    view = a_view((foo_ref(name), foo_body(name, uid=uid)))
    parent = view.get(foo_ref(name))
    assert parent is not None
    return dependent(view, parent, C2, KIND, deployment(parent)).body


def requested(log: MemoryLog) -> set[ObjectRef]:
    return {subjects.parse_keyed(record.subject)[1] for record in log.records("REQUESTS")}


async def drain(log: MemoryLog) -> None:
    """Answer every request, without doing anything."""
    await asyncio.sleep(0.05)
    task = asyncio.create_task(
        log.consume("REQUESTS", "drain", ["requests.>"], lambda delivery: delivery.ack(), concurrency=9, ack_wait=1.0)
    )
    await eventually(lambda: not log.records("REQUESTS"))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def indexed(log: MemoryLog) -> dict[tuple[str, str], bool]:
    last = {record.subject: record.body != b"" for record in log.records("INDEX")}
    return {
        subjects.parse_owner(subject)[:2]: there for subject, there in last.items() if subject.startswith("owners.")
    }


async def test_an_object_wakes_its_own_key(woken: tuple[MemoryLog, World]) -> None:
    log, world = woken
    await world.put(foo_ref(), foo_body())
    await eventually(lambda: requested(log) == {foo_ref()})


async def test_a_dependent_wakes_its_owner_in_another_cluster_and_is_indexed(woken: tuple[MemoryLog, World]) -> None:
    log, world = woken
    await world.put(deployment_ref(C2), child_of())
    await eventually(lambda: requested(log) == {foo_ref()})
    assert indexed(log) == {(identity(C1), "foo-uid"): True}


async def test_a_tombstone_wakes_the_owner_even_if_nobody_saw_the_last_state(woken: tuple[MemoryLog, World]) -> None:
    log, world = woken
    body = await world.put(deployment_ref(C2), child_of())
    await drain(log)
    world.objects[deployment_ref(C2)] = {**body, "metadata": {"uid": body["metadata"]["uid"]}}
    await world.remove(deployment_ref(C2))
    await eventually(lambda: requested(log) == {foo_ref()})
    assert indexed(log) == {(identity(C1), "foo-uid"): False}


async def test_a_changed_owner_wakes_both(woken: tuple[MemoryLog, World]) -> None:
    log, world = woken
    await world.put(deployment_ref(C2), child_of())
    await drain(log)
    await world.put(deployment_ref(C2), child_of("second", "second-uid"))
    await eventually(lambda: requested(log) == {foo_ref(), foo_ref("second")})
    assert indexed(log) == {(identity(C1), "foo-uid"): False, (identity(C1), "second-uid"): True}


async def test_an_owner_in_an_unknown_cluster_wakes_nothing(woken: tuple[MemoryLog, World]) -> None:
    log, world = woken
    body = child_of()
    text = body["metadata"]["annotations"]["crosscurrent.dev/owners"].replace(identity(C1), "elsewhere")
    body["metadata"]["annotations"]["crosscurrent.dev/owners"] = text
    await world.put(deployment_ref(C2), body)
    await asyncio.sleep(0.1)
    assert requested(log) == set()


async def test_a_change_of_the_cluster_set_wakes_every_key(woken: tuple[MemoryLog, World]) -> None:
    log, world = woken
    await world.put(foo_ref(), foo_body())
    await world.put(foo_ref("second"), foo_body("second"))
    await drain(log)
    await world.set_state(C2, ClusterState.SUSPECT)
    await eventually(lambda: requested(log) == {foo_ref(), foo_ref("second")})


@pytest.mark.parametrize(
    ("kind", "reason", "wakes"),
    [
        (SyncType.COMPLETED, "", True),
        (SyncType.BOOKMARK, "", False),
        (SyncType.BOOKMARK, "Forbidden: the gap that it ends", True),
        (SyncType.GAP, "Forbidden", False),
    ],
)
async def test_contents_becoming_known_wakes_every_key_and_a_mere_bookmark_none(
    woken: tuple[MemoryLog, World], kind: SyncType, reason: str, wakes: bool
) -> None:
    log, world = woken
    await world.put(foo_ref(), foo_body())
    await drain(log)
    subject = subjects.sync(C2, DEPLOYMENTS.group, DEPLOYMENTS.plural)
    await log.publish([Message(subject=subject, body=sync_fact(C2, DEPLOYMENTS, kind, reason))])
    await asyncio.sleep(0.1)
    assert bool(requested(log)) is wakes


async def test_objects_of_undeclared_clusters_wake_nothing(woken: tuple[MemoryLog, World]) -> None:
    log, world = woken
    await world.put(foo_ref(cluster=ClusterName("elsewhere")), foo_body())
    await asyncio.sleep(0.1)
    assert requested(log) == set()


async def decided(
    log: MemoryLog, key: ObjectRef, *foreseen: str, code: str = foo.code, state: EntryState = EntryState.CLOSED
) -> None:
    """Append the entry of a decision that was made with these facts in view."""
    entry = Entry(state=state, worker="w", reconciler="foo", code=code, now=0.0, foreseen=tuple(foreseen))
    subject = subjects.keyed(subjects.DECISIONS, "foo", key)
    await log.append("DECISIONS", Message(subject=subject, body=encode_entry(entry)))


def id_of(ref: ObjectRef, version: str) -> str:
    return str(FactId(identity(ref.cluster), 1, ref.group, ref.resource, Uid("foo-uid"), ResourceVersion(version)))


async def write(log: MemoryLog, ref: ObjectRef, version: str, sync: str = "") -> str:
    """Publish a version of a Foo; return the fact's id."""
    fact_id, encoded = fact_message(ref, FOOS, foo_body(ref.name), version=version)
    fact_id = f"{fact_id}/{sync}" if sync else fact_id
    await log.publish([Message(subject=subjects.fact(ref), body=encoded, id=fact_id)])
    return fact_id


async def test_a_foreseen_fact_wakes_nothing_and_the_next_version_does(woken: tuple[MemoryLog, World]) -> None:
    log, _ = woken
    await decided(log, foo_ref(), id_of(foo_ref(), "11"), id_of(foo_ref(), "12"))
    for version in ("11", "12"):
        await write(log, foo_ref(), version)
    await asyncio.sleep(0.1)
    assert requested(log) == set()
    await write(log, foo_ref(), "13")
    await eventually(lambda: requested(log) == {foo_ref()})


async def test_a_foreseen_fact_that_comes_in_a_healing_pass_wakes_its_key(woken: tuple[MemoryLog, World]) -> None:
    log, _ = woken
    await decided(log, foo_ref(), id_of(foo_ref(), "11"))
    await write(log, foo_ref(), "11", sync="healing")
    await eventually(lambda: requested(log) == {foo_ref()})


async def test_the_echo_of_a_write_waits_until_its_key_has_said_whether_it_foresaw_it(
    woken: tuple[MemoryLog, World],
) -> None:
    log, _ = woken
    await decided(log, foo_ref(), state=EntryState.OPEN)
    await decided(log, foo_ref("second"), state=EntryState.OPEN)
    await write(log, foo_ref(), "11")
    await write(log, foo_ref("second"), "12")
    await asyncio.sleep(0.1)
    assert requested(log) == set()
    await decided(log, foo_ref(), id_of(foo_ref(), "11"))
    await decided(log, foo_ref("second"))
    await eventually(lambda: requested(log) == {foo_ref("second")})
    await asyncio.sleep(0.3)
    assert requested(log) == {foo_ref("second")}


async def test_a_dependent_that_goes_before_its_echo_is_mapped_wakes_its_owner(woken: tuple[MemoryLog, World]) -> None:
    log, world = woken
    await decided(log, foo_ref(), state=EntryState.OPEN)
    await world.put(deployment_ref(C2), child_of())
    await eventually(lambda: bool(indexed(log)))
    assert requested(log) == set()
    await world.remove(deployment_ref(C2))
    await decided(log, foo_ref())
    await eventually(lambda: requested(log) == {foo_ref()})


async def test_a_key_that_stays_open_is_asked_for_in_the_end(
    woken: tuple[MemoryLog, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, _ = woken
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    await decided(log, foo_ref(), state=EntryState.OPEN)
    await write(log, foo_ref(), "11")
    await eventually(lambda: requested(log) == {foo_ref()})


async def test_what_other_code_has_foreseen_wakes_the_key(woken: tuple[MemoryLog, World]) -> None:
    log, _ = woken
    await decided(log, foo_ref(), id_of(foo_ref(), "11"), code="older")
    await write(log, foo_ref(), "11")
    await eventually(lambda: requested(log) == {foo_ref()})


async def test_what_one_key_has_foreseen_wakes_another_that_owns_it_too(woken: tuple[MemoryLog, World]) -> None:
    log, _ = woken
    body = child_of()
    references = msgspec.json.decode(body["metadata"]["annotations"][OWNERS_ANNOTATION])
    both = [*references, references[0] | {"name": "second", "uid": "second-uid"}]
    body["metadata"]["annotations"][OWNERS_ANNOTATION] = msgspec.json.encode(both).decode()
    ref = deployment_ref(C2)
    fact_id, encoded = fact_message(
        ref, DEPLOYMENTS, {**body, "metadata": body["metadata"] | {"uid": "u"}}, version="20"
    )
    await decided(log, foo_ref(), fact_id)
    await log.publish([Message(subject=subjects.fact(ref), body=encoded, id=fact_id)])
    await eventually(lambda: requested(log) == {foo_ref("second")})
    await asyncio.sleep(0.05)
    assert requested(log) == {foo_ref("second")}


def test_new_code_reads_everything_again() -> None:
    changed = msgspec.structs.replace(foo, code="other")
    assert Mapper(MemoryLog(), foo, ()).durable != Mapper(MemoryLog(), changed, ()).durable


async def test_a_cluster_that_becomes_one_of_ours_is_looked_at_again_and_its_facts_wake_from_then_on() -> None:
    log = MemoryLog()
    world = World(log, [C1, C2])
    await world.start()
    ours = {C2: None}
    mapper = Mapper(log, foo, ours.keys())
    task = asyncio.create_task(mapper.run(1.0))
    await world.put(foo_ref(), foo_body())
    await asyncio.sleep(0.1)
    assert not log.records("REQUESTS")
    ours[C1] = None
    await mapper.engaged(C1)
    assert requested(log) == {foo_ref()}
    await world.put(foo_ref("second"), foo_body("second"))
    await eventually(lambda: requested(log) == {foo_ref(), foo_ref("second")})
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_is_read_for_objects_wakes_those_that_are_there() -> None:
    @reconciler("reads", watches=str(FOOS), reads={str(THINGS): "namespace"})
    def reads(view: View, request: Request) -> Decision:
        return Decision.wait()

    log = MemoryLog()
    world = World(log, [C1, C2])
    await world.start()
    for name in ("there", "gone"):
        await world.put(foo_ref(name), foo_body(name))
    task = asyncio.create_task(Mapper(log, reads, (C1, C2)).run(1.0))
    await eventually(lambda: requested(log) == {foo_ref("there"), foo_ref("gone")})
    await world.remove(foo_ref("gone"))
    await drain(log)
    ref = ObjectRef(C1, THINGS.group, THINGS.plural, "default", "thing")
    body = {"metadata": {"name": "thing", "namespace": "default", "uid": "t-1", "resourceVersion": "1"}}
    fact_id, encoded = fact_message(ref, THINGS, body, version="1")
    await log.publish([Message(subject=subjects.fact(ref), body=encoded, id=fact_id)])
    await eventually(lambda: foo_ref("there") in requested(log))
    await asyncio.sleep(0.05)
    assert requested(log) == {foo_ref("there")}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_grants_that_have_been_read_wake_the_imports_that_may_wait_for_them() -> None:
    log = MemoryLog()
    world = World(log, [C1, C2])
    await world.start()
    mapper = ImportMapper(log, imports, (C1, C2))
    ref = ObjectRef(C2, IMPORTS.group, IMPORTS.plural, "default", "remote")
    spec = {"clusterName": C1, "namespace": "default", "name": "account"}
    body = {"metadata": {"name": "remote", "namespace": "default", "uid": "i-1", "resourceVersion": "1"}, "spec": spec}
    fact_id, encoded = fact_message(ref, IMPORTS, body, version="1")
    await log.publish([Message(subject=subjects.fact(ref), body=encoded, id=fact_id)])
    task = asyncio.create_task(mapper.run(1.0))
    await eventually(lambda: requested(log) == {ref})
    await drain(log)
    subject = subjects.sync(C1, SERVICE_ACCOUNT_GRANTS.group, SERVICE_ACCOUNT_GRANTS.plural)
    await log.publish([Message(subject=subject, body=sync_fact(C1, SERVICE_ACCOUNT_GRANTS))])
    await eventually(lambda: requested(log) == {ref})
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
