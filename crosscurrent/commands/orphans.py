"""`crosscurrent orphans`: dependents whose owners are gone, with age and reason. Reads, changes nothing."""

from __future__ import annotations

import time

from crosscurrent import settings as configuration
from crosscurrent.connect import connected
from crosscurrent.leftovers import read_leftovers
from crosscurrent.options import ConfigFile, NoHeadings, Output
from crosscurrent.output import Format, Table, age, dump, note, say

_COLUMNS = ("CLUSTER", "RESOURCE", "NAMESPACE", "NAME", "REASON", "AGE", "OWNER")


async def orphans(*, output: Output = Format.TABLE, no_headers: NoHeadings = False, config: ConfigFile = None) -> int:
    """Dependents whose owners are gone, and why they are still there."""
    settings = configuration.load(config)
    async with connected(settings) as log:
        found = await read_leftovers(log, tuple(cluster.name for cluster in settings.config.clusters))
    if output is Format.NAME:
        for one in found:
            say("/".join(part for part in (one.cluster, one.resource, one.namespace, one.name) if part))
    elif not output.tabular:
        say(dump(found, output))
    elif found:
        wide = output is Format.WIDE
        now = time.time()
        rows = [
            [one.cluster, one.resource, one.namespace, one.name, one.reason, age(one.since, now), one.owner]
            + ([one.message] if wide else [])
            for one in found
        ]
        columns = (*_COLUMNS, "MESSAGE") if wide else _COLUMNS
        say(Table(columns, heading=not no_headers, prose=True).text(rows))
    else:
        note("No orphans: every dependent that the collector knows has its owner.")
    return 0
