"""What STATE says of the fleet: clusters, and how far each of their types is synced. Read only.

A row that is missing is unknown unless its type is synced in that cluster (DESIGN §5), so every reader of STATE asks
here first which answers it may believe.
"""

from __future__ import annotations

import msgspec

from crosscurrent.output import parse_time
from engine.runtime.ports import EventLog
from schemas import subjects
from schemas.clusters import CLUSTERS, ClusterRecord, ClusterStatus
from schemas.facts import SyncRecord, decode_fact, decode_sync
from schemas.names import ClusterName

CLUSTER_FACTS = subjects.facts_of("*", CLUSTERS.group, CLUSTERS.plural)
SYNC_RECORDS = f"{subjects.SYNC}.>"
UNSEEN = "unseen"
"""State of a configured cluster whose watcher has never reported."""


class TypeSync(msgspec.Struct, frozen=True, kw_only=True):
    """How one resource type of one cluster stands."""

    cluster: ClusterName
    group: str
    plural: str
    record: SyncRecord
    stored: str = ""
    """When the broker stored the record."""

    @property
    def group_resource(self) -> str:
        """`deployments.apps`, or `configmaps` for the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def synced(self) -> bool:
        """Whether what STATE lacks of this type does not exist."""
        return self.record.synced

    @property
    def reason(self) -> str:
        """Why it is not synced, in a few words."""
        if self.synced:
            return ""
        return self.record.data.reason or ("still listing" if "started" in self.record.type else "gap")


class ClusterView(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster as STATE knows it."""

    name: ClusterName
    status: ClusterStatus | None = None
    """None: its watcher has never reported."""
    types: tuple[TypeSync, ...] = ()
    stored: str = ""
    """When the broker stored its record."""
    noticed: str = ""
    """When its watcher wrote its record."""

    @property
    def state(self) -> str:
        """`live`, `suspect`, `quarantined`, `rejoining` or `unseen`."""
        return self.status.state.value if self.status else UNSEEN

    @property
    def unsynced(self) -> tuple[TypeSync, ...]:
        """Types whose contents are unknown."""
        return tuple(item for item in self.types if not item.synced)

    def lag(self, now: float) -> float | None:
        """Return for how many seconds changes of this cluster may be missing from STATE; None: it was never read.

        For a live cluster that is how long its newest sync record took from the watcher to the broker; for any other,
        the time since it stopped being live.
        """
        if self.status is None:
            return None
        if self.status.state != "live":
            since = parse_time(self.status.since)
            return None if since is None else max(0.0, now - since)
        pairs = [(self.noticed, self.stored), *((item.record.time, item.stored) for item in self.types)]
        times = [(parse_time(seen), parse_time(stored)) for seen, stored in pairs]
        delays = [(stored, stored - seen) for seen, stored in times if seen is not None and stored is not None]
        return max(0.0, max(delays)[1]) if delays else 0.0


async def read_types(log: EventLog, cluster: str = "*") -> list[TypeSync]:
    """Return the sync records of every type, by cluster and name."""
    head = "*" if cluster == "*" else subjects.escape(cluster)
    found = []
    async for record in log.scan("STATE", [f"{subjects.SYNC}.{head}.>"]):
        name, group, plural = subjects.parse_sync(record.subject)
        found.append(
            TypeSync(cluster=name, group=group, plural=plural, record=decode_sync(record.body), stored=record.time)
        )
    return sorted(found, key=lambda item: (item.cluster, item.group_resource))


async def read_clusters(log: EventLog, configured: tuple[ClusterName, ...] = ()) -> list[ClusterView]:
    """Return every cluster that is configured or has reported, by name in the order of the configuration."""
    types: dict[ClusterName, list[TypeSync]] = {}
    for item in await read_types(log):
        types.setdefault(item.cluster, []).append(item)
    views = {name: ClusterView(name=name, types=tuple(types.get(name, ()))) for name in configured}
    async for record in log.scan("STATE", [CLUSTER_FACTS]):
        fact = decode_fact(record.body)
        if fact.deleted:
            continue
        name = subjects.parse_fact(record.subject).cluster
        status = msgspec.json.decode(fact.data, type=ClusterRecord).status
        views[name] = ClusterView(
            name=name, status=status, types=tuple(types.get(name, ())), stored=record.time, noticed=fact.time
        )
    known = list(configured)
    return sorted(
        views.values(), key=lambda view: (known.index(view.name) if view.name in known else 1 << 30, view.name)
    )


def cluster_document(view: ClusterView, now: float) -> dict[str, object]:
    """Return a cluster as `-o json` shows it: one flat object, the same keys for every cluster."""
    status = view.status
    lag = view.lag(now)
    return {
        "name": view.name,
        "state": view.state,
        "identity": status.identity if status else "",
        "epoch": status.epoch if status else 0,
        "version": status.version if status else "",
        "types": len(view.types),
        "syncedTypes": len(view.types) - len(view.unsynced),
        "synced": bool(view.types) and not view.unsynced,
        "unsynced": [{"resource": item.group_resource, "reason": item.reason} for item in view.unsynced],
        "lagSeconds": None if lag is None else round(lag, 3),
        "since": status.since if status else "",
        "reason": status.reason if status else "NotReported",
        "message": status.message if status else "no watcher has reported this cluster",
    }
