"""`crosscurrent record`: a slice of the record in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from crosscurrent import completers, recording
from crosscurrent import settings as configuration
from crosscurrent.connect import connected
from crosscurrent.cuts import find_cut, stamp
from crosscurrent.errors import UsageError, UserError
from crosscurrent.fleet import read_clusters
from crosscurrent.options import ConfigFile
from crosscurrent.output import note
from crosscurrent.recording import Slice
from crosscurrent.selection import Filter
from engine.core.history import Cut
from engine.runtime.past import read_horizon


async def record(
    file: Annotated[Path, Parameter(name="FILE", help="Where to; compressed if it ends in .gz.")],
    filter: Annotated[  # noqa: A002 - its name in --help
        str, Parameter(help="Keys, by their objects: cluster/resource/namespace/name.", completer=completers.filters)
    ] = "",
    /,
    *,
    begin: Annotated[
        str, Parameter(name="--from", help="The earlier moment; else as far as there is.", allow_leading_hyphen=True)
    ] = "",
    end: Annotated[
        str, Parameter(name="--to", help="The later one; now unless given.", allow_leading_hyphen=True)
    ] = "",
    config: ConfigFile = None,
) -> int:
    """Write decisions and all that they read to a file that can be replayed anywhere."""
    settings = configuration.load(config)
    chosen = Filter.parse(filter)
    names = tuple(cluster.name for cluster in settings.config.clusters)
    async with connected(settings) as log:
        clusters = tuple(view.name for view in await read_clusters(log, names))
        chosen.must_be_among(clusters)
        horizon = await read_horizon(log)
        first = await find_cut(log, "--from", begin, horizon) if begin else Cut(horizon.begin.seq, 0.0)
        last = await find_cut(log, "--to", end, horizon) if end else Cut(horizon.end.seq, float("inf"))
        if last.seq < first.seq:
            raise UsageError(f"--from {begin} is after --to {end}")
        made = await recording.record(log, Slice(first, last, chosen, filter), clusters, horizon)
    if not made.entries:
        raise UserError(
            "no decision in the record is of that time and those keys", "`crosscurrent why` shows what there is of one"
        )
    size = recording.write(made, file)
    begun = stamp(first.time) if first.time else "the beginning"
    note(f"{file}: {len(made.entries)} entries and {len(made.facts)} facts since {begun}, {size} bytes")
    return 0
