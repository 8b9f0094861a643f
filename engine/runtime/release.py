"""The barrier before a deleted owner is let go: a live LIST of its dependents in every configured cluster.

Only lists that were answered, to the end, and hold none that count open it. A cluster that does not answer keeps it closed,
unless an administrator of the owner's cluster has abandoned that one, or the configuration sets a time after which one that
does not answer is given up: then the owner's tombstone says so first, so that what the cluster still holds when it comes back
is kept and reported, and never taken for garbage (XGC-19).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import structlog

from engine.core.api_errors import Status
from engine.core.cascade import OWNER_TOMBSTONES
from engine.core.grants import Verb
from engine.core.live_object import Metadata
from engine.core.outcomes import outcome_of
from engine.core.ownership import ADMIRALTY_FINALIZER, ADMIRALTY_LABEL, OWNER_LABEL, can_be_label, owner_label
from engine.runtime import api_calls
from engine.runtime.fleet_directory import FleetDirectory
from engine.runtime.ports import Clock, ClusterApi
from engine.runtime.references import References
from schemas.actions import Outcome, RemoveFinalizer, Result
from schemas.clusters import ClusterState, ClusterStatus
from schemas.names import ClusterId, ClusterName, ObjectRef, Resource

ABANDONMENTS = Resource("crosscurrent.dev", "v1alpha1", "abandonments")
AT_ONCE = 4
"""Owners whose dependents are looked for at once, by one process. Each takes two LISTs for every type in every cluster: of
many at once none would be done within its lease, and each would have to begin anew for ever."""
MAX_PAGES = 50
"""Of 500: an owner with more labelled dependents than that is not about to be let go."""
MANAGER = "crosscurrent/garbage"

Apis = Mapping[ClusterName, ClusterApi | None]

_log = structlog.get_logger(__name__)


class _Abandonment(msgspec.Struct, frozen=True):
    class Spec(msgspec.Struct, frozen=True):
        cluster: str
        owners: tuple[str, ...] = ()

    spec: Spec


class _Abandonments(msgspec.Struct, frozen=True):
    items: list[_Abandonment]


_abandonments = msgspec.json.Decoder(_Abandonments)


class Barrier:
    """Looks for dependents; one per process."""

    def __init__(
        self,
        directory: FleetDirectory,
        references: References,
        clock: Clock,
        *,
        timeout: float,
        give_up_after: float = 0.0,
    ) -> None:
        """Take whom to ask.

        Args:
            directory: identities of the clusters.
            references: judges what may block.
            clock: time.
            timeout: seconds for each request.
            give_up_after: seconds for which a cluster must have been away, and its owner been deleted, before an owner is
                let go without it; 0: never.

        """
        self._directory, self._references, self._clock = directory, references, clock
        self._timeout, self._give_up_after = timeout, give_up_after
        self._room = asyncio.Semaphore(AT_ONCE)

    async def closed(self, action: RemoveFinalizer, apis: Apis, deadline: float) -> Outcome | None:
        """Return why an owner must stay, or None if it may go.

        Args:
            action: the finalizer's removal.
            apis: every configured cluster.
            deadline: monotonic time by which that must be known.

        Raises:
            EventLogError: when it cannot be told which cluster is which.
            TimeoutError: when it was not known in time.

        """
        async with asyncio.timeout(max(0.0, deadline - self._clock.monotonic())), self._room:
            return await self._closed(action, apis)

    async def _closed(self, action: RemoveFinalizer, apis: Apis) -> Outcome | None:
        looks = [self._look(name, api, action) for name, api in apis.items()]
        findings = await asyncio.gather(*looks)
        remaining = [found for found in findings if isinstance(found, str)]
        if remaining:
            message = "; ".join(remaining)
            return outcome_of(action, Result.CONFLICT, code=409, reason="DependentsRemain", message=message)
        away = {name: found for name, found in zip(apis, findings, strict=True) if isinstance(found, Status)}
        if away and (problem := await self._abandon(action, apis[action.ref.cluster], away)):
            return outcome_of(action, Result.FAILED, reason="WaitingForCluster", message=problem)
        return None

    async def _look(self, cluster: ClusterName, api: ClusterApi | None, action: RemoveFinalizer) -> str | Status | None:
        """Return the dependents that remain in a cluster, in words; a Status if it cannot be told; None if there are none."""
        if api is None:
            return Status(code=0, reason="Unreachable", message="there is no connection to it")
        status = (await self._directory.clusters()).get(cluster)
        live = await api_calls.identity(api, timeout=self._timeout)
        if isinstance(live, Status):
            return live
        if status is None or live != status.identity:
            return Status(code=0, reason="IdentityMismatch", message=f"it answers as {live}")
        found = await asyncio.gather(
            *(self._of_type(cluster, status.identity, api, Resource.parse(text), action) for text in action.dependents)
        )
        remaining = [f"{cluster} holds {one}" for one in found if isinstance(one, str)]
        if remaining:
            return "; ".join(remaining)
        return next((one for one in found if isinstance(one, Status)), None)

    async def _of_type(
        self, cluster: ClusterName, identity: ClusterId, api: ClusterApi, resource: Resource, action: RemoveFinalizer
    ) -> str | Status | None:
        served: list[Resource] | Status = [resource]
        for selector in _selectors(action):
            answer = await self._labelled(api, resource, selector)
            if isinstance(answer, Status) and answer.unserved:
                # The version may have gone while the objects stay, under another one.
                served = await api_calls.serves(api, resource, timeout=self._timeout)
                if isinstance(served, Status):
                    return served
                if not served:
                    return None
                resource = served[0]
                answer = await self._labelled(api, resource, selector)
            if isinstance(answer, Status):
                return answer
            for found in answer:
                ref = ObjectRef(cluster, resource.group, resource.plural, found.namespace, found.name)
                counts = await self._counts(found, ref, identity, action)
                if isinstance(counts, Status):
                    return counts
                if counts:
                    place = f"{found.namespace}/{found.name}" if found.namespace else found.name
                    return f"{resource.plural} {place}"
        return None

    async def _labelled(self, api: ClusterApi, resource: Resource, selector: str) -> list[Metadata] | Status:
        found: list[Metadata] = []
        resume = ""
        for _ in range(MAX_PAGES):
            page = await api_calls.list_page(
                api, resource, timeout=self._timeout, label_selector=selector, resume=resume
            )
            if isinstance(page, Status):
                return page
            if not page.kind.endswith("List") or not page.metadata.resource_version:
                return Status(code=200, reason="NotKubernetes", message="the answer is no list", authentic=False)
            found += [one.metadata for one in page.objects]
            resume = page.metadata.continue_
            if not resume:
                return found
        return Status(code=200, reason="TooMany", message="too many dependents to look at")

    async def _counts(
        self, live: Metadata, ref: ObjectRef, identity: ClusterId, action: RemoveFinalizer
    ) -> bool | Status:
        """Return whether a labelled object keeps the owner: it refers to it and, if only those count, may block it."""
        named = await self._directory.named()
        for reference in await self._references.references(live):
            home = named.get(reference.cluster_id)
            if reference.uid != action.uid or home != action.ref.cluster:
                continue
            verbs = await self._references.verbs(reference, home, live, ref, identity)
            if isinstance(verbs, Status):
                return verbs
            wanted = Verb.BLOCK if action.blocking_only else Verb.REFERENCE
            if wanted in verbs and (reference.block_owner_deletion or not action.blocking_only):
                return True
        return False

    async def _abandon(self, action: RemoveFinalizer, home: ClusterApi | None, away: dict[ClusterName, Status]) -> str:
        """Return which clusters hold the owner up, empty if all of them were abandoned, which its tombstone then says."""
        told = "; ".join(f"{name} may hold dependents: {status.message}" for name, status in away.items())
        if home is None:
            return told
        path = api_calls.collection_path(ABANDONMENTS)
        listed = await api_calls.call(home, "GET", path, _abandonments, timeout=self._timeout)
        if isinstance(listed, Status):
            return told
        known = await self._directory.clusters()
        given_up: dict[ClusterId, str] = {}
        left = []
        for name, answer in away.items():
            status = known.get(name)
            why = ""
            if status is not None and status.identity:
                abandoned = any(_abandons(one, name, status.identity, action.uid) for one in listed.items)
                why = f"{name}: Abandonment" if abandoned else await self._overdue(action, home, name, status)
            if status is not None and why:
                given_up[status.identity] = why
            else:
                left.append(f"{name} may hold dependents: {answer.message}")
        return "; ".join(left) if left else await self._entomb(action, home, given_up)

    async def _overdue(
        self, action: RemoveFinalizer, home: ClusterApi, name: ClusterName, status: ClusterStatus
    ) -> str:
        """Return why a cluster that is away need not be waited for any longer; empty: it is waited for."""
        if not self._give_up_after or status.state is not ClusterState.SUSPECT:
            return ""
        ref = action.ref
        resource = api_calls.resource_of(ref, action.api_version)
        owner = await api_calls.get(home, resource, ref.namespace, ref.name, timeout=self._timeout)
        if isinstance(owner, Status) or owner.uid != action.uid:
            return ""
        times = [_seconds(status.since), _seconds(owner.deletion_timestamp or "")]
        if None in times or self._clock.time() - max(time for time in times if time is not None) < self._give_up_after:
            return ""
        return f"{name}: away since {status.since}, longer than garbage.give_up_after_seconds allows"

    async def _entomb(self, action: RemoveFinalizer, home: ClusterApi, given_up: Mapping[ClusterId, str]) -> str:
        spec: dict[str, Any] = {
            "uid": action.uid,
            "abandoned": list(given_up),
            "reason": "; ".join(given_up.values()),
            "owner": {
                "apiVersion": action.api_version,
                "kind": action.kind,
                "namespace": action.ref.namespace,
                "name": action.ref.name,
            },
        }
        body = {
            "apiVersion": OWNER_TOMBSTONES.api_version,
            "kind": "OwnerTombstone",
            "metadata": {"name": action.uid},
            "spec": spec,
        }
        answer = await api_calls.apply(
            home, OWNER_TOMBSTONES, body, manager=f"{MANAGER}-release", force=True, timeout=self._timeout
        )
        if isinstance(answer, Status):
            return f"the tombstone could not be written: {answer.message}"
        _log.warning("owner let go without a cluster", owner=str(action.ref), uid=action.uid, abandoned=spec["reason"])
        return ""


def _seconds(time: str) -> float | None:
    """Return an RFC 3339 time in seconds since the epoch; None if it is none."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        return None


def _selectors(action: RemoveFinalizer) -> list[str]:
    if not can_be_label(action.uid):
        return []
    found = [f"{OWNER_LABEL}={action.uid}", owner_label(action.uid)]
    return [*found, f"{ADMIRALTY_LABEL}={action.uid}"] if action.finalizer == ADMIRALTY_FINALIZER else found


def _abandons(one: _Abandonment, name: ClusterName, identity: ClusterId, owner: str) -> bool:
    return one.spec.cluster in (name, identity) and (not one.spec.owners or owner in one.spec.owners)
