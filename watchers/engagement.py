"""One epoch of one cluster: the sentinel that ends it, and the tasks that live in it (DESIGN §2.4, §9)."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from engine.core.backoff import Backoff, draw, failed
from engine.core.epoch import Standing
from engine.runtime.ports import Clock, ClusterApi, FactLog
from schemas.clusters import ClusterState
from schemas.names import ResourceVersion, comparable, newer
from watchers.anti_entropy import AntiEntropy
from watchers.discovery import Served
from watchers.probe import NoAnswer, ask_identity, ask_progress, ask_version
from watchers.publisher import Publisher
from watchers.settings import WatchSettings
from watchers.type_set import TypeSet
from watchers.type_watch import TypeWatch
from watchers.waiting import wait_either


class EpochOver(Exception):
    """Raised when an epoch has ended.

    Attributes:
        reason: IdentityChanged or Restored.

    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Report(Protocol):
    """Publishes the cluster's state if it is another than before."""

    def __call__(self, state: ClusterState, reason: str = "", message: str = "", *, version: str = "") -> None:
        """Take the state, why, and the server's version where it was asked."""


class Engagement:
    """Runs one epoch. While the cluster does not answer, its types rest and only the sentinel asks.

    When it is back, each type asks for itself whether the server has kept its history (`engine/core/witness.py`), and
    all are compared with STATE a minute later (W-28).

    Args:
        standing: identity and epoch.
        resumed: whether the cluster's record says live in this very epoch, so that a restart need not show.

    """

    def __init__(
        self,
        standing: Standing,
        *,
        resumed: bool,
        api: ClusterApi,
        log: FactLog,
        clock: Clock,
        publisher: Publisher,
        settings: WatchSettings,
        report: Report,
    ) -> None:
        self._standing, self._resumed = standing, resumed
        self._api, self._log_store, self._clock, self._publisher = api, log, clock, publisher
        self._settings, self._report = settings, report
        self._gate, self._check, self._news = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._soon = asyncio.Event()
        self._gate.set()
        self._progress = ResourceVersion("")
        self._over: EpochOver | None = None
        self._log = structlog.get_logger(__name__).bind(cluster=api.name, epoch=standing.epoch)
        self.types = TypeSet(api=api, clock=clock, settings=settings, make=self._make, gate=self._gate, ends=self._end)
        self._compare = AntiEntropy(self.types, standing=standing, api=api, log=log, clock=clock, settings=settings)

    async def run(self) -> EpochOver:
        """Watch until the epoch is over, and return why."""
        name = self._api.name
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sentinel(), name=f"sentinel {name}")
                group.create_task(self._settle(), name=f"settle {name}")
                group.create_task(self.types.run(), name=f"types {name}")
                group.create_task(self._compare.run(), name=f"anti-entropy {name}")
        except* EpochOver as over:
            self._over = self._over or _first(over)
        assert self._over is not None  # noqa: S101 - nothing else ends the tasks but cancellation
        return self._over

    def hurry(self) -> None:
        """End every wait and ask the cluster at once: its credentials have changed."""
        self._soon.set()
        self._check.set()
        self.types.hurry()

    def _make(self, served: Served) -> TypeWatch:
        return TypeWatch(
            served,
            cluster=self._api.name,
            standing=self._standing,
            api=self._api,
            log=self._log_store,
            clock=self._clock,
            publisher=self._publisher,
            settings=self._settings,
            gate=self._gate,
            alarm=lambda _: self._check.set(),
            changed=self._news.set,
        )

    def _end(self, reason: str, message: str) -> None:
        self._over = EpochOver(reason, message)
        self._check.set()

    async def _sentinel(self) -> None:
        """Ask the cluster who it is and how far, on alarm at once and else each minute (W-17)."""
        rounds = 0
        while True:
            await self._examine()
            rounds += 1
            jitter = 0.75 + draw(self._settings.seed, rounds) / 2
            await wait_either(self._check, self._settings.sentinel_seconds * jitter, self._clock)
            self._check.clear()

    async def _examine(self) -> None:
        """Return when the cluster answers as it should; close the gate while it does not.

        Raises:
            EpochOver: when it is another cluster, or an older one.

        """
        backoff, tries = Backoff(cap=self._settings.retry_cap_seconds), 0
        while True:
            if self._over is not None:
                raise self._over
            try:
                await self._recognise()
                break
            except NoAnswer as error:
                self._gate.clear()
                self._report(ClusterState.SUSPECT, error.reason, str(error))
                now, tries = self._clock.monotonic(), tries + 1
                backoff, seconds = failed(backoff, now, draw(self._settings.seed, tries), error.retry_after)
                self._log.warning("cluster is suspect", reason=error.reason, message=str(error), retry_in=seconds)
                await wait_either(self._soon, seconds, self._clock)
                self._soon.clear()
        if not self._gate.is_set():
            self._report(ClusterState.REJOINING, version=await ask_version(self._api))
            self._gate.set()
            self.types.hurry()
            self._news.set()
            self._compare.soon()

    async def _recognise(self) -> None:
        identity = await ask_identity(self._api)
        if identity != self._standing.identity:
            reason = "IdentityChanged"
            raise EpochOver(reason, f"answers as {identity}, was {self._standing.identity}")
        progress = await ask_progress(self._api)
        last = self._progress
        if comparable(progress) and comparable(last) and newer(last, progress):
            reason = "Restored"
            raise EpochOver(reason, f"resourceVersion {progress} after {last}")
        self._progress = progress or last

    async def _settle(self) -> None:
        """Report the cluster live whenever it answers and every type watches or has trouble of its own."""
        patience = self._settings.rejoin_grace_seconds if self._resumed else 0.0
        deadline = self._clock.monotonic() + patience
        while self._resumed and not self._settled:
            left = deadline - self._clock.monotonic()
            if left <= 0:
                self._report(ClusterState.REJOINING)
                break
            await wait_either(self._news, left, self._clock)
            self._news.clear()
        while True:
            if self._settled:
                self._report(ClusterState.LIVE)
            await self._news.wait()
            self._news.clear()

    @property
    def _settled(self) -> bool:
        return self._gate.is_set() and self._over is None and self.types.settled


def _first(group: BaseExceptionGroup[EpochOver]) -> EpochOver:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, EpochOver)  # noqa: S101 - `except*` selected it
    return error
