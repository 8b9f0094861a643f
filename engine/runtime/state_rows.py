"""Rows of STATE, read into a view."""

from __future__ import annotations

from collections.abc import Iterable

from engine.core.assembly import add_rows
from engine.core.view import View
from engine.runtime.ports import EventLog
from schemas import subjects
from schemas.names import ObjectRef


async def add_missing(log: EventLog, view: View, places: Iterable[ObjectRef]) -> None:
    """Read the rows of objects that are not there yet; what names no object, as a reference may, is left out.

    Raises:
        EventLogError: when the broker does not answer.

    """
    missing = [ref for ref in dict.fromkeys(places) if ref not in view.rows and ref.name and ref.resource]
    if missing:
        add_rows(view, await log.last("STATE", [subjects.fact(ref) for ref in missing]), missing)
