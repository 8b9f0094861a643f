"""The watcher of one cluster: epochs one after the other, the cluster's record, and the log's own losses.

A cluster that is down when the watcher starts is suspect and joins when it comes up; nothing here waits for any other
cluster. The record is published whenever something in it but the times changes (DESIGN §9).
"""

from __future__ import annotations

import asyncio

import msgspec
import structlog

from engine.core.backoff import Backoff, draw, failed
from engine.core.epoch import Standing, recognised, restored
from engine.runtime.ports import Clock, ClusterApi, EventLogError, FactLog, Message
from schemas.clusters import CLUSTERS, DISENGAGED, ClusterState, ClusterStatus
from watchers.cluster_record import record_message
from watchers.engagement import Engagement, EpochOver
from watchers.fact_messages import FactMessages, rfc3339
from watchers.probe import NoAnswer, ask_identity, ask_version
from watchers.publisher import Lane, Publisher
from watchers.settings import WatchSettings
from watchers.standing import load_cluster
from watchers.statistics import ClusterStatistics
from watchers.waiting import wait_either

STREAMS = ("FACTS", "STATE")
"""Streams whose re-creation means that facts are lost."""


class ClusterWatcher:
    """Watches one cluster: `run` it in a task, `heal` it when the log has lost something."""

    def __init__(self, api: ClusterApi, log: FactLog, clock: Clock, settings: WatchSettings) -> None:
        self._api, self._event_log, self._clock, self._settings = api, log, clock, settings
        self._publisher = Publisher(log, clock, settings, self._recreated)
        self._standing = Standing()
        self._status = ClusterStatus(state=ClusterState.SUSPECT, reason="Unreachable")
        self._reported = False
        """Whether STATE holds a record."""
        self._record_version = 0
        self._lives: dict[str, str] = {}
        """Incarnations of the streams."""
        self._engagement: Engagement | None = None
        self._soon = asyncio.Event()
        self._warning = ""
        self._lane = self._record_lane()
        self._log = structlog.get_logger(__name__).bind(cluster=api.name)

    async def run(self) -> None:
        """Watch until cancelled."""
        name = self._api.name
        self._publisher.open(self._lane)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publisher.run(), name=f"publisher {name}")
            group.create_task(self._mind_the_log(), name=f"log check {name}")
            group.create_task(self._live(), name=f"life {name}")

    def heal(self, reason: str) -> None:
        """Publish everything again, because the log may lack facts (DESIGN §5)."""
        self._log.warning("healing", reason=reason)
        self._publish_record()
        if self._engagement is not None:
            self._engagement.types.heal(reason)

    def hurry(self) -> None:
        """End every wait: the cluster's credentials have changed."""
        self._soon.set()
        if self._engagement is not None:
            self._engagement.hurry()

    def warn(self, problem: str) -> None:
        """Have the record say what is wrong although the cluster is live, e.g. with its credentials; empty: nothing is."""
        self._warning = problem
        if self._status.state is ClusterState.LIVE:
            self._report(ClusterState.LIVE)

    async def disengage(self) -> None:
        """Publish that nobody watches the cluster any more; call it when `run` has been cancelled.

        Raises:
            EventLogError: when it cannot be published.

        """
        if self._reported:
            message = "no provider of the registry knows it any more"
            self._status = msgspec.structs.replace(
                self._status,
                state=ClusterState.SUSPECT,
                reason=DISENGAGED,
                message=message,
                since=rfc3339(self._clock.time()),
            )
            await self._event_log.publish([self._record()])

    def statistics(self) -> ClusterStatistics:
        """Return what the watcher knows and has done so far."""
        watches = self._engagement.types.watches if self._engagement is not None else {}
        return ClusterStatistics(
            cluster=self._api.name,
            status=self._status,
            queued=self._publisher.queued,
            types=tuple(watches[resource].statistics() for resource in sorted(watches)),
        )

    async def _live(self) -> None:
        await self._remember()
        backoff, epochs = Backoff(cap=self._settings.retry_cap_seconds), 0
        while True:
            resumed = await self._engage()
            self._engagement = Engagement(
                self._standing,
                resumed=resumed,
                api=self._api,
                log=self._event_log,
                clock=self._clock,
                publisher=self._publisher,
                settings=self._settings,
                report=self._report,
            )
            over = await self._engagement.run()
            self._engagement = None
            epochs += 1
            self._end_epoch(over)
            # Two clusters behind one address would otherwise be listed in turn without a pause.
            backoff, seconds = failed(backoff, self._clock.monotonic(), draw(self._settings.seed, epochs))
            await self._clock.sleep(seconds)

    def _end_epoch(self, over: EpochOver) -> None:
        self._log.error("epoch is over", reason=over.reason, message=str(over), epoch=self._standing.epoch)
        if over.reason == "Restored":
            self._standing = restored(self._standing, self._clock.time())
        self._report(ClusterState.QUARANTINED, over.reason, str(over))

    async def _remember(self) -> None:
        """Read the cluster's last record."""
        while True:
            try:
                record = await load_cluster(self._event_log, self._api.name)
                break
            except EventLogError as error:
                self._log.warning("STATE cannot be read, trying again", error=str(error))
                await self._clock.sleep(1.0)
        if record is not None:
            self._status, self._reported = record.status, True
            self._standing = Standing(record.status.identity, record.status.epoch)

    async def _engage(self) -> bool:
        """Wait until the cluster tells who it is; return whether its record says that it is live in that epoch."""
        tries, backoff = 0, Backoff(cap=self._settings.retry_cap_seconds)
        while True:
            try:
                identity = await ask_identity(self._api)
                break
            except NoAnswer as error:
                self._report(ClusterState.SUSPECT, error.reason, str(error))
                tries += 1
                jitter = draw(self._settings.seed, tries)
                backoff, seconds = failed(backoff, self._clock.monotonic(), jitter, error.retry_after)
                self._log.warning("cluster does not join", reason=error.reason, message=str(error), retry_in=seconds)
                await wait_either(self._soon, seconds, self._clock)
                self._soon.clear()
        before, self._standing = self._standing, recognised(self._standing, identity, self._clock.time())
        version = await ask_version(self._api)
        self._log.info("cluster engaged", identity=identity, epoch=self._standing.epoch, version=version)
        if self._standing == before and self._status.state is ClusterState.LIVE:
            self._report(ClusterState.LIVE, version=version)
            return True
        if before.identity and before.identity != identity:
            self._report(ClusterState.QUARANTINED, "IdentityChanged", f"was {before.identity}", version=version)
        elif self._status.state is ClusterState.QUARANTINED:  # stays so until everything has been read
            self._report(ClusterState.QUARANTINED, self._status.reason, self._status.message, version=version)
        else:
            self._report(ClusterState.REJOINING, version=version)
        return False

    async def _mind_the_log(self) -> None:
        while True:
            await self._recreated()
            await self._clock.sleep(self._settings.log_check_seconds)

    async def _recreated(self) -> bool:
        """Return whether a stream was created anew since the last look; then everything is published again."""
        anew = []
        for stream in STREAMS:
            try:
                life = await self._event_log.incarnation(stream)
            except EventLogError:
                continue  # publishing fails as well, and says so
            if self._lives.setdefault(stream, life) != life:
                self._lives[stream] = life
                anew.append(stream)
        if anew:
            reason = f"{' and '.join(anew)} created anew"
            self._log.warning("healing", reason=reason)
            self._publisher.drop()  # takes the record's lane along, which publishes the record again
            if self._engagement is not None:
                self._engagement.types.heal(reason)
        return bool(anew)

    def _report(self, state: ClusterState, reason: str = "", message: str = "", *, version: str = "") -> None:
        """Publish the record if anything in it but times and wording is new."""
        if state is ClusterState.LIVE and self._warning:
            reason, message = "RegistryProblem", self._warning
        status = ClusterStatus(
            state=state,
            identity=self._standing.identity,
            epoch=self._standing.epoch,
            version=version or self._status.version,
            reason=reason,
            message=message,
            since=rfc3339(self._clock.time()),
        )
        last = self._status
        if state is last.state and reason == last.reason:
            status = msgspec.structs.replace(status, since=last.since or status.since, message=last.message or message)
        if self._reported and status == last:
            return
        self._status, self._reported = status, True
        self._publish_record()

    def _publish_record(self) -> None:
        if self._reported:
            self._publisher.offer(self._lane, [self._record()])

    def _record(self) -> Message:
        self._record_version = max(self._record_version + 1, int(self._clock.time() * 1000))
        return record_message(self._api.name, self._status, self._settings.labels, self._record_version)

    def _record_lane(self) -> Lane:
        messages = FactMessages(
            cluster=self._api.name,
            identity=self._standing.identity,
            epoch=self._standing.epoch,
            resource=CLUSTERS,
            ttl=self._settings.tombstone_ttl_seconds,
            run=self._publisher.ticket(),
        )
        return Lane("record", messages, self._publish_record)


async def run_watcher(api: ClusterApi, log: FactLog, clock: Clock, settings: WatchSettings) -> None:
    """Watch one cluster until cancelled; for callers that need neither `heal` nor `statistics`."""
    await ClusterWatcher(api, log, clock, settings).run()
