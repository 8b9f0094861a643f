"""The barrier before a deleted owner is let go: no dependents remain in any configured cluster (`engine.runtime.remaining`).

A cluster that does not answer keeps it closed,
unless an administrator of the owner's cluster has abandoned that one, or the configuration sets a time after which one that
does not answer is given up: then the owner's tombstone says so first, so that what the cluster still holds when it comes back
is kept and reported, and never taken for garbage (XGC-19).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import structlog

from engine.core.api_errors import Status
from engine.core.cascade import OWNER_TOMBSTONES
from engine.core.outcomes import outcome_of
from engine.runtime import api_calls
from engine.runtime.fleet_directory import FleetDirectory
from engine.runtime.ports import Clock, ClusterApi
from engine.runtime.remaining import ApisUntil, Remaining
from schemas.actions import Outcome, RemoveFinalizer, Result
from schemas.clusters import ClusterState, ClusterStatus
from schemas.names import ClusterId, ClusterName, Resource

ABANDONMENTS = Resource("crosscurrent.dev", "v1alpha1", "abandonments")
MANAGER = "crosscurrent/garbage"

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
    """Lets owners go; one per process."""

    def __init__(
        self,
        directory: FleetDirectory,
        remaining: Remaining,
        clock: Clock,
        *,
        timeout: float,
        give_up_after: float = 0.0,
    ) -> None:
        """Take whom to ask.

        Args:
            directory: identities of the clusters.
            remaining: looks for dependents.
            clock: time.
            timeout: seconds for each request.
            give_up_after: seconds for which a cluster must have been away, and its owner been deleted, before an owner is
                let go without it; 0: never.

        """
        self._directory, self._remaining, self._clock = directory, remaining, clock
        self._timeout, self._give_up_after = timeout, give_up_after

    async def closed(self, action: RemoveFinalizer, apis: ApisUntil, deadline: float) -> Outcome | None:
        """Return why an owner must stay, or None if it may go.

        Args:
            action: the finalizer's removal.
            apis: returns every configured cluster, for use until a monotonic time.
            deadline: monotonic time at which the lease ends; it is known early enough for one more request.

        Raises:
            EventLogError: when it cannot be told which cluster is which.
            LeaseOver: when the lease ran out while it was written down that a cluster was given up.
            TimeoutError: when it was not known in time; it is being looked for all the same, and known sooner the next time.

        """
        findings = await self._remaining.ask(action, apis, deadline - self._timeout)
        remaining = [found for found in findings.values() if isinstance(found, str)]
        if remaining:
            self._remaining.forget(action)
            message = "; ".join(remaining)
            return outcome_of(action, Result.CONFLICT, code=409, reason="DependentsRemain", message=message)
        away = {name: found for name, found in findings.items() if isinstance(found, Status)}
        if away and (problem := await self._abandon(action, apis(deadline)[action.ref.cluster], away)):
            self._remaining.forget(action)
            return outcome_of(action, Result.FAILED, reason="WaitingForCluster", message=problem)
        return None

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


def _abandons(one: _Abandonment, name: ClusterName, identity: ClusterId, owner: str) -> bool:
    return one.spec.cluster in (name, identity) and (not one.spec.owners or owner in one.spec.owners)
