"""The hub's door for members: what a member's agent may do with the log, and nothing else.

In: questions on `members.<cluster>`; the broker lets nobody but that member publish there. Out: what `member_rights` lets
through goes to the log; answers go to that member's own inbox, whatever reply the question names. A member that is not joined
any more, because its ClusterJoin is gone or names another key, is refused at once, though its credential has not ended yet.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import msgspec
import structlog

from engine.core.late_facts import news
from engine.core.member_rights import MemberIdentity, may_read, problem_of
from engine.runtime import log_wire as wire
from engine.runtime.checkpoints import caught_up
from engine.runtime.jetstream import Connection
from engine.runtime.ports import Clock, EventLog, EventLogError, Message, MessageTooLarge, Record
from schemas import subjects
from schemas.members import (
    Last,
    Life,
    Lives,
    LogAnswer,
    LogAsk,
    LogFailed,
    LogRecord,
    More,
    Publish,
    Published,
    Records,
    Scan,
    encode,
    log_asks,
)
from schemas.names import ClusterName

STREAMS = ("FACTS", "STATE")
QUESTIONS = 64
"""Of one member at once; what it asks beyond that is answered that it must wait. One watcher has two or three."""
PAGE_RECORDS = 1000
PAGE_BYTES = 512 * 1024
"""An answer ends with the record that reaches this: 512 KiB and one object stay below the broker's limit."""
SCANS = 64
"""Open ones of a member at once: its types are read one after the other, a few side by side."""
SCAN_SECONDS = 60.0
"""A scan that nobody has gone on with for so long is closed."""
MIND_SECONDS = 5.0
"""Between two looks at the streams' health (DESIGN §5)."""

Members = Callable[[ClusterName], Awaitable[MemberIdentity | None]]
"""Tells who a member is; None: it is none, or not any more."""

_log = structlog.get_logger(__name__)


