"""Builders for tests: objects, views, facts, in few words."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.core.objects import fields_hashes
from engine.core.ownership import OwnerReference
from engine.core.view import Cluster, Row, View
from schemas.actions import Request
from schemas.clusters import CLUSTERS, ClusterMeta, ClusterRecord, ClusterState, ClusterStatus, cluster_ref
from schemas.decisions import Target
from schemas.facts import Cause, Fact, FactId, FactType, SyncData, SyncRecord, SyncType, encode_fact, encode_sync
from schemas.names import ClusterId, ClusterName, ObjectRef, Resource, ResourceVersion, Uid

C1, C2, C3 = ClusterName("cluster1"), ClusterName("cluster2"), ClusterName("cluster3")
FOOS = Resource("samplecontroller.k8s.io", "v1alpha1", "foos")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
NOW = 1_790_000_000.0


def identity(cluster: str) -> ClusterId:
    """Identity of a test cluster."""
    return ClusterId(f"id-{cluster}")


def foo_ref(name: str = "example-foo", cluster: ClusterName = C1) -> ObjectRef:
    return ObjectRef(cluster, FOOS.group, FOOS.plural, "default", name)


def deployment_ref(cluster: ClusterName, name: str = "example-foo") -> ObjectRef:
    return ObjectRef(cluster, "apps", "deployments", "default", name)


def foo_body(name: str = "example-foo", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "samplecontroller.k8s.io/v1alpha1",
        "kind": "Foo",
        "metadata": {"name": name, "namespace": "default", "uid": "foo-uid", "resourceVersion": "10", "generation": 1}
        | metadata,
        "spec": {"deploymentName": name, "replicas": 1},
    }


def request(ref: ObjectRef | None = None, reconciler: str = "foo") -> Request:
    return Request(reconciler, ref or foo_ref())


def reference_to(owner: ObjectRef, kind: str, *, blocking: bool = False) -> OwnerReference:
    """Reference to an object of the core group whose uid is `uid-<name>`."""
    return OwnerReference(
        cluster_id=identity(owner.cluster),
        cluster=owner.cluster,
        api_version="v1",
        kind=kind,
        resource=owner.resource,
        namespace=owner.namespace,
        name=owner.name,
        uid=Uid(f"uid-{owner.name}"),
        block_owner_deletion=blocking,
    )


def a_fact(ref: ObjectRef, body: dict[str, Any] | None, *, managers: str = "", version: str = "") -> Fact:
    """Fact of an object, or its tombstone where body is None."""
    metadata = (body or {}).get("metadata", {})
    return Fact(
        id="",
        type=FactType.UPDATED if body is not None else FactType.DELETED,
        subject="",
        time="",
        cluster=ref.cluster,
        identity=identity(ref.cluster),
        epoch=1,
        uid=Uid(metadata.get("uid", "")),
        resourceversion=ResourceVersion(version or metadata.get("resourceVersion", "1")),
        managers=managers,
        data=msgspec.Raw(msgspec.json.encode(body)),
    )


def a_view(
    *objects: tuple[ObjectRef, dict[str, Any] | None],
    clusters: dict[ClusterName, ClusterState] | None = None,
    targets: tuple[Target, ...] = (),
    managers: dict[ObjectRef, str] | None = None,
    unsynced: tuple[tuple[ClusterName, str, str], ...] = (),
    now: float = NOW,
) -> View:
    """View of three live clusters by default, everything synced; a body of None is a tombstone."""
    states = clusters if clusters is not None else dict.fromkeys((C1, C2, C3), ClusterState.LIVE)
    rows = {
        ref: Row(index, a_fact(ref, body, managers=(managers or {}).get(ref, "")))
        for index, (ref, body) in enumerate(objects, 1)
    }
    synced = {(name, kind.group, kind.plural) for name in states for kind in (FOOS, DEPLOYMENTS)} - set(unsynced)
    return View(
        now=now,
        clusters=[
            Cluster(name=name, state=state, identity=identity(name), epoch=1, reason="", message="", seq=7)
            for name, state in states.items()
        ],
        rows=rows,
        synced=frozenset(synced),
        targets=targets,
        reconciler="foo",
    )


def fact_message(
    ref: ObjectRef,
    resource: Resource,
    body: dict[str, Any],
    *,
    version: str,
    deleted: bool = False,
    identity_of: str = "",
) -> tuple[str, bytes]:
    """Id and bytes of an encoded fact as a watcher would publish them."""
    metadata = body["metadata"]
    managers = fields_hashes(metadata.get("managedFields") or [])
    stripped = {**body, "metadata": {k: v for k, v in metadata.items() if k != "managedFields"}}
    fact_id = FactId(
        ClusterId(identity_of or identity(ref.cluster)),
        1,
        resource.group,
        resource.plural,
        Uid(metadata.get("uid", "u")),
        ResourceVersion(version),
        deleted,
    )
    encoded = encode_fact(
        fact_id,
        FactType.DELETED if deleted else FactType.UPDATED,
        ref,
        resource,
        cause=Cause.OBSERVED,
        time="2026-11-23T00:00:00Z",
        managers=" ".join(f"{k}={v}" for k, v in sorted(managers.items())),
        data=msgspec.json.encode(stripped),
    )
    return str(fact_id), encoded


def cluster_fact(name: ClusterName, state: ClusterState = ClusterState.LIVE, version: str = "1") -> tuple[str, bytes]:
    """Id and bytes of a cluster's record."""
    record = ClusterRecord(
        metadata=ClusterMeta(name=name, uid=identity(name)),
        status=ClusterStatus(state=state, identity=identity(name), epoch=1, version="v1.36.3"),
    )
    fact_id = FactId(identity(name), 1, CLUSTERS.group, CLUSTERS.plural, Uid(identity(name)), ResourceVersion(version))
    return str(fact_id), encode_fact(
        fact_id,
        FactType.UPDATED,
        cluster_ref(name),
        CLUSTERS,
        cause=Cause.OBSERVED,
        time="2026-11-23T00:00:00Z",
        data=msgspec.json.encode(record),
    )


def sync_fact(cluster: ClusterName, resource: Resource, kind: SyncType = SyncType.COMPLETED, reason: str = "") -> bytes:
    """Bytes of a sync record."""
    record = SyncRecord(
        id=f"{cluster}-{resource.plural}-{kind}",
        type=kind,
        subject=resource.plural,
        time="2026-11-23T00:00:00Z",
        cluster=cluster,
        identity=identity(cluster),
        epoch=1,
        resourceversion=ResourceVersion("1"),
        data=SyncData(reason=reason),
    )
    return encode_sync(record, resource)
