"""The event log in memory: the same promises as `engine.runtime.event_log`, without a broker.

For tests and simulation. `tests/contracts/test_event_log.py` holds both to the same behaviour. Nothing runs in the
background: timers fire and messages expire whenever someone looks or waits, by the clock that was passed in.

Beyond the port it offers `records` and `pending` to look inside, `lose_streams` and `down` to break it.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec
import structlog

from engine.runtime.clock import SystemClock
from engine.runtime.log_consume import delay_after_raise
from engine.runtime.ports import (
    Clock,
    EventLogError,
    Extent,
    Handler,
    Message,
    MessageTooLarge,
    Record,
    WrongLastSequence,
)
from engine.runtime.streams import FACTS, STATE, TIMERS, StreamSpec, stream_specs
from schemas.subjects import matches

MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
"""The limit that the embedded broker has too (DESIGN §5)."""


_log = structlog.get_logger(__name__)


class _Consumer(msgspec.Struct):
    """A durable consumer, shared by every `consume` call with its name."""

    filters: tuple[str, ...]
    ack_wait: float
    next_seq: int = 1
    delivered: dict[int, int] = {}
    """How often each unacknowledged message was handed out."""
    due: dict[int, float] = {}
    """Monotonic time at which each unacknowledged message is handed out again; inf while its handler runs."""


class _Stream:
    def __init__(self, spec: StreamSpec, incarnation: str) -> None:
        self.spec = spec
        self.incarnation = incarnation
        self.last_seq = 0
        self.messages: dict[int, Record] = {}
        self.by_subject: dict[str, list[int]] = {}
        self.ids: dict[str, tuple[int, float]] = {}
        self.consumers: dict[str, _Consumer] = {}
        self._expiry: list[tuple[float, int]] = []

    def store(self, message: Message, clock: Clock, *, rollup: bool = False, source: Record | None = None) -> int:
        """Store a message, or a copy of one that is `source` in the stream that this one follows."""
        now = clock.monotonic()
        if message.id and source is None:
            seq, until = self.ids.get(message.id, (0, 0.0))
            if now < until:
                return seq
        self.last_seq = seq = self.last_seq + 1
        stored_at = source.time if source else datetime.fromtimestamp(clock.time(), UTC).isoformat()
        record = Record(
            subject=message.subject,
            seq=seq,
            body=message.body,
            id=message.id,
            time=stored_at.replace("+00:00", "Z"),
            origin=source.seq if source else 0,
        )
        ttl = min(message.ttl or math.inf, self.spec.max_age or math.inf)
        self.messages[seq] = record
        if ttl < math.inf:
            heapq.heappush(self._expiry, (now + ttl, seq))
        held = self.by_subject.setdefault(message.subject, [])
        held.append(seq)
        keep = 1 if rollup else self.spec.per_subject
        for old in held[: -keep if keep > 0 else 0]:
            self.remove(old)
        if message.id:
            self.ids[message.id] = (seq, now + self.spec.duplicate_window)
        return seq

    def remove(self, seq: int) -> None:
        stored = self.messages.pop(seq, None)
        if stored is None:
            return
        held = self.by_subject[stored.subject]
        held.remove(seq)
        if not held:
            del self.by_subject[stored.subject]

    def expire(self, now: float) -> None:
        while self._expiry and self._expiry[0][0] <= now:
            self.remove(heapq.heappop(self._expiry)[1])

    def last(self, subject: str) -> Record | None:
        held = self.by_subject.get(subject)
        return self.messages[held[-1]] if held else None

    def lasts(self, filters: Sequence[str]) -> Iterator[Record]:
        for subject, held in self.by_subject.items():
            if any(matches(pattern, subject) for pattern in filters):
                yield self.messages[held[-1]]

    def take(self, consumer: _Consumer, now: float) -> tuple[Record, int] | None:
        """Hand out a message: one that is due again, else the next new one."""
        for seq in list(consumer.due):
            if seq not in self.messages:
                del consumer.due[seq], consumer.delivered[seq]
        ready = [seq for seq, due in consumer.due.items() if due <= now]
        seq = min(ready) if ready else self._next(consumer)
        if not seq:
            return None
        consumer.due[seq] = math.inf
        consumer.delivered[seq] = consumer.delivered.get(seq, 0) + 1
        return self.messages[seq], consumer.delivered[seq]

    def _next(self, consumer: _Consumer) -> int:
        while consumer.next_seq <= self.last_seq:
            seq = consumer.next_seq
            consumer.next_seq += 1
            stored = self.messages.get(seq)
            if stored and any(matches(pattern, stored.subject) for pattern in consumer.filters):
                return seq
        return 0


class _Delivery:
    def __init__(self, log: MemoryLog, stream: _Stream, consumer: _Consumer, taken: tuple[Record, int]) -> None:
        self.record, self.delivered = taken
        self._event_log = log
        self._stream = stream
        self._consumer = consumer

    async def ack(self) -> None:
        self._event_log.check(self._stream.spec.name)
        self._consumer.due.pop(self.record.seq, None)
        self._consumer.delivered.pop(self.record.seq, None)
        if self._stream.spec.work_queue:
            self._stream.remove(self.record.seq)
        self._event_log.notify()

    async def nak(self, delay: float = 0.0) -> None:
        self._event_log.check(self._stream.spec.name)
        self.again_after(delay)

    async def in_progress(self) -> None:
        """Nothing to do: a message whose handler runs is never handed out again."""

    def again_after(self, seconds: float) -> None:
        if self._consumer.due.get(self.record.seq) == math.inf:
            self._consumer.due[self.record.seq] = self._event_log.clock.monotonic() + seconds
        self._event_log.notify()

    def settle(self) -> None:
        """Note that the handler is done: if it said nothing, the message comes again after the ack wait."""
        self.again_after(self._consumer.ack_wait)


class MemoryLog:
    """An `EventLog` held in memory by one process; share the object to share the log."""

    def __init__(
        self, clock: Clock | None = None, *, fact_days: float = 7.0, max_payload: int = MAX_PAYLOAD_BYTES
    ) -> None:
        """Start with empty streams.

        Args:
            clock: by which messages expire, are redelivered and fall due; None: the machine's.
            fact_days: days for which FACTS keeps history.
            max_payload: bytes of the largest message.

        """
        self.clock: Clock = clock or SystemClock()
        self.down = False
        """Set it and every call raises EventLogError; consumers wait until it is cleared (call `notify` then)."""
        self._max_payload = max_payload
        self._specs = stream_specs(fact_days=fact_days)
        self._lives = 0
        self._streams: dict[str, _Stream] = {}
        self._timers: dict[str, tuple[float, int, Message]] = {}
        """What each key subject's timer publishes: wall time, sequence of the timer, message."""
        self._heap: list[tuple[float, str]] = []
        self._waiting: set[asyncio.Event] = set()
        self._create()

    # --- for tests and simulation ---

    def records(self, stream: str) -> list[Record]:
        """Return everything a stream holds, in order."""
        return list(self._stream(stream).messages.values())

    def pending(self, stream: str, durable: str) -> int:
        """Return how many messages a consumer has handed out and not seen acknowledged."""
        return len(self._stream(stream).consumers[durable].due)

    def timers(self) -> dict[str, float]:
        """Return the wall time of every timer that waits, by its key subject."""
        self._advance()
        return {key: at for key, (at, _, _) in self._timers.items()}

    def lose_streams(self) -> None:
        """Lose every stream, as a broker whose store was wiped does; `heal` or `prepare` makes new ones."""
        self._streams.clear()
        self._timers.clear()
        self.notify()

    def notify(self) -> None:
        """Wake whoever waits for a change."""
        for event in self._waiting:
            event.set()

    def check(self, stream: str) -> None:
        """Raise what a broker would answer when it is down or lacks the stream."""
        if self.down:
            message = "the broker does not answer"
            raise EventLogError(message)
        if stream not in self._streams:
            message = f"stream {stream} not found"
            raise EventLogError(message)

    # --- the port ---

    async def prepare(self) -> None:
        """Create the streams that are missing."""
        if self.down:
            message = "the broker does not answer"
            raise EventLogError(message)
        self._create()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Store in FACTS, and at once in STATE."""
        facts, state = self._stream(FACTS), self._stream(STATE)
        self._check_messages(facts, messages)
        for message in messages:
            before = facts.last_seq
            seq = facts.store(message, self.clock)
            if seq > before:
                state.store(message, self.clock, source=facts.messages[seq])
        self.notify()
        await asyncio.sleep(0)

    async def append(
        self, stream: str, message: Message, *, expect_last: int | None = None, rollup: bool = False
    ) -> int:
        """Store one message; see the port."""
        _check_writable(stream)
        held = self._stream(stream)
        self._check_messages(held, [message])
        if expect_last is not None:
            last = held.last(message.subject)
            if (last.seq if last else 0) != expect_last:
                problem = f"{message.subject}: last sequence is {last.seq if last else 0}, not {expect_last}"
                raise WrongLastSequence(problem)
        seq = held.store(message, self.clock, rollup=rollup)
        self.notify()
        await asyncio.sleep(0)
        return seq

    async def publish_many(self, stream: str, messages: Sequence[Message]) -> None:
        """Store messages; see the port."""
        _check_writable(stream)
        held = self._stream(stream)
        self._check_messages(held, messages)
        for message in messages:
            held.store(message, self.clock)
        self.notify()
        await asyncio.sleep(0)

    async def last(self, stream: str, subjects: Sequence[str], *, most: int | None = None) -> dict[str, Record]:
        """Read last records; see the port."""
        held = self._stream(stream)
        await asyncio.sleep(0)
        found: dict[str, Record] = {}
        wild = [subject for subject in subjects if "*" in subject or subject.endswith(">")]
        for subject in subjects:
            if record := held.last(subject):
                found[subject] = record
        for pattern in wild:
            found |= {record.subject: record for record in islice(held.lasts([pattern]), most)}
        return found

    async def scan(self, stream: str, filters: Sequence[str], *, headers_only: bool = False) -> AsyncIterator[Record]:
        """Iterate over the last record of each subject, in stream order."""
        for record in sorted(self._stream(stream).lasts(filters), key=lambda record: record.seq):
            yield msgspec.structs.replace(record, body=b"") if headers_only else record

    async def follow(self, stream: str, filters: Sequence[str], *, after: int | None = None) -> AsyncIterator[Record]:
        """Iterate over records as they come; goes on with the new stream from its start when it is re-created."""
        held = self._stream(stream)
        reader = _Consumer(filters=tuple(filters), ack_wait=math.inf)
        reader.next_seq = held.last_seq + 1 if after is None else after + 1
        while True:
            current = self._streams.get(stream, held)
            if current is not held:
                held, reader.next_seq = current, 1
            taken = None if self.down else held.take(reader, self.clock.monotonic())
            if taken is None:
                await self._changed(math.inf)
                self._advance()
                continue
            del reader.due[taken[0].seq], reader.delivered[taken[0].seq]
            yield taken[0]

    async def replay(self, stream: str, filters: Sequence[str], *, after: int, until: int) -> AsyncIterator[Record]:
        """Iterate over every record of a range; see the port."""
        held = [record for seq, record in self._stream(stream).messages.items() if after < seq <= until]
        for record in held:
            if any(matches(pattern, record.subject) for pattern in filters):
                yield record

    async def position(self, stream: str, at: float) -> int:
        """Return the last sequence before a wall time; see the port."""
        held = self._stream(stream)
        later = [seq for seq, record in held.messages.items() if datetime.fromisoformat(record.time).timestamp() >= at]
        return min(later) - 1 if later else held.last_seq

    async def extent(self, stream: str) -> Extent:
        """Return what the stream reaches over."""
        held = self._stream(stream)
        kept = list(held.messages.values())
        return Extent(
            first=kept[0].seq if kept else held.last_seq + 1,
            last=held.last_seq,
            first_time=kept[0].time if kept else "",
            last_time=kept[-1].time if kept else "",
            messages=len(kept),
            size=sum(len(record.body) for record in kept),
        )

    async def purge(self, stream: str, pattern: str) -> None:
        """Delete every message whose subject matches."""
        held = self._stream(stream)
        for record in list(held.messages.values()):
            if matches(pattern, record.subject):
                held.remove(record.seq)

    async def consume(
        self, stream: str, durable: str, filters: Sequence[str], handler: Handler, *, concurrency: int, ack_wait: float
    ) -> None:
        """Run `handler` for each delivery until cancelled; see the port."""
        running: set[_Delivery] = set()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    busy = self.down or len(running) >= concurrency
                    delivery = None if busy else self._next_delivery(stream, durable, filters, ack_wait)
                    if delivery is None:
                        await self._changed(math.inf if busy else self._next_due(stream, durable))
                        continue
                    running.add(delivery)
                    group.create_task(
                        self._handle(delivery, handler, running, ack_wait), name=f"{durable} {delivery.record.seq}"
                    )
        finally:
            for delivery in running:  # cancelled: somebody else's turn at once
                delivery.again_after(0.0)

    async def schedule(self, key_subject: str, due_subject: str, at: float, body: bytes = b"") -> None:
        """Set a timer; see the port."""
        held = self._stream(TIMERS)
        timer, due = Message(subject=key_subject, body=body), Message(subject=due_subject, body=body)
        self._check_messages(held, [timer, due])
        self._timers[key_subject] = (at, held.store(timer, self.clock), due)
        heapq.heappush(self._heap, (at, key_subject))
        self.notify()
        await asyncio.sleep(0)

    async def incarnation(self, stream: str) -> str:
        """Return which life of the stream this is."""
        return self._stream(stream).incarnation

    async def last_sequence(self, stream: str) -> int:
        """Return the sequence of the last message ever stored."""
        return self._stream(stream).last_seq

    async def heal(self) -> list[str]:
        """Create the streams that are missing, and name them."""
        missing = [
            f"stream {name} was missing and has been created" for name in self._specs if name not in self._streams
        ]
        await self.prepare()
        return missing

    async def close(self) -> None:
        """Do nothing: there is nothing to give back."""

    # --- inside ---

    def _create(self) -> None:
        for name, spec in self._specs.items():
            if name not in self._streams:
                self._lives += 1
                self._streams[name] = _Stream(spec, f"memory-{self._lives}")
        self.notify()

    def _stream(self, name: str) -> _Stream:
        self.check(name)
        self._advance()
        return self._streams[name]

    def _advance(self) -> None:
        """Bring timers and expiry up to now."""
        while self._heap and self._heap[0][0] <= self.clock.time():
            at, key = heapq.heappop(self._heap)
            if key in self._timers and self._timers[key][0] == at:
                _, seq, due = self._timers.pop(key)
                self._streams[TIMERS].remove(seq)
                self._streams[TIMERS].store(due, self.clock)
                self.notify()
        now = self.clock.monotonic()
        for held in self._streams.values():
            held.expire(now)

    def _check_messages(self, held: _Stream, messages: Sequence[Message]) -> None:
        for message in messages:
            if len(message.body) > self._max_payload:
                problem = f"{message.subject}: {len(message.body)} bytes, the limit is {self._max_payload}"
                raise MessageTooLarge(problem)
            if not held.spec.takes(message.subject):
                problem = f"stream {held.spec.name} does not take {message.subject}"
                raise EventLogError(problem)

    def _next_delivery(self, stream: str, durable: str, filters: Sequence[str], ack_wait: float) -> _Delivery | None:
        self._advance()
        if stream not in self._streams:
            return None
        held = self._streams[stream]
        consumer = held.consumers.setdefault(durable, _Consumer(filters=tuple(filters), ack_wait=ack_wait))
        consumer.filters, consumer.ack_wait = tuple(filters), ack_wait
        taken = held.take(consumer, self.clock.monotonic())
        return _Delivery(self, held, consumer, taken) if taken else None

    async def _handle(self, delivery: _Delivery, handler: Handler, running: set[_Delivery], ack_wait: float) -> None:
        try:
            await handler(delivery)
        except Exception:  # noqa: BLE001 - a handler may raise anything; its message pays, not the consumer
            _log.exception("handler raised", subject=delivery.record.subject, delivered=delivery.delivered)
            delivery.again_after(delay_after_raise(delivery.delivered, ack_wait))
        running.discard(delivery)
        delivery.settle()
        self.notify()

    def _next_due(self, stream: str, durable: str) -> float:
        """Monotonic time at which something happens by itself: a redelivery or a timer."""
        held = self._streams.get(stream)
        consumer = held.consumers.get(durable) if held else None
        times = list(consumer.due.values()) if consumer else []
        if self._heap:
            times.append(self.clock.monotonic() + self._heap[0][0] - self.clock.time())
        return min(times, default=math.inf)

    async def _changed(self, until: float) -> None:
        """Wait until something has changed or the clock has reached `until`."""
        event = asyncio.Event()
        self._waiting.add(event)
        changed = asyncio.create_task(event.wait())
        waits: set[asyncio.Task[Any]] = {changed}
        if until < math.inf:
            waits.add(asyncio.create_task(self.clock.sleep(max(0.0, until - self.clock.monotonic()))))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.discard(event)
            for wait in waits:
                wait.cancel()


def _check_writable(stream: str) -> None:
    if stream in (FACTS, STATE):
        message = f"stream {stream} is not for this: facts are published by `publish`, STATE follows FACTS"
        raise ValueError(message)
