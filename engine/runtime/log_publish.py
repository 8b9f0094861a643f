"""Publishing as group commit: whatever waits for one stream goes together, in order, and is acknowledged together.

Rules:

- Jobs (calls) take turns, 250 messages each, so that one cluster's first list does not hold up another's changes.
- From 32 messages on a group is an atomic batch: one acknowledgement, four fsyncs however many messages. A smaller one is
  sent as single messages in a pipeline: an atomic batch costs the broker about 3 ms whatever its size (measured).
- A group of single messages in an ordered stream never holds a subject twice, nor a sync record behind facts: if one
  message of it failed, a later one must not have been stored that says or implies more.
- The next batch is sent while the one before it commits, all but its last message: the broker is kept busy and batches
  still commit in order.
- A batch that is refused for a duplicate id (a retry of one whose outcome was unknown) is sent again as single
  messages; the broker acknowledges the duplicates and stores the rest.
- After a failure nothing more of that job is sent: its caller publishes all of it again.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import structlog

from engine.runtime import log_wire as wire
from engine.runtime.jetstream import Connection
from engine.runtime.log_errors import NoAnswer, NobodyListens, Refused
from engine.runtime.log_wire import Answer, Outgoing
from engine.runtime.ports import EventLogError, WrongLastSequence

BATCH_MESSAGES = 1000
"""The broker's limit for an atomic batch."""
BATCH_BYTES = 8 * 1024 * 1024
"""A batch is held in memory on both sides; above this, larger batches are no faster."""
ATOMIC_FROM = 32
"""Messages from which an atomic batch is cheaper than single messages, with fsync or without (measured)."""
TURN_MESSAGES = 250
"""Messages a job may put into a batch while others wait: a quarter, so that four fit."""
COMMIT_TIMEOUT_SECONDS = 10.0
"""The broker forgets a batch that stands still for as long."""

_BARRIER = b"sync."
_WRONG_LAST_SEQUENCE = {10071, 10164}
"""The second one where a batch holds a subject twice."""
_DUPLICATE_IN_BATCH = 10201

_log = structlog.get_logger(__name__)


class _Job:
    """One call's messages."""

    def __init__(self, items: Sequence[Outgoing]) -> None:
        self.items = items
        self.seqs = [0] * len(items)
        self.taken = 0
        """How many are in a group, or were."""
        self.left = len(items)
        self.done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

    def stored(self, index: int, seq: int) -> None:
        self.seqs[index] = seq
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(self.seqs)

    def fail(self, problem: EventLogError) -> None:
        if not self.done.done():
            self.done.set_exception(problem)


_Entry = tuple[_Job, int]
"""A message: its job and its place in it."""


