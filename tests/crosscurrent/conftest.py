"""A small fleet in a log: three clusters, a Foo, its Deployments, a type that is not synced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest

from crosscurrent import cli, processes
from engine.runtime.ports import Message
from engine.sandbox.memory_log import MemoryLog
from schemas import subjects
from schemas.clusters import CLUSTERS, ClusterMeta, ClusterRecord, ClusterState, ClusterStatus, cluster_ref
from schemas.decisions import Entry, encode_entry
from schemas.facts import Cause, FactId, FactType, SyncData, SyncRecord, SyncType, encode_fact, encode_sync
from schemas.names import ClusterId, ClusterName, ObjectRef, Resource, ResourceVersion, Uid

C1, C2, C3 = ClusterName("cluster1"), ClusterName("cluster2"), ClusterName("cluster3")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
FOOS = Resource("samplecontroller.k8s.io", "v1alpha1", "foos")
NODES = Resource("", "v1", "nodes")
TIME = "2026-11-23T10:00:00Z"


def identity(cluster: str) -> ClusterId:
    return ClusterId(f"{cluster}-1234-5678")


def object_fact(
    ref: ObjectRef, resource: Resource, body: dict[str, Any] | None = None, *, version: str = "7", deleted: bool = False
) -> Message:
    metadata = {"name": ref.name, "uid": f"uid-{ref.cluster}-{ref.name}", "creationTimestamp": TIME}
    if ref.namespace:
        metadata["namespace"] = ref.namespace
    document = {"apiVersion": resource.api_version, "kind": "X", "metadata": metadata, **(body or {})}
    fact_id = FactId(
        identity(ref.cluster),
        1,
        resource.group,
        resource.plural,
        Uid(metadata["uid"]),
        ResourceVersion(version),
        deleted,
    )
    encoded = encode_fact(
        fact_id,
        FactType.DELETED if deleted else FactType.ADDED,
        ref,
        resource,
        cause=Cause.OBSERVED,
        time=TIME,
        data=msgspec.json.encode(document),
    )
    return Message(subject=subjects.fact(ref), body=encoded, id=str(fact_id))


def cluster_fact(name: ClusterName, state: ClusterState = ClusterState.LIVE, **status: Any) -> Message:
    record = ClusterRecord(
        metadata=ClusterMeta(name=name, uid=identity(name)),
        status=ClusterStatus(
            state=state, identity=identity(name), epoch=3, version="v1.36.3", **({"since": TIME} | status)
        ),
    )
    fact_id = FactId(identity(name), 3, CLUSTERS.group, CLUSTERS.plural, Uid(name), ResourceVersion(state.value))
    ref = cluster_ref(name)
    encoded = encode_fact(
        fact_id,
        FactType.UPDATED,
        ref,
        CLUSTERS,
        cause=Cause.OBSERVED,
        time=TIME,
        data=msgspec.json.encode(record),
    )
    return Message(subject=subjects.fact(ref), body=encoded, id=str(fact_id))


def sync_record(
    name: ClusterName, resource: Resource, kind: SyncType = SyncType.COMPLETED, reason: str = ""
) -> Message:
    record = SyncRecord(
        id=f"{name}/{resource}/{kind}",
        type=kind,
        subject=resource.plural,
        time=TIME,
        cluster=name,
        identity=identity(name),
        epoch=3,
        data=SyncData(reason=reason, objects=2),
    )
    return Message(
        subject=subjects.sync(name, resource.group, resource.plural), body=encode_sync(record, resource), id=record.id
    )


def deployment(cluster: ClusterName, name: str = "example-foo", namespace: str = "default") -> ObjectRef:
    return ObjectRef(cluster, "apps", "deployments", namespace, name)


def foo(name: str = "example-foo") -> ObjectRef:
    return ObjectRef(C1, FOOS.group, FOOS.plural, "default", name)


def decision(entry: Entry, ref: ObjectRef | None = None) -> Message:
    subject = subjects.keyed(subjects.DECISIONS, entry.reconciler, ref or foo())
    return Message(subject=subject, body=encode_entry(entry))


@pytest.fixture
async def fleet() -> MemoryLog:
    """Three clusters: one live, one live with a type unsynced, one suspect."""
    log = MemoryLog()
    await log.publish(
        [
            cluster_fact(C1),
            cluster_fact(C2),
            cluster_fact(C3, ClusterState.SUSPECT, reason="Unreachable", message="connection refused"),
            *(sync_record(name, kind) for name in (C1, C2) for kind in (DEPLOYMENTS, NODES)),
            sync_record(C1, FOOS),
            sync_record(C2, FOOS, SyncType.GAP, reason="410 Gone"),
            object_fact(foo(), FOOS, {"spec": {"deploymentName": "example-foo", "replicas": 1}}),
            object_fact(deployment(C2), DEPLOYMENTS, {"spec": {"replicas": 3}, "status": {"readyReplicas": 2}}),
            object_fact(deployment(C2, "web", "shop"), DEPLOYMENTS, {"spec": {"replicas": 1}}),
            object_fact(deployment(C1, "gone"), DEPLOYMENTS, deleted=True),
            object_fact(ObjectRef(C1, "", "nodes", "", "node.example.com"), NODES),
        ]
    )
    return log


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    def rows(self) -> list[list[str]]:
        return [line.split() for line in self.out.splitlines()]


Command = Callable[[str], Answer]


@pytest.fixture
def command(fleet: MemoryLog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line against the small fleet."""

    async def open_log(*_: object) -> MemoryLog:
        return fleet

    monkeypatch.setattr(processes, "open_log", open_log)
    monkeypatch.setenv("CROSSCURRENT_NATS_URL", "nats://localhost:4222")

    def run(line: str) -> Answer:
        code = cli.run(line.split())
        return Answer(code, *capsys.readouterr())

    return run
