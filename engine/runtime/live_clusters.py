"""Connections to the clusters of the registry, for workers, which read `apis` anew for each decision.

One is opened when its cluster is engaged, renewed when its credentials change, and closed when it is disengaged.

While the registry is not complete, a cluster that has reported to STATE may be one that its provider has yet to tell: it is
in `apis` without a connection, so that finalizers wait for it as for any cluster that does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Protocol

import msgspec
import structlog

from engine.runtime.cluster_api import KubernetesApi
from engine.runtime.kubeconfig import Context
from engine.runtime.ports import ClusterApi
from engine.runtime.registry import Member, Registry
from schemas.names import ClusterName

_log = structlog.get_logger(__name__)


class RegisteredApi(ClusterApi, Protocol):
    """A connection to a cluster of the registry."""

    def refresh(self) -> None:
        """Look at the registry again: something of the cluster has changed there."""


Opener = Callable[[Registry, Member, int], Awaitable[RegisteredApi]]
"""Opens a connection to a cluster that takes up whatever the registry says of it later: its first (0), or its second (1)."""


class _Open(msgspec.Struct):
    member: Member
    connections: list[RegisteredApi]


class LiveClusters:
    """The clusters that a process works on.

    Attributes:
        apis: a connection to each; None for one that is not told yet.
        second: others to the same clusters, for proofs that take two looks; the same unless asked for.
        contexts: how each is reached just now.
        engaged: clusters that have come since the start, for whoever must look at them.

    """

    def __init__(self, registry: Registry, *, twice: bool = False, opener: Opener | None = None) -> None:
        """Follow `registry`; open two connections to each cluster if `twice`, with `opener` where there is a special one."""
        self._registry, self._twice, self._opener = registry, twice, opener or open_member
        self._open: dict[ClusterName, _Open] = {}
        self._started = False
        self.apis: dict[ClusterName, ClusterApi | None] = {}
        self.second: dict[ClusterName, ClusterApi | None] = {}
        self.contexts: dict[ClusterName, Callable[[], Context]] = {}
        self.engaged: asyncio.Queue[ClusterName] = asyncio.Queue()

    async def start(self, seconds: float) -> bool:
        """Engage what there is, giving providers some seconds to tell; return whether all have."""
        seen = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._registry.complete:
                    seen = await self._registry.changed(seen)
        await self._follow()
        self._started = True
        return self._registry.complete

    def expect(self, names: Iterable[ClusterName]) -> None:
        """Count clusters that have been seen before among ours, until every provider has told."""
        missing = [name for name in names if name not in self.apis]
        _log.warning("not all providers have told their clusters: finalizers wait", clusters=missing)
        self.apis.update(dict.fromkeys(missing))

    async def run(self) -> None:
        """Follow the registry until cancelled."""
        seen = 0
        while True:
            await self._follow()
            seen = await self._registry.changed(seen)

    async def close(self) -> None:
        """Close every connection."""
        for name in list(self._open):
            await self._close(name)

    async def _follow(self) -> None:
        members = self._registry.members
        for name, now in list(self._open.items()):
            member = members.get(name)
            if member is None or member.fixed != now.member.fixed:
                await self._close(name)
                _log.info("cluster disengaged", cluster=name, source=now.member.source)
        for name, member in members.items():
            opened = self._open.get(name)
            if opened is None:
                await self._engage(member)
            elif opened.member != member:
                opened.member = member
                for api in opened.connections:
                    api.refresh()
        if self._registry.complete:
            for name in [name for name in self.apis if name not in members]:
                self.apis.pop(name)

    async def _engage(self, member: Member) -> None:
        name = member.name
        opened = self._open[name] = _Open(member, [])  # before, so that one who is stopped between two closes the first
        for look in range(1 + self._twice):
            opened.connections.append(await self._opener(self._registry, member, look))
        self.contexts[name] = partial(self._registry.context, name)
        self.apis[name] = opened.connections[0]
        self.second[name] = opened.connections[-1]
        if self._started:  # before, whoever works on them has yet to look at anything
            self.engaged.put_nowait(name)
        _log.info("cluster engaged", cluster=name, source=member.source)

    async def _close(self, name: ClusterName) -> None:
        for held in (self.apis, self.second, self.contexts):
            held.pop(name, None)
        for api in self._open.pop(name).connections:
            await api.close()


async def open_member(registry: Registry, member: Member, _look: int) -> KubernetesApi:
    """Return a connection to a cluster that takes up whatever the registry says of it later."""
    return await KubernetesApi.open(
        member.name, member.context, current=partial(registry.context, member.name), addresses=member.addresses
    )
