"""The fleet on paper converges: nothing is decided when everything is requested again."""

from __future__ import annotations

from benchmarks.converged import PaperFleet
from engine.runtime.clock import SystemClock
from engine.runtime.ports import Message
from engine.runtime.worker import Worker
from engine.sandbox.memory_log import MemoryLog
from reconcilers.registry import find
from schemas import subjects
from schemas.names import ClusterName
from tests.benchmarks.waiting import quiet

CLUSTERS = [ClusterName(name) for name in ("c1", "c2", "c3")]


async def test_it_converges_and_stays_so() -> None:
    import asyncio

    log = MemoryLog()
    await log.prepare()
    fleet = PaperFleet(log, CLUSTERS)
    await fleet.engage()
    worker = Worker(find("foo"), log=log, performer=fleet, clock=SystemClock(), clusters=CLUSTERS, name="w")
    working = asyncio.create_task(worker.run())
    try:
        refs = await fleet.create_foos(["a", "b"], CLUSTERS[0])
        await quiet(log)
        children = [record async for record in log.scan("STATE", ["facts.*.apps.deployments.>"])]
        assert len(children) == 4
        before = await log.last_sequence("DECISIONS")
        keys = [Message(subject=subjects.keyed(subjects.REQUESTS, "foo", ref), body=b"") for ref in refs]
        await log.publish_many("REQUESTS", keys)
        await quiet(log)
        assert await log.last_sequence("DECISIONS") == before > 0
        assert not await log.last("REQUESTS", ["requests.>"])
    finally:
        working.cancel()
        await asyncio.wait([working])
