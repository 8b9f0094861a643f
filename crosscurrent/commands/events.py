"""`crosscurrent events`: follow what the watchers see, as it happens."""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from crosscurrent import completers
from crosscurrent import settings as configuration
from crosscurrent.connect import connected
from crosscurrent.errors import UsageError
from crosscurrent.fleet import read_clusters
from crosscurrent.options import ConfigFile, Fields, Labels
from crosscurrent.output import cut, paint, parse_time, printable, say, terminal_width
from crosscurrent.selection import Filter
from crosscurrent.selectors import EVERYTHING, Selector
from crosscurrent.times import moment
from engine.runtime.checkpoints import caught_up
from engine.runtime.clock import SystemClock
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
    causes: tuple[Cause, ...] = ()
    """Empty: however a watcher came to know."""

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
    cause: Annotated[
        tuple[Cause, ...], Parameter(negative=(), help="Only what a watcher came to know so, and no sync records.")
    ] = (),
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
        causes=cause,
    )
    async with connected(configuration.load(config)) as log:
        if not watch:  # else it may be waited for
            choice.filter.must_be_among([view.name for view in await read_clusters(log)])
        await show_events(log, choice, output)
    return 0


async def show_events(log: EventLog, choice: Choice, output: EventsFormat) -> None:
    """Print records until interrupted or, without `follow`, up to now."""
    filters = choice.filter.subjects
    # Taken before the snapshot is read, so that what changes meanwhile is not missed.
    now = await log.last_sequence("FACTS")
    printer = Printer(choice, output)
    printer.heading()
    shown: dict[str, int] = {}
    if choice.snapshot:
        async for record in _snapshot(log, filters, shown, now):
            printer.show(record, snapshot=True)
        sys.stdout.flush()
    if choice.follow or choice.since is not None:
        async for record in _records(log, choice, now):
            # The snapshot has it already, or something later of the same subject.
            if record.seq > shown.get(record.subject, 0):
                printer.show(record)


async def _snapshot(log: EventLog, filters: Sequence[str], shown: dict[str, int], now: int) -> AsyncIterator[Record]:
    """Iterate over STATE, one record a subject; note in `shown` where in FACTS those are that come behind `now`.

    Everything up to `now` is waited for: STATE trails FACTS by a moment.
    """
    await caught_up(log, now, SystemClock())
    seen: set[str] = set()
    async for record in log.scan("STATE", filters):
        if record.subject in seen:
            continue  # it has changed since: that is one of the records that follow
        seen.add(record.subject)
        if record.origin > now:
            shown[record.subject] = record.origin
        yield record
    written = await log.last_sequence("FACTS")
    for subject, origin in list(shown.items()):
        if origin > written:  # of an earlier life of FACTS
            del shown[subject]


async def _records(log: EventLog, choice: Choice, now: int) -> AsyncIterator[Record]:
    """Iterate over records from the time on that was asked for, else from the sequence `now` on."""
    filters = choice.filter.subjects
    after = now if choice.since is None else await log.position("FACTS", choice.since)
    records = log.follow("FACTS", filters, after=after)
    if not choice.follow:
        records = log.replay("FACTS", filters, after=after, until=await log.last_sequence("FACTS"))
    async for record in records:
        yield record


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
        say(line)
        if not snapshot:  # thousands of lines at once
            sys.stdout.flush()

    def _fact(self, record: Record, *, snapshot: bool) -> str | None:
        ref = subjects.parse_fact(record.subject)
        if not self._choice.filter.shows_fact(ref):
            return None
        fact = decode_fact(record.body)
        wanted = not self._choice.causes or fact.cause in self._choice.causes
        if (snapshot and fact.deleted) or not wanted or not self._choice.selects(fact.data):
            return None
        if self._output is EventsFormat.JSON:
            return _one_line(record)
        detail = fact.resourceversion if fact.cause is Cause.OBSERVED else f"{fact.resourceversion} ({fact.cause})"
        word, mood = ("PRESENT", "") if snapshot else _WORDS[fact.type]
        place = f"{ref.namespace}/{ref.name}" if ref.namespace else ref.name
        return self._aligned(
            (_clock(fact.time), word, ref.cluster, self._type(ref.group, ref.resource), place), detail, mood
        )

    def _sync(self, record: Record) -> str | None:
        cluster, group, plural = subjects.parse_sync(record.subject)
        if self._choice.causes or not self._choice.filter.shows_sync(cluster, group, plural):
            return None
        if self._output is EventsFormat.JSON:
            return _one_line(record)
        sync = decode_sync(record.body)
        if sync.type is SyncType.BOOKMARK:
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


def _one_line(record: Record) -> str:
    # A line break inside a JSON document is white space: those in strings are escaped.
    return record.body.decode().replace("\n", " ")


def _clock(text: str) -> str:
    """Return the local time of day of an RFC 3339 time, to the millisecond."""
    seconds = parse_time(text)
    if seconds is None:
        return ""
    return dt.datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S.%f")[:12]
