"""Reading last records: concurrent calls for one stream become one direct get of many subjects.

A worker makes thousands of small reads a second; each request costs client and broker about as much as thirty records.
So calls wait for the end of the loop's turn, and longer while four requests are out, and then go together.

- Exact subjects and wildcards travel apart: a wildcard may match too much and be refused (413), and must not spoil others.
- An answer is handed to its callers by subject; a wildcard's by the *shape* of its pattern: which tokens are literal.
  One dictionary look-up per shape, not one comparison per pattern.
- A wildcard that matches more than 1,024 subjects is read by a scan.
- Requests cut off by a lost connection are sent again on the next one, as long as their callers wait.
- One timer for all calls: there is an answer within a millisecond, and a timer of its own would cost a call a tenth more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar

import msgspec

from engine.runtime import log_wire as wire
from engine.runtime.jetstream import REQUEST_TIMEOUT_SECONDS, Connection
from engine.runtime.log_errors import NoAnswer, NobodyListens, Refused
from engine.runtime.ports import EventLogError, Record

SUBJECTS_PER_REQUEST = 1000
"""The broker answers at most 1,024 subjects."""
REQUEST_BYTES = 256 * 1024
"""Of subjects in one request: it has to pass the broker's message limit, which may be 1 MB."""
PATTERNS_PER_REQUEST = 64
"""Wildcards in one request: few enough that one which matches a lot seldom has to be asked for again alone."""
REQUESTS_IN_FLIGHT = 4
"""Per stream. More do not help: the broker reads a stream one request at a time."""
PAGE_BYTES = 8 * 1024 * 1024
"""The broker cuts a connection that lags 64 MB behind; four pages of this size are half of that."""

_TOO_MANY = 413
_END = 204
_NOTHING = 404

Scan = Callable[[str, int | None], Awaitable[list[Record]]]
"""Reads the last records that match a filter: all of them, or so many if there are more."""
Value = TypeVar("Value")
_Shape = tuple[tuple[int, ...], int, bool]
"""Positions of the literal tokens, number of tokens before a closing `>`, whether there is one."""


class _Call:
    """One caller of `read`."""

    def __init__(self, parts: int, deadline: float, most: int | None) -> None:
        self.deadline = deadline
        """Loop time by which it is given up."""
        self.most = most
        """Matches of a wildcard that are enough; None: all."""
        self.left = parts
        """Subjects and patterns not answered yet."""
        self.found: dict[str, Record] = {}
        self.done: asyncio.Future[dict[str, Record]] = asyncio.get_running_loop().create_future()

    def add(self, record: Record) -> None:
        """Keep the newest: a subject may come by its name and by a wildcard, and change in between."""
        before = self.found.get(record.subject)
        if before is None or before.seq < record.seq:
            self.found[record.subject] = record

    def answered(self) -> None:
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(self.found)

    def fail(self, problem: EventLogError) -> None:
        if not self.done.done():
            self.done.set_exception(problem)


_Waiting = dict[str, list[_Call]]
"""Who waits for a subject or pattern."""


class Patterns(Generic[Value]):
    """Finds the patterns that match a subject, by one dictionary look-up per shape of pattern."""

    def __init__(self, patterns: Mapping[str, Sequence[Value]]) -> None:
        """Take what is to be found for each pattern."""
        self._shapes: dict[_Shape, dict[tuple[str, ...], list[Value]]] = {}
        for pattern, values in patterns.items():
            tokens = pattern.split(".")
            open_end = tokens[-1] == ">"
            if open_end:
                tokens.pop()
            positions = tuple(index for index, token in enumerate(tokens) if token != "*")  # noqa: S105 - a wildcard
            literals = tuple(tokens[index] for index in positions)
            shape = self._shapes.setdefault((positions, len(tokens), open_end), {})
            shape.setdefault(literals, []).extend(values)

    def matching(self, subject: str) -> list[Value]:
        """Return what was given for the patterns that match `subject`."""
        tokens = subject.split(".")
        found: list[Value] = []
        for (positions, length, open_end), values in self._shapes.items():
            if len(tokens) > length if open_end else len(tokens) == length:
                found += values.get(tuple([tokens[position] for position in positions]), ())
        return found


