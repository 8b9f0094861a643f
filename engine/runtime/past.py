"""Read the past: the state at a cut, from the checkpoint before it and the facts since."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.core.history import Cut, Past, Stored, seconds
from engine.runtime.checkpoints import read_checkpoints, read_part
from engine.runtime.ports import EventLog
from engine.runtime.streams import CHECKPOINTS, FACTS
from schemas import subjects
from schemas.checkpoints import Checkpoint

EVERYTHING = (f"{subjects.FACTS}.>", f"{subjects.SYNC}.>")


class Horizon(msgspec.Struct, frozen=True):
    """From when to when states can be told."""

    begin: Cut
    """The earliest; sequence 0 where no fact has ever gone: nothing was known then. Behind `end` where there is none."""
    end: Cut
    checkpoints: tuple[Checkpoint, ...] = ()
    """Those that can be used, oldest first."""

    def base(self, seq: int) -> Checkpoint | None:
        """Return the checkpoint to start from for a cut; None: from nothing, because no fact has gone."""
        usable = [one for one in self.checkpoints if one.until <= seq]
        return usable[-1] if usable else None


async def read_horizon(log: EventLog) -> Horizon:
    """Return how far back the record reaches."""
    checkpoints = tuple(await read_checkpoints(log))
    facts = await log.extent(FACTS)
    end = Cut(facts.last, seconds(facts.last_time) if facts.last_time else 0.0)
    if facts.first <= 1:
        return Horizon(Cut(0, seconds(facts.first_time) if facts.first_time else 0.0), end, checkpoints)
    if checkpoints:
        return Horizon(Cut(checkpoints[0].until, checkpoints[0].time), end, checkpoints)
    return Horizon(Cut(end.seq + 1, end.time), end)


async def read_past(
    log: EventLog, cut: Cut, filters: Sequence[str] = EVERYTHING, horizon: Horizon | None = None
) -> Past:
    """Return the state at a cut, of the subjects that match.

    Args:
        log: to read.
        cut: within the horizon.
        filters: of subjects, of facts and sync records.
        horizon: if it is known already.

    Raises:
        EventLogError: when the broker fails.

    """
    base = (horizon or await read_horizon(log)).base(cut.seq)
    past = Past()
    if base is not None:
        await _read_rows(log, base, filters, past)
    await go_on(log, past, Cut(base.after if base else 0, 0.0), cut, filters)
    return past


async def go_on(log: EventLog, past: Past, since: Cut, cut: Cut, filters: Sequence[str] = EVERYTHING) -> None:
    """Bring a past that was read up to one cut up to a later one."""
    for group in subjects.apart(filters):  # what is read twice is the same both times
        async for record in log.replay(FACTS, group, after=since.seq, until=cut.seq):
            past.take(record.subject, Stored(record.seq, record.time, record.body))


async def _read_rows(log: EventLog, base: Checkpoint, filters: Sequence[str], past: Past) -> None:
    whole = tuple(filters) == EVERYTHING
    for group in subjects.apart(subjects.checkpoint_rows(base.name, pattern) for pattern in filters):
        async for record in log.scan(CHECKPOINTS, group):
            for row in await read_part(record.body):
                if whole or any(subjects.matches(pattern, row.subject) for pattern in filters):
                    past.take(row.subject, Stored(row.seq, row.time, row.body))
