"""What the collector's mapper writes down besides the index: owners that a list has lacked, for the breaker to count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
import pytest

from engine.core.cascade import UNREGISTRATIONS
from engine.core.ownership import owned
from engine.runtime.clock import SystemClock
from engine.runtime.fleet_directory import FleetDirectory
from engine.runtime.garbage_mapper import GarbageMapper
from engine.runtime.ports import Delivery, Message
from engine.sandbox.memory_log import MemoryLog
from reconcilers.garbage import garbage
from schemas import subjects
from schemas.actions import Json
from schemas.clusters import cluster_ref
from schemas.deletions import DELETIONS, deletion_ref
from schemas.facts import Cause, FactId, FactType, encode_fact
from schemas.names import ObjectRef, Resource, ResourceVersion, Uid
from tests.builders import C1, C2, cluster_fact, fact_message, identity, reference_to
from tests.world import eventually

MAPS = Resource("", "v1", "configmaps")
OWNER, DEPENDENT = (
    ObjectRef(C1, "", "configmaps", "default", "owner"),
    ObjectRef(C2, "", "configmaps", "default", "dep"),
)
OTHER = ObjectRef(C2, "", "configmaps", "default", "other")
REFERENCE = reference_to(OWNER, "ConfigMap")
WINDOW_SECONDS = 300.0


def body(name: str) -> Json:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": "5"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def gone(cause: Cause, seconds_ago: float) -> Message:
    time = datetime.fromtimestamp(SystemClock().time() - seconds_ago, UTC).isoformat()
    fact_id = FactId(identity(C1), 1, "", "configmaps", Uid("uid-owner"), ResourceVersion("9"), deleted=True)
    data = msgspec.json.encode(body("owner"))
    encoded = encode_fact(fact_id, FactType.DELETED, OWNER, MAPS, cause=cause, time=time, data=data)
    return Message(subject=subjects.fact(OWNER), body=encoded, id=str(fact_id))


def described(ref: ObjectRef, found: Json, version: str, *, deleted: bool = False) -> Message:
    key, fact = fact_message(ref, MAPS, found, version=version, deleted=deleted)
    return Message(subject=subjects.fact(ref), body=fact, id=key)


def woken(log: MemoryLog, ref: ObjectRef) -> bool:
    wanted = subjects.keyed(subjects.REQUESTS, garbage.name, ref)
    return any(record.subject == wanted for record in log.records("REQUESTS"))


def present(log: MemoryLog) -> bool:
    entry = subjects.dependent(identity(C1), OWNER, DEPENDENT)
    return any(record.subject == entry and record.body for record in log.records("INDEX"))


@asynccontextmanager
async def mapped() -> AsyncIterator[MemoryLog]:
    """A running mapper that knows of two clusters and of one dependent."""
    log, clusters, clock = MemoryLog(), (C1, C2), SystemClock()
    await log.prepare()
    mapper = GarbageMapper(log, garbage, clusters, FleetDirectory(log, clock, clusters), clock, WINDOW_SECONDS)
    mapping = asyncio.create_task(mapper.run(1.0))
    records = [(cluster_ref(name), cluster_fact(name)) for name in clusters]
    await log.publish([Message(subject=subjects.fact(ref), body=fact, id=key) for ref, (key, fact) in records])
    await log.publish([described(DEPENDENT, owned(body("dep"), REFERENCE), "5")])
    await eventually(lambda: present(log))
    yield log
    mapping.cancel()
    await asyncio.gather(mapping, return_exceptions=True)


@pytest.mark.parametrize(
    ("cause", "seconds_ago", "suspected"),
    [
        (Cause.INFERRED, 0.0, True),
        (Cause.OBSERVED, 0.0, False),
        (Cause.INFERRED, WINDOW_SECONDS + 10, False),
    ],
)
async def test_an_owner_that_a_list_has_just_lacked_is_a_suspect_before_its_dependents_are_looked_at(
    cause: Cause, seconds_ago: float, *, suspected: bool
) -> None:
    async with mapped() as log:
        await log.publish([gone(cause, seconds_ago)])
        await eventually(lambda: woken(log, OWNER))
        written = {record.subject for record in log.records("INDEX")}
        assert (subjects.suspect(OWNER) in written) == suspected


@pytest.mark.parametrize("owner_is_gone", [True, False])
async def test_a_dependent_that_leaves_wakes_an_owner_that_is_there_and_none_that_is_gone(
    *, owner_is_gone: bool
) -> None:
    async with mapped() as log:
        if owner_is_gone:
            await log.publish([gone(Cause.OBSERVED, 0.0)])
            await eventually(lambda: woken(log, OWNER))
        else:
            await log.publish([described(OWNER, body("owner"), "12")])
        await log.publish([described(OTHER, owned(body("other"), REFERENCE), "7")])
        await eventually(lambda: woken(log, OTHER))  # whatever came before it has been mapped
        await log.purge("REQUESTS", ">")
        await log.publish([described(DEPENDENT, body("dep"), "13", deleted=True)])
        await eventually(lambda: not present(log))
        await log.publish([described(OTHER, owned(body("other"), REFERENCE), "14")])
        await eventually(lambda: woken(log, OTHER))
        assert woken(log, OWNER) is not owner_is_gone


async def test_records_of_deletes_are_handed_to_nobody_where_the_watched_types_are_known() -> None:
    log, clusters, clock = MemoryLog(), (C1, C2), SystemClock()
    await log.prepare()
    directory = FleetDirectory(log, clock, clusters)
    all_types = GarbageMapper(log, garbage, clusters, directory, clock, WINDOW_SECONDS)
    some = GarbageMapper(log, garbage, clusters, directory, clock, WINDOW_SECONDS, watched=[MAPS])
    others = GarbageMapper(log, garbage, clusters, directory, clock, WINDOW_SECONDS, watched=[MAPS, DELETIONS])
    assert len({one.durable for one in (all_types, some, others)}) == 3
    handed: list[str] = []
    handle = some.handle

    async def noting(delivery: Delivery) -> None:
        handed.append(delivery.record.subject)
        await handle(delivery)

    some.handle = noting  # type: ignore[method-assign]
    record = deletion_ref(DEPENDENT, Uid("uid-dep"))
    wanted = [DEPENDENT, cluster_ref(C1), ObjectRef(C1, UNREGISTRATIONS.group, UNREGISTRATIONS.plural, "", "one")]
    for number, ref in enumerate([record, *wanted]):
        if ref == cluster_ref(C1):
            key, fact = cluster_fact(C1)
            await log.publish([Message(subject=subjects.fact(ref), body=fact, id=key)])
        else:
            await log.publish([described(ref, body(ref.name), str(number + 1))])
    mapping = asyncio.create_task(some.run(1.0))
    await eventually(lambda: len(handed) >= len(wanted))
    mapping.cancel()
    await asyncio.gather(mapping, return_exceptions=True)
    assert set(handed) == {subjects.fact(ref) for ref in wanted}


async def test_a_dependent_that_goes_leaves_every_owner_that_is_indexed_for_it() -> None:
    async with mapped() as log:
        await log.publish([described(OWNER, body("owner"), "12")])
        await eventually(lambda: present(log))
        # Its last state names nobody: what it named before was mapped, the change in between was passed over.
        await log.purge("REQUESTS", ">")
        await log.publish([described(DEPENDENT, body("dep"), "13", deleted=True)])
        await eventually(lambda: not present(log) and woken(log, OWNER))
    async with mapped() as log:
        await log.publish([described(OWNER, body("owner"), "12")])
        await log.purge("REQUESTS", ">")
        await log.publish([described(DEPENDENT, owned(body("dep"), REFERENCE), "13", deleted=True)])
        await eventually(lambda: not present(log) and woken(log, OWNER))
