"""The mass-delete breaker: when too many owners turn absent and nobody saw them go, deleting stops until somebody approves.

Pure. An owner whose deletion was observed, or asked for by a deletionTimestamp, is somebody's intent and counts for nothing
here. An owner that is only *inferred* to be absent, though proven, is a suspect: a lost etcd, a restored backup or a wrong
kubeconfig makes many of them at once. Suspects are counted before the first of their dependents is deleted; whoever finds a
limit crossed records a trip in a custom resource of the owners' cluster, and as long as an unapproved trip stands there,
dependents of suspects in its scope stay (DESIGN §2.3, §7; XGC-36).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from schemas.config import BrakeConfig
from schemas.names import ClusterName


class ScopeKind(StrEnum):
    """What a limit is counted over."""

    FLEET = "fleet"
    CLUSTER = "cluster"
    """Owners in one cluster."""
    KIND = "kind"
    """Owners of one type in one cluster."""


class Scope(msgspec.Struct, frozen=True, order=True):
    """What one count is over."""

    kind: ScopeKind
    cluster: ClusterName = ClusterName("")
    group_resource: str = ""

    def __str__(self) -> str:
        return ".".join(part for part in (self.kind.value, self.cluster, self.group_resource) if part)


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the breaker trips: more suspects than `absolute` and than `percent` of the known owners, or too fast."""

    absolute: int = 20
    """Suspects in the window that are never too many [reliability.md §1.3]: people do lose a namespace."""
    percent: float = 10.0
    """Of the owners known in the scope."""
    window_seconds: float = 300.0
    per_minute: int = 100
    """Suspects within any minute that are too many whatever the percentage: nothing but a loss makes them that fast."""


def limits_of(config: BrakeConfig) -> Limits:
    """Return the limits that are configured."""
    return Limits(
        absolute=config.absolute,
        percent=config.percent,
        window_seconds=config.window_seconds,
        per_minute=config.per_minute,
    )


class Suspect(msgspec.Struct, frozen=True):
    """An owner that is inferred to be absent."""

    cluster: ClusterName
    group_resource: str
    since: float
    """Wall time at which it was first suspected, seconds since the epoch."""


class Trip(msgspec.Struct, frozen=True):
    """A limit that was crossed."""

    scope: Scope
    counted: int
    known: int
    limit: str
    """Which limit, for people: `20 and 10 % of 60`, `100 a minute`, `restored`."""


def scopes_of(cluster: ClusterName, group_resource: str) -> tuple[Scope, ...]:
    """Return the scopes that an owner counts in."""
    return (
        Scope(ScopeKind.FLEET),
        Scope(ScopeKind.CLUSTER, cluster),
        Scope(ScopeKind.KIND, cluster, group_resource),
    )


def count_known(owners: Iterable[tuple[ClusterName, str]]) -> Counter[Scope]:
    """Return how many owners are known in each scope; `owners` are (cluster, group_resource) of each."""
    return Counter(scope for cluster, group_resource in owners for scope in scopes_of(cluster, group_resource))


def trips(
    suspects: Sequence[Suspect], known: Mapping[Scope, int], limits: Limits, *, now: float, scopes: Iterable[Scope]
) -> list[Trip]:
    """Return which of some scopes are over a limit.

    Args:
        suspects: all of the fleet's; those older than the window count for nothing.
        known: how many owners are known in each scope, suspects included.
        limits: when to trip.
        now: wall time, seconds since the epoch.
        scopes: those of the owner whose dependents are about to be deleted.

    """
    recent = [one for one in suspects if now - one.since <= limits.window_seconds]
    found = []
    for scope in scopes:
        times = sorted(one.since for one in recent if scope in scopes_of(one.cluster, one.group_resource))
        most = max(limits.absolute, limits.percent / 100 * known.get(scope, 0))
        if len(times) > most:
            limit = f"{limits.absolute} and {limits.percent:g} % of {known.get(scope, 0)}"
            found.append(Trip(scope, len(times), known.get(scope, 0), limit))
        elif (fastest := _most_in(times, 60.0)) > limits.per_minute:
            found.append(Trip(scope, fastest, known.get(scope, 0), f"{limits.per_minute} a minute"))
    return found


def _most_in(times: Sequence[float], seconds: float) -> int:
    """Return the largest number of `times`, which are sorted, within any span of `seconds`."""
    most = first = 0
    for last, time in enumerate(times):
        while time - times[first] > seconds:
            first += 1
        most = max(most, last - first + 1)
    return most
