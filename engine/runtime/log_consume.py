"""A worker's share of a durable consumer: pulls, handlers, acknowledgements.

Rules:

- Handlers running plus messages asked for never exceed `concurrency`: what is held here, others cannot have.
- A message whose handler still runs after a third of the ack wait is reported in progress, again and again.
- The same message delivered again while its handler runs (the broker was restarted, the ack wait passed) starts no second
  handler; what the first one says counts.
- A handler that raises: its message comes again after a delay that grows with the deliveries. One that is cancelled: at
  once, to whoever is free. One that says nothing: after the ack wait.
- After anything unexpected (connection lost, consumer deleted, silence) the consumer is created if need be and pulled from
  through a new inbox; pulls sent to the old one die with it. Handlers go on meanwhile, their acknowledgements wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from engine.runtime import log_wire as wire
from engine.runtime.jetstream import Connection, Subscription
from engine.runtime.log_pull import ended_pull, pull_command
from engine.runtime.log_setup import ensure_consumer, may_pass
from engine.runtime.ports import EventLogError, Handler, Record

PULL_EXPIRES_SECONDS = 30.0
HEARTBEAT_SECONDS = 2.0
SILENCE_SECONDS = 5.0
"""A pull that waits and hears nothing for this long is lost: the broker has forgotten it."""
TICK_SECONDS = 1.0
"""How often silence is looked for, at least."""
RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Before attempts to attach anew; the broker needs about 0.1 s to come back, a wiped one waits for `heal`."""
RAISED_NAK_SECONDS = 0.25
"""Delay after a handler raised for the first time; it doubles with each delivery, up to the ack wait."""

_log = structlog.get_logger(__name__)


class Delivered:
    """A message in hand; the port's `Delivery`."""

    __slots__ = ("_pump", "delivered", "record", "reply", "since", "told")

    def __init__(self, pump: Pump, record: Record, delivered: int, reply: bytes, since: float) -> None:
        """Made by `Pump`."""
        self.record = record
        self.delivered = delivered
        self.reply = reply
        self.since = since
        self.told = False
        """Whether it was acknowledged, either way."""
        self._pump = pump

    async def ack(self) -> None:
        """Say that it is done."""
        self.tell(b"+ACK")

    async def nak(self, delay: float = 0.0) -> None:
        """Ask for it again after `delay` seconds."""
        self.tell(b'-NAK {"delay": %d}' % round(delay * 1e9) if delay > 0 else b"-NAK")

    async def in_progress(self) -> None:
        """Start the ack wait anew."""
        self._pump.say(self.reply, b"+WPI")

    def tell(self, word: bytes) -> None:
        """Acknowledge it with `word`."""
        self.told = True
        self._pump.say(self.reply, word)