class _Get:
    """One request on its way: subjects or patterns, and who waits for them."""

    def __init__(self, reader: LastReader, wanted: _Waiting, *, wild: bool) -> None:
        self.wanted = wanted
        self.wild = wild
        self.reply = b""
        self.next_seq = 0
        self.heard = asyncio.get_running_loop().time()
        self._reader = reader
        self._patterns = Patterns(wanted) if wild else None

    def received(self, tail: bytes, headers: bytes, body: bytes) -> None:  # noqa: ARG002 - the port's signature
        self.heard = asyncio.get_running_loop().time()
        status = wire.status_of(headers)
        if status:
            self._reader.finished(self, status, headers)
            return
        record = wire.stored_record(headers, body)
        self.next_seq = record.seq + 1
        callers = self._patterns.matching(record.subject) if self._patterns else self.wanted.get(record.subject, ())
        for call in callers:
            call.add(record)

    def lost(self) -> None:
        self._reader.lost(self)


class LastReader:
    """Reads the last records of one stream."""

    def __init__(self, connection: Connection, stream: str, scan: Scan, is_ready: Callable[[], bool]) -> None:
        """Read `stream`.

        Args:
            connection: the door.
            stream: which one.
            scan: reads the last records that match one filter.
            is_ready: whether the stream may be read on the present connection; when it becomes so, `flush` is called.

        """
        self._is_ready = is_ready
        self._connection = connection
        self._stream = stream
        self._scan = scan
        self._exact: _Waiting = {}
        self._wild: _Waiting = {}
        self._unanswered: deque[_Call] = deque()
        """In order of their deadlines; some have been answered."""
        self._look: asyncio.TimerHandle | None = None
        self._in_flight: set[_Get] = set()
        self._scans: set[asyncio.Task[None]] = set()
        self._flushing = False

    async def read(self, subjects: Sequence[str], most: int | None = None) -> dict[str, Record]:
        """Return the last record of each subject that has one, and of each that a wildcard matches, or `most` of those.

        Raises:
            EventLogError: when the broker does not answer within some seconds, or lacks the stream.

        """
        wanted = dict.fromkeys(subjects)
        if not wanted:
            return {}
        loop = asyncio.get_running_loop()
        call = _Call(len(wanted), loop.time() + REQUEST_TIMEOUT_SECONDS, most)
        for subject in wanted:
            waiting = self._wild if "*" in subject or subject.endswith(">") else self._exact
            waiting.setdefault(subject, []).append(call)
        self._forget_answered()
        self._unanswered.append(call)
        if self._look is None:
            self._look = loop.call_at(call.deadline, self._give_up)
        self._flush_soon()
        return await call.done

    def _forget_answered(self) -> None:
        while self._unanswered and self._unanswered[0].done.done():
            self._unanswered.popleft()

    def _give_up(self) -> None:
        """Fail the calls that have waited too long, and look again when the next one will have."""
        loop = asyncio.get_running_loop()
        self._forget_answered()
        while self._unanswered and self._unanswered[0].deadline <= loop.time():
            late = f"stream {self._stream}: no answer to a read within {REQUEST_TIMEOUT_SECONDS:g} s"
            self._unanswered.popleft().fail(NoAnswer(late))
            self._forget_answered()
        self._look = loop.call_at(self._unanswered[0].deadline, self._give_up) if self._unanswered else None

    def close(self) -> None:
        """Stop, after the connection was closed; whoever still waits is told."""
        if self._look is not None:
            self._look.cancel()
        for task in self._scans:
            task.cancel()
        problem = NoAnswer(f"stream {self._stream}: closed while reading")
        for waiting in (self._exact, self._wild):
            _fail(waiting.values(), problem)
            waiting.clear()

    # --- sending ---

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Send what is waiting."""
        self._flushing = False
        if not self._is_ready():
            return  # flushed again when it is
        self._expire()
        while self._exact and len(self._in_flight) < REQUESTS_IN_FLIGHT:
            self._send(_Get(self, _split(self._exact, SUBJECTS_PER_REQUEST), wild=False))
        while self._wild and len(self._in_flight) < REQUESTS_IN_FLIGHT + 1:  # never behind a wall of exact ones
            self._send(_Get(self, _split(self._wild, PATTERNS_PER_REQUEST), wild=True))

    def _expire(self) -> None:
        """Forget requests that the broker has not answered: their callers have given up."""
        now = asyncio.get_running_loop().time()
        for get in [get for get in self._in_flight if now - get.heard > REQUEST_TIMEOUT_SECONDS]:
            self._end(get)

    def _send(self, get: _Get) -> None:
        request: dict[str, object] = {"multi_last": list(get.wanted), "max_bytes": PAGE_BYTES}
        if get.next_seq:
            request["seq"] = get.next_seq
        get.reply = self._connection.listen(get)
        self._in_flight.add(get)
        subject = b"$JS.API.DIRECT.GET.%b" % self._stream.encode()
        self._connection.write(wire.publish(subject, msgspec.json.encode(request), reply=get.reply))

    # --- answers ---

    def finished(self, get: _Get, status: int, headers: bytes) -> None:
        """Take the status that ends a page or a request."""
        self._end(get)
        if status == _END and int(wire.header(headers, b"Nats-Num-Pending") or 0) > 0:
            self._send(get)  # the next page, from behind the last record of this one
        elif status in (_END, _NOTHING):
            for calls in get.wanted.values():
                for call in calls:
                    call.answered()
        elif status == _TOO_MANY and len(get.wanted) > 1:
            for pattern, calls in get.wanted.items():
                self._send(_Get(self, {pattern: calls}, wild=get.wild))
        elif status == _TOO_MANY:
            for pattern, calls in get.wanted.items():
                self._start_scan(pattern, calls)
        else:
            _fail(get.wanted.values(), self._problem(status, headers))
        self._flush_soon()

    def lost(self, get: _Get) -> None:
        """Take back what a lost connection has swallowed; it is asked for again on the next one."""
        self._in_flight.discard(get)
        waiting = self._wild if get.wild else self._exact
        for subject, calls in get.wanted.items():
            again = [call for call in calls if not call.done.done()]
            if again:
                waiting.setdefault(subject, []).extend(again)

    def _end(self, get: _Get) -> None:
        self._connection.forget(get.reply)
        self._in_flight.discard(get)

    def _problem(self, status: int, headers: bytes) -> EventLogError:
        if status == 503:
            return NobodyListens(f"stream {self._stream} is not there, or JetStream is not running")
        description = headers.partition(b"\r\n")[0].decode(errors="replace")
        return Refused(f"read of stream {self._stream}", status, 0, description)

    def _start_scan(self, pattern: str, calls: list[_Call]) -> None:
        task = asyncio.create_task(self._read_by_scan(pattern, calls), name=f"scan of {self._stream} for {pattern}")
        self._scans.add(task)
        task.add_done_callback(self._scans.discard)

    async def _read_by_scan(self, pattern: str, calls: list[_Call]) -> None:
        try:
            limits = [call.most for call in calls if call.most is not None]
            records = await self._scan(pattern, max(limits) if len(limits) == len(calls) else None)
        except EventLogError as problem:
            _fail([calls], problem)
            return
        except asyncio.CancelledError:
            _fail([calls], NoAnswer(f"stream {self._stream}: closed while reading"))
            raise
        for call in calls:
            for record in records:
                call.add(record)
            call.answered()


def _fail(waiting: Iterable[list[_Call]], problem: EventLogError) -> None:
    for calls in waiting:
        for call in calls:
            call.fail(problem)


def _split(waiting: _Waiting, count: int) -> _Waiting:
    """Take the first `count` entries out, or fewer where they are long."""
    taken: _Waiting = {}
    room = REQUEST_BYTES
    for subject in list(islice(waiting, count)):
        room -= len(subject)
        if room < 0 and taken:
            break
        taken[subject] = waiting.pop(subject)
    return taken
