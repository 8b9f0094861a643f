"""The view: what a reconciler sees of the fleet for one request. Pure, and read-only for reconcilers.

Rows come from STATE, but for our own writes, which are in view at once (`engine.core.foresight`). A row is the last fact of
one object: present, or a tombstone. A missing row means ABSENT only where that type is synced in that cluster, else UNKNOWN
(DESIGN §2.2, §5 Reads).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from engine.core.api_errors import is_passing
from engine.core.ownership import OwnerReference, owner_references
from engine.core.renewal import LOOK_SECONDS
from schemas.actions import Json, Propagation
from schemas.clusters import ClusterState
from schemas.decisions import Target
from schemas.facts import Fact
from schemas.names import ClusterId, ClusterName, ObjectRef, Resource, ResourceVersion, Uid, newer

LASTING_ATTEMPTS = 3
"""A trouble that may pass has lasted for about a second by then."""


class Known(StrEnum):
    """What is known of an object's existence."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """A declared cluster as its watcher last described it."""

    name: ClusterName
    state: ClusterState = ClusterState.SUSPECT
    identity: ClusterId = ClusterId("")
    epoch: int = 0
    labels: dict[str, str] = {}
    reason: str = "NotSeen"
    message: str = "its watcher has not reported yet"
    since: str = ""
    seq: int = 0
    """STATE sequence of its record."""

    @property
    def engaged(self) -> bool:
        """Whether it has been reached at least once: it takes part, though it may not answer just now."""
        return bool(self.identity)

    @property
    def answering(self) -> bool:
        """Whether requests to it make sense now."""
        return self.state in (ClusterState.LIVE, ClusterState.REJOINING)


class KubeObject(msgspec.Struct, frozen=True):
    """An object as last seen. `body` is the whole of it less managedFields; treat it as read-only."""

    ref: ObjectRef
    body: Json
    seq: int = 0
    """STATE sequence of the fact; of the one before, if this one is our own write and STATE has not shown it yet."""
    fact: Fact | None = None

    @property
    def metadata(self) -> Json:
        """`metadata`."""
        metadata: Json = self.body.get("metadata") or {}
        return metadata

    @property
    def spec(self) -> Json:
        """`spec`, empty where there is none."""
        spec: Json = self.body.get("spec") or {}
        return spec

    @property
    def status(self) -> Json:
        """`status`, empty where there is none."""
        status: Json = self.body.get("status") or {}
        return status

    @property
    def api_version(self) -> str:
        """`apiVersion`."""
        return str(self.body.get("apiVersion", ""))

    @property
    def kind(self) -> str:
        """`kind`."""
        return str(self.body.get("kind", ""))

    @property
    def name(self) -> str:
        """Name of the object."""
        return self.ref.name

    @property
    def namespace(self) -> str:
        """Namespace of the object, empty if it is cluster-scoped."""
        return self.ref.namespace

    @property
    def cluster(self) -> ClusterName:
        """Cluster that the object is in."""
        return self.ref.cluster

    @property
    def uid(self) -> Uid:
        """`metadata.uid`."""
        return Uid(self.metadata.get("uid", ""))

    @property
    def version(self) -> ResourceVersion:
        """`metadata.resourceVersion`."""
        return ResourceVersion(self.metadata.get("resourceVersion", ""))

    @property
    def generation(self) -> int:
        """`metadata.generation`, 0 where the type has none."""
        return int(self.metadata.get("generation", 0))

    @property
    def labels(self) -> dict[str, str]:
        """`metadata.labels`."""
        labels: dict[str, str] = self.metadata.get("labels") or {}
        return labels

    @property
    def finalizers(self) -> tuple[str, ...]:
        """`metadata.finalizers`."""
        return tuple(self.metadata.get("finalizers") or ())

    @property
    def deleting(self) -> bool:
        """Whether deletion has been asked for."""
        return "deletionTimestamp" in self.metadata

    @property
    def owners(self) -> tuple[OwnerReference, ...]:
        """The cross-cluster owners that it names."""
        return owner_references(self.metadata)


class Row(msgspec.Struct, frozen=True):
    """The last fact of one object, with its STATE sequence."""

    seq: int
    fact: Fact

    @property
    def version(self) -> ResourceVersion:
        """Version of the fact; that of the deletion for a tombstone (W-18)."""
        return self.fact.resourceversion


