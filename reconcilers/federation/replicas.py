"""How many replicas each cluster gets (kubefed's ReplicaSchedulingPreference). Pure.

Weights share the *total*, and minimum and maximum clamp the shares: 10 replicas with minima 2 and 4 and weights 2 and 3 are 4
and 6. (kubefed gave the minima first and shared the rest, which came to 3 and 7; its users asked for this, #319.)

Rules:
    * Sums hold: as many replicas are placed as asked for, or as the maxima allow.
    * Moves are minimal: without `rebalance` what runs stays, and only the difference is added or taken away; with it, what
      cannot be shared evenly goes to where it is already.
    * Overflow: of what a cluster cannot schedule, others take as much as they may. The cluster keeps asking for its share, so
      that one sees when it can again; those replicas are counted as pending and run elsewhere meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import floor

import msgspec

from schemas.names import ClusterName

ROUNDS = 60
"""Of halving the interval in which the level lies: to less than a replica for any total below 2^50."""


class Preference(msgspec.Struct, frozen=True, kw_only=True):
    """What is wished for one cluster."""

    minimum: int = 0
    maximum: int | None = None
    weight: int = 0


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one cluster."""

    replicas: int = 0
    """As it was last asked for there."""
    capacity: int | None = None
    """What it can schedule; None if nothing says that there is a limit."""


class Plan(msgspec.Struct, frozen=True):
    """What each cluster is asked for."""

    replicas: dict[ClusterName, int]
    pending: dict[ClusterName, int] = {}
    """As many of them cannot be scheduled there, and are placed elsewhere as well."""
    unplaced: int = 0
    """What no cluster may take."""


def schedule(
    total: int,
    preferences: Mapping[ClusterName, Preference],
    running: Mapping[ClusterName, Running] | None = None,
    *,
    rebalance: bool = False,
) -> Plan:
    """Return the replicas of each cluster.

    Args:
        total: replicas wanted in all of them.
        preferences: by cluster.
        running: what is known of them.
        rebalance: whether what runs may be moved to fulfil the weights.

    """
    known = {name: (running or {}).get(name, Running()) for name in preferences}
    wished = _bounds(preferences)
    able = {name: (low, _least(high, known[name].capacity)) for name, (low, high) in wished.items()}
    able = {name: (min(low, high) if high is not None else low, high) for name, (low, high) in able.items()}
    now = {name: one.replicas for name, one in known.items()}
    placed = _share(total, preferences, able, now, rebalance=rebalance)
    short = total - sum(placed.values())
    # Who cannot schedule all of its share keeps asking for it; what nobody can schedule waits where it may.
    ideal = _share(total, preferences, wished, now, rebalance=rebalance)
    asked = {name: max(placed[name], ideal[name]) if _limited(known[name]) else placed[name] for name in placed}
    pending = {name: asked[name] - placed[name] for name in placed if asked[name] > placed[name]}
    return Plan(asked, pending, max(0, short - sum(pending.values())))


def _bounds(preferences: Mapping[ClusterName, Preference]) -> dict[ClusterName, tuple[int, int | None]]:
    return {
        name: (one.minimum if one.maximum is None else min(one.minimum, one.maximum), one.maximum)
        for name, one in preferences.items()
    }


def _limited(one: Running) -> bool:
    return one.capacity is not None


def _least(first: int | None, second: int | None) -> int | None:
    return second if first is None else first if second is None else min(first, second)


def _share(
    total: int,
    preferences: Mapping[ClusterName, Preference],
    bounds: Mapping[ClusterName, tuple[int, int | None]],
    now: Mapping[ClusterName, int],
    *,
    rebalance: bool,
) -> dict[ClusterName, int]:
    weights = {name: one.weight for name, one in preferences.items()}
    # Who is served first where there is not enough: the heavier, then the name, so that it is always the same.
    order = sorted(preferences, key=lambda name: (-weights[name], name))
    if sum(low for low, _ in bounds.values()) > total:
        return _minima(total, order, bounds)
    if not rebalance and any(now.values()):
        # What runs stays: only up from there, or only down. What has no weight has no claim to more than its minimum.
        kept = {name: _clamped(now[name], bounds[name]) if weights[name] else bounds[name][0] for name in order}
        if sum(kept.values()) <= total:
            bounds = {name: (kept[name], bounds[name][1]) for name in order}
        else:
            bounds = {name: (bounds[name][0], kept[name]) for name in order}
    return _rounded(total, order, weights, bounds, now)


def _minima(
    total: int, order: list[ClusterName], bounds: Mapping[ClusterName, tuple[int, int | None]]
) -> dict[ClusterName, int]:
    """Where even the minima are too many, serve them in order until there is nothing left."""
    left, found = total, {}
    for name in order:
        found[name] = min(bounds[name][0], left)
        left -= found[name]
    return found


def _rounded(
    total: int,
    order: list[ClusterName],
    weights: Mapping[ClusterName, int],
    bounds: Mapping[ClusterName, tuple[int, int | None]],
    now: Mapping[ClusterName, int],
) -> dict[ClusterName, int]:
    """Return whole shares: what rounding leaves goes where most is missed, then to where something runs already."""
    shares = _ideal(total, weights, bounds)
    found = {name: floor(shares[name] + 1e-6) for name in order}
    while sum(found.values()) < total:
        able = [name for name in order if weights[name] and found[name] != bounds[name][1]]
        if not able:
            break
        # max() takes the first of equals: the order of serving.
        chosen = max(able, key=lambda name: (round(shares[name] - found[name], 6), now[name] - found[name]))
        found[chosen] += 1
    return found


def _ideal(
    total: int, weights: Mapping[ClusterName, int], bounds: Mapping[ClusterName, tuple[int, int | None]]
) -> dict[ClusterName, float]:
    """Return the shares of the total, not rounded: one level for all, times the weight, clamped."""

    def at(level: float) -> dict[ClusterName, float]:
        return {
            name: min(max(level * weights[name], low), float("inf") if high is None else float(high))
            for name, (low, high) in bounds.items()
        }

    low, high = 0.0, float(total + 1)
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        if sum(at(middle).values()) < total:
            low = middle
        else:
            high = middle
    return at(high)


def _clamped(value: int, bounds: tuple[int, int | None]) -> int:
    low, high = bounds
    return max(low, value if high is None else min(value, high))
