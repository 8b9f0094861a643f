"""A run of the real worker over a fleet in memory, for what reads its record: histories are made, never written by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from engine.runtime.clock import SystemClock
from engine.runtime.ports import EventLog
from engine.runtime.worker import Worker
from engine.sandbox.memory_log import MemoryLog
from reconcilers.foo import foo
from tests.builders import C1, C2, C3, deployment_ref, foo_body, foo_ref
from tests.world import World, eventually

CLUSTERS = (C1, C2, C3)


@asynccontextmanager
async def working(log: EventLog, *, what: Any = foo) -> AsyncIterator[World]:
    """A fleet of three clusters with a worker that runs."""
    world = World(log, CLUSTERS)
    await world.start()
    worker = Worker(what, log=log, performer=world, clock=SystemClock(), clusters=CLUSTERS, name="worker-1")
    task = asyncio.create_task(worker.run())
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def at_rest(log: EventLog, world: World) -> None:
    """Wait until nothing is asked for, three looks in a row."""
    quiet = 0
    for _ in range(1000):
        waiting = await log.last("REQUESTS", ["requests.>"])
        quiet = 0 if waiting else quiet + 1
        if quiet == 3:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"never at rest: {world.writes[-5:]}")


async def tell_a_story(log: EventLog, world: World) -> None:
    """Create a Foo, scale it, edit one of its Deployments, delete another."""
    await world.put(foo_ref(), foo_body())
    await eventually(lambda: deployment_ref(C3) in world.objects)
    await at_rest(log, world)
    body = world.objects[foo_ref()]
    await world.put(foo_ref(), {**body, "spec": {**body["spec"], "replicas": 3}})
    await eventually(lambda: world.objects[deployment_ref(C3)]["spec"]["replicas"] == 3)
    await at_rest(log, world)
    child = world.objects[deployment_ref(C2)]
    await world.put(deployment_ref(C2), {**child, "spec": {**child["spec"], "replicas": 9}})
    await eventually(lambda: world.objects[deployment_ref(C2)]["spec"]["replicas"] == 3)
    await at_rest(log, world)


async def a_story() -> MemoryLog:
    """The record of a story, at rest."""
    log = MemoryLog()
    async with working(log) as world:
        await tell_a_story(log, world)
    return log