class _Acks:
    """Collects the answers to a group's messages, by their place in the group."""

    def __init__(self, expected: int) -> None:
        self.answers: dict[int, Answer] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._expected = expected

    def received(self, tail: bytes, headers: bytes, body: bytes) -> None:
        self.answers[int(tail)] = Answer(headers, body)
        if len(self.answers) >= self._expected and not self.done.done():
            self.done.set_result(None)

    def lost(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


class _Batch:
    """An atomic batch on its way: everything but its last message has been sent."""

    def __init__(self, entries: list[_Entry], generation: int, acks: _Acks, reply: bytes, commit: bytes) -> None:
        self.entries = entries
        self.generation = generation
        self.acks = acks
        self.reply = reply
        self.commit = commit


class GroupCommit:
    """The writer of one stream in this process."""

    def __init__(
        self,
        connection: Connection,
        stream: str,
        *,
        ordered: bool = False,
        first_look: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Write to `stream`.

        Args:
            connection: the door.
            stream: for messages only: the subject says where a message goes.
            ordered: whether readers conclude something from the order of different subjects (FACTS).
            first_look: called on each new connection before anything is sent; what it raises fails the calls that wait.

        """
        self._connection = connection
        self._stream = stream
        self._ordered = ordered
        self._first_look = first_look
        self._looked = 0
        """Generation of the connection for which that was done."""
        self._jobs: deque[_Job] = deque()
        """Those with messages that are in no group yet."""
        self._open: set[_Job] = set()
        """Those whose callers wait."""
        self._sender: asyncio.Task[None] | None = None
        self._batch_prefix = secrets.token_hex(8)
        self._batch_numbers = itertools.count(1)

    async def send(self, items: Sequence[Outgoing]) -> list[int]:
        """Return the sequences of the messages once all are stored.

        Raises:
            WrongLastSequence: when a message's precondition does not hold.
            EventLogError: when one was refused, or the outcome is unknown; some may have been stored.

        """
        if not items:
            return []
        job = _Job(items)
        self._jobs.append(job)
        self._open.add(job)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all(), name=f"publish to {self._stream}")
        try:
            return await job.done
        finally:
            self._open.discard(job)

    async def close(self) -> None:
        """Stop; whoever still waits learns that the outcome is unknown."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)

    # --- the sender: one task while there is something to send ---

    async def _send_all(self) -> None:
        staged: _Batch | None = None
        problem: EventLogError = NoAnswer(f"stream {self._stream}: closed while publishing")
        try:
            while staged or self._jobs:
                await self._connection.wait_up(COMMIT_TIMEOUT_SECONDS)
                if self._first_look is not None and self._looked != (generation := self._connection.generation):
                    await self._first_look()
                    self._looked = generation
                    continue  # the connection may be another by now
                staged = await self._send_next(staged)
        except EventLogError as lost:
            problem = lost
        finally:  # nobody may be left waiting, whatever ended this
            self._jobs.clear()
            for job in self._open:
                job.fail(problem)

    async def _send_next(self, staged: _Batch | None) -> _Batch | None:
        """Send one group, and stage the next if this one is a batch; return the staged one."""
        if staged is not None and not self._still_good(staged):
            self._put_back(staged.entries)
            self._connection.forget(staged.reply)
            staged = None
        entries = staged.entries if staged else self._take()
        if not staged and not self._is_batch(entries):
            await self._send_singles(entries)
            return None
        batch = staged or self._stage(entries)
        self._connection.write(batch.commit)
        following = self._take()
        if following and not self._is_batch(following):
            self._put_back(following)
            following = []
        staged = self._stage(following) if following else None
        await self._finish(batch)
        return staged

    def _is_batch(self, entries: list[_Entry]) -> bool:
        return len(entries) >= ATOMIC_FROM

    def _still_good(self, batch: _Batch) -> bool:
        """Whether a staged batch may be committed: same connection, and none of its callers has been told of a failure."""
        return batch.generation == self._connection.generation and not any(job.done.done() for job, _ in batch.entries)

    def _take(self) -> list[_Entry]:
        """Take the next group off the jobs, in turns."""
        entries: list[_Entry] = []
        room = BATCH_BYTES
        while self._jobs and len(entries) < BATCH_MESSAGES and room > 0:
            job = self._jobs[0]
            if job.done.done():  # failed, or its caller was cancelled
                self._jobs.popleft()
                continue
            alone = len(self._jobs) == 1
            limit = min(BATCH_MESSAGES - len(entries), BATCH_MESSAGES if alone else TURN_MESSAGES)
            stop = min(len(job.items), job.taken + limit)
            while job.taken < stop and room > 0:
                room -= wire.wire_size(job.items[job.taken])
                entries.append((job, job.taken))
                job.taken += 1
            if job.taken == len(job.items):
                self._jobs.popleft()
            else:
                self._jobs.rotate(-1)
        if not self._is_batch(entries):
            passable = self._passable(entries)
            self._put_back(entries[passable:])
            return entries[:passable]
        return entries

    def _passable(self, entries: list[_Entry]) -> int:
        """Return how many of the entries may be in flight together as single messages; see the rules."""
        subjects: set[bytes] = set()
        for index, (job, place) in enumerate(entries[:TURN_MESSAGES]):
            subject = job.items[place].subject
            if self._ordered and (subject in subjects or (index and subject.startswith(_BARRIER))):
                return index
            subjects.add(subject)
        return min(len(entries), TURN_MESSAGES)

    def _put_back(self, entries: list[_Entry]) -> None:
        """Undo the taking of entries that were not sent; they stay first in line."""
        first: dict[_Job, int] = {}
        for job, place in entries:
            first.setdefault(job, place)
        for job, place in reversed(first.items()):
            job.taken = place
            if job in self._jobs:
                self._jobs.remove(job)
            self._jobs.appendleft(job)

    # --- atomic batches ---

    def _stage(self, entries: list[_Entry]) -> _Batch:
        """Send a batch but for its last message."""
        head = b"Nats-Batch-Id: %b%x\r\nNats-Batch-Sequence: " % (
            self._batch_prefix.encode(),
            next(self._batch_numbers),
        )
        acks = _Acks(1)
        reply = self._connection.listen(acks)
        commands = []
        for number, (job, place) in enumerate(entries[:-1], 1):
            item = job.items[place]
            headers = b"%b%b%d\r\n" % (item.headers, head, number)
            commands.append(wire.publish(item.subject, item.body, headers=headers))
        self._connection.write(b"".join(commands))
        job, place = entries[-1]
        item = job.items[place]
        headers = b"%b%b%d\r\nNats-Batch-Commit: 1\r\n" % (item.headers, head, len(entries))
        commit = wire.publish(item.subject, item.body, reply=reply + b".0", headers=headers)
        return _Batch(entries, self._connection.generation, acks, reply, commit)

    async def _finish(self, batch: _Batch) -> None:
        """Wait for a batch's acknowledgement and tell its callers."""
        try:
            answer = (await self._collect(batch.acks, batch.reply)).get(0)
            last = self._sequence(answer)
        except Refused as problem:
            if problem.err_code != _DUPLICATE_IN_BATCH:
                self._fail(batch.entries, problem)
                return
            _log.debug("batch refused, sending one by one", stream=self._stream, reason=problem.description)
            await self._send_one_by_one(batch.entries)
        except WrongLastSequence:
            await self._send_one_by_one(batch.entries)
        except EventLogError as problem:
            self._fail(batch.entries, problem)
        else:
            first = last - len(batch.entries) + 1
            for number, (job, place) in enumerate(batch.entries):
                job.stored(place, first + number)

    async def _send_one_by_one(self, entries: list[_Entry]) -> None:
        """Send a refused batch's messages as groups of single ones."""
        generation = self._connection.generation
        waiting = entries
        while waiting:
            if not self._connection.is_up or generation != self._connection.generation:
                self._fail(waiting, NoAnswer(f"stream {self._stream}: the connection was lost while publishing"))
                return
            waiting = [(job, place) for job, place in waiting if not job.done.done()]
            count = self._passable(waiting)
            await self._send_singles(waiting[:count])
            waiting = waiting[count:]

    # --- single messages ---

    async def _send_singles(self, entries: list[_Entry]) -> None:
        """Send messages in a pipeline and tell each one's caller."""
        if not entries:
            return
        acks = _Acks(len(entries))
        reply = self._connection.listen(acks)
        commands = []
        for number, (job, place) in enumerate(entries):
            item = job.items[place]
            to = b"%b.%d" % (reply, number)
            commands.append(wire.publish(item.subject, item.body, reply=to, headers=item.headers))
        self._connection.write(b"".join(commands))
        answers = await self._collect(acks, reply)
        for number, (job, place) in enumerate(entries):
            try:
                job.stored(place, self._sequence(answers.get(number)))
            except EventLogError as problem:
                job.fail(problem)

    async def _collect(self, acks: _Acks, reply: bytes) -> dict[int, Answer]:
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_SECONDS):
                await acks.done
        except TimeoutError:
            pass  # what has not been answered by now is missing from the answers
        finally:
            self._connection.forget(reply)
        return acks.answers

    def _sequence(self, answer: Answer | None) -> int:
        """Return the sequence in an acknowledgement.

        Raises:
            WrongLastSequence: when the message's precondition did not hold.
            Refused: when the broker refused it for another reason.
            NobodyListens: when no stream takes the subject.
            NoAnswer: when there was none: the outcome is unknown.

        """
        if answer is None:
            raise NoAnswer(f"stream {self._stream}: not acknowledged; it may or may not have been stored")
        if answer.status == 503:
            raise NobodyListens(f"stream {self._stream} is not there, or JetStream is not running")
        ack = wire.pub_ack(answer.body)
        if ack.error is None:
            return ack.seq
        if ack.error.err_code in _WRONG_LAST_SEQUENCE:
            raise WrongLastSequence(f"stream {self._stream}: {ack.error.description}")
        raise Refused(f"stream {self._stream}", ack.error.code, ack.error.err_code, ack.error.description)

    def _fail(self, entries: Sequence[_Entry], problem: EventLogError) -> None:
        for job, _ in entries:
            job.fail(problem)
