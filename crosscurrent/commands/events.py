"""`crosscurrent events`: follow what the watchers see, as it happens."""

from __future__ import annotations

import datetime as dt
import sys
import time
from enum import StrEnum
from typing import Annotated

import msgspec
from cyclopts import Parameter

from crosscurrent import settings as configuration
from crosscurrent.connect import connected
from crosscurrent.options import ConfigFile
from crosscurrent.output import paint, parse_time, say
from crosscurrent.selection import Filter
from crosscurrent.times import moment
from engine.runtime.ports import EventLog, Record
from schemas import subjects
from schemas.facts import Cause, FactType, SyncType, decode_fact, decode_sync

_WIDTHS = (12, 9, 12, 28, 44)
"""Columns of a stream cannot be fitted to rows that have not come; these fit most names."""
_WORDS = {
    FactType.ADDED: ("ADDED", "good"),
    FactType.UPDATED: ("UPDATED", ""),
    FactType.DELETED: ("DELETED", "bad"),
    SyncType.STARTED: ("LISTING", "dim"),
    SyncType.COMPLETED: ("SYNCED", "dim"),
    SyncType.BOOKMARK: ("BOOKMARK", "dim"),
    SyncType.GAP: ("GAP", "warn"),
}


class EventsFormat(StrEnum):
    """`-o`: a stream is read line by line."""

    TABLE = "table"
    JSON = "json"


async def events(
    filter: Annotated[str, Parameter(help="cluster/resource/namespace/name globs, or a subject.")] = "",  # noqa: A002 - its name in --help
    /,
    *,
    since: Annotated[str | None, Parameter(help="Begin there: 10m (ago), or 2026-11-23T10:00:00Z.")] = None,
    snapshot: Annotated[bool, Parameter(negative=(), help="Begin with everything as it is now.")] = False,
    output: Annotated[EventsFormat, Parameter(name=["--output", "-o"], help="Form of each line.")] = EventsFormat.TABLE,
    config: ConfigFile = None,
) -> int:
    """Follow what the watchers see, as it happens."""
    chosen = Filter.parse(filter)
    start = moment(since, time.time()) if since else None
    settings = configuration.load(config)
    async with connected(settings) as log:
        await follow_events(log, Printer(chosen, output), since=start, snapshot=snapshot)
    return 0


async def follow_events(log: EventLog, printer: Printer, *, since: float | None, snapshot: bool) -> None:
    """Print records until interrupted."""
    filters = printer.chosen.subjects
    # Taken before the snapshot is read: what changes meanwhile is shown twice rather than never.
    after = 0 if since is not None else await log.last_sequence("FACTS")
    printer.heading()
    if snapshot:
        async for record in log.scan("STATE", filters):
            printer.show(record, snapshot=True)
    async for record in log.follow("FACTS", filters, after=after):
        if since is not None:
            if (stored := parse_time(record.time)) is not None and stored < since:
                continue
            since = None
        printer.show(record)


class Printer:
    """Prints the records that a filter selects."""

    def __init__(self, chosen: Filter, output: EventsFormat) -> None:
        self.chosen = chosen
        self._output = output

    def heading(self) -> None:
        """Print the head of the table."""
        if self._output is EventsFormat.TABLE:
            say(_aligned(("TIME", "TYPE", "CLUSTER", "RESOURCE", "NAME"), "DETAIL"))
            sys.stdout.flush()

    def show(self, record: Record, *, snapshot: bool = False) -> None:
        """Print one record if it is selected; tombstones are no part of a snapshot."""
        try:
            line = self._fact(record, snapshot=snapshot) if record.subject[:1] == "f" else self._sync(record)
        except (msgspec.DecodeError, ValueError) as error:
            line = f"(unreadable record {record.seq} on {record.subject}: {error})"
        if line is None:
            return
        # A line break inside a JSON document is white space: those in strings are escaped.
        say(record.body.decode().replace("\n", " ") if self._output is EventsFormat.JSON else line)
        sys.stdout.flush()

    def _fact(self, record: Record, *, snapshot: bool) -> str | None:
        ref = subjects.parse_fact(record.subject)
        if not self.chosen.shows_fact(ref):
            return None
        fact = decode_fact(record.body)
        if snapshot and fact.deleted:
            return None
        detail = fact.resourceversion if fact.cause is Cause.OBSERVED else f"{fact.resourceversion} ({fact.cause})"
        resource = f"{ref.resource}.{ref.group}" if ref.group else ref.resource
        word, mood = ("PRESENT", "") if snapshot else _WORDS[fact.type]
        place = f"{ref.namespace}/{ref.name}" if ref.namespace else ref.name
        return _aligned((_clock(fact.time), word, ref.cluster, resource, place), detail, mood)

    def _sync(self, record: Record) -> str | None:
        cluster, group, plural = subjects.parse_sync(record.subject)
        if not self.chosen.shows_sync(cluster, group, plural):
            return None
        sync = decode_sync(record.body)
        if sync.type is SyncType.BOOKMARK and self._output is EventsFormat.TABLE:
            return None  # says only that nothing happened
        word, mood = _WORDS[sync.type]
        detail = sync.data.reason
        if sync.type is SyncType.COMPLETED:
            detail = f"{sync.data.objects} object{'s' * (sync.data.objects != 1)}"
        resource = f"{plural}.{group}" if group else plural
        return _aligned((_clock(sync.time), word, cluster, resource, ""), detail, mood)


def _aligned(cells: tuple[str, ...], detail: str, mood: str = "") -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)]
    padded[1] = paint(padded[1], mood)
    return "  ".join((*padded, detail)).rstrip()


def _clock(text: str) -> str:
    """Return the local time of day of an RFC 3339 time, to the millisecond."""
    seconds = parse_time(text)
    if seconds is None:
        return ""
    return dt.datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S.%f")[:12]