class Pump:
    """One `consume` call."""

    def __init__(
        self,
        connection: Connection,
        stream: str,
        durable: str,
        filters: Sequence[str],
        handler: Handler,
        *,
        concurrency: int,
        ack_wait: float,
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        """Take what `EventLog.consume` takes, and `ready`, which returns when the stream may be read."""
        self._ready = ready
        self._connection = connection
        self._stream = stream
        self._durable = durable
        self._filters = tuple(filters)
        self._handler = handler
        self._concurrency = concurrency
        self._ack_wait = ack_wait
        self._running: dict[int, Delivered] = {}
        self._asked = 0
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._heard = 0.0
        self._problem = ""
        self._wake = asyncio.Event()
        self._unsaid: list[bytes] = []
        """Acknowledgements given while there was no connection."""
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Consume until cancelled.

        Raises:
            EventLogError: when the broker refuses the consumer.

        """
        stop_watching = self._connection.on_change(self._connection_changed)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                try:
                    while True:
                        await self._attach()
                        await self._attend()
                finally:
                    self._tasks = None  # before the handlers are waited for: what comes now is given back
        finally:
            stop_watching()
            await self._leave()

    # --- attaching ---

    async def _attach(self) -> None:
        """Create the consumer if need be and begin to pull through a new inbox."""
        attempt = 0
        while True:
            try:
                if self._subscription is not None:
                    await self._subscription.end()
                    self._subscription = None
                await self._connection.wait_up(60.0)
                await self._ready()
                await ensure_consumer(
                    self._connection, self._stream, self._durable, self._filters, ack_wait=self._ack_wait
                )
                self._asked, self._problem = 0, ""
                self._inbox = self._connection.inbox()
                self._subscription = await self._connection.subscribe(self._inbox, self._received)
            except EventLogError as problem:
                if not may_pass(problem):
                    raise
                if attempt == len(RETRY_SECONDS):
                    _log.warning("cannot consume", stream=self._stream, durable=self._durable, reason=str(problem))
                await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
                attempt += 1
            else:
                break
        self._heard = self._now()
        unsaid, self._unsaid = self._unsaid, []
        self._connection.write(b"".join(unsaid))
        self._pull()

    async def _attend(self) -> None:
        """Keep messages in progress and listen for silence, until something is wrong."""
        report_every = self._ack_wait / 3
        report_at = self._now() + report_every
        while not self._problem:
            self._wake.clear()
            try:
                async with asyncio.timeout(min(TICK_SECONDS, report_every)):
                    await self._wake.wait()
            except TimeoutError:
                pass
            now = self._now()
            if self._asked and now - self._heard > SILENCE_SECONDS:
                self._problem = "the broker is silent"
            if now >= report_at:
                report_at = now + report_every
                self._report_progress(now - report_every)
            self._pull()
        _log.info("attaching anew", stream=self._stream, durable=self._durable, reason=self._problem)

    def _report_progress(self, older_than: float) -> None:
        for delivery in self._running.values():
            if delivery.since <= older_than and not delivery.told:
                self.say(delivery.reply, b"+WPI")

    async def _leave(self) -> None:
        """End the subscription; what arrives while we go is given back."""
        if self._subscription is not None:
            await self._subscription.end(drain=True)

    def _connection_changed(self, is_up: bool) -> None:
        if not is_up:
            self._problem = "the connection was lost"
            self._wake.set()

    # --- pulling ---

    def _pull(self) -> None:
        """Ask for as many messages as there is room for, in few requests rather than many."""
        room = self._concurrency - len(self._running) - self._asked
        if room <= 0 or self._problem or self._tasks is None:
            return
        if self._asked and room < max(1, self._concurrency // 4):
            return
        if not self._asked:
            self._heard = self._now()
        self._asked += room
        command = pull_command(
            self._connection, self._stream, self._durable, self._inbox, room, PULL_EXPIRES_SECONDS, HEARTBEAT_SECONDS
        )
        self._connection.write(command)

    def _received(self, subject: bytes, reply: bytes, headers: bytes, body: bytes) -> None:
        self._heard = self._now()
        place = wire.place_of(reply)
        if place is None:
            ended = ended_pull(headers)
            self._asked = max(0, self._asked - ended.unfilled)
            if ended.problem:
                self._problem = ended.problem
                self._wake.set()
        elif self._tasks is None:
            self.say(reply, b"-NAK")
        else:
            self._asked = max(0, self._asked - 1)
            self._begin(subject, place, reply, headers, body)
        self._pull()

    def _begin(self, subject: bytes, place: wire.Place, reply: bytes, headers: bytes, body: bytes) -> None:
        running = self._running.get(place.stream_seq)
        if running is not None:
            running.reply = reply
            return
        record = wire.delivered_record(subject, place, headers, body)
        delivery = Delivered(self, record, place.delivered, reply, self._heard)
        self._running[place.stream_seq] = delivery
        assert self._tasks is not None  # noqa: S101 - the caller has looked
        self._tasks.create_task(self._handle(delivery))

    async def _handle(self, delivery: Delivered) -> None:
        try:
            await self._handler(delivery)
        except Exception:  # noqa: BLE001 - a handler may raise anything; its message pays, not the consumer
            _log.exception(
                "handler raised",
                stream=self._stream,
                durable=self._durable,
                subject=delivery.record.subject,
                delivered=delivery.delivered,
            )
            if not delivery.told:
                await delivery.nak(delay_after_raise(delivery.delivered, self._ack_wait))
        except asyncio.CancelledError:
            if not delivery.told:
                await delivery.nak()
            raise
        finally:
            self._running.pop(delivery.record.seq, None)
            self._pull()

    def say(self, reply: bytes, word: bytes) -> None:
        """Send an acknowledgement, now or when there is a connection again."""
        command = wire.publish(reply, word)
        if self._connection.is_up:
            self._connection.write(command)
        elif word != b"+WPI":
            self._unsaid.append(command)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def delay_after_raise(delivered: int, ack_wait: float) -> float:
    """Return after how many seconds a message comes again whose handler raised, when it was delivered so often."""
    return min(RAISED_NAK_SECONDS * 2.0 ** min(delivered - 1, 10), ack_wait)