class MemberGateway:
    """Answers for the log.

    Args:
        connection: to the broker, as the engine.
        log: what is asked.
        clock: time.
        members: who is joined.

    """

    def __init__(self, connection: Connection, log: EventLog, clock: Clock, members: Members) -> None:
        self._connection, self._event_log, self._clock, self._members = connection, log, clock, members
        self.heard: dict[ClusterName, float] = {}
        """When each member last asked something, by the clock's monotonic time."""
        self._run, self._healed = secrets.token_hex(4), 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: dict[str, int] = {}
        self._scans: dict[tuple[ClusterName, str], _Scan] = {}

    async def run(self) -> None:
        """Answer until cancelled."""
        subscription = await self._connection.subscribe(subjects.member("*"), self._route)
        try:
            while True:
                await self._mind()
                for place in [place for place, scan in self._scans.items() if scan.idle(self._clock)]:
                    await self._scans.pop(place).close()
                await self._clock.sleep(MIND_SECONDS)
        finally:
            await subscription.end()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for scan in self._scans.values():
                await scan.close()

    async def _mind(self) -> None:
        """Notice that STATE may lack facts: members hear of it by the next number, and publish everything again."""
        try:
            found = await self._event_log.heal()
        except EventLogError:
            return  # publishing fails as well, and says so
        if found:
            _log.warning("members are to heal the log", reason="; ".join(found))
            self._healed += 1

    def _route(self, subject: bytes, reply: bytes, _headers: bytes, body: bytes) -> None:
        text = subject.decode()
        cluster = subjects.parse_member(text)
        inbox = f"{subjects.member_inbox(cluster)}.".encode()
        if not reply.startswith(inbox):
            # Answered as asked, we would say with our rights whatever a member likes wherever it likes.
            _log.error("member asks for an answer to somebody else", cluster=cluster, reply=reply.decode("latin-1"))
            return
        self.heard[cluster] = self._clock.monotonic()
        if self._busy.get(text, 0) >= QUESTIONS:
            self._answer(reply, LogFailed("too many questions at once"))
            return
        self._busy[text] = self._busy.get(text, 0) + 1
        task = asyncio.create_task(self._serve(cluster, reply, body), name=f"question of {cluster}")
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._served(text, done))

    def _served(self, subject: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._busy[subject] -= 1
        if not self._busy[subject]:
            del self._busy[subject]

    def _answer(self, reply: bytes, answer: LogAnswer) -> None:
        self._connection.write(wire.publish(reply, encode(answer)))

    async def _serve(self, cluster: ClusterName, reply: bytes, body: bytes) -> None:
        try:
            member = await self._members(cluster)
            if member is None:
                answer: LogAnswer = LogFailed(f"{cluster} is no member (any more): its ClusterJoin says so")
            else:
                answer = await self._do(member, log_asks.decode(body))
        except msgspec.DecodeError:
            answer = LogFailed("the question cannot be understood")
        except MessageTooLarge as problem:
            answer = LogFailed(str(problem), too_large=True)
        except EventLogError as problem:
            answer = LogFailed(str(problem))
        self._answer(reply, answer)

    async def _do(self, member: MemberIdentity, ask: LogAsk) -> LogAnswer:
        match ask:
            case Publish():
                return await self._publish(member, ask)
            case Last(wanted):
                if not all(may_read(member, subject) for subject in wanted):
                    return _refused(member, "a member reads what is its own")
                found = await self._event_log.last("STATE", wanted)
                return Records([_told(record) for record in found.values()])
            case Scan(filters, headers_only):
                return await self._scan(member, filters, headers_only=headers_only)
            case More(scan):
                return await self._more((member.cluster, scan))
            case Life(stream):
                if stream not in STREAMS:
                    return _refused(member, f"stream {stream} is not for members")
                return Lives(await self._event_log.incarnation(stream), f"{self._run}.{self._healed}")

    async def _publish(self, member: MemberIdentity, ask: Publish) -> LogAnswer:
        messages = ask.messages
        for message in messages:
            if problem := problem_of(member, message):
                return _refused(member, problem)
        if ask.lives and ask.lives != tuple([await self._event_log.incarnation(stream) for stream in STREAMS]):
            return LogFailed(f"{' or '.join(STREAMS)} was created anew since these facts were made", outlived=True)
        if ask.late:
            found = await self._event_log.last("FACTS", list({message.subject for message in messages}))
            messages = news(messages, {subject: record.id for subject, record in found.items()})
        await self._event_log.publish(
            [Message(subject=one.subject, body=one.body, id=one.id, ttl=max(0.0, one.ttl)) for one in messages]
        )
        if ask.late:
            # Whoever starts with facts on its disk reads STATE as soon as they are gone: it must find them there.
            await caught_up(self._event_log, await self._event_log.last_sequence("FACTS"), self._clock)
        return Published()

    async def _scan(self, member: MemberIdentity, filters: list[str], *, headers_only: bool) -> LogAnswer:
        if not filters or not all(may_read(member, pattern) for pattern in filters):
            return _refused(member, "a member reads what is its own")
        if sum(cluster == member.cluster for cluster, _ in self._scans) >= SCANS:
            return LogFailed("too many scans at once")
        place = (member.cluster, secrets.token_hex(8))
        self._scans[place] = _Scan(self._event_log.scan("STATE", filters, headers_only=headers_only), self._clock)
        return await self._more(place)

    async def _more(self, place: tuple[ClusterName, str]) -> LogAnswer:
        scan = self._scans.pop(place, None)  # taken out while it is used: asked twice at once, the second is refused
        if scan is None:
            return LogFailed("there is no such scan (any more)")
        records, whole = await scan.page()
        if whole:
            return Records(records)
        self._scans[place] = scan
        return Records(records, place[1])


class _Scan:
    """A scan that is read page by page."""

    def __init__(self, records: AsyncIterator[Record], clock: Clock) -> None:
        self._stack = aclosing(records)  # type: ignore[type-var]  # the log's are generators
        self._records, self._clock = records, clock
        self._used = clock.monotonic()

    def idle(self, clock: Clock) -> bool:
        return clock.monotonic() - self._used > SCAN_SECONDS

    async def page(self) -> tuple[list[LogRecord], bool]:
        """Return the next records, and whether they were the last. It is closed then, and when it fails."""
        found: list[LogRecord] = []
        size, whole = 0, True
        try:
            async for record in self._records:
                found.append(_told(record))
                size += len(record.body) + len(record.subject) + len(record.id)
                if len(found) >= PAGE_RECORDS or size >= PAGE_BYTES:
                    whole = False
                    break
        finally:
            if whole:
                await self.close()
        self._used = self._clock.monotonic()
        return found, whole

    async def close(self) -> None:
        await self._stack.__aexit__(None, None, None)


def _told(record: Record) -> LogRecord:
    return LogRecord(record.subject, record.seq, record.body, record.id, record.time, record.origin)


def _refused(member: MemberIdentity, problem: str) -> LogFailed:
    _log.error("member refused", cluster=member.cluster, problem=problem)
    return LogFailed(problem)
