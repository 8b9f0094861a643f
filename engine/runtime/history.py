"""The recorded facts of one object, to find out how its deletion began."""

from __future__ import annotations

from engine.runtime.ports import EventLog
from schemas import subjects
from schemas.facts import Fact, decode_fact
from schemas.names import ObjectRef

HISTORY_READ = 64
"""Facts of one object that are kept while reading; the newest matter."""


async def read_history(log: EventLog, ref: ObjectRef) -> tuple[Fact, ...]:
    """Return the recorded facts of an object, oldest first.

    Raises:
        EventLogError: when the broker does not answer.

    """
    subject = subjects.fact(ref)
    newest = (await log.last("FACTS", [subject])).get(subject)
    found: list[Fact] = []
    if newest is None:
        return ()
    async for record in log.follow("FACTS", [subject], after=0):
        found = [*found, decode_fact(record.body)][-HISTORY_READ:]
        if record.seq >= newest.seq:
            break
    return tuple(found)
