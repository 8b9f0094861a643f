"""The one way from a cluster's watches to FACTS: lanes, group commit, retry, and a bound on what waits.

Each type has a lane, kept in order; a batch takes from all lanes in turn, so that one type's list delays no other. What
is offered is encoded only when its batch is made. Nothing counts as published before the log has acknowledged it, and
since a lane's bookmarks follow its facts, no checkpoint is ahead of them (W-21).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import structlog

from engine.core.backoff import draw
from engine.core.known import Change
from engine.core.watch_states import Sync
from engine.runtime.ports import Clock, EventLogError, FactLog, Message, MessageTooLarge
from schemas.facts import SyncType
from watchers.fact_messages import FactMessages, rfc3339
from watchers.settings import WatchSettings

RETRY_SECONDS = 0.2
RETRY_CAP_SECONDS = 5.0
"""Between tries at a broker that does not acknowledge: it is on our side and comes back within seconds."""
_BARE_BYTES = 256
"""Counted for a fact without a body, and for a sync record."""

_log = structlog.get_logger(__name__)

Entry = Change | Sync | Message


class Lane:
    """One ordered source of facts.

    Args:
        name: for logs.
        messages: encodes its changes and sync records.
        dropped: called when everything waiting in the lane was dropped (W-23): read STATE and begin again.

    """

    def __init__(self, name: str, messages: FactMessages, dropped: Callable[[], None]) -> None:
        self.name, self.messages, self.dropped = name, messages, dropped
        self.waiting: deque[tuple[Entry, float]] = deque()
        self.lag = 0.0
        """Seconds from seeing to acknowledgement, of the last acknowledged fact."""


class _Prepared(msgspec.Struct, frozen=True):
    lane: Lane
    entry: Entry
    seen_at: float
    message: Message


class Publisher:
    """Publishes the lanes of one cluster. `run` is its only task.

    Args:
        log: where to.
        clock: time.
        settings: of the watchers.
        recreated: asked before anything that vouches for completeness is published: whether a stream was created anew,
            in which case it has called `drop`. A bookmark in a new, nearly empty stream would prove absences.

    """

    def __init__(
        self, log: FactLog, clock: Clock, settings: WatchSettings, recreated: Callable[[], Awaitable[bool]]
    ) -> None:
        self._event_log, self._clock, self._settings, self._recreated = log, clock, settings, recreated
        self._drops = 0
        self._lanes: deque[Lane] = deque()
        self._count, self._bytes, self._tickets = 0, 0, 0
        self._acked_at = clock.monotonic()
        self._offered, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()

    @property
    def queued(self) -> int:
        """How many facts wait."""
        return self._count

    def ticket(self) -> str:
        """Return a name that no other lane of any run has: a type that comes back must not repeat message ids."""
        self._tickets += 1
        return f"{self._settings.run}.{self._tickets}"

    def open(self, lane: Lane) -> None:
        """Take a lane in."""
        self._lanes.append(lane)

    def close(self, lane: Lane) -> None:
        """Forget a lane and what waits in it."""
        self._discard(lane)
        if lane in self._lanes:
            self._lanes.remove(lane)

    def offer(self, lane: Lane, entries: Sequence[Entry]) -> None:
        """Queue entries, in order. Never waits and never refuses: callers mind `room` before they read on."""
        now = self._clock.monotonic()
        for entry in entries:
            lane.waiting.append((entry, now))
            self._bytes += _size(entry)
        self._count += len(entries)
        if entries:
            self._offered.set()
        if self._count > self._settings.queue_messages or self._bytes > self._settings.queue_bytes:
            self._room.clear()

    @property
    def full(self) -> bool:
        """Whether more waits than should."""
        return not self._room.is_set()

    @property
    def room(self) -> asyncio.Event:
        """Set while there is room."""
        return self._room

    def drop(self) -> None:
        """Forget everything that waits or is under way; every lane begins again from what STATE holds."""
        self._drops += 1
        for lane in list(self._lanes):
            self._discard(lane)
            lane.dropped()
        self._acked_at = self._clock.monotonic()

    async def run(self) -> None:
        """Publish until cancelled."""
        ready: list[_Prepared] = []
        while True:
            batch, ready, drops = ready or self._take(), [], self._drops
            if not batch:
                self._offered.clear()
                await self._offered.wait()
                continue
            delivered = False
            if not self._stale(batch):
                async with asyncio.TaskGroup() as group:
                    delivery = group.create_task(self._deliver(batch), name="deliver facts")
                    await asyncio.sleep(0)  # it is sent now, and the next one is encoded while the broker works
                    if self._count >= self._settings.batch_messages:
                        ready = self._take()
                delivered = delivery.result()
            if not delivered:
                _log.warning("facts dropped: not acknowledged in time, types are read again", facts=self._count)
                self.drop()
            if drops != self._drops:
                ready = []

    def _take(self) -> list[_Prepared]:
        """Take the next batch, a fair share of each lane, and encode it."""
        batch: list[_Prepared] = []
        busy = sum(1 for lane in self._lanes if lane.waiting)
        share = max(1, self._settings.batch_messages // max(1, busy))
        offset = self._clock.time() - self._clock.monotonic()
        times: dict[float, str] = {}  # what was offered together was seen together
        for _ in range(len(self._lanes)):
            lane = self._lanes[0]
            self._lanes.rotate(-1)
            for _ in range(min(share, len(lane.waiting), self._settings.batch_messages - len(batch))):
                entry, seen_at = lane.waiting.popleft()
                time = times.get(seen_at) or times.setdefault(seen_at, rfc3339(offset + seen_at))
                batch.append(_Prepared(lane, entry, seen_at, self._encode(lane, entry, time)))
                self._release(entry)
        return batch

    def _encode(self, lane: Lane, entry: Entry, time: str) -> Message:
        if isinstance(entry, Message):
            return entry
        if isinstance(entry, Sync):
            return lane.messages.sync(entry, time)
        message, refused = lane.messages.change(entry, time)
        if refused:
            _log.warning("object published without its body", subject=message.subject, reason=refused)
        return message

    async def _deliver(self, batch: list[_Prepared]) -> bool:
        """Publish a batch, trying again until it is acknowledged; return False when it took too long for that."""
        tries, drops = 0, self._drops
        vouches = any(isinstance(prepared.entry, Sync) for prepared in batch)
        while True:
            if (vouches and await self._recreated()) or drops != self._drops:
                return True  # dropped by another hand
            try:
                await self._send(batch)
            except EventLogError as error:
                if self._stale(batch):
                    return False
                if tries % 10 == 0:
                    _log.warning("publish failed, trying again", facts=len(batch), error=str(error))
                step = min(RETRY_CAP_SECONDS, RETRY_SECONDS * 2.0 ** min(tries, 10))
                await self._clock.sleep(step * (0.5 + draw(self._settings.seed, tries) / 2))
                tries += 1
                continue
            now = self._acked_at = self._clock.monotonic()
            for prepared in batch:
                prepared.lane.lag = now - prepared.seen_at
            return True

    async def _send(self, batch: Sequence[_Prepared]) -> None:
        try:
            await self._event_log.publish([prepared.message for prepared in batch])
        except MessageTooLarge:
            if len(batch) > 1:  # nothing was published; the log does not say which message it was
                middle = len(batch) // 2
                await self._send(batch[:middle])
                await self._send(batch[middle:])
                return
            await self._send_bare(batch[0])

    async def _send_bare(self, prepared: _Prepared) -> None:
        """Publish which object it is that the broker will not take, and name the gap (W-24)."""
        lane, entry, message = prepared.lane, prepared.entry, prepared.message
        _log.error("fact exceeds the broker's message limit", subject=message.subject, bytes=len(message.body))
        if not isinstance(entry, Change):
            return
        time = rfc3339(self._clock.time())
        place = f"{entry.namespace}/{entry.name}" if entry.namespace else entry.name
        gap = Sync(SyncType.GAP, entry.version, reason=f"MessageTooLarge: {place} has {len(message.body)} bytes")
        await self._event_log.publish([lane.messages.without_body(entry, time), lane.messages.sync(gap, time)])

    def _stale(self, batch: Sequence[_Prepared]) -> bool:
        oldest = min(prepared.seen_at for prepared in batch)
        return self._clock.monotonic() - max(oldest, self._acked_at) > self._settings.stale_seconds

    def _discard(self, lane: Lane) -> None:
        for entry, _ in lane.waiting:
            self._release(entry)
        lane.waiting.clear()

    def _release(self, entry: Entry) -> None:
        self._count -= 1
        self._bytes -= _size(entry)
        if self._count <= self._settings.queue_messages // 2 and self._bytes <= self._settings.queue_bytes // 2:
            self._room.set()


def _size(entry: Entry) -> int:
    if isinstance(entry, Change) and entry.object is not None:
        return len(memoryview(entry.object))
    return _BARE_BYTES