class View:
    """The fleet as it concerns one request.

    Attributes:
        now: wall time of the load, seconds since the epoch; recorded with the decision, so that a replay sees the same.
        clusters: every declared cluster, by name.
        look_seconds: how often what is not watched is looked at, on average.
        propagation: how the deletion of the requested object was asked for, if it is being deleted and that is known.

    """

    propagation: Propagation | None = None

    def __init__(
        self,
        *,
        now: float,
        clusters: Iterable[Cluster],
        rows: Mapping[ObjectRef, Row],
        synced: frozenset[tuple[ClusterName, str, str]],
        mentioned: frozenset[tuple[ClusterName, str, str]] = frozenset(),
        targets: Iterable[Target] = (),
        reconciler: str = "",
    ) -> None:
        """Hold the loaded rows.

        Args:
            now: wall time, seconds since the epoch.
            clusters: the declared clusters.
            rows: last facts by object.
            synced: (cluster, group, resource) of every type whose contents are known.
            mentioned: those that have any sync record, so that a watcher has met them at some time.
            targets: what the key remembers of its own writes.
            reconciler: whose view it is; its field manager is `crosscurrent/<reconciler>`.

        """
        self.now = now
        self.clusters: dict[ClusterName, Cluster] = {cluster.name: cluster for cluster in clusters}
        self.rows = dict(rows)
        self.synced = synced
        self.mentioned = mentioned | synced
        self.targets: dict[tuple[ObjectRef, str], Target] = {(target.ref, target.slot): target for target in targets}
        self.reconciler = reconciler
        self.look_seconds = LOOK_SECONDS
        self._objects: dict[ObjectRef, KubeObject] = {}

    def get(self, ref: ObjectRef) -> KubeObject | None:
        """Return an object, or None if it is absent or unknown; `known` tells which.

        None also for an object that is there but could not be published, being too large or too deep (W-24, SEC-11).
        """
        if ref in self._objects:
            return self._objects[ref]
        row = self.rows.get(ref)
        if row is None or row.fact.deleted:
            return None
        body: dict[str, Any] | None = msgspec.json.decode(row.fact.data)
        if body is None:
            return None
        found = self._objects[ref] = KubeObject(ref, body, row.seq, row.fact)
        return found

    def show(self, ref: ObjectRef, row: Row) -> None:
        """Put a later fact in the place of what was known of an object."""
        self.rows[ref] = row
        self._objects.pop(ref, None)

    def known(self, ref: ObjectRef) -> Known:
        """Return whether an object is there, is not there, or cannot be told."""
        row = self.rows.get(ref)
        if row is not None and not row.fact.deleted:
            return Known.PRESENT
        return Known.ABSENT if (ref.cluster, ref.group, ref.resource) in self.synced else Known.UNKNOWN

    def serves(self, cluster: ClusterName, resource: Resource) -> bool | None:
        """Return whether a cluster serves a type; None while that cannot be told.

        A cluster is live once everything that it serves has been met, so that what was never met there is not served.
        """
        place = (cluster, resource.group, resource.plural)
        if place in self.synced:
            return True
        found = self.clusters.get(cluster)
        live = found is not None and found.state is ClusterState.LIVE
        return False if live and place not in self.mentioned else None

    def all(self, resource: Resource, cluster: ClusterName) -> list[KubeObject]:
        """Return the objects of a type in a cluster, by place; as far as the reconciler reads them (`reads`)."""
        wanted = (cluster, resource.group, resource.plural)
        refs = sorted(ref for ref in self.rows if (ref.cluster, ref.group, ref.resource) == wanted)
        return [found for ref in refs if (found := self.get(ref)) is not None]

    def others(self, cluster: ClusterName) -> list[Cluster]:
        """Return the engaged clusters other than `cluster`, by name."""
        return [
            self.clusters[name] for name in sorted(self.clusters) if name != cluster and self.clusters[name].engaged
        ]

    def dependents(self, owner: KubeObject) -> list[KubeObject]:
        """Return the objects, in any cluster, that name `owner` as an owner."""
        identity, uid = self.clusters[owner.cluster].identity, owner.uid
        children = (child for ref in self.rows if (child := self.get(ref)) is not None)
        found = [child for child in children if any(o.uid == uid and o.cluster_id == identity for o in child.owners)]
        return sorted(found, key=lambda child: child.ref)

    def status(self, parent: KubeObject) -> Json:
        """Return an object's status, or our own last write of it where the watch has not shown that yet."""
        target = self.targets.get((parent.ref, "status"))
        if target is not None and target.value is not None and newer(target.version, parent.version):
            return target.value
        return parent.status

    def failure(self, ref: ObjectRef, slot: str = "apply") -> Target | None:
        """Return the failed attempt to write an object, or None if the last one did not fail; `message` says why."""
        target = self.targets.get((ref, slot))
        return target if target is not None and target.attempts else None

    def may_pass(self, ref: ObjectRef, slot: str = "apply") -> bool:
        """Return whether an attempt to write an object failed just now, for something that may pass by itself."""
        failure = self.failure(ref, slot)
        return failure is not None and failure.attempts < LASTING_ATTEMPTS and is_passing(failure.code, failure.reason)
