"""A role beside a publisher: it makes checkpoints when they fall due, as a worker does, and may have three subscribers."""

from __future__ import annotations

import asyncio

from benchmarks import roles
from benchmarks.engine_parts import open_log
from engine.runtime.checkpoints import Checkpointer
from engine.runtime.clock import SystemClock
from engine.runtime.past import EVERYTHING
from engine.runtime.ports import EventLog


async def listen(log: EventLog) -> None:
    """Read everything."""
    async for _ in log.follow("FACTS", EVERYTHING):
        pass


async def stop_listening(log: EventLog) -> None:
    """Subscribe to everything, and read no further than the first."""
    async for _ in log.follow("FACTS", EVERYTHING):
        await asyncio.Event().wait()


async def keep(log: EventLog) -> None:
    """Look once a second."""
    keeper = Checkpointer(log, SystemClock(), fact_days=7.0)
    while True:
        await keeper.look()
        await asyncio.sleep(1.0)


async def main() -> None:
    """Begin at once; `{"checkpoints": 1}` asks how many have been made."""
    settings = roles.begin()
    log = await open_log(settings["nats"], settings["token"])
    async with asyncio.TaskGroup() as group:
        group.create_task(keep(log))
        for one in (listen, listen, stop_listening) if settings["subscribers"] else ():
            group.create_task(one(log))
        roles.say(ready=1)
        while True:
            await roles.next_command()
            roles.say(checkpoints=len(await log.last("CHECKPOINTS", ["checkpoints.made.*"])))


if __name__ == "__main__":
    asyncio.run(main())
