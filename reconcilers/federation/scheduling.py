"""ReplicaSchedulingPreference: read it, look at what runs, and say how many replicas each cluster gets. Pure.

kubefed wrote its result into the federated object. Here it stays a decision: the object remains what its user wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from engine.core.view import Cluster, KubeObject, View
from reconcilers.federation.fleet import Members, Selected
from reconcilers.federation.forms import Federated
from reconcilers.federation.replicas import Plan, Preference, Running, schedule
from reconcilers.federation.selection import Malformed, Placement, mapping, text
from schemas.actions import Json
from schemas.names import ClusterName, ObjectRef, Resource

PREFERENCES = Resource("scheduling.kubefed.io", "v1alpha1", "replicaschedulingpreferences")
EVERY = "*"
MAX_REPLICAS = 1_000_000
"""Of one object; more is a typing error, and the arithmetic stays exact."""
UNREACHABLE_SECONDS = 60.0
"""For so long a cluster that does not answer keeps its replicas to itself, as in kubefed; then others run them too."""
COUNTED = {"Job": "parallelism"}
"""Fields of `spec` that say how many, where it is not `replicas`."""


class Scheduled(msgspec.Struct, frozen=True, kw_only=True):
    """A preference, worked out."""

    plan: Plan
    field: str
    again_after: float | None = None
    """Seconds until a cluster will have been away for too long."""

    def body(self, body: Json, cluster: ClusterName) -> Json:
        """Return an object with the replicas of a cluster."""
        return {
            **body,
            "spec": {**mapping(body.get("spec"), "spec.template.spec"), self.field: self.plan.replicas[cluster]},
        }

    def told(self) -> str:
        """Return the replicas of each cluster in words."""
        words = []
        for name, count in sorted(self.plan.replicas.items()):
            pending = self.plan.pending.get(name, 0)
            words.append(f"{name} {count}" + (f" ({pending} of them cannot run there)" if pending else ""))
        return ", ".join(words) + (f"; {self.plan.unplaced} fit nowhere" if self.plan.unplaced else "")


def preference_of(view: View, parent: KubeObject) -> KubeObject | None:
    """Return the preference about a federated object: the one of its name, if it means that kind."""
    ref = ObjectRef(parent.cluster, PREFERENCES.group, PREFERENCES.plural, parent.namespace, parent.name)
    found = view.get(ref)
    return found if found is not None and found.spec.get("targetKind") == parent.kind else None


def rescheduled(selected: Selected, preference: KubeObject, form: Federated, known: Members) -> Selected:
    """Return the clusters that a preference names, in the place of those of the placement, where the namespace goes.

    Raises:
        Malformed: when it cannot be understood.

    """
    wished = mapping(preference.spec.get("clusters"), "spec.clusters")
    names = {name for name in selected.inside if not wished or EVERY in wished or name in wished}
    if preference.spec.get("intersectWithClusterSelector") is True:
        names &= set(Placement(None, form.placement.selector).select(known))
    chosen = tuple(sorted(names))
    if unknown := sorted(wished.keys() - known.keys() - {EVERY}):
        message = f"ReplicaSchedulingPreference {preference.name}: there is no cluster {', '.join(unknown)}"
        return msgspec.structs.replace(
            selected, clusters=chosen, status=False, reason="UnknownCluster", message=message
        )
    return msgspec.structs.replace(selected, clusters=chosen, status=True, reason="Scheduled", message="")


def scheduled(
    view: View, parent: KubeObject, preference: KubeObject, form: Federated, clusters: Sequence[ClusterName]
) -> Scheduled:
    """Work out how many replicas each of these clusters gets.

    Raises:
        Malformed: when the preference cannot be understood.

    """
    spec = preference.spec
    total = _count(spec.get("totalReplicas"), "spec.totalReplicas")
    wished = mapping(spec.get("clusters"), "spec.clusters") or {EVERY: {"weight": 1}}
    preferences = {name: _preference(name, wished) for name in clusters}
    field = COUNTED.get(form.kind, "replicas")
    running: dict[ClusterName, Running] = {}
    waits = []
    for name in clusters:
        running[name], wait = _running(view, parent, form, view.clusters[name], field)
        if wait is not None:
            waits.append(wait)
    plan = schedule(total, preferences, running, rebalance=spec.get("rebalance") is True)
    return Scheduled(plan=plan, field=field, again_after=min(waits, default=None))


def _preference(name: str, wished: Json) -> Preference:
    key = name if name in wished else EVERY
    where = f"spec.clusters[{key}]"
    given = mapping(wished.get(key), where)
    maximum = given.get("maxReplicas")
    return Preference(
        minimum=_count(given.get("minReplicas", 0), f"{where}.minReplicas"),
        maximum=None if maximum is None else _count(maximum, f"{where}.maxReplicas"),
        weight=_count(given.get("weight", 0), f"{where}.weight"),
    )


def _running(
    view: View, parent: KubeObject, form: Federated, cluster: Cluster, field: str
) -> tuple[Running, float | None]:
    """Return what is known of a cluster, and after how many seconds it will be given up if it goes on not answering."""
    live = view.get(form.ref(parent, cluster.name))
    mine = live is not None and any(owner.uid == parent.uid for owner in live.owners)
    replicas = int(live.spec.get(field) or 0) if live is not None and mine else 0
    if not cluster.answering:
        left = UNREACHABLE_SECONDS - (view.now - _seconds(cluster.since, view.now))
        return Running(replicas=replicas, capacity=0 if left <= 0 else None), left if left > 0 else None
    return Running(replicas=replicas, capacity=_capacity(live) if live is not None and mine else None), None


def _capacity(live: KubeObject) -> int | None:
    """Return how many can run, where the object itself says that it makes no progress towards what it was asked for."""
    for one in live.status.get("conditions") or ():
        stuck = (one.get("type"), one.get("status"), one.get("reason")) == (
            "Progressing",
            "False",
            "ProgressDeadlineExceeded",
        )
        if stuck and live.status.get("observedGeneration", 0) >= live.generation:
            return int(live.status.get("readyReplicas") or 0)
    return None


def _count(value: Any, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_REPLICAS:
        raise Malformed(path, f"expected a whole number from 0 to {MAX_REPLICAS:,}")
    return value


def _seconds(time: str, default: float) -> float:
    try:
        return datetime.fromisoformat(text(time, "since")).timestamp()
    except ValueError:
        return default
