"""Asks the owners' clusters what `engine.core.evidence` wants to know, live, on two connections (docs/garbage-collection.md).

One examination serves everybody who asks for the same owner meanwhile, and a proof serves `PROOF_SECONDS` longer: an owner's
thousand dependents cost one. Presence and UNKNOWN are never remembered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from engine.core.api_errors import Status
from engine.core.cascade import OWNER_TOMBSTONES
from engine.core.evidence import (
    Absent,
    Answer,
    Ask,
    Evidence,
    Identified,
    Missing,
    NoAnswer,
    Question,
    Served,
    Tombstone,
    Wait,
    answer_to_get,
    begin,
    step,
)
from engine.core.ownership import OwnerReference
from engine.runtime import api_calls
from engine.runtime.ports import Clock, ClusterApi
from schemas.names import ClusterId, ClusterName, Resource, Uid

DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions")
DISCOVERY_SECONDS = 10.0
"""For so long discovery's answer about a type is used. One that the type did not outlive leads to a 404: UNKNOWN."""
PROOFS_KEPT = 10_000
TIMEOUT_SECONDS = 2.0

Apis = Mapping[ClusterName, ClusterApi | None]


class _Tombstone(msgspec.Struct, frozen=True):
    class Spec(msgspec.Struct, frozen=True):
        disposition: str = ""
        abandoned: tuple[ClusterId, ...] = ()

    spec: Spec


class Prover:
    """Examines owners; one per process."""

    def __init__(self, apis: tuple[Apis, Apis], clock: Clock, *, timeout: float = TIMEOUT_SECONDS) -> None:
        """Take two sets of connections to the same clusters.

        Args:
            apis: what the first and the second look are made through; they must not share a connection.
            clock: time.
            timeout: seconds for each request.

        """
        self._apis = apis
        self._clock = clock
        self._timeout = timeout
        self._running: dict[tuple[OwnerReference, ClusterName, bool], asyncio.Task[Evidence]] = {}
        self._proofs: dict[tuple[OwnerReference, ClusterName], Absent] = {}
        self._identities: dict[tuple[ClusterName, int], Identified] = {}
        self._types: dict[tuple[ClusterName, int, str, str], tuple[float, Resource | None]] = {}

    async def examine(self, owner: OwnerReference, cluster: ClusterName, *, observed: bool) -> Evidence:
        """Return the evidence for an owner.

        Args:
            owner: whom.
            cluster: configured name of the cluster that its reference means.
            observed: whether its deletion was seen by a watch in the present epoch; see `engine.core.evidence`.

        """
        known = self._proofs.get((owner, cluster))
        if known is not None and self._clock.monotonic() < known.until:
            return known
        key = (owner, cluster, observed)
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._examine(owner, cluster, observed), name=f"{owner}")
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Stop examining."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def identity(self, cluster: ClusterName, look: int = 0) -> Identified | NoAnswer:
        """Return who a cluster says that it is on one connection, asked now."""
        api = self._apis[look].get(cluster)
        if api is None:
            return NoAnswer("Unreachable", f"there is no connection to {cluster}")
        asked_at = self._clock.monotonic()
        found = await api_calls.identity(api, timeout=self._timeout)
        if isinstance(found, Status):
            return NoAnswer(found.reason or f"HTTP{found.code}", found.message)
        answer = self._identities[cluster, look] = Identified(found, asked_at)
        return answer

    async def _examine(self, owner: OwnerReference, cluster: ClusterName, observed: bool) -> Evidence:
        examination, following = begin(owner, observed=observed)
        fresh = False
        while True:
            answer: Answer | None = None
            match following:
                case Wait():
                    await self._clock.sleep(following.seconds)
                case Ask():
                    answer = await self._ask(owner, cluster, following, fresh=fresh)
                    # Asked twice in a row for who it is: what we remembered was too old.
                    fresh = following.question is Question.IDENTITY
                case _:
                    if isinstance(following, Absent):
                        self._remember(owner, cluster, following)
                    return following
            now, wall = self._clock.monotonic(), self._clock.time()
            examination, following = step(examination, answer, now=now, wall=wall)

    def _remember(self, owner: OwnerReference, cluster: ClusterName, proof: Absent) -> None:
        if len(self._proofs) >= PROOFS_KEPT:
            self._proofs.clear()
        self._proofs[owner, cluster] = proof

    async def _ask(self, owner: OwnerReference, cluster: ClusterName, ask: Ask, *, fresh: bool) -> Answer:
        api = self._apis[ask.look].get(cluster)
        if api is None:
            return NoAnswer("Unreachable", f"there is no connection to {cluster}")
        match ask.question:
            case Question.IDENTITY:
                known = self._identities.get((cluster, ask.look))
                return known if known is not None and not fresh else await self.identity(cluster, ask.look)
            case Question.SERVED:
                found = await self._type_of(api, ask.look, owner)
                return NoAnswer(found.reason, found.message) if isinstance(found, Status) else Served(found is not None)
            case Question.OBJECT:
                return await self._object(api, ask.look, owner)
            case Question.DEFINITION:
                return await self._definition(api, owner)
            case Question.TOMBSTONE:
                return await self._tombstone(api, owner.uid)

    async def _type_of(self, api: ClusterApi, look: int, owner: OwnerReference) -> Resource | Status | None:
        key = (api.name, look, owner.api_version, owner.kind)
        at, found = self._types.get(key, (float("-inf"), None))
        if self._clock.monotonic() - at <= DISCOVERY_SECONDS and found is not None:
            return found
        answer = await api_calls.type_of(api, owner.group, owner.version, owner.kind, timeout=self._timeout)
        if not isinstance(answer, Status):
            self._types[key] = (self._clock.monotonic(), answer)
        return answer

    async def _object(self, api: ClusterApi, look: int, owner: OwnerReference) -> Answer:
        resource = await self._type_of(api, look, owner)
        if resource is None or isinstance(resource, Status):
            return NoAnswer("NotServed", "its type is not served any more")
        answer = await api_calls.get(api, resource, owner.namespace, owner.name, timeout=self._timeout)
        if isinstance(answer, Status) and answer.unserved:
            self._types.pop((api.name, look, owner.api_version, owner.kind), None)
        return answer_to_get(answer, owner.name, resource.plural)

    async def _definition(self, api: ClusterApi, owner: OwnerReference) -> Answer:
        if not owner.resource or not owner.group:
            return NoAnswer("NotServed", "its type is not served, and its reference does not say which it was")
        name = f"{owner.resource}.{owner.group}"
        answer = await api_calls.get(api, DEFINITIONS, "", name, timeout=self._timeout)
        return answer_to_get(answer, name, DEFINITIONS.plural)

    async def _tombstone(self, api: ClusterApi, uid: Uid) -> Answer:
        answer = await api_calls.get_object(api, OWNER_TOMBSTONES, "", uid, timeout=self._timeout)
        if isinstance(answer, Status):
            read: Answer = answer_to_get(answer, uid, OWNER_TOMBSTONES.plural)
            if isinstance(read, Missing):
                return Tombstone()
            if answer.unserved:
                return NoAnswer("RecordsNotInstalled", f"{api.name} lacks the CRDs of deploy/crds: apply them")
            return read
        return _read_tombstone(answer)


def _read_tombstone(body: Any) -> Tombstone | NoAnswer:
    try:
        spec = msgspec.convert(body, _Tombstone).spec
    except msgspec.ValidationError as error:
        return NoAnswer("TombstoneUnreadable", str(error))
    return Tombstone(orphaned=spec.disposition == "Orphaned", abandoned=frozenset(spec.abandoned))
