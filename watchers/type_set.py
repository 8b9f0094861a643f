"""The watches of one cluster in one epoch: follows what is served and what is wanted, each type in a task of its own.

Rules
    Discovery starts watches and never stops one: a partial or empty answer drops nothing (G19). A type that it no longer
    names is asked itself, and only its own 404 ends its watch, with a GAP that makes its contents UNKNOWN. A type that
    fails, whatever the failure, fails alone (W-27).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from engine.core.backoff import Backoff, draw, failed
from engine.core.secrecy import always_holds_secrets
from engine.runtime.ports import Clock, ClusterApi, ClusterUnreachable, CredentialsRejected, Reply
from schemas.names import Resource
from watchers.discovery import ALL, Discovered, DiscoveryFailed, Served, discover, wanted
from watchers.probe import NoAnswer, ask_progress
from watchers.settings import WatchSettings
from watchers.type_watch import TypeWatch
from watchers.waiting import wait_either

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SETTLING_SECONDS = (0.3, 1.0, 3.0)
"""Looks at discovery after a CRD has changed: it is served a moment after it says that it is established."""
TRIGGER_SECONDS = 300
TRIGGER_IDLE_SECONDS = 150.0
TRIGGER_RETRY_SECONDS = 30.0

MakeWatch = Callable[[Served], TypeWatch]


class EpochEnds(Protocol):
    """Called when a watch finds that the server went back in time."""

    def __call__(self, reason: str, message: str) -> None:
        """End the epoch."""


class TypeSet:
    """Starts and keeps the watches of one epoch.

    Args:
        api: the cluster.
        clock: time.
        settings: of the watchers.
        make: makes a type's watch.
        gate: set while the cluster answers.
        ends: ends the epoch.

    """

    def __init__(
        self,
        *,
        api: ClusterApi,
        clock: Clock,
        settings: WatchSettings,
        make: MakeWatch,
        gate: asyncio.Event,
        ends: EpochEnds,
    ) -> None:
        self._api, self._clock, self._settings, self._make = api, clock, settings, make
        self._gate, self._ends = gate, ends
        self.watches: dict[Resource, TypeWatch] = {}
        self.discovered = False
        """Whether the served types were known at least once."""
        self._look = asyncio.Event()
        self._rounds = 0
        self._asked_again: set[Resource] = set()
        self._log = structlog.get_logger(__name__).bind(cluster=api.name)
        named = [Resource.parse(pattern) for pattern in settings.resources if pattern != ALL]
        if any(self._keyless(one) for one in named):
            self._log.error("Secrets are not watched: no redaction key is configured")

    @property
    def settled(self) -> bool:
        """Whether every type watches or has trouble of its own."""
        return self.discovered and all(watch.settled for watch in self.watches.values())

    def hurry(self) -> None:
        """End every wait: the cluster answers again."""
        self._look.set()
        for watch in self.watches.values():
            watch.poke()

    def heal(self, reason: str) -> None:
        """Begin a healing pass of every type."""
        for watch in self.watches.values():
            watch.heal(reason)

    async def run(self) -> None:
        """Follow discovery until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._trigger(), name=f"definitions {self._api.name}")
            while True:
                await self._gate.wait()
                await self._look_once(group)
                self._rounds += 1
                jitter = 1.0 + draw(self._settings.seed, self._rounds) / 2
                await wait_either(self._look, self._settings.discovery_seconds * jitter, self._clock)
                self._look.clear()

    async def _look_once(self, group: asyncio.TaskGroup) -> None:
        try:
            found = await discover(self._api)
        except DiscoveryFailed as error:
            self._log.warning("the served types cannot be told", error=str(error))
            if not self.discovered:
                self._start_declared(group)
            return
        self.discovered = True
        self._start(group, wanted(self._settings.resources, found.types))
        self._ask_missing(found)

    def _start(self, group: asyncio.TaskGroup, served: list[Served]) -> None:
        for found in served:
            if found.resource in self.watches or self._keyless(found.resource):
                continue
            watch = self.watches[found.resource] = self._make(found)
            group.create_task(self._keep(watch), name=f"watch {self._api.name} {found.resource}")

    def _keyless(self, resource: Resource) -> bool:
        """Return whether a type holds nothing but Secrets' values and there is no key to hide them with."""
        return not self._settings.redaction_key and always_holds_secrets(resource.group, resource.plural)

    def _start_declared(self, group: asyncio.TaskGroup) -> None:
        """Without discovery, simply try the types that were named."""
        named = [pattern for pattern in self._settings.resources if pattern != ALL]
        self._start(group, [Served(Resource.parse(pattern)) for pattern in named])
        self.discovered = bool(named) and ALL not in self._settings.resources

    def _ask_missing(self, found: Discovered) -> None:
        """Let each watched type that discovery does not name find out for itself whether it is still served."""
        served = {each.resource for each in found.types}
        for resource, watch in self.watches.items():
            if resource in served:
                self._asked_again.discard(resource)
            elif resource.api_version not in found.unsure and resource not in self._asked_again:
                self._asked_again.add(resource)
                watch.poke(reopen=True)

    async def _keep(self, watch: TypeWatch) -> None:
        """Run one watch; if it breaks by a fault of ours, begin it again."""
        resource, backoff, tries = watch.served.resource, Backoff(cap=self._settings.retry_cap_seconds), 0
        while True:
            try:
                ended = await watch.run()
                break
            except Exception:  # noqa: BLE001 - one type must not take the others down (W-27)
                backoff, seconds = failed(backoff, self._clock.monotonic(), draw(self._settings.seed, tries))
                tries += 1
                self._log.exception("watch broke, beginning again", resource=str(resource), retry_in=seconds)
                await self._clock.sleep(seconds)
                watch = self.watches[resource] = self._make(watch.served)
        if ended == "Restored":
            self._ends("Restored", f"{resource}: resourceVersions went back")
            return
        self._log.warning("type is no longer served", resource=str(resource))
        del self.watches[resource]

    async def _trigger(self) -> None:
        """Watch the CRDs, where that is allowed, to look at discovery as soon as one changes."""
        tries = 0
        while True:
            await self._gate.wait()
            try:
                version = await ask_progress(self._api, DEFINITIONS)
                if version and await self._definitions(version):
                    continue
            except (NoAnswer, ClusterUnreachable, CredentialsRejected) as error:
                self._log.debug("CRDs are not watched, discovery is polled", error=str(error))
            tries += 1
            await self._clock.sleep(TRIGGER_RETRY_SECONDS * (1.0 + draw(self._settings.seed, tries)))

    async def _definitions(self, version: str) -> bool:
        """Watch the CRDs until the watch ends; return whether it ever opened."""
        params = {"watch": "true", "resourceVersion": version, "timeoutSeconds": str(TRIGGER_SECONDS)}
        params["allowWatchBookmarks"] = "true"
        stream = self._api.stream(DEFINITIONS, params=params, idle_timeout=TRIGGER_IDLE_SECONDS)
        try:
            async for item in stream:
                if isinstance(item, Reply):
                    if item.status != 200:
                        return False
                    continue
                if all(b'"type":"BOOKMARK"' in line[:32] for line in item):
                    continue
                for seconds in SETTLING_SECONDS:
                    await self._clock.sleep(seconds)
                    self._look.set()
            return True
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()
