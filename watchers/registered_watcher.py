"""The watcher of a cluster of the registry: engaged when a provider knows it, disengaged when none does any more.

Credentials that change are taken up in place: watches go on, and whatever waits is tried again at once.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import msgspec
import structlog

from engine.core.joining import Mode
from engine.runtime.live_clusters import Opener, RegisteredApi, open_member
from engine.runtime.ports import Clock, EventLog, EventLogError
from engine.runtime.registry import Member, Registry
from schemas.names import ClusterName
from watchers.cluster_watcher import ClusterWatcher
from watchers.settings import WatchSettings
from watchers.statistics import ClusterStatistics

RETRY_SECONDS = 1.0
"""Until the broker is asked again."""

_log = structlog.get_logger(__name__)


class RegisteredWatcher:
    """Watches one cluster of a registry: `run` it in a task."""

    def __init__(
        self,
        name: ClusterName,
        registry: Registry,
        log: EventLog,
        clock: Clock,
        settings: WatchSettings,
        *,
        opener: Opener | None = None,
    ) -> None:
        """Take the cluster's name, and what its watcher needs; its labels come from the registry."""
        self._name, self._registry, self._opener = name, registry, opener or open_member
        self._event_log, self._clock, self._settings = log, clock, settings
        self._watcher: ClusterWatcher | None = None

    async def run(self) -> None:
        """Watch until cancelled, whenever there is such a cluster."""
        while True:
            member = await self._engaged()
            _log.info("cluster found", cluster=self._name, source=member.source)
            api = await self._opener(self._registry, member, 0)
            try:
                await self._watch(member, api)
            finally:
                await api.close()

    def heal(self, reason: str) -> None:
        """Publish everything again, if there is a cluster to read it from."""
        if self._watcher is not None:
            self._watcher.heal(reason)

    def statistics(self) -> ClusterStatistics | None:
        """Return what the watcher knows and has done so far; None while there is no such cluster."""
        return self._watcher.statistics() if self._watcher is not None else None

    async def _engaged(self) -> Member:
        """Return the cluster once there is one that does not watch itself."""
        seen = 0
        while (member := self._registry.members.get(self._name)) is None or member.joined is Mode.PULL:
            seen = await self._registry.changed(seen)
        return member

    async def _watch(self, member: Member, api: RegisteredApi) -> None:
        settings = msgspec.structs.replace(self._settings, labels=member.labels)
        self._watcher = watcher = ClusterWatcher(api, self._event_log, self._clock, settings)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(watcher.run(), name=f"watcher of {self._name}")
            await self._follow(member, api, watcher)
            running.cancel()
        self._watcher = None
        if self._name not in self._registry.members:
            await self._tell(watcher)

    async def _follow(self, member: Member, api: RegisteredApi, watcher: ClusterWatcher) -> None:
        """Pass on what changes about a cluster; return when it is gone, or another, or told otherwise."""
        seen = 0
        while True:
            seen = await self._registry.changed(seen)
            now = self._registry.members.get(self._name)
            if now is None or (now.fixed, now.labels) != (member.fixed, member.labels):
                return
            watcher.warn(self._registry.problem(self._name))
            if now != member:
                member = now
                api.refresh()
                watcher.hurry()

    async def _tell(self, watcher: ClusterWatcher) -> None:
        """Publish that nobody watches the cluster any more."""
        while True:
            with suppress(EventLogError):
                await watcher.disengage()
                _log.info("cluster disengaged", cluster=self._name)
                return
            await self._clock.sleep(RETRY_SECONDS)
