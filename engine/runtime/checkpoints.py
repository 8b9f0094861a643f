"""Make checkpoints of STATE, and keep few of them (DESIGN §5, Checkpoints).

When:
    * An eighth of FACTS' age after the last one: then the past stays whole as far back as seven eighths of it at least.
    * Earlier where facts are many, so that no state is folded from more than about `FACTS_BETWEEN` of them. As many facts as
      the last checkpoint has rows must have come as well, or a large, busy fleet would do little else.
Who: any process; whoever appends the claim first makes it. Watchers wait half as long again, so that it is left to workers,
if there are any: it takes a core for seconds, and facts should not wait for it. A maker that dies leaves parts that nobody
reads, and the next one removes them.
How many: the newest `RECENT`, and of the others one in each eighth of FACTS' age. Compressed, each is about a sixth of STATE.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import zlib
from collections.abc import Sequence

import msgspec
import structlog

from engine.core.history import seconds
from engine.runtime.ports import Clock, EventLog, EventLogError, Message, WrongLastSequence
from engine.runtime.streams import CHECKPOINTS, FACTS, STATE
from schemas import subjects
from schemas.checkpoints import Checkpoint, CheckpointRow, Claim
from schemas.facts import decode_fact

SHARE = 8
"""Of FACTS' age between two checkpoints, at most one of this many parts."""
FACTS_BETWEEN = 100_000
"""About a second of reading."""
RECENT = 4
PART_BYTES = 256 * 1024
"""Of rows in one message, before compression: read and unpacked in milliseconds, so that nothing waits for it."""
HELD_BYTES = 32 * 1024 * 1024
"""Of rows that wait for their part to be full: a fleet of very many types writes smaller ones."""
LEVEL = 1
"""zlib's fastest: objects shrink to a sixth, 6 to a seventh at five times the cost."""
DEFERENCE = 1.5
"""How much longer than others a watcher waits, in time and in facts."""
CLAIM_SECONDS = 600.0
"""After this a maker counts as dead; a million objects take about a minute."""
LOOK_SECONDS = 60.0
CATCH_UP_SECONDS, CATCH_UP_LOOK_SECONDS = 15.0, 0.02
"""STATE trails FACTS by a millisecond; one that stands still is for `heal`."""

_log = structlog.get_logger(__name__)


