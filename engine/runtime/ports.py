"""The engine's doors as protocols: the event log, a cluster's API, the clock.

Everything above talks to these; `tests/contracts/` holds the fakes and the real things to the same behaviour.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from schemas.actions import Outcome
from schemas.names import ClusterName, ObjectRef, ResourceVersion, Uid


class EventLogError(Exception):
    """Raised when the broker cannot be reached or refuses; retryable unless a subclass says otherwise."""


class WrongLastSequence(EventLogError):
    """Raised when an append's precondition does not hold: someone else wrote this subject. Re-read, do not retry."""


class MessageTooLarge(EventLogError):
    """Raised when a message exceeds the broker's limit; raise `max_payload`. Never retried, never dropped silently."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message to publish."""

    subject: str
    body: bytes
    id: str = ""
    """`Nats-Msg-Id`: a second publish within the duplicate window is acknowledged and not stored."""
    ttl: float = 0.0
    """Seconds after which the message expires by itself; 0: never."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A stored message."""

    subject: str
    seq: int
    body: bytes
    id: str = ""
    """Its `Nats-Msg-Id`."""
    time: str = ""
    """When the broker stored it, RFC 3339."""
    origin: int = 0
    """Of a record of STATE: its sequence in FACTS, which STATE follows. 0 in every other stream."""


