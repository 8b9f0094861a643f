"""A watcher, a scripted cluster and a log in memory, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from engine.sandbox.memory_log import MemoryLog
from schemas import subjects
from schemas.clusters import ClusterRecord
from schemas.facts import Fact, SyncRecord, decode_fact, decode_sync
from tests.watchers.fake_cluster import DEPLOYMENTS, FakeCluster
from tests.watchers.virtual_time import VirtualClock
from watchers.cluster_watcher import ClusterWatcher
from watchers.settings import WatchSettings


class Scene:
    def __init__(self, *, resources: tuple[str, ...] = ("apps/v1/deployments",), log: MemoryLog | None = None) -> None:
        self.clock = VirtualClock()
        self.log = log or MemoryLog(self.clock)
        self.cluster = FakeCluster(self.clock)
        self.resources = resources
        self.runs = 0
        self.watcher: ClusterWatcher

    @asynccontextmanager
    async def running(self, **settings: Any) -> AsyncIterator[ClusterWatcher]:
        self.runs += 1
        chosen = {"resources": self.resources, "run": f"run{self.runs}", "seed": self.runs} | settings
        self.watcher = ClusterWatcher(self.cluster, self.log, self.clock, WatchSettings(**chosen))
        task = asyncio.get_running_loop().create_task(self.watcher.run())
        try:
            yield self.watcher
        finally:
            if not task.done():
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if not task.cancelled() and (error := task.exception()):
                raise error

    async def settle(self, seconds: float = 5.0) -> None:
        await asyncio.sleep(seconds)

    def facts(self, stream: str = "FACTS", group: str = "apps") -> list[Fact]:
        return [
            decode_fact(record.body)
            for record in self.log.records(stream)
            if record.subject.startswith("facts.") and subjects.parse_fact(record.subject).group == group
        ]

    def syncs(self) -> list[SyncRecord]:
        return [decode_sync(record.body) for record in self.log.records("FACTS") if record.subject.startswith("sync.")]

    def sync_words(self) -> list[str]:
        return [record.type.value.split(".")[3] for record in self.syncs()]

    def records(self) -> list[ClusterRecord]:
        return [msgspec.json.decode(fact.data, type=ClusterRecord) for fact in self.facts(group="crosscurrent.dev")]

    def states(self) -> list[str]:
        return [f"{r.status.state.value} {r.status.reason}".strip() for r in self.records()]

    def view(self, group: str = "apps") -> dict[str, tuple[str, str, Any]]:
        """What STATE says is alive: uid, version and spec by name."""
        alive = {}
        for fact in self.facts("STATE", group):
            if not fact.deleted:
                spec = msgspec.json.decode(fact.data).get("spec")
                alive[fact.subject] = (fact.uid, fact.resourceversion, spec)
        return alive

    def truth(self, path: str = DEPLOYMENTS) -> dict[str, tuple[str, str, Any]]:
        return {
            f"{namespace}/{name}": (body["metadata"]["uid"], body["metadata"]["resourceVersion"], body["spec"])
            for (where, namespace, name), body in self.cluster.objects.items()
            if where == path
        }

    def asked(self, path: str = DEPLOYMENTS) -> list[dict[str, str]]:
        return [params for where, params in self.cluster.requests if where == path]
