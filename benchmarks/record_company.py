"""A role beside a publisher: on command it makes a checkpoint, as a worker does, or has three subscribers.

Out: one answer a command: `{"listening": n}`, `{"heard": facts}`, `{"made": seconds}`.
"""

from __future__ import annotations

import asyncio
import time

from benchmarks import roles
from benchmarks.engine_parts import open_log
from engine.runtime.checkpoints import make_checkpoint
from engine.runtime.clock import SystemClock
from engine.runtime.past import EVERYTHING
from engine.runtime.ports import EventLog


class Company:
    """Who else uses the log."""

    def __init__(self, log: EventLog) -> None:
        self._event_log = log
        self._listening: list[asyncio.Task[None]] = []
        self._heard = 0

    async def listen(self) -> None:
        """Subscribe three times: two read everything, one no further than the first."""
        self._heard = 0
        self._listening = [asyncio.create_task(self._hear(reads=reads)) for reads in (True, True, False)]
        await asyncio.sleep(0.5)  # the consumers are made
        roles.say(listening=len(self._listening))

    async def quiet(self) -> None:
        """End the subscriptions."""
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)
        self._listening = []
        roles.say(heard=self._heard)

    async def checkpoint(self) -> None:
        """Make one now."""
        started = time.perf_counter()
        await make_checkpoint(self._event_log, f"b{time.monotonic_ns()}", SystemClock())
        roles.say(made=time.perf_counter() - started)

    async def _hear(self, *, reads: bool) -> None:
        async for _ in self._event_log.follow("FACTS", EVERYTHING):
            if not reads:
                await asyncio.Event().wait()
            self._heard += 1


async def main() -> None:
    """Do what is said: `{"do": "listen" | "quiet" | "checkpoint"}`."""
    settings = roles.begin()
    company = Company(await open_log(settings["nats"], settings["token"]))
    roles.say(ready=1)
    while True:
        match (await roles.next_command())["do"]:
            case "listen":
                await company.listen()
            case "quiet":
                await company.quiet()
            case "checkpoint":
                await company.checkpoint()


if __name__ == "__main__":
    asyncio.run(main())
