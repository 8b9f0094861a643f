"""The log as a member's watcher has it where the member keeps facts on its own disk (the port `FactLog`).

In: facts, which count as published as soon as they are on that disk. Out: the same facts, in order, to the hub's gateway, at
once or when the hub is back. The gateway looks at each as ever: what is on the disk is the questions that it will be asked.

A question whose answer was lost is asked again as a late one, so is everything that waited: the gateway stores what is still
news (`engine.core.late_facts`). What is read of STATE is read behind everything that was published before: a watcher that
began from less would not know what it had said. While the hub is away nothing can be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import structlog

from engine.runtime.kept_facts import KeptFacts
from engine.runtime.log_errors import Refused
from engine.runtime.member_log import CHUNK_BYTES, MemberLog, Outlived
from engine.runtime.ports import Clock, EventLogError, Message, Record
from schemas.members import Publish

RETRY_SECONDS = 0.5
RETRY_CAP_SECONDS = 10.0
"""Between two tries at a hub that is there but does not take what it is sent."""
BEHIND_SECONDS = 15.0
"""A reader waits so long for what was published before; then it tries again."""
STREAMS = ("FACTS", "STATE")

_log = structlog.get_logger(__name__)


class KeptLog:
    """The log of one member.

    Args:
        hub: the way to the hub's gateway.
        facts: what is kept.
        clock: time.

    """

    def __init__(self, hub: MemberLog, facts: KeptFacts, clock: Clock) -> None:
        self._hub, self._facts, self._clock = hub, facts, clock
        self._lives: dict[str, str] = {}
        """As the watcher knows them: it publishes everything again when one has changed."""
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Send what is kept to the hub until cancelled."""
        self._facts.rewind()
        late, wait = True, RETRY_SECONDS
        while True:
            try:
                seq, question = await self._facts.next(CHUNK_BYTES)
                late = await self._send(seq, Publish(question.messages, late, question.lives))
                wait = RETRY_SECONDS
            except EventLogError as problem:
                _log.warning("kept facts wait", problem=str(problem), retry_in=wait)
                await self._clock.sleep(wait)
                wait, late = min(RETRY_CAP_SECONDS, wait * 2), True

    async def _send(self, seq: int, ask: Publish) -> bool:
        """Put a question until it is answered; return whether what comes next is late as well."""
        wait = RETRY_SECONDS
        late = ask.late
        while True:
            try:
                await self._hub.put(Publish(ask.messages, late, ask.lives))
                break
            except Outlived as problem:
                _log.warning(
                    "kept facts are dropped: they are read again", facts=len(ask.messages), reason=str(problem)
                )
                break
            except EventLogError as problem:
                _log.info("the hub does not take facts: they are kept", problem=str(problem), retry_in=wait)
                await self._clock.sleep(wait)
                wait, late = min(RETRY_CAP_SECONDS, wait * 2), True
        self._facts.answered(seq)
        self._moved.set()
        await self._facts.forget()
        return late and seq < self._facts.last

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish to FACTS by way of the disk; see the port."""
        for stream in STREAMS:
            if stream not in self._lives:
                await self.incarnation(stream)
        lives = tuple(self._lives[stream] for stream in STREAMS)
        for chunk in self._hub.chunks(messages):
            try:
                await self._facts.keep(chunk, lives)
            except Refused as problem:
                raise EventLogError(f"facts cannot be kept until the hub is back: {problem}") from problem

    async def last(self, stream: str, subjects: Sequence[str], *, most: int | None = None) -> dict[str, Record]:
        """Read last records of exact subjects; see the port."""
        await self._caught_up()
        return await self._hub.last(stream, subjects, most=most)

    async def scan(self, stream: str, filters: Sequence[str], *, headers_only: bool = False) -> AsyncIterator[Record]:
        """Iterate over last records; see the port."""
        await self._caught_up()
        async for record in self._hub.scan(stream, filters, headers_only=headers_only):
            yield record

    async def incarnation(self, stream: str) -> str:
        """Return which life of the stream this is: while the hub is away the last that is known, which it will compare."""
        if stream in self._lives and not self._hub.is_up:
            return self._lives[stream]
        life = self._lives[stream] = await self._hub.incarnation(stream)
        return life

    async def heal(self) -> list[str]:
        """Ask whether STATE may lack facts, or lost what was kept for it, and return that in words."""
        found = await self._hub.heal()
        if self._facts.lost:
            self._facts.lost = False
            found = [*found, "facts that were kept for the hub are lost"]
        return found

    async def _caught_up(self) -> None:
        """Return when the hub has everything that was published before.

        Raises:
            EventLogError: when it takes too long; the hub is probably away.

        """
        wanted = self._facts.last
        try:
            async with asyncio.timeout(BEHIND_SECONDS):
                while self._facts.done < wanted:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            left = wanted - self._facts.done
            raise EventLogError(f"the hub does not have {left} questions yet that were kept for it") from None