class Extent(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream reaches over."""

    first: int
    """Sequence of the oldest message that is kept; one more than `last` when there is none. 1: nothing has gone yet."""
    last: int
    """Sequence of the newest message ever stored."""
    first_time: str = ""
    """When the oldest was stored, RFC 3339; empty when there is none."""
    last_time: str = ""
    messages: int = 0
    size: int = 0
    """Bytes on disk."""


class Delivery(Protocol):
    """A record handed to a consumer. Exactly one of ack, nak, or nothing (it is redelivered after the ack wait)."""

    @property
    def record(self) -> Record:
        """The message itself."""

    @property
    def delivered(self) -> int:
        """How often it has been handed out, 1 the first time."""

    async def ack(self) -> None:
        """Say that it is done."""

    async def nak(self, delay: float = 0.0) -> None:
        """Ask for it again after `delay` seconds."""

    async def in_progress(self) -> None:
        """Start the ack wait anew."""


Handler = Callable[[Delivery], Awaitable[None]]


class FactLog(Protocol):
    """What a watcher needs of the event log: it publishes facts, and reads what STATE holds of its own."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish to FACTS in order; returns when all are acknowledged.

        Calls that wait at the same time are committed together, many messages as atomic batches of at most 1,000. A call
        that fails may have stored some of its messages, but never a later one of a subject, or a sync record, without
        those before it. Duplicates (by `Message.id`) are acknowledged, not stored.

        Raises:
            MessageTooLarge: for a message over the limit; nothing of the call was published.
            EventLogError: when the outcome of some is unknown; publish the same messages again.

        """

    async def last(self, stream: str, subjects: Sequence[str], *, most: int | None = None) -> dict[str, Record]:
        """Return the last record of each subject that has one; filters with wildcards give one per matching subject.

        Concurrent calls for one stream are sent as one request of at most 1,000 subjects.

        Args:
            stream: which stream.
            subjects: exact ones and wildcards.
            most: matches of a wildcard that are enough; where there are more, some may be left out. None: all of them.

        """

    def scan(self, stream: str, filters: Sequence[str], *, headers_only: bool = False) -> AsyncIterator[Record]:
        """Iterate over the last record of every subject matching any filter, then end. Bodies are empty if headers_only.

        A subject that changes meanwhile may come twice, the newest last.

        Raises:
            EventLogError: when the broker fails; what came until then is not complete.

        """

    async def incarnation(self, stream: str) -> str:
        """Return which life of the stream this is: it changes when the stream is re-created. Cached for a second."""

    async def heal(self) -> list[str]:
        """Look for what breaks sourcing FACTS into STATE (DESIGN §5), mend it, and return what was found, in words.

        A non-empty answer means that STATE may lack facts: every watcher must do a healing pass.
        """


class EventLog(FactLog, Protocol):
    """The streams of DESIGN §5. Stream names: FACTS, STATE, INDEX, REQUESTS, DECISIONS, TIMERS."""

    async def prepare(self) -> None:
        """Create or migrate every stream; safe to call by many processes at once and again.

        Raises:
            EventLogError: when a stream cannot be made as DESIGN §5 asks, saying which and why.

        """

    async def append(
        self, stream: str, message: Message, *, expect_last: int | None = None, rollup: bool = False
    ) -> int:
        """Publish one message to a stream other than FACTS and return its sequence.

        Args:
            stream: the stream that holds the subject.
            message: what to publish.
            expect_last: sequence that the subject's last message must have; 0: there must be none; None: no precondition.
            rollup: drop the subject's earlier messages.

        Raises:
            WrongLastSequence: when the precondition does not hold.

        """

    async def publish_many(self, stream: str, messages: Sequence[Message]) -> None:
        """Publish to a stream other than FACTS, pipelined, without preconditions; returns when all are acknowledged."""

    def follow(self, stream: str, filters: Sequence[str], *, after: int | None = None) -> AsyncIterator[Record]:
        """Iterate over records as they come, in stream order and without an end.

        Args:
            stream: which stream.
            filters: subjects, wildcards allowed.
            after: start behind this sequence; None: only what is published from now on.

        """

    def replay(self, stream: str, filters: Sequence[str], *, after: int, until: int) -> AsyncIterator[Record]:
        """Iterate over every record behind `after`, up to and with `until`, in stream order, then end.

        Raises:
            EventLogError: when the broker fails; what came until then is not complete.

        """

    async def position(self, stream: str, at: float) -> int:
        """Return the sequence of the last message stored before a wall time (seconds since the epoch).

        Where the oldest that is kept was stored later, that is the one before it: what lies there cannot be told.
        """

    async def extent(self, stream: str) -> Extent:
        """Return what the stream reaches over."""

    async def purge(self, stream: str, pattern: str) -> None:
        """Delete every message whose subject matches."""

    async def consume(
        self, stream: str, durable: str, filters: Sequence[str], handler: Handler, *, concurrency: int, ack_wait: float
    ) -> None:
        """Run `handler` for each delivery of a shared durable consumer until cancelled.

        At most `concurrency` handlers run at once and no more messages than that are held. While a handler runs its
        message is kept from being redelivered. A handler that raises is logged, and its message comes again after a delay
        that grows with its deliveries. Cancelled, the call cancels its handlers and hands their messages back at once.
        The consumer is created or migrated if needed, and re-created if the stream was.
        """

    async def schedule(self, key_subject: str, due_subject: str, at: float, body: bytes = b"") -> None:
        """Publish a durable timer: at wall time `at` (seconds since the epoch) `due_subject` gets `body`.

        Scheduling the same `key_subject` again replaces the timer.
        """

    async def last_sequence(self, stream: str) -> int:
        """Return the sequence of the stream's last message, 0 when it is empty."""

    async def close(self) -> None:
        """Flush and disconnect."""


class Reply(msgspec.Struct, frozen=True):
    """An API server's answer to one request, any status."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}


class ClusterUnreachable(Exception):
    """Raised when no HTTP answer came: refused, timed out, TLS or DNS failure, connection lost. Never means absence.

    Attributes:
        sent: whether the request may have reached the API server all the same, and may have been carried out.

    """

    def __init__(self, message: str = "", *, sent: bool = False) -> None:
        """Take what happened, in words."""
        super().__init__(message)
        self.sent = sent


class CredentialsRejected(Exception):
    """Raised when credentials cannot be had at all: no such file, an exec plugin that fails or is not on the allow-list."""


class ClusterApi(Protocol):
    """One cluster's API server. Answers are returned whatever their status; no answer raises."""

    @property
    def name(self) -> ClusterName:
        """The cluster's configured name."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout: float,
    ) -> Reply:
        """Send one request and return the answer.

        Args:
            method: HTTP method.
            path: absolute path on the API server, already percent-encoded.
            params: query parameters.
            body: bytes to send.
            content_type: of the body.
            accept: media type asked for.
            timeout: seconds for the whole exchange.

        Raises:
            ClusterUnreachable: when no answer came.
            CredentialsRejected: when there was nothing to authenticate with.

        """

    def stream(
        self, path: str, *, params: Mapping[str, str], idle_timeout: float
    ) -> AsyncIterator[Reply | list[bytes]]:
        """Open a watch. The first item is a Reply (status, headers; the body too when it is not 200), then lists of whole
        lines as they arrive. Ends when the server closes.

        Raises:
            ClusterUnreachable: when the connection is lost, a line is cut off at the end, or nothing at all arrives for
                `idle_timeout` seconds (W-16).
            CredentialsRejected: as for `request`.

        """  # noqa: D205

    async def close(self) -> None:
        """Close every connection."""


class Seen(NamedTuple):
    """An existing object as a decision saw it, or as we left it since."""

    uid: Uid
    version: ResourceVersion
    finalizers: tuple[str, ...] | None = None
    """At that very version; None: not known."""


class Performed(msgspec.Struct, frozen=True):
    """What became of a decision's actions."""

    outcomes: tuple[Outcome, ...]
    """One for each action, in order."""
    objects: dict[ObjectRef, bytes] = {}
    """Written objects as the servers answered them, whole: for the view, never for a record."""


class Clock(Protocol):
    """Time, passed in so that tests own it."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""

    def time(self) -> float:
        """Wall time, seconds since the epoch. Nothing but display, timers and `view.now` may depend on it."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""
