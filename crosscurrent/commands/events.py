"""`crosscurrent events`: follow what the watchers see, as it happens."""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from crosscurrent import completers
from crosscurrent import settings as configuration
from crosscurrent.connect import connected
from crosscurrent.errors import UsageError
from crosscurrent.options import ConfigFile, Fields, Labels
from crosscurrent.output import cut, paint, parse_time, printable, say, terminal_width
from crosscurrent.selection import Filter
from crosscurrent.selectors import EVERYTHING, Selector
from crosscurrent.times import moment
from engine.runtime.ports import EventLog, Record
from schemas import subjects
from schemas.facts import Cause, FactType, SyncType, decode_fact, decode_sync

_WIDTHS = (12, 9, 12, 28, 44)
"""Columns of a stream cannot be fitted to rows that have not come; these fit most names."""
_NARROW_WIDTHS = (8, 8, 8, 12, 22)
"""On a terminal that is narrower than `_NARROW`: no milliseconds, and the plural without its group."""
_NARROW = 120
_GAP = "  "
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


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which records to show."""

    filter: Filter = Filter()
    selector: Selector = EVERYTHING
    since: float | None = None
    """Wall time to begin at; None: now."""
    snapshot: bool = False
    follow: bool = True

    def selects(self, data: bytes | memoryview) -> bool:
        """Return whether an object, as JSON, satisfies the selectors; what a tombstone says of it counts."""
        if self.selector.everything:
            return True
        return self.selector.selects(msgspec.json.decode(data, type=dict[str, Any] | None) or {})


async def events(
    filter: Annotated[  # noqa: A002 - its name in --help
        str, Parameter(help="cluster/resource/namespace/name globs, or a subject.", completer=completers.filters)
    ] = "",
    /,
    *,
    since: Annotated[str | None, Parameter(help="Begin there: 10m (ago), or 2026-11-23T10:00:00Z.")] = None,
    snapshot: Annotated[bool, Parameter(negative=(), help="Begin with everything as it is now.")] = False,
    watch: Annotated[
        bool, Parameter(name=["--watch", "-w"], negative="--no-watch", help="Go on, or end with what has happened.")
    ] = True,
    selector: Labels = "",
    field_selector: Fields = "",
    output: Annotated[EventsFormat, Parameter(name=["--output", "-o"], help="Form of each line.")] = EventsFormat.TABLE,
    config: ConfigFile = None,
) -> int:
    """Follow what the watchers see, as it happens."""
    if not watch and since is None and not snapshot:
        raise UsageError("--no-watch shows nothing by itself", "say from when with --since, or --snapshot")
    choice = Choice(
        filter=Filter.parse(filter),
        selector=Selector(selector, field_selector),
        since=moment(since, time.time()) if since else None,
        snapshot=snapshot,
        follow=watch,
    )
    async with connected(configuration.load(config)) as log:
        await show_events(log, choice, output)
    return 0


async def show_events(log: EventLog, choice: Choice, output: EventsFormat) -> None:
    """Print records until interrupted or, without `follow`, up to now."""
    filters = choice.filter.subjects
    # Taken before the snapshot is read: what changes meanwhile is shown twice rather than never.
    now = await log.last_sequence("FACTS")
    printer = Printer(choice, output)
    printer.heading()
    if choice.snapshot:
        async for record in log.scan("STATE", filters):
            printer.show(record, snapshot=True)
    if choice.follow or choice.since is not None:
        async for record in _records(log, choice, now):
            printer.show(record)


async def _records(log: EventLog, choice: Choice, now: int) -> AsyncIterator[Record]:
    """Iterate over records from the time on that was asked for, else from the sequence `now` on."""
    filters, since = choice.filter.subjects, choice.since
    last = 0
    if not choice.follow:
        last = max([record.seq async for record in log.scan("FACTS", filters, headers_only=True)], default=0)
        if not last:
            return
    async for record in log.follow("FACTS", filters, after=now if since is None else 0):
        stored = parse_time(record.time)
        if since is None or stored is None or stored >= since:
            since = None  # what follows is later
            yield record
        if last and record.seq >= last:
            return


class Printer:
    """Prints the records that a filter selects."""

    def __init__(self, choice: Choice, output: EventsFormat) -> None:
        self._choice = choice
        self._output = output
        self._width = terminal_width()
        self._narrow = 0 < self._width < _NARROW

    def heading(self) -> None:
        """Print the head of the table."""
        if self._output is EventsFormat.TABLE:
            say(self._aligned(("TIME", "TYPE", "CLUSTER", "RESOURCE", "NAME"), "DETAIL"))
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
        if not self._choice.filter.shows_fact(ref):
            return None
        fact = decode_fact(record.body)
        if (snapshot and fact.deleted) or not self._choice.selects(fact.data):
            return None
        detail = fact.resourceversion if fact.cause is Cause.OBSERVED else f"{fact.resourceversion} ({fact.cause})"
        word, mood = ("PRESENT", "") if snapshot else _WORDS[fact.type]
        place = f"{ref.namespace}/{ref.name}" if ref.namespace else ref.name
        return self._aligned(
            (_clock(fact.time), word, ref.cluster, self._type(ref.group, ref.resource), place), detail, mood
        )

    def _sync(self, record: Record) -> str | None:
        cluster, group, plural = subjects.parse_sync(record.subject)
        if not self._choice.filter.shows_sync(cluster, group, plural):
            return None
        sync = decode_sync(record.body)
        if sync.type is SyncType.BOOKMARK and self._output is EventsFormat.TABLE:
            return None  # says only that nothing happened
        word, mood = _WORDS[sync.type]
        detail = sync.data.reason
        if sync.type is SyncType.COMPLETED:
            detail = f"{sync.data.objects} object{'s' * (sync.data.objects != 1)}"
        return self._aligned((_clock(sync.time), word, cluster, self._type(group, plural), ""), detail, mood)

    def _type(self, group: str, plural: str) -> str:
        return f"{plural}.{group}" if group and not self._narrow else plural

    def _aligned(self, cells: tuple[str, ...], detail: str, mood: str = "") -> str:
        widths = _NARROW_WIDTHS if self._narrow else _WIDTHS
        shown = [cells[0][: widths[0]], *map(printable, cells[1:])]
        padded = [cell.ljust(width) for cell, width in zip(shown, widths, strict=True)]
        room = self._width - len(_GAP.join(padded)) - len(_GAP) if self._width else 0
        padded[1] = paint(padded[1], mood)
        return _GAP.join((*padded, cut(printable(detail), room))).rstrip()


def _clock(text: str) -> str:
    """Return the local time of day of an RFC 3339 time, to the millisecond."""
    seconds = parse_time(text)
    if seconds is None:
        return ""
    return dt.datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S.%f")[:12]
