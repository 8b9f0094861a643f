"""Reading many records in stream order: `scan` (every last record, then the end) and `follow` (on and on).

Both pull from an ephemeral consumer without acknowledgements. The consumer numbers what it delivers, so that anything
missing shows: a scan then fails, because its reader would take an object for absent; a follower goes on with a new
consumer from behind the last record it handed out.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

import structlog

from engine.runtime import log_wire as wire
from engine.runtime.jetstream import Connection, Json, Subscription
from engine.runtime.log_pull import ended_pull, pull_command
from engine.runtime.log_setup import may_pass
from engine.runtime.ports import EventLogError, Record

PULL_MESSAGES = 500
"""Per pull; the next is sent when half of it has been handed on."""
PULL_EXPIRES_SECONDS = 30.0
HEARTBEAT_SECONDS = 1.0
SILENCE_SECONDS = 5.0
"""Without a record or heartbeat for this long the consumer counts as lost."""
INACTIVE_SECONDS = 30
"""The broker removes a consumer that nobody has pulled from for so long: what a killed reader leaves."""
RETRY_SECONDS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Before a follower's attempts to go on."""

_NS = 1_000_000_000

Ready = Callable[[], Awaitable[None]]

_log = structlog.get_logger(__name__)


class ConsumerLost(EventLogError):
    """Raised when an ephemeral consumer has vanished, fallen silent or skipped something."""


