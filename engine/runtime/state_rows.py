"""Rows of STATE, read into a view."""

from __future__ import annotations

from collections.abc import Iterable

from engine.core.view import Row
from engine.runtime.ports import EventLog
from schemas import subjects
from schemas.facts import decode_fact
from schemas.names import ObjectRef


async def add_missing(log: EventLog, rows: dict[ObjectRef, Row], places: Iterable[ObjectRef]) -> None:
    """Read the rows that are not there yet; what names no object, as a reference may, is left out.

    Raises:
        EventLogError: when the broker does not answer.

    """
    missing = [ref for ref in dict.fromkeys(places) if ref not in rows and ref.name and ref.resource]
    if not missing:
        return
    read = await log.last("STATE", [subjects.fact(ref) for ref in missing])
    for ref in missing:
        record = read.get(subjects.fact(ref))
        if record is not None:
            rows[ref] = Row(record.seq, decode_fact(record.body))