class Checkpointer:
    """Makes checkpoints when they are due."""

    def __init__(self, log: EventLog, clock: Clock, *, fact_days: float, patience: float = 1.0) -> None:
        """Look after the checkpoints of a log that keeps facts for `fact_days`.

        Args:
            log: the streams.
            clock: time.
            fact_days: for how many days FACTS keeps facts.
            patience: 1: when one is due, it is made; more: when that many times the time or the facts have passed.

        """
        self._event_log = log
        self._clock = clock
        self._patience = patience
        self._interval = fact_days * 86400 / SHARE

    async def run(self) -> None:
        """Look about every minute, until cancelled."""
        while True:
            try:
                await self.look()
            except EventLogError as problem:
                _log.debug("no checkpoint now", reason=str(problem))
            await self._clock.sleep(LOOK_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - spreads processes

    async def look(self) -> Checkpoint | None:
        """Make a checkpoint if one is due and nobody else makes it; return it.

        Raises:
            EventLogError: when the broker fails; the parts that were written are removed by the next maker.

        """
        made = await read_checkpoints(self._event_log)
        facts = await self._event_log.extent(FACTS)
        if not facts.last or not is_due(made, facts.last, self._clock.time(), self._interval, self._patience):
            return None
        name = secrets.token_hex(6)
        if not await self._claim(name):
            return None
        checkpoint = await make_checkpoint(self._event_log, name, self._clock)
        await self._tidy([*made, checkpoint])
        return checkpoint

    async def _claim(self, name: str) -> bool:
        """Return whether it is ours to make the next one."""
        subject = subjects.checkpoint_claim()
        before = (await self._event_log.last(CHECKPOINTS, [subject])).get(subject)
        now = self._clock.time()
        if before is not None:
            claim = msgspec.json.decode(before.body, type=Claim)
            done = await self._event_log.last(CHECKPOINTS, [subjects.checkpoint_made(claim.name)])
            if not done and 0 <= now - claim.time < CLAIM_SECONDS:
                return False
        message = Message(subject=subject, body=msgspec.json.encode(Claim(name=name, time=now)))
        try:
            await self._event_log.append(CHECKPOINTS, message, expect_last=before.seq if before else 0)
        except WrongLastSequence:
            return False
        return True

    async def _tidy(self, made: Sequence[Checkpoint]) -> None:
        """Remove checkpoints that are not worth keeping, and what dead makers left."""
        keep = {checkpoint.name for checkpoint in worth_keeping(made, self._interval)}
        for checkpoint in made:
            if checkpoint.name not in keep:
                await self._event_log.purge(CHECKPOINTS, subjects.checkpoint_made(checkpoint.name))
        found = self._event_log.scan(CHECKPOINTS, [subjects.checkpoint_rows("*")], headers_only=True)
        names = {record.subject.split(".")[2] async for record in found}
        for name in names - keep:
            await self._event_log.purge(CHECKPOINTS, subjects.checkpoint_rows(name, ">"))


def is_due(made: Sequence[Checkpoint], last: int, now: float, interval: float, patience: float = 1.0) -> bool:
    """Return whether another checkpoint is worth making.

    Args:
        made: those that there are, oldest first.
        last: sequence of the newest fact.
        now: wall time.
        interval: seconds that may lie between two.
        patience: how many times that, and how many times the facts.

    """
    if not made:
        return True
    newest = made[-1]
    behind, age = last - newest.until, now - newest.time
    if not behind:
        return age >= interval * SHARE / 2  # before it expires itself
    return age >= patience * interval or behind >= patience * max(FACTS_BETWEEN, newest.rows)


def worth_keeping(made: Sequence[Checkpoint], interval: float) -> list[Checkpoint]:
    """Return the newest checkpoints, and of the older ones the oldest in each interval."""
    kept = list(made[-RECENT:])
    covered: set[int] = set()
    for checkpoint in made[:-RECENT]:
        slot = int(checkpoint.time // interval)
        if slot not in covered:
            covered.add(slot)
            kept.append(checkpoint)
    return sorted(kept, key=lambda one: one.until)


async def read_checkpoints(log: EventLog) -> list[Checkpoint]:
    """Return the checkpoints that can be used: those of this life of FACTS, behind which no fact has gone; oldest first."""
    facts, life = await log.extent(FACTS), await log.incarnation(FACTS)
    found = [
        msgspec.json.decode(record.body, type=Checkpoint)
        async for record in log.scan(CHECKPOINTS, [subjects.checkpoint_made("*")])
    ]
    usable = [
        one for one in found if one.incarnation == life and facts.first - 1 <= one.after and one.until <= facts.last
    ]
    return sorted(usable, key=lambda one: one.until)


async def make_checkpoint(log: EventLog, name: str, clock: Clock) -> Checkpoint:
    """Write what STATE holds now; tombstones are left out, being in FACTS as long as anyone may ask for them.

    Raises:
        EventLogError: when the broker fails, or STATE stands still.

    """
    incarnation = await log.incarnation(FACTS)
    after = await log.last_sequence(FACTS)
    await caught_up(log, after, clock)
    parts = _Parts(log, name)
    async for record in log.scan(STATE, [f"{subjects.FACTS}.>", f"{subjects.SYNC}.>"]):
        if record.subject.startswith(f"{subjects.SYNC}.") or not decode_fact(record.body).deleted:
            await parts.add(CheckpointRow(record.subject, record.origin, record.time, record.body))
    await parts.flush()
    facts = await log.extent(FACTS)
    checkpoint = Checkpoint(
        name=name,
        after=after,
        until=facts.last,
        time=seconds(facts.last_time) if facts.last_time else clock.time(),
        incarnation=incarnation,
        rows=parts.rows,
        size=parts.size,
    )
    if await log.incarnation(FACTS) != incarnation:
        raise EventLogError("FACTS was re-created while a checkpoint was made")
    made = Message(subject=subjects.checkpoint_made(name), body=msgspec.json.encode(checkpoint))
    await log.append(CHECKPOINTS, made)
    _log.info("checkpoint made", rows=parts.rows, bytes=parts.size, facts=facts.last)
    return checkpoint


async def read_part(body: bytes) -> list[CheckpointRow]:
    """Return the rows of a part."""
    await asyncio.sleep(0)  # a full cut has thousands of parts, and others want their turn
    return _rows.decode(zlib.decompress(body))


async def caught_up(log: EventLog, seq: int, clock: Clock) -> None:
    """Return when STATE holds what FACTS had at this sequence.

    Raises:
        EventLogError: when it stands still, or the broker fails.

    """
    async for record in log.replay(FACTS, [">"], after=seq - 1, until=seq):
        for _ in range(round(CATCH_UP_SECONDS / CATCH_UP_LOOK_SECONDS)):
            found = (await log.last(STATE, [record.subject])).get(record.subject)
            if found is not None and found.origin >= seq:
                return
            await clock.sleep(CATCH_UP_LOOK_SECONDS)
        raise EventLogError("STATE does not follow FACTS")


class _Parts:
    """Rows on their way into parts, by type and cluster."""

    def __init__(self, log: EventLog, name: str) -> None:
        self.rows = self.size = 0
        self._event_log = log
        self._name = name
        self._waiting: dict[str, list[CheckpointRow]] = {}
        self._bytes: dict[str, int] = {}
        self._held = 0
        self._number = 0

    async def add(self, row: CheckpointRow) -> None:
        """Take a row, and write what is full."""
        key = row.subject[: _type_end(row.subject)]
        self._waiting.setdefault(key, []).append(row)
        self._bytes[key] = self._bytes.get(key, 0) + len(row.body)
        self._held += len(row.body)
        self.rows += 1
        if self._bytes[key] >= PART_BYTES:
            await self._write(key)
        elif self._held >= HELD_BYTES:
            await self._write(max(self._bytes, key=lambda one: self._bytes[one]))

    async def flush(self) -> None:
        """Write what is left."""
        for key in list(self._waiting):
            await self._write(key)

    async def _write(self, key: str) -> None:
        rows = self._waiting.pop(key)
        self._held -= self._bytes.pop(key)
        body = zlib.compress(_encoder.encode(rows), LEVEL)
        self._number += 1
        self.size += len(body)
        subject = subjects.checkpoint_part(self._name, rows[0].subject, self._number)
        await self._event_log.append(CHECKPOINTS, Message(subject=subject, body=body))


def _type_end(subject: str) -> int:
    """Return where the part of a subject ends that names its type and cluster."""
    place = -1
    for _ in range(4):
        place = subject.find(".", place + 1)
        if place < 0:
            return len(subject)
    return place


_encoder = msgspec.msgpack.Encoder()
_rows = msgspec.msgpack.Decoder(list[CheckpointRow])
