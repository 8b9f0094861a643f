"""Clusters that joined by themselves: the ClusterJoins of a hub that a key is bound to (a provider of the registry).

Such a cluster has no context here: workers reach it through its agent, or with tokens that its agent lends (`Opener`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.core.joining import CLUSTER_JOINS, ClusterJoin, read_join
from engine.runtime.collection_watch import CollectionWatch
from engine.runtime.ports import Clock, ClusterApi
from engine.runtime.registry import Member
from schemas.actions import Json
from schemas.names import ClusterName, is_cluster_name


class JoinedClusters:
    """Clusters by ClusterJoins (the port `Provider`)."""

    def __init__(self, api: ClusterApi, clock: Clock, *, only: ClusterName | None = None) -> None:
        """Read the ClusterJoins of a hub; of one cluster alone if `only` that matters."""
        self.hub = api.name
        self._watch = CollectionWatch(
            api, clock, CLUSTER_JOINS, "", {"fieldSelector": f"metadata.name={only}"} if only else None
        )

    async def run(self, found: Callable[[Sequence[Member]], None], trouble: Callable[[str], None]) -> None:
        """Report until cancelled."""
        await self._watch.run(lambda objects: found(self._members(objects)), trouble)

    def _members(self, objects: Sequence[Json]) -> list[Member]:
        members = []
        for body in sorted(objects, key=lambda one: str(one["metadata"].get("name"))):
            name, join = ClusterName(str(body["metadata"].get("name"))), read_join(body)
            if isinstance(join, ClusterJoin) and join.status.key and is_cluster_name(name):
                source = f"clusterjoins in {self.hub}"
                labels = join.metadata.labels
                members.append(Member(name=name, source=source, labels=labels, joined=join.spec.mode))
        return members
