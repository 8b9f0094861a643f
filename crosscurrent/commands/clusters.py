"""`crosscurrent clusters`: health, identity, epoch and lag."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Annotated

import msgspec
from cyclopts import Parameter

from crosscurrent import completers
from crosscurrent import settings as configuration
from crosscurrent.connect import connected
from crosscurrent.errors import UserError, did_you_mean
from crosscurrent.fleet import CLUSTER_FACTS, SYNC_RECORDS, ClusterView, cluster_document, read_clusters
from crosscurrent.options import ConfigFile, NoHeadings, Output, Watch
from crosscurrent.output import Format, Table, age, colourful, dump, dump_stream, note, say, span
from engine.runtime.ports import EventLog
from schemas.names import ClusterName

_COLUMNS = ("NAME", "STATE", "IDENTITY", "EPOCH", "VERSION", "SYNCED", "LAG", "SINCE", "REASON")
_MOODS = {"live": "good", "suspect": "bad", "quarantined": "bad", "rejoining": "warn", "unseen": "warn"}
_IDENTITY_CHARACTERS = 8
"""As many as tell any two clusters apart; -o wide shows all."""
_REDRAW_S = 1.0
"""Ages change by the second; a terminal is drawn again that often."""


class Roll(msgspec.Struct, frozen=True, kw_only=True):
    """Which clusters to show, and how."""

    configured: tuple[ClusterName, ...] = ()
    names: tuple[str, ...] = ()
    """Empty: all."""
    form: Format = Format.TABLE
    headings: bool = True

    def table(self) -> Table:
        """Return a table to fill."""
        columns = (*_COLUMNS, "MESSAGE") if self.form is Format.WIDE else _COLUMNS
        return Table(columns, moods=({}, _MOODS), heading=self.headings, prose=True)

    def rows(self, views: Sequence[ClusterView]) -> list[list[str]]:
        """Return the cells of clusters."""
        now = time.time()
        return [_row(view, now, wide=self.form is Format.WIDE) for view in views]


async def clusters(
    *names: Annotated[str, Parameter(name="NAME", completer=completers.clusters, help="Only these.")],
    output: Output = Format.TABLE,
    watch: Watch = False,
    no_headers: NoHeadings = False,
    config: ConfigFile = None,
) -> int:
    """Health, identity, epoch and lag of every cluster."""
    settings = configuration.load(config)
    configured = tuple(cluster.name for cluster in settings.config.clusters)
    roll = Roll(configured=configured, names=names, form=output, headings=not no_headers)
    async with connected(settings) as log:
        if watch:
            await follow_clusters(log, roll)
        return await show_clusters(log, roll)


async def show_clusters(log: EventLog, roll: Roll) -> int:
    """Print the clusters once."""
    views = await _read(log, roll)
    if roll.form.tabular:
        if views:
            say(roll.table().text(roll.rows(views)))
        else:
            note("No clusters: none configured here, and no watcher has reported one.")
    elif roll.form is Format.NAME:
        for view in views:
            say(f"cluster/{view.name}")
    else:
        say(dump([cluster_document(view, time.time()) for view in views], roll.form))
    return 0


async def follow_clusters(log: EventLog, roll: Roll) -> None:
    """Show clusters until interrupted."""
    if roll.form.tabular and colourful(sys.stdout):
        await _redraw(log, roll)
    table = roll.table()
    shown: dict[ClusterName, object] = {}
    after = await log.last_sequence("STATE")
    changes = log.follow("STATE", [CLUSTER_FACTS, SYNC_RECORDS], after=after)
    while True:
        views = await _read(log, roll)
        standing = {view.name: (view.state, view.status, len(view.types), len(view.unsynced)) for view in views}
        if changed := [view for view in views if shown.get(view.name, ()) != standing[view.name]]:
            _print_changed(changed, roll, table)
        shown = dict(standing)
        await anext(changes)


async def _read(log: EventLog, roll: Roll) -> list[ClusterView]:
    views = await read_clusters(log, roll.configured)
    known = [view.name for view in views]
    for name in roll.names:
        if name not in known:
            raise UserError(f"no cluster {name!r}", did_you_mean(name, known) or f"known: {', '.join(known) or 'none'}")
    return [view for view in views if not roll.names or view.name in roll.names]


def _print_changed(views: Sequence[ClusterView], roll: Roll, table: Table) -> None:
    if roll.form.tabular:
        say(table.text(roll.rows(views)))
    else:
        for view in views:
            name = f"cluster/{view.name}"
            say(name if roll.form is Format.NAME else dump_stream(cluster_document(view, time.time()), roll.form))
    sys.stdout.flush()


async def _redraw(log: EventLog, roll: Roll) -> None:
    from rich.live import Live  # noqa: PLC0415 - only a terminal needs it
    from rich.text import Text  # noqa: PLC0415

    with Live(auto_refresh=False) as live:
        while True:
            drawn = Text.from_ansi(roll.table().text(roll.rows(await _read(log, roll))), no_wrap=True)
            live.update(drawn, refresh=True)
            await asyncio.sleep(_REDRAW_S)


def _row(view: ClusterView, now: float, *, wide: bool) -> list[str]:
    status = view.status
    lag = view.lag(now)
    if status is None:
        return [view.name, view.state, "", "", "", "", "", "", "NotReported", *([""] if wide else [])]
    identity = status.identity if wide else status.identity[:_IDENTITY_CHARACTERS]
    unsynced = view.unsynced[0] if view.unsynced and not status.reason else None
    reason = status.reason or (f"{unsynced.group_resource}: {unsynced.reason}" if unsynced else "")
    row = [view.name, view.state, identity, str(status.epoch), status.version]
    row.append(f"{len(view.types) - len(view.unsynced)}/{len(view.types)}")
    row += [_lag(lag), age(status.since, now), reason]
    return [*row, status.message] if wide else row


def _lag(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else span(seconds)