class _Reader:
    """One ephemeral consumer and what it has delivered."""

    def __init__(self, connection: Connection, stream: str, *, wait: bool) -> None:
        """Read `stream`; `wait` for records to come, or let pulls end when there are none."""
        self._connection = connection
        self._stream = stream
        self._wait = wait
        self._name = f"reader-{secrets.token_hex(8)}"
        self._inbox = connection.inbox()
        self._subscription: Subscription | None = None
        self._records: deque[tuple[Record, int]] = deque()
        self._asked = 0
        self._next = 1
        """Number that the consumer's next delivery must have."""
        self._problem = ""
        self._wake = asyncio.Event()
        self._stop_watching = connection.on_change(self._connection_changed)

    async def open(self, config: Json) -> int:
        """Create the consumer; return how many records it has to deliver."""
        self._subscription = await self._connection.subscribe(self._inbox, self._received)
        settings = {
            "name": self._name,
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": INACTIVE_SECONDS * _NS,
            **config,
        }
        body = {"stream_name": self._stream, "config": settings}
        info = await self._connection.api(f"CONSUMER.CREATE.{self._stream}.{self._name}", body)
        return int(info.get("num_pending", 0))

    async def close(self) -> None:
        self._stop_watching()
        if self._subscription is not None:
            await self._subscription.end()
        self._connection.write(wire.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{self._name}".encode(), b""))

    async def next(self) -> tuple[Record, int] | None:
        """Return the next record and how many are known to follow; None when a pull has ended without one.

        Raises:
            ConsumerLost: when there is none to be had from this consumer any more.

        """
        while not self._records:
            if self._problem:
                raise ConsumerLost(f"stream {self._stream}: {self._problem}")
            if not self._asked:
                self._pull()
            self._wake.clear()
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                self._problem = "its reader has heard nothing from the broker"
            if not self._wait and not self._records and not self._asked and not self._problem:
                return None
        if self._asked + len(self._records) <= PULL_MESSAGES // 2:
            self._pull()
        return self._records.popleft()

    async def is_exhausted(self) -> bool:
        """Return whether the consumer has nothing more to deliver and all that it delivered has arrived."""
        info = await self._connection.api(f"CONSUMER.INFO.{self._stream}.{self._name}")
        return int(info["num_pending"]) == 0 and int(info["delivered"]["consumer_seq"]) == self._next - 1

    def _pull(self) -> None:
        self._asked += PULL_MESSAGES
        expires = PULL_EXPIRES_SECONDS if self._wait else 0.0
        command = pull_command(
            self._connection, self._stream, self._name, self._inbox, PULL_MESSAGES, expires, HEARTBEAT_SECONDS
        )
        self._connection.write(command)

    def _received(self, subject: bytes, reply: bytes, headers: bytes, body: bytes) -> None:
        place = wire.place_of(reply)
        if place is None:
            ended = ended_pull(headers)
            self._asked = max(0, self._asked - ended.unfilled)
            self._problem = self._problem or ended.problem
        elif place.consumer_seq != self._next:
            self._problem = f"its reader got number {place.consumer_seq} instead of {self._next}"
        else:
            self._next += 1
            self._asked = max(0, self._asked - 1)
            self._records.append((wire.delivered_record(subject, place, headers, body), place.pending))
        self._wake.set()

    def _connection_changed(self, is_up: bool) -> None:
        if not is_up:
            self._problem = "the connection was lost while reading"
            self._wake.set()


async def scan(
    connection: Connection, stream: str, filters: Sequence[str], *, headers_only: bool, ready: Ready
) -> AsyncGenerator[Record, None]:
    """Iterate over the last record of every subject that matches, in stream order.

    A subject that changes during the scan may come twice, the newest last.

    `ready` returns when the stream may be read.

    Raises:
        EventLogError: when the broker fails; what was read until then is not complete.

    """
    await ready()
    reader = _Reader(connection, stream, wait=False)
    try:
        config: Json = {"deliver_policy": "last_per_subject", "filter_subjects": list(filters)}
        if headers_only:
            config["headers_only"] = True
        if not await reader.open(config):
            return
        while True:
            item = await reader.next()
            if item is None:
                # The last one may have been overwritten or have expired before its turn.
                if await reader.is_exhausted():
                    return
                continue
            record, pending = item
            yield record
            if not pending:
                return
    finally:
        await reader.close()


async def replay(
    connection: Connection, stream: str, filters: Sequence[str], *, after: int, until: int, ready: Ready
) -> AsyncIterator[Record]:
    """Iterate over every record behind `after` and up to `until`, in stream order, then end.

    Raises:
        EventLogError: when the broker fails; what was read until then is not complete.

    """
    if until <= after:
        return
    await ready()
    reader = _Reader(connection, stream, wait=False)
    try:
        config = {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1, "filter_subjects": list(filters)}
        if not await reader.open(config):
            return
        while True:
            item = await reader.next()
            if item is None:
                if await reader.is_exhausted():  # what was left has expired meanwhile
                    return
                continue
            record, pending = item
            if record.seq > until:
                return
            yield record
            if not pending or record.seq == until:
                return
    finally:
        await reader.close()


async def position(connection: Connection, stream: str, at: float) -> int:
    """Return the sequence of the last message stored before a wall time, seconds since the epoch.

    Raises:
        EventLogError: when the broker does not answer.

    """
    _, last = await _standing(connection, stream)
    reader = _Reader(connection, stream, wait=False)
    start = wire.rfc3339(max(0, round(at * _NS)))
    try:
        config = {"deliver_policy": "by_start_time", "opt_start_time": start, "headers_only": True}
        if not await reader.open(config):
            return last
        item = await reader.next()
    finally:
        await reader.close()
    return last if item is None else item[0].seq - 1


async def follow(
    connection: Connection, stream: str, filters: Sequence[str], *, after: int | None, ready: Ready
) -> AsyncIterator[Record]:
    """Iterate over records behind sequence `after` (None: from now on) as they come.

    Goes on after any loss of connection, consumer or broker. When the stream has been re-created it goes on from the new
    one's start; when the stream was set back, from where it was set back to. `ready` returns when it may be read.

    Raises:
        EventLogError: when it cannot be begun.

    """
    await ready()
    life, last = await _standing(connection, stream)
    position = last if after is None else after
    failures = 0
    while True:
        reader = _Reader(connection, stream, wait=True)
        try:
            await reader.open(
                {"deliver_policy": "by_start_sequence", "opt_start_seq": position + 1, "filter_subjects": list(filters)}
            )
            while True:
                item = await reader.next()
                failures = 0
                if item is not None:
                    position = item[0].seq
                    yield item[0]
        except EventLogError as problem:
            if not may_pass(problem):
                raise
            _log.info("follower begins anew", stream=stream, after=position, reason=str(problem))
        finally:
            await reader.close()
        life, position, failures = await _resume(connection, stream, ready, life, position, failures)


async def _resume(
    connection: Connection, stream: str, ready: Ready, life: str, position: int, failures: int
) -> tuple[str, int, int]:
    """Wait until the stream can be read again; return its life, where to go on, and the number of attempts."""
    while True:
        await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
        failures += 1
        try:
            await ready()
            now, last = await _standing(connection, stream)
        except EventLogError as problem:
            _log.debug("follower waits", stream=stream, reason=str(problem))
            continue
        return now, (0 if now != life else min(position, last)), failures


async def _standing(connection: Connection, stream: str) -> tuple[str, int]:
    """Return which life of the stream this is, and its last sequence."""
    info = await connection.api(f"STREAM.INFO.{stream}")
    return str(info["created"]), int(info["state"]["last_seq"])
