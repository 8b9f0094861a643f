"""The log as a member's watcher has it (the port `FactLog`): through the hub's gateway, over the one subject it may use.

In: facts to publish, questions about its own part of STATE. Nothing is kept here: while the hub is away everything fails as
it would with a broker that is away, the watcher keeps what it can and reads the rest anew when the hub is back. What keeps
facts meanwhile is `kept_log`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from engine.runtime.jetstream import Connection
from engine.runtime.ports import EventLogError, Message, MessageTooLarge, Record
from schemas import subjects
from schemas.members import (
    Last,
    Life,
    Lives,
    LogAnswer,
    LogAsk,
    LogFailed,
    LogMessage,
    LogRecord,
    More,
    Publish,
    Records,
    Scan,
    encode,
    log_answers,
)
from schemas.names import ClusterName

ANSWER_SECONDS = 15.0
"""The gateway gives the broker ten seconds to acknowledge."""
CHUNK_BYTES = 1024 * 1024
"""Of messages in one question, unless a single one is larger; well below the broker's limit."""
LIFE_CACHE_SECONDS = 1.0
_ROOM_BYTES = 4096
"""For what stands around a message in a question."""


class Outlived(EventLogError):
    """Raised when facts were meant for streams that have been created anew since; those are read again anyway."""


class MemberLog:
    """The log of one member.

    Args:
        connection: to the hub's broker, as the member.
        cluster: its name.

    """

    def __init__(self, connection: Connection, cluster: ClusterName) -> None:
        self._connection, self._subject = connection, subjects.member(cluster)
        self._lives: dict[str, tuple[float, str]] = {}
        self._healed = ""

    @property
    def is_up(self) -> bool:
        """Whether the hub's broker is there just now."""
        return self._connection.is_up

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish to FACTS; see the port."""
        for chunk in self.chunks(messages):
            await self.put(Publish(chunk))

    def chunks(self, messages: Sequence[Message]) -> list[list[LogMessage]]:
        """Return messages as questions are to hold them.

        Raises:
            MessageTooLarge: when there is one that the broker would not take.

        """
        limit = self._connection.max_payload - _ROOM_BYTES
        for message in messages:
            if len(message.body) + len(message.subject) + len(message.id) > limit:
                raise MessageTooLarge(f"{message.subject}: {len(message.body)} bytes, the broker takes {limit}")
        return _chunks(messages)

    async def put(self, ask: Publish) -> None:
        """Publish what one question holds.

        Raises:
            Outlived: when it was meant for streams that have been created anew since.
            EventLogError: when it cannot be told whether it was stored.

        """
        await self._ask(ask)

    async def last(self, stream: str, subjects: Sequence[str], *, most: int | None = None) -> dict[str, Record]:  # noqa: ARG002 - the port's signature
        """Read last records of exact subjects; see the port."""
        answer = await self._ask(Last([*subjects]))
        return {record.subject: _record(record) for record in _records(answer).records}

    async def scan(self, stream: str, filters: Sequence[str], *, headers_only: bool = False) -> AsyncIterator[Record]:  # noqa: ARG002
        """Iterate over last records; see the port."""
        page = _records(await self._ask(Scan([*filters], headers_only)))
        while True:
            for record in page.records:
                yield _record(record)
            if not page.scan:
                return
            page = _records(await self._ask(More(page.scan)))

    async def incarnation(self, stream: str) -> str:
        """Return which life of the stream this is; cached for a second."""
        now = asyncio.get_running_loop().time()
        at, life = self._lives.get(stream, (float("-inf"), ""))
        if now - at > LIFE_CACHE_SECONDS:
            life = (await self._life(stream)).incarnation
            self._lives[stream] = (now, life)
        return life

    async def heal(self) -> list[str]:
        """Ask whether STATE may lack facts, and return that in words; so too when the gateway began anew: nobody looked."""
        before, self._healed = self._healed, (await self._life("STATE")).healed
        return ["the hub says that its log may lack facts"] if before and before != self._healed else []

    async def _life(self, stream: str) -> Lives:
        answer = await self._ask(Life(stream))
        if not isinstance(answer, Lives):
            raise EventLogError(f"{self._subject}: the hub answered something else than was asked")
        return answer

    async def _ask(self, ask: LogAsk) -> LogAnswer:
        found = await self._connection.request(self._subject, encode(ask), timeout=ANSWER_SECONDS)
        try:
            answer = log_answers.decode(found.body)
        except msgspec.DecodeError as problem:
            raise EventLogError(f"{self._subject}: the hub's answer cannot be understood: {problem}") from problem
        if isinstance(answer, LogFailed):
            kind = MessageTooLarge if answer.too_large else Outlived if answer.outlived else EventLogError
            raise kind(answer.message)
        return answer


def _chunks(messages: Sequence[Message]) -> list[list[LogMessage]]:
    chunks: list[list[LogMessage]] = []
    size = CHUNK_BYTES
    for message in messages:
        if size + len(message.body) > CHUNK_BYTES:
            chunks.append([])
            size = 0
        size += len(message.body) + len(message.subject) + len(message.id)
        chunks[-1].append(LogMessage(message.subject, message.body, message.id, message.ttl))
    return chunks


def _records(answer: LogAnswer) -> Records:
    if not isinstance(answer, Records):
        raise EventLogError("the hub answered something else than was asked")
    return answer


def _record(told: LogRecord) -> Record:
    return Record(subject=told.subject, seq=told.seq, body=told.body, id=told.id, time=told.time, origin=told.origin)
