"""Which configured cluster has which identity, from STATE: what the collector asks before it talks to any of them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from engine.runtime.ports import Clock, EventLog
from schemas import subjects
from schemas.clusters import ClusterRecord, ClusterStatus, cluster_ref
from schemas.facts import decode_fact
from schemas.names import ClusterId, ClusterName

REMEMBERED_SECONDS = 1.0
"""A cluster's identity changes with its epoch, which its watcher needs seconds to find out."""


class FleetDirectory:
    """The clusters' records."""

    def __init__(self, log: EventLog, clock: Clock, clusters: Iterable[ClusterName]) -> None:
        """Read the records of these clusters."""
        self._event_log, self._clock = log, clock
        self._subjects = [subjects.fact(cluster_ref(name)) for name in clusters]
        self._read = (float("-inf"), dict[ClusterName, ClusterStatus]())

    async def clusters(self) -> dict[ClusterName, ClusterStatus]:
        """Return what is known of every cluster that has reported.

        Raises:
            EventLogError: when STATE cannot be read.

        """
        now = self._clock.monotonic()
        if now - self._read[0] > REMEMBERED_SECONDS:
            found = {}
            for record in (await self._event_log.last("STATE", self._subjects)).values():
                described = msgspec.json.decode(decode_fact(record.body).data, type=ClusterRecord)
                found[described.metadata.name] = described.status
            self._read = (now, found)
        return self._read[1]

    async def named(self) -> dict[ClusterId, ClusterName]:
        """Return the clusters by identity; one that two of them claim is left out: it cannot be told which is meant."""
        found: dict[ClusterId, list[ClusterName]] = {}
        for name, status in (await self.clusters()).items():
            if status.identity:
                found.setdefault(status.identity, []).append(name)
        return {identity: names[0] for identity, names in found.items() if len(names) == 1}
