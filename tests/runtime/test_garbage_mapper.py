"""What the collector's mapper writes down besides the index: owners that a list has lacked, for the breaker to count."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from engine.core.ownership import OwnerReference, owned
from engine.runtime.clock import SystemClock
from engine.runtime.fleet_directory import FleetDirectory
from engine.runtime.garbage_mapper import GarbageMapper
from engine.runtime.ports import Message
from engine.sandbox.memory_log import MemoryLog
from reconcilers.garbage import garbage
from schemas import subjects
from schemas.actions import Json
from schemas.clusters import cluster_ref
from schemas.facts import Cause, FactId, FactType, encode_fact
from schemas.names import ObjectRef, Resource, ResourceVersion, Uid
from tests.builders import C1, C2, cluster_fact, fact_message, identity
from tests.world import eventually

MAPS = Resource("", "v1", "configmaps")
OWNER, DEPENDENT = (
    ObjectRef(C1, "", "configmaps", "default", "owner"),
    ObjectRef(C2, "", "configmaps", "default", "dep"),
)
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
    log, clusters, clock = MemoryLog(), (C1, C2), SystemClock()
    await log.prepare()
    mapper = GarbageMapper(log, garbage, clusters, FleetDirectory(log, clock, clusters), clock, WINDOW_SECONDS)
    mapping = asyncio.create_task(mapper.run(1.0))
    reference = OwnerReference(
        cluster_id=identity(C1),
        cluster=C1,
        api_version="v1",
        kind="ConfigMap",
        resource="configmaps",
        namespace="default",
        name="owner",
        uid=Uid("uid-owner"),
    )
    described = [(cluster_ref(name), cluster_fact(name)) for name in clusters]
    dependent = (DEPENDENT, fact_message(DEPENDENT, MAPS, owned(body("dep"), reference), version="5"))
    await log.publish([Message(subject=subjects.fact(ref), body=fact, id=key) for ref, (key, fact) in described])
    await log.publish([Message(subject=subjects.fact(dependent[0]), body=dependent[1][1], id=dependent[1][0])])
    entry = subjects.dependent(identity(C1), OWNER, DEPENDENT)
    await eventually(lambda: any(record.subject == entry for record in log.records("INDEX")))
    await log.publish([gone(cause, seconds_ago)])
    wanted = subjects.keyed(subjects.REQUESTS, garbage.name, OWNER)
    await eventually(lambda: any(record.subject == wanted for record in log.records("REQUESTS")))
    written = {record.subject for record in log.records("INDEX")}
    assert (subjects.suspect(OWNER) in written) == suspected
    mapping.cancel()
    await asyncio.gather(mapping, return_exceptions=True)
