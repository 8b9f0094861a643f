"""Which configured cluster has which identity, from STATE: what the collector asks before it talks to any of them."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from engine.runtime.ports import Clock, EventLog
from engine.runtime.shared_reads import SharedReads
from schemas import subjects
from schemas.clusters import ClusterRecord, ClusterStatus, cluster_ref
from schemas.facts import decode_fact
from schemas.names import ClusterId, ClusterName

REMEMBERED_SECONDS = 1.0
"""A cluster's identity changes with its epoch, which its watcher needs seconds to find out."""

_Fleet = tuple[dict[ClusterName, ClusterStatus], dict[ClusterId, ClusterName]]
"""By name, and names by identity."""


class FleetDirectory:
    """The clusters' records."""

    def __init__(self, log: EventLog, clock: Clock, clusters: Collection[ClusterName]) -> None:
        """Read the records of these clusters, whichever they are at the time."""
        self._event_log = log
        self._names = clusters
        self._reads: SharedReads[str, _Fleet] = SharedReads(clock, REMEMBERED_SECONDS)

    async def clusters(self) -> dict[ClusterName, ClusterStatus]:
        """Return what is known of every cluster that has reported.

        Raises:
            EventLogError: when STATE cannot be read.

        """
        return (await self._reads.read("fleet", self._ask))[0]

    async def named(self) -> dict[ClusterId, ClusterName]:
        """Return the clusters by identity; one that two of them claim is left out: it cannot be told which is meant."""
        return (await self._reads.read("fleet", self._ask))[1]

    def forget(self) -> None:
        """Read the records anew the next time."""
        self._reads.forget("fleet")

    async def _ask(self) -> _Fleet:
        clusters = {}
        wanted = [subjects.fact(cluster_ref(name)) for name in self._names]
        for record in (await self._event_log.last("STATE", wanted)).values():
            described = msgspec.json.decode(decode_fact(record.body).data, type=ClusterRecord)
            clusters[described.metadata.name] = described.status
        found: dict[ClusterId, list[ClusterName]] = {}
        for name, status in clusters.items():
            if status.identity:
                found.setdefault(status.identity, []).append(name)
        return clusters, {identity: names[0] for identity, names in found.items() if len(names) == 1}
