"""`crosscurrent clusters`: health, identity, epoch and lag."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from crosscurrent import settings as configuration
from crosscurrent.connect import connected
from crosscurrent.fleet import CLUSTER_FACTS, SYNC_RECORDS, ClusterView, cluster_document, read_clusters
from crosscurrent.options import ConfigFile, Output
from crosscurrent.output import Format, age, colourful, dump, note, say, span, table
from engine.runtime.ports import EventLog
from schemas.names import ClusterName

_COLUMNS = ("NAME", "STATE", "IDENTITY", "EPOCH", "VERSION", "TYPES", "SYNCED", "LAG", "SINCE", "REASON")
_MOODS = {"live": "good", "suspect": "bad", "quarantined": "bad", "rejoining": "warn", "unseen": "warn"}
_IDENTITY_CHARACTERS = 8
"""As many as tell any two clusters apart; -o wide shows all."""
_REDRAW_S = 1.0
"""Ages change by the second; a terminal is drawn again that often."""


async def clusters(
    *,
    output: Output = Format.TABLE,
    watch: Annotated[bool, Parameter(name=["--watch", "-w"], negative=(), help="Go on, showing what changes.")] = False,
    config: ConfigFile = None,
) -> int:
    """Health, identity, epoch and lag of every cluster."""
    settings = configuration.load(config)
    names = tuple(cluster.name for cluster in settings.config.clusters)
    async with connected(settings) as log:
        if watch:
            await follow_clusters(log, names, output)
        return await show_clusters(log, names, output)


async def show_clusters(log: EventLog, names: tuple[ClusterName, ...], output: Format) -> int:
    """Print every cluster once."""
    views = await read_clusters(log, names)
    now = time.time()
    if output in (Format.JSON, Format.YAML):
        say(dump([cluster_document(view, now) for view in views], output))
    elif output is Format.NAME:
        for view in views:
            say(f"cluster/{view.name}")
    elif views:
        say(_drawn(views, output, now))
    else:
        note("No clusters: none configured here, and no watcher has reported one.")
    return 0


async def follow_clusters(log: EventLog, names: tuple[ClusterName, ...], output: Format) -> None:
    """Show clusters until interrupted."""
    if output in (Format.TABLE, Format.WIDE) and colourful(sys.stdout):
        await _redraw(log, names, output)
    shown: dict[ClusterName, object] = {}
    after = await log.last_sequence("STATE")
    changes = log.follow("STATE", [CLUSTER_FACTS, SYNC_RECORDS], after=after)
    while True:
        views = await read_clusters(log, names)
        standing = {view.name: (view.state, view.status, len(view.types), len(view.unsynced)) for view in views}
        changed = [view for view in views if shown.get(view.name, ()) != standing[view.name]]
        if changed:
            _print_changed(changed, output, first=not shown)
        shown = dict(standing)
        await anext(changes)


def _print_changed(views: Sequence[ClusterView], output: Format, *, first: bool) -> None:
    now = time.time()
    if output in (Format.JSON, Format.YAML):
        for view in views:
            say(dump(cluster_document(view, now), output))
    elif output is Format.NAME:
        for view in views:
            say(f"cluster/{view.name}")
    else:
        text = _drawn(views, output, now)
        say(text if first else text.partition("\n")[2])
    sys.stdout.flush()


async def _redraw(log: EventLog, names: tuple[ClusterName, ...], output: Format) -> None:
    from rich.live import Live  # noqa: PLC0415 - only a terminal needs it
    from rich.text import Text  # noqa: PLC0415

    with Live(auto_refresh=False) as live:
        while True:
            views = await read_clusters(log, names)
            live.update(Text.from_ansi(_drawn(views, output, time.time())), refresh=True)
            await asyncio.sleep(_REDRAW_S)


def _drawn(views: Sequence[ClusterView], output: Format, now: float) -> str:
    wide = output is Format.WIDE
    columns = (*_COLUMNS, "MESSAGE") if wide else _COLUMNS
    return table(columns, [_row(view, now, wide=wide) for view in views], moods=({}, _MOODS))


def _row(view: ClusterView, now: float, *, wide: bool) -> list[str]:
    status = view.status
    lag = view.lag(now)
    counts = [str(len(view.types)), str(len(view.types) - len(view.unsynced))]
    if status is None:
        return [view.name, view.state, "", "", "", *counts, "", "", "NotReported", *([""] if wide else [])]
    identity = status.identity if wide else status.identity[:_IDENTITY_CHARACTERS]
    unsynced = view.unsynced[0] if view.unsynced and not status.reason else None
    reason = status.reason or (f"{unsynced.group_resource}: {unsynced.reason}" if unsynced else "")
    row = [view.name, view.state, identity, str(status.epoch), status.version, *counts]
    row += [_lag(lag), age(status.since, now), reason]
    return [*row, status.message] if wide else row


def _lag(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else span(seconds)
