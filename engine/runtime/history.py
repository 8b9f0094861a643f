"""The recorded facts of one object, to find out how its deletion began."""

from __future__ import annotations

from engine.runtime.ports import EventLog
from schemas import subjects
from schemas.facts import Fact, decode_fact
from schemas.names import ObjectRef

HISTORY_READ = 64
"""Facts of one object that are kept while reading; the newest matter."""
HISTORIES_KEPT = 500
"""Each may hold `HISTORY_READ` objects of some kilobytes."""


class Histories:
    """Reads what the log recorded of objects. What is unchanged is kept: a cascade asks for its owner again and again."""

    def __init__(self, log: EventLog) -> None:
        """Read from this log."""
        self._event_log = log
        self._kept: dict[str, tuple[str, tuple[Fact, ...]]] = {}
        """By subject, with the id of the newest fact."""

    async def read(self, ref: ObjectRef) -> tuple[Fact, ...]:
        """Return the recorded facts of an object, oldest first.

        Raises:
            EventLogError: when the broker does not answer.

        """
        subject = subjects.fact(ref)
        newest = (await self._event_log.last("FACTS", [subject])).get(subject)
        found: list[Fact] = []
        if newest is None:
            return ()
        until, known = self._kept.get(subject, ("", ()))
        if until and until == newest.id:
            return known
        async for record in self._event_log.replay("FACTS", [subject], after=0, until=newest.seq):
            found = [*found, decode_fact(record.body)][-HISTORY_READ:]
        if len(self._kept) >= HISTORIES_KEPT:
            self._kept.clear()
        self._kept[subject] = (newest.id, tuple(found))
        return tuple(found)
