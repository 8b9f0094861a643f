"""The event log on NATS JetStream (the port `EventLog`, DESIGN §5).

A façade: publishing is in `log_publish`, reading in `log_read` and `log_scan`, consumers in `log_consume`, streams in
`log_setup` and `log_heal`; the broker itself is behind `jetstream`, the one door.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Self

import structlog

from engine.runtime import log_scan
from engine.runtime import log_wire as wire
from engine.runtime.jetstream import CONNECT_TIMEOUT_SECONDS, Connection
from engine.runtime.log_catch_up import CatchUp
from engine.runtime.log_consume import Pump
from engine.runtime.log_credentials import Tls
from engine.runtime.log_heal import Healer
from engine.runtime.log_publish import GroupCommit
from engine.runtime.log_read import LastReader, Scan
from engine.runtime.log_read_leader import LeaderReader
from engine.runtime.log_setup import stream_info
from engine.runtime.log_wire import Outgoing
from engine.runtime.ports import EventLogError, Extent, Handler, Message, MessageTooLarge, Record
from engine.runtime.streams import FACTS, STATE, TIMERS, stream_specs

INCARNATION_CACHE_SECONDS = 1.0
"""Every view load asks; a re-created stream shows within a second."""

_log = structlog.get_logger(__name__)


class NatsEventLog:
    """An `EventLog` on a broker. Made by `connect`; one per process is enough, and batches better than several."""

    def __init__(self, connection: Connection, *, replicas: int = 1, fact_days: float = 7.0) -> None:
        """Use an open connection; see `connect`."""
        self._connection = connection
        self._specs = stream_specs(fact_days=fact_days)
        self._healer = Healer(connection, self._specs.values(), replicas=replicas)
        self._writers = {name: GroupCommit(connection, name) for name, spec in self._specs.items() if not spec.source}
        self._writers[FACTS] = GroupCommit(connection, FACTS, ordered=True, first_look=self._look_before_publishing)
        self._catch_up = CatchUp(connection)
        self._replicated = replicas > 1
        self._readers: dict[str, LastReader | LeaderReader] = {
            name: LeaderReader(connection, name)
            if replicas > 1
            else LastReader(connection, name, self._scanner(name), self._readiness(name))
            for name in self._specs
        }
        self._findings: list[str] = []
        """What was mended since `heal` was last asked."""
        self._catching_up: asyncio.Task[None] | None = None
        self._lives: dict[str, tuple[float, asyncio.Task[str]]] = {}
        self._stop_watching = connection.on_change(self._connection_changed)

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        token: str = "",
        credentials: str = "",
        tls: Tls | None = None,
        name: str = "crosscurrent",
        replicas: int = 1,
        fact_days: float = 7.0,
        inbox_prefix: str = "_INBOX",
        timeout: float = CONNECT_TIMEOUT_SECONDS,
    ) -> Self:
        """Connect to a broker.

        Args:
            url: `nats://host:4222`, `tls://...`; several, separated by commas; may hold `user:password@` or `token@`.
            token: authenticates, unless the url does.
            credentials: path of a NATS credentials file.
            tls: how the broker is known; None: as the url says.
            name: of this client in the broker's listings.
            replicas: of each stream.
            fact_days: days for which FACTS keeps history.
            inbox_prefix: of reply subjects, for users whose subscriptions are restricted.
            timeout: seconds to try for.

        Raises:
            EventLogError: when nothing answers in time, or the broker refuses us.

        """
        connection = await Connection.open(
            url,
            name=name,
            token=token,
            credentials=credentials,
            tls=tls,
            inbox_prefix=inbox_prefix,
            timeout=timeout,
        )
        return cls(connection, replicas=replicas, fact_days=fact_days)

    async def prepare(self) -> None:
        """Create or migrate the streams; see the port."""
        await self._healer.prepare()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish to FACTS; see the port."""
        items = self._encode(FACTS, messages)
        await self._writers[FACTS].send(items)

    async def append(
        self, stream: str, message: Message, *, expect_last: int | None = None, rollup: bool = False
    ) -> int:
        """Publish one message and return its sequence; see the port."""
        extra = b"Nats-Rollup: sub\r\n" if rollup else b""
        if expect_last is not None:
            extra += b"Nats-Expected-Last-Subject-Sequence: %d\r\n" % expect_last
        [seq] = await self._writer(stream).send(self._encode(stream, [message], extra))
        return seq

    async def publish_many(self, stream: str, messages: Sequence[Message]) -> None:
        """Publish without preconditions; see the port."""
        await self._writer(stream).send(self._encode(stream, messages))

    async def last(self, stream: str, subjects: Sequence[str], *, most: int | None = None) -> dict[str, Record]:
        """Read last records; see the port."""
        if stream == STATE and not self._replicated and not self._catch_up.is_done:
            self._let_state_catch_up()
        return await self._readers[stream].read(subjects, most)

    def scan(self, stream: str, filters: Sequence[str], *, headers_only: bool = False) -> AsyncIterator[Record]:
        """Iterate over last records; see the port. A subject that changes meanwhile may come twice, the newest last."""
        ready = self._waiter(stream)
        return log_scan.scan(self._connection, stream, filters, headers_only=headers_only, ready=ready)

    def follow(self, stream: str, filters: Sequence[str], *, after: int | None = None) -> AsyncIterator[Record]:
        """Iterate over records as they come; see the port."""
        return log_scan.follow(self._connection, stream, filters, after=after, ready=self._waiter(stream))

    def replay(self, stream: str, filters: Sequence[str], *, after: int, until: int) -> AsyncIterator[Record]:
        """Iterate over every record of a range; see the port."""
        ready = self._waiter(stream)
        return log_scan.replay(self._connection, stream, filters, after=after, until=until, ready=ready)

    async def position(self, stream: str, at: float) -> int:
        """Return the last sequence before a wall time; see the port."""
        return await log_scan.position(self._connection, stream, at)

    async def extent(self, stream: str) -> Extent:
        """Return what the stream reaches over; see the port."""
        info = await self._connection.api(f"STREAM.INFO.{stream}")
        state = info["state"]
        count, last = int(state["messages"]), int(state["last_seq"])
        return Extent(
            first=int(state["first_seq"]) if count else last + 1,
            last=last,
            first_time=str(state["first_ts"]) if count else "",
            last_time=str(state["last_ts"]) if count else "",
            messages=count,
            size=int(state["bytes"]),
        )

    async def purge(self, stream: str, pattern: str) -> None:
        """Delete every message whose subject matches; see the port."""
        await self._connection.api(f"STREAM.PURGE.{stream}", {"filter": pattern})

    async def consume(
        self, stream: str, durable: str, filters: Sequence[str], handler: Handler, *, concurrency: int, ack_wait: float
    ) -> None:
        """Run `handler` for each delivery until cancelled; see the port."""
        pump = Pump(
            self._connection,
            stream,
            durable,
            filters,
            handler,
            concurrency=concurrency,
            ack_wait=ack_wait,
            ready=self._waiter(stream),
        )
        await pump.run()

    async def schedule(self, key_subject: str, due_subject: str, at: float, body: bytes = b"") -> None:
        """Set a timer; see the port. It fires up to 0.3 s late."""
        due = wire.rfc3339(round(at * 1e9)).encode()
        extra = b"Nats-Schedule: @at %b\r\nNats-Schedule-Target: %b\r\n" % (due, due_subject.encode())
        await self._writers[TIMERS].send(self._encode(TIMERS, [Message(subject=key_subject, body=body)], extra))

    async def incarnation(self, stream: str) -> str:
        """Return when the stream was created."""
        now = asyncio.get_running_loop().time()
        until, asking = self._lives.get(stream, (0.0, None))
        if asking is None or now >= until:
            asking = asyncio.create_task(self._created(stream), name=f"incarnation of {stream}")
            asking.add_done_callback(_retrieved)
            self._lives[stream] = (now + INCARNATION_CACHE_SECONDS, asking)
        try:
            return await asyncio.shield(asking)
        except EventLogError:
            self._lives.pop(stream, None)
            raise

    async def last_sequence(self, stream: str) -> int:
        """Return the sequence of the stream's last message."""
        info = await self._connection.api(f"STREAM.INFO.{stream}")
        return int(info["state"]["last_seq"])

    async def heal(self) -> list[str]:
        """Find and mend what breaks the streams; see the port and `log_heal`."""
        found = await self._healer.heal()
        earlier, self._findings = self._findings, []
        return earlier + found

    async def close(self) -> None:
        """Flush and disconnect."""
        self._stop_watching()
        for writer in self._writers.values():
            await writer.close()
        if self._catching_up is not None:
            self._catching_up.cancel()
        await self._catch_up.close()
        await self._connection.close()
        for reader in self._readers.values():
            reader.close()

    # --- inside ---

    async def _look_before_publishing(self) -> None:
        """Look at the source before the first facts on a new connection: a broker may have come back with less.

        Facts published to a FACTS that was set back would hide that it was.
        """
        found = await self._healer.check_source()
        self._findings += found

    def _connection_changed(self, is_up: bool) -> None:
        if is_up:
            self._lives.clear()
            for name, reader in self._readers.items():
                if name != STATE:
                    reader.flush()
            self._let_state_catch_up()

    def _writer(self, stream: str) -> GroupCommit:
        if stream == FACTS or stream not in self._writers:
            message = f"stream {stream} is not for this: facts are published by `publish`, STATE follows FACTS"
            raise ValueError(message)
        return self._writers[stream]

    def _encode(self, stream: str, messages: Sequence[Message], extra: bytes = b"") -> list[Outgoing]:
        """Return messages ready for the wire, all of them or none."""
        limit = self._connection.max_payload
        items = []
        for message in messages:
            item = wire.outgoing(message, extra=extra)
            if wire.wire_size(item) > limit:
                size = wire.wire_size(item)
                raise MessageTooLarge(
                    f"{message.subject}: {size} bytes, the broker takes {limit}: raise its max_payload"
                )
            if not self._specs[stream].takes(message.subject):
                raise EventLogError(f"stream {stream} does not take {message.subject}")
            items.append(item)
        return items

    def _scanner(self, stream: str) -> Scan:
        async def scan(pattern: str, most: int | None) -> list[Record]:
            found: list[Record] = []
            ready = self._waiter(stream)
            scanned = log_scan.scan(self._connection, stream, [pattern], headers_only=False, ready=ready)
            async with aclosing(scanned) as records:
                async for record in records:
                    found.append(record)
                    if most is not None and len(found) >= most:
                        break
            return found

        return scan

    def _readiness(self, stream: str) -> Callable[[], bool]:
        if stream == STATE:
            return lambda: self._catch_up.is_done
        return lambda: self._connection.is_up

    def _waiter(self, stream: str) -> Callable[[], Awaitable[None]]:
        return self._catch_up.wait if stream == STATE and not self._replicated else _at_once

    def _let_state_catch_up(self) -> None:
        """See to it that reads of STATE go out as soon as it is whole."""
        if self._catching_up is None or self._catching_up.done():
            self._catching_up = asyncio.create_task(self._flush_when_whole(), name="reads of STATE wait")

    async def _flush_when_whole(self) -> None:
        try:
            await self._catch_up.wait()
        except EventLogError as problem:
            _log.debug("reads of STATE wait for another connection", reason=str(problem))
        else:
            self._readers[STATE].flush()

    async def _created(self, stream: str) -> str:
        info = await stream_info(self._connection, stream)
        if info is None:
            raise EventLogError(f"stream {stream} is not there")
        return str(info["created"])


def _retrieved(asking: asyncio.Task[str]) -> None:
    """Look at the exception: whoever waited for it may have been cancelled."""
    if not asking.cancelled():
        asking.exception()


async def _at_once() -> None:
    """Wait for nothing: every stream but STATE is written before it is acknowledged."""
