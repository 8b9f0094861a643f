"""Immutable snapshots of what watchers do, for metrics and `crosscurrent clusters`."""

from __future__ import annotations

import msgspec

from schemas.clusters import ClusterStatus
from schemas.names import ClusterName, Resource, ResourceVersion


class TypeStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One resource type of one cluster, counted since this run began to watch it."""

    resource: Resource
    state: str
    """State of the list-watch machine, e.g. `Watching`."""
    synced: bool
    trouble: str = ""
    """The last thing that went wrong, empty while all is well."""
    requests: int = 0
    relists: int = 0
    """Lists begun, the first included."""
    events: int = 0
    """Facts offered for publishing."""
    reconnects: int = 0
    """Watches opened."""
    last_event: float = 0.0
    """Wall time of the last line that the server sent, seconds since the epoch; 0: none yet."""
    lag: float = 0.0
    """Seconds from seeing to acknowledgement, of the last published fact."""
    objects: int = 0
    version: ResourceVersion = ResourceVersion("")


class ClusterStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster."""

    cluster: ClusterName
    status: ClusterStatus
    queued: int
    """Facts that wait for the broker."""
    types: tuple[TypeStatistics, ...] = ()
