"""Comparing STATE with the clusters now and then, because everything else trusts what it was told (W-28).

Watch caches and etcd have lost deletions for a day and more. A metadata-only quorum list is compared with STATE twice,
some seconds apart: what differs both times in the same way is no delay, and the type gets a healing pass.
"""

from __future__ import annotations

import asyncio

import structlog

from engine.core.backoff import draw
from engine.core.epoch import Standing
from engine.core.known import Key, Seen
from engine.core.list_watch import PAGE_OBJECTS
from engine.core.watch_wire import Item, Unreadable, decode_page
from engine.runtime.ports import Clock, ClusterApi, ClusterUnreachable, CredentialsRejected, EventLogError, FactLog
from schemas.names import ResourceVersion, newer
from watchers.probe import LIST_METADATA
from watchers.settings import WatchSettings
from watchers.standing import load_type
from watchers.type_set import TypeSet
from watchers.type_watch import TypeWatch
from watchers.waiting import wait_either

PAGE_SECONDS = 60.0
SETTLE_SECONDS = 10.0
"""Between the list and STATE, and between the two comparisons: far more than a fact takes to get there."""
CATCH_UP_SECONDS = 60.0
"""For the watches of a cluster that is back to open; half as much again is random."""
NAMED = 3
"""Objects named in a GAP's reason."""


class AntiEntropy:
    """Compares one type after the other, each about every `anti_entropy_seconds`."""

    def __init__(
        self,
        types: TypeSet,
        *,
        standing: Standing,
        api: ClusterApi,
        log: FactLog,
        clock: Clock,
        settings: WatchSettings,
    ) -> None:
        self._types, self._standing, self._api = types, standing, api
        self._event_log, self._clock, self._settings = log, clock, settings
        self._soon = asyncio.Event()
        self._log = structlog.get_logger(__name__).bind(cluster=api.name)

    def soon(self) -> None:
        """Compare every type once the watches have caught up: the cluster was out of sight for long."""
        self._soon.set()

    async def run(self) -> None:
        """Compare until cancelled."""
        rounds = 0
        while True:
            rounds += 1
            jitter = 1.0 + draw(self._settings.seed, rounds) / 2
            if await wait_either(self._soon, self._settings.anti_entropy_seconds * jitter, self._clock):
                self._soon.clear()
                await self._clock.sleep(CATCH_UP_SECONDS * jitter)
            for watch in list(self._types.watches.values()):
                if watch.watching:
                    await self.compare(watch)

    async def compare(self, watch: TypeWatch) -> bool:
        """Compare a type with STATE and have it healed if they differ; return whether they did."""
        try:
            first = await self._differences(watch)
            if not first:
                return False
            await self._clock.sleep(SETTLE_SECONDS)
            second = await self._differences(watch)
        except (ClusterUnreachable, CredentialsRejected, EventLogError, Unreadable, _NotListed) as error:
            self._log.info("no comparison", resource=str(watch.served.resource), error=str(error))
            return False
        lasting = [key for key in first if key in second and first[key] == second[key]]
        if not lasting or not watch.watching:
            return False
        names = ", ".join(f"{namespace}/{name}" if namespace else name for namespace, name in lasting[:NAMED])
        self._log.error("STATE differs from the cluster", resource=str(watch.served.resource), objects=len(lasting))
        watch.heal(f"AntiEntropy: {len(lasting)} objects differ, e.g. {names}")
        return True

    async def _differences(self, watch: TypeWatch) -> dict[Key, Seen | None]:
        """Return what STATE holds (None: nothing) of each object for which it is behind the cluster."""
        shown, version = await self._list(watch)
        await self._clock.sleep(SETTLE_SECONDS)
        loaded = await load_type(self._event_log, self._api.name, watch.served.resource, self._standing)
        behind: dict[Key, Seen | None] = {}
        for key, item in shown.items():
            seen = loaded.known.get(key)
            if seen is None or seen.old or newer(item.version, seen.version):
                behind[key] = seen
        # What STATE saw after the list was made may well be missing from it.
        gone = {
            key: seen for key, seen in loaded.known.items() if key not in shown and not newer(seen.version, version)
        }
        return behind | gone

    async def _list(self, watch: TypeWatch) -> tuple[dict[Key, Item], ResourceVersion]:
        shown: dict[Key, Item] = {}
        params = {"limit": str(PAGE_OBJECTS)}
        while True:
            reply = await self._api.request(
                "GET", watch.served.path, params=params, accept=LIST_METADATA, timeout=PAGE_SECONDS
            )
            if reply.status != 200:
                raise _NotListed(str(reply.status))
            page = decode_page(reply.body)
            shown |= {(item.namespace, item.name): item for item in page.items}
            if not page.next:
                return shown, page.version
            params = {"limit": str(PAGE_OBJECTS), "continue": page.next}


class _NotListed(Exception):
    """Raised when the server refuses the list, e.g. because a continue token expired: another time then."""
