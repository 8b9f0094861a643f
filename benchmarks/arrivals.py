"""Match changes of parents to what the recorder saw of their children."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec


class Change(msgspec.Struct, frozen=True, array_like=True):
    """A change of a Foo, as `load` says it; times are seconds of the machine's monotonic clock."""

    foo: str
    value: int
    due: float
    sent: float
    acked: float


class Event(msgspec.Struct, frozen=True, array_like=True):
    """A watch event, as `recorder` says it."""

    watch: str
    at: float
    type: str
    name: str
    replicas: int


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A change and its child in one cluster."""

    watch: str
    foo: str
    acked: float
    latency: float | None
    """Seconds from the acknowledgement of the parent's change to the child's write as seen; None: it never came."""
    superseded: bool = False
    """Whether a later change of the same Foo arrived instead: its arrival counts for both."""


def match(changes: Iterable[Change], events: Iterable[Event], watches: Sequence[str]) -> list[Arrival]:
    """Return an arrival for each change and watch. Values rise, so a child that shows a later one has passed this one."""
    seen: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        if event.type != "DELETED":
            seen[event.watch, event.name].append(event)
    arrivals = []
    for change in changes:
        for watch in watches:
            shown = (event for event in seen[watch, change.foo] if event.replicas >= change.value)
            found = next((event for event in shown if event.at >= change.sent), None)
            arrivals.append(
                Arrival(
                    watch=watch,
                    foo=change.foo,
                    acked=change.acked,
                    latency=found.at - change.acked if found else None,
                    superseded=found is not None and found.replicas > change.value,
                )
            )
    return arrivals


def latencies(arrivals: Iterable[Arrival]) -> list[float]:
    """Return the latencies of those that came, in milliseconds."""
    return [one.latency * 1000 for one in arrivals if one.latency is not None]


def lost(arrivals: Iterable[Arrival]) -> int:
    """Return how many never came."""
    return sum(one.latency is None for one in arrivals)
