"""A role that is one worker process, over API servers that count what is asked of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from benchmarks import roles
from benchmarks.engine_parts import open_log
from crosscurrent import logs
from crosscurrent.host import settle
from engine.runtime.clock import SystemClock
from engine.runtime.ports import ClusterUnreachable, Reply
from engine.runtime.worker_metrics import Measured, WorkerMetrics
from reconcilers.registry import find
from reconcilers.service import run_reconcilers
from schemas.names import ClusterName


class CountingApi:
    """A cluster that answers nobody, and counts who asked."""

    def __init__(self, name: ClusterName) -> None:
        self.name = name
        self.asked = 0

    async def request(self, method: str, path: str, **_: object) -> Reply:
        """Count."""
        self.asked += 1
        raise ClusterUnreachable(f"{method} {path}")

    async def stream(self, path: str, **_: object) -> AsyncIterator[Reply | list[bytes]]:
        """Count."""
        self.asked += 1
        raise ClusterUnreachable(path)
        yield []  # makes it an iterator

    async def close(self) -> None:
        """Nothing is open."""


class CountingMetrics(WorkerMetrics):
    """Metrics that say when a number of reconciles has been done."""

    def __init__(self) -> None:
        super().__init__()
        self.done = 0
        self.target = 0
        self.cpu = 0.0

    @contextmanager
    def reconcile(self, controller: str) -> Iterator[Measured]:
        with super().reconcile(controller) as measured:
            yield measured
        self.done += 1
        if self.done == self.target:
            roles.say(done=self.done, at=time.monotonic(), cpu=time.process_time() - self.cpu)


async def main() -> None:
    """Work until ended; `{"expect": N}` announces that N requests are coming."""
    settings = roles.begin()
    logs.configure("noop_worker")
    apis = {ClusterName(name): CountingApi(ClusterName(name)) for name in settings["clusters"]}
    log = await open_log(settings["nats"], settings["token"])
    metrics = CountingMetrics()
    working = asyncio.create_task(
        run_reconcilers([find("foo")], log=log, apis=apis, clock=SystemClock(), name="bench", metrics=metrics)
    )
    await asyncio.sleep(2.0)  # its consumers are there, and what they had to deliver is done
    settle()
    roles.say(ready=1)
    while True:
        command = await roles.next_command()
        if working.done():
            working.result()
        if "expect" in command:
            metrics.done, metrics.target, metrics.cpu = 0, command["expect"], time.process_time()
            roles.say(expecting=metrics.target)
        elif "asked" in command:
            roles.say(asked=sum(api.asked for api in apis.values()))


if __name__ == "__main__":
    asyncio.run(main())
