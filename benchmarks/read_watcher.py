"""Our side of the ingest benchmark: the watcher process, from the API server's TLS to acknowledged publishes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import messages_file, roles
from benchmarks.engine_parts import open_log
from benchmarks.objects import FIRST_VERSION
from crosscurrent import logs
from engine.runtime.clock import SystemClock
from engine.runtime.cluster_api import KubernetesApi
from engine.runtime.event_log import NatsEventLog
from engine.runtime.kubeconfig import Context
from engine.runtime.ports import Message
from schemas.names import ClusterName
from watchers.cluster_watcher import ClusterWatcher
from watchers.settings import WatchSettings

CLUSTER = "bytes"
RESOURCE = "apps/v1/deployments"
_PREFIX = f"facts.{CLUSTER}.apps.deployments."


class CountingLog:
    """The log, counting facts as they are acknowledged; everything but `publish` is the log's own."""

    def __init__(self, log: NatsEventLog, settings: roles.Json) -> None:
        self._log = log
        self._objects, self._events = settings["objects"], settings["events"]
        self._record = Path(settings["messages"]) if settings["record"] else None
        self._kept: list[Message] = []
        self._count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish, then count."""
        await self._log.publish(messages)
        facts = [message for message in messages if message.subject.startswith(_PREFIX)]
        before, self._count = self._count, self._count + len(facts)
        if self._record:
            self._kept += facts
        if before < self._objects <= self._count:
            roles.say(ready=self._count)
        if before < self._objects + self._events <= self._count:
            self._finish(facts[-1])

    def _finish(self, last: Message) -> None:
        at, cpu = time.monotonic(), time.process_time()
        expected = f"/{FIRST_VERSION + self._events}/live"
        if not last.id.endswith(expected):
            raise AssertionError(f"the last fact is {last.id}, not {expected}")
        if self._record:
            messages_file.write(self._kept[self._objects :], self._record)
        roles.say(done=self._events, at=at, cpu=cpu)


async def main() -> None:
    """Watch until ended."""
    settings = roles.begin()
    logs.configure("read_watcher")
    log = await open_log(settings["nats"], settings["token"])
    await log.prepare()
    trust = {"server": settings["url"], "certificate-authority": settings["ca"]}
    context = Context(name=CLUSTER, cluster=trust, user={})
    api = await KubernetesApi.open(ClusterName(CLUSTER), context)
    chosen = WatchSettings(resources=(RESOURCE,), run="bench")
    await ClusterWatcher(api, CountingLog(log, settings), SystemClock(), chosen).run()


if __name__ == "__main__":
    asyncio.run(main())
