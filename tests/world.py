"""A fleet in memory for tests of the worker: it performs actions and publishes what watchers would publish.

It also keeps the book that the fence is judged by: who performed on which key when, and whether anything went backwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from engine.core.drift import digest
from engine.runtime.ports import EventLog, Message, Performed, Seen
from schemas import subjects
from schemas.actions import (
    Action,
    AddFinalizer,
    Apply,
    Delete,
    Outcome,
    PatchStatus,
    RemoveFinalizer,
    Result,
)
from schemas.clusters import ClusterState, cluster_ref
from schemas.names import ClusterName, ObjectRef, Resource, ResourceVersion, Uid
from tests.builders import DEPLOYMENTS, FOOS, cluster_fact, fact_message, sync_fact

KINDS = {(kind.group, kind.plural): kind for kind in (FOOS, DEPLOYMENTS)}
Hook = Callable[[Action], Awaitable[Outcome | None]]


class World:
    """Clusters, their objects, and a performer."""

    def __init__(self, log: EventLog, clusters: Sequence[ClusterName]) -> None:
        self.log = log
        self.clusters = list(clusters)
        self.objects: dict[ObjectRef, dict[str, Any]] = {}
        self.writes: list[tuple[str, ObjectRef]] = []
        self.hook: Hook | None = None
        self.lag = 0.0
        """Seconds after which a write shows on the watch."""
        self._showing: set[asyncio.Task[None]] = set()
        self._version = 100

    async def start(self) -> None:
        """Engage every cluster, with every type synced."""
        messages = []
        for name in self.clusters:
            messages.append(self._cluster(name, ClusterState.LIVE))
            messages += [
                Message(subject=subjects.sync(name, kind.group, kind.plural), body=sync_fact(name, kind))
                for kind in KINDS.values()
            ]
        await self.log.publish(messages)

    def _cluster(self, name: ClusterName, state: ClusterState) -> Message:
        self._version += 1
        fact_id, body = cluster_fact(name, state, str(self._version))
        return Message(subject=subjects.fact(cluster_ref(name)), body=body, id=fact_id)

    async def set_state(self, name: ClusterName, state: ClusterState) -> None:
        await self.log.publish([self._cluster(name, state)])

    async def put(self, ref: ObjectRef, body: dict[str, Any]) -> dict[str, Any]:
        """Write an object as a user would, and publish its fact."""
        self._version += 1
        uid = self.objects.get(ref, {}).get("metadata", {}).get("uid") or f"uid-{self._version}"
        stored = {**body, "metadata": {**body["metadata"], "uid": uid, "resourceVersion": str(self._version)}}
        self.objects[ref] = stored
        await self._publish(ref, stored)
        return stored

    async def remove(self, ref: ObjectRef) -> None:
        """Delete an object outright, and publish its tombstone."""
        self._version += 1
        gone = self.objects.pop(ref)
        await self._publish(ref, gone, deleted=True)

    async def mark_deleted(self, ref: ObjectRef) -> None:
        """Ask for deletion as a user would: it goes at once, or stays with its finalizers."""
        body = self.objects[ref]
        if body["metadata"].get("finalizers"):
            await self.put(ref, {**body, "metadata": {**body["metadata"], "deletionTimestamp": "2026-11-23T00:00:00Z"}})
        else:
            await self.remove(ref)

    async def _publish(self, ref: ObjectRef, body: dict[str, Any], *, deleted: bool = False) -> None:
        kind: Resource = KINDS[ref.group, ref.resource]
        fact_id, encoded = fact_message(ref, kind, body, version=str(self._version), deleted=deleted)
        await self._show(Message(subject=subjects.fact(ref), body=encoded, id=fact_id))

    async def _show(self, message: Message) -> None:
        if not self.lag:
            await self.log.publish([message])
            return

        async def later() -> None:
            await asyncio.sleep(self.lag)
            await self.log.publish([message])

        showing = asyncio.create_task(later())
        self._showing.add(showing)
        showing.add_done_callback(self._showing.discard)

    # --- the performer ---

    async def perform(
        self,
        actions: Sequence[Action],
        *,
        manager: str,
        deadline: float,
        first_apply: Collection[ObjectRef],
        expect: Mapping[ObjectRef, Seen],
    ) -> Performed:
        outcomes, answers = [], {}
        for action in actions:
            outcome = await self.hook(action) if self.hook else None
            if outcome is None:
                outcome = await self._perform(action, manager)
                if outcome.version:
                    answers[action.ref] = msgspec.json.encode(self.objects[action.ref])
            outcomes.append(outcome)
        return Performed(tuple(outcomes), answers)

    async def _perform(self, action: Action, manager: str) -> Outcome:
        name = type(action).__name__
        self.writes.append((name, action.ref))
        live = self.objects.get(action.ref)
        match action:
            case Apply():
                body = {**(live or {}), **action.body}
                written = await self.put(action.ref, with_manager(body, live, manager, "", action.body))
            case PatchStatus() if live:
                body = {**live, "status": action.status}
                written = await self.put(action.ref, with_manager(body, live, manager, "status", action.status))
            case AddFinalizer() if live:
                kept = live["metadata"].get("finalizers", [])
                metadata = {**live["metadata"], "finalizers": [*kept, action.finalizer]}
                written = await self.put(action.ref, {**live, "metadata": metadata})
            case RemoveFinalizer() if live:
                metadata = {**live["metadata"], "finalizers": []}
                self.objects[action.ref] = written = {**live, "metadata": metadata}
                await self.remove(action.ref)
            case Delete() if live:
                await self.remove(action.ref)
                return Outcome(action=name, ref=action.ref, result=Result.DONE)
            case _:
                return Outcome(action=name, ref=action.ref, result=Result.UNCHANGED)
        metadata = written["metadata"]
        fields = ""
        for entry in metadata.get("managedFields", []):
            if entry["manager"] == manager and entry.get("subresource", "") == (
                "status" if name == "PatchStatus" else ""
            ):
                fields = fields_of(entry)
        return Outcome(
            action=name,
            ref=action.ref,
            result=Result.DONE,
            uid=Uid(metadata["uid"]),
            version=ResourceVersion(metadata["resourceVersion"]),
            fields=fields,
        )


def fields_of(entry: dict[str, Any]) -> str:
    from engine.core.objects import fields_hashes

    return next(iter(fields_hashes([entry]).values()))


def with_manager(
    body: dict[str, Any], live: dict[str, Any] | None, manager: str, subresource: str, owned: Any
) -> dict[str, Any]:
    """Record that `manager` owns the fields of `owned`, roughly as server-side apply does."""
    kept = [
        entry
        for entry in ((live or {}).get("metadata", {}).get("managedFields") or [])
        if (entry["manager"], entry.get("subresource", "")) != (manager, subresource)
    ]
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": {"f:" + digest(owned): {}}}
    if subresource:
        entry["subresource"] = subresource
    return {**body, "metadata": {**body["metadata"], "managedFields": [*kept, entry]}}


async def eventually(condition: Callable[[], bool], *, seconds: float = 5.0, what: str = "") -> None:
    """Wait until a condition holds."""
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(what or "it did not come true in time")
