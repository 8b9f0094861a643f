"""A fleet on paper: clusters that accept every write, and publish the facts that their watchers would publish.

It brings the streams to the converged state of thousands of Foos in seconds, through the real worker and its real fence; only
the API servers are missing. What it stores looks as a server would have stored it, defaults and managedFields included.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from engine.core.drift import digest
from engine.core.known import Change
from engine.core.objects import fields_hashes
from engine.core.plan import slot_of
from engine.core.watch_states import Sync
from engine.runtime.ports import EventLog, Message, Performed, Seen
from schemas import subjects
from schemas.actions import Action, AddFinalizer, Apply, Outcome, PatchStatus, Result
from schemas.clusters import CLUSTERS, ClusterMeta, ClusterRecord, ClusterState, ClusterStatus, cluster_ref
from schemas.facts import Cause, FactId, FactType, SyncType, encode_fact
from schemas.names import ClusterId, ClusterName, ObjectRef, Resource, ResourceVersion, Uid
from watchers.fact_messages import FactMessages

FOOS = Resource("samplecontroller.k8s.io", "v1alpha1", "foos")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
_TIME = "2026-11-23T08:00:00.000Z"
_POD_DEFAULTS = {
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "terminationGracePeriodSeconds": 30,
}
_CONTAINER_DEFAULTS = {
    "imagePullPolicy": "Always",
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}

Json = dict[str, Any]


class PaperFleet:
    """Clusters on paper; a `Performer` for the worker."""

    def __init__(self, log: EventLog, clusters: Sequence[ClusterName]) -> None:
        self._log = log
        self._clusters = clusters
        self._version = 1000
        self._objects: dict[ObjectRef, Json] = {}
        self._messages = {
            (name, kind.plural): FactMessages(
                cluster=name, identity=identity(name), epoch=1, resource=kind, ttl=3600.0, run="paper"
            )
            for name in clusters
            for kind in (FOOS, DEPLOYMENTS)
        }

    async def engage(self) -> None:
        """Publish that every cluster is live and every type synced."""
        await self._log.publish([_record(name) for name in self._clusters])
        synced = Sync(SyncType.COMPLETED, ResourceVersion("1000"), "s1")
        await self._log.publish([messages.sync(synced, _TIME) for messages in self._messages.values()])

    async def create_foos(self, names: Sequence[str], cluster: ClusterName) -> list[ObjectRef]:
        """Create Foos as a user would; return where they are."""
        found, messages = [], []
        for name in names:
            ref = ObjectRef(cluster, FOOS.group, FOOS.plural, "default", name)
            body = {
                "apiVersion": FOOS.api_version,
                "kind": "Foo",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"deploymentName": name, "replicas": 2},
            }
            messages.append(self._store(ref, body))
            found.append(ref)
        await self._log.publish(messages)
        return found

    async def perform(
        self,
        actions: Sequence[Action],
        *,
        manager: str,
        deadline: float,  # noqa: ARG002 - nothing takes time on paper
        first_apply: Collection[ObjectRef],  # noqa: ARG002 - and nothing is anybody else's
        expect: Mapping[ObjectRef, Seen],  # noqa: ARG002
    ) -> Performed:
        """Accept everything."""
        messages, outcomes = [], []
        for action in actions:
            message, outcome = self._accept(action, manager)
            messages.append(message)
            outcomes.append(outcome)
        await self._log.publish(messages)
        return Performed(tuple(outcomes))

    def _accept(self, action: Action, manager: str) -> tuple[Message, Outcome]:
        live = self._objects.get(action.ref, {"metadata": {}})
        fields = ""
        match action:
            case Apply(body=body):
                stored = _defaulted(body)
                fields = _own(stored, live, manager, "", body)
            case PatchStatus(status=status):
                stored = {**live, "metadata": dict(live["metadata"]), "status": status}
                fields = _own(stored, live, manager, "status", status)
            case AddFinalizer(finalizer=finalizer):
                stored = {**live, "metadata": {**live["metadata"], "finalizers": [finalizer]}}
            case _:
                message = f"{slot_of(action)} is not needed to converge"
                raise NotImplementedError(message)
        stored["metadata"]["generation"] = 1
        published = self._store(action.ref, stored)
        return published, Outcome(
            action=type(action).__name__,
            ref=action.ref,
            result=Result.DONE,
            uid=Uid(stored["metadata"]["uid"]),
            version=ResourceVersion(stored["metadata"]["resourceVersion"]),
            fields=fields,
        )

    def _store(self, ref: ObjectRef, body: Json) -> Message:
        self._version += 1
        known = ref in self._objects
        metadata = body["metadata"]
        metadata.setdefault("uid", self._objects[ref]["metadata"]["uid"] if known else f"uid-{self._version}")
        metadata |= {"resourceVersion": str(self._version), "creationTimestamp": "2026-11-23T08:00:00Z"}
        self._objects[ref] = body
        change = Change(
            FactType.UPDATED if known else FactType.ADDED,
            ref.namespace,
            ref.name,
            Uid(metadata["uid"]),
            ResourceVersion(metadata["resourceVersion"]),
            Cause.OBSERVED,
            msgspec.Raw(msgspec.json.encode(body)),
        )
        return self._messages[ref.cluster, ref.resource].change(change, _TIME)[0]


def identity(cluster: str) -> ClusterId:
    """Return the identity of a cluster on paper."""
    return ClusterId(f"6a1f0c1e-0000-4000-8000-{cluster:0>12}")


def _own(stored: Json, live: Json, manager: str, subresource: str, owned: object) -> str:
    """Record what a manager owns, roughly as server-side apply does, and return its hash."""
    others = [
        entry
        for entry in live["metadata"].get("managedFields", ())
        if (entry["manager"], entry.get("subresource", "")) != (manager, subresource)
    ]
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": {f"f:{digest(owned)}": {}}}
    if subresource:
        entry["subresource"] = subresource
    stored["metadata"]["managedFields"] = [*others, entry]
    return next(iter(fields_hashes([entry]).values()))


def _defaulted(body: Json) -> Json:
    stored: Json = msgspec.json.decode(msgspec.json.encode(body))
    pod = stored["spec"]["template"]["spec"]
    pod["containers"] = [{**container, **_CONTAINER_DEFAULTS} for container in pod["containers"]]
    stored["spec"]["template"]["spec"] = {**pod, **_POD_DEFAULTS}
    stored["spec"] |= {"progressDeadlineSeconds": 600, "revisionHistoryLimit": 10}
    return stored


def _record(name: ClusterName) -> Message:
    record = ClusterRecord(
        metadata=ClusterMeta(name=name, uid=identity(name)),
        status=ClusterStatus(state=ClusterState.LIVE, identity=identity(name), epoch=1, version="v1.36.0"),
    )
    ref, version = cluster_ref(name), ResourceVersion("1")
    fact_id = FactId(identity(name), 1, CLUSTERS.group, CLUSTERS.plural, Uid(identity(name)), version)
    data = msgspec.json.encode(record)
    body = encode_fact(fact_id, FactType.UPDATED, ref, CLUSTERS, cause=Cause.OBSERVED, time=_TIME, data=data)
    return Message(subject=subjects.fact(ref), body=body, id=str(fact_id))
