"""The toy Deployment controller: a ReplicaSet per template, the newest scaled up, the others down, and a status."""

from __future__ import annotations

from engine.sandbox.simulator.owned import (
    STATUS_WRITE,
    WorkloadController,
    template_hash,
    with_condition,
    without_zeros,
)
from engine.sandbox.simulator.replica_sets import KEY as REPLICA_SETS
from engine.sandbox.simulator.store import Json, Revision

KEY = ("apps", "deployments")
HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"

_DEFAULT_HISTORY = 10


class Deployments(WorkloadController):
    """Reconciles the Deployments of one cluster."""

    def reconcile(self, key: str) -> None:
        """Roll out, and tell how far it is."""
        live = self._owned.live(KEY, key)
        if live is None:
            return
        name = f"{live.name}-{template_hash(live.object['spec']['template'])}"
        sets = self._owned.of(live, REPLICA_SETS)
        newest = next((one for one in sets if one["metadata"]["name"] == name), None)
        others = [one for one in sets if one is not newest]
        if not live.object["spec"].get("paused"):
            self._scale(live, newest, others, name)
        self._clean_up(live, others)
        live = self._owned.live(KEY, key)
        if live is not None:
            self._write_status(live, name)

    def _scale(self, live: Revision, newest: Json | None, others: list[Json], name: str) -> None:
        """Scale the newest ReplicaSet up, and the others down once it is there; with Recreate the other way round."""
        spec = live.object["spec"]
        wanted = spec.get("replicas", 1)
        recreate = (spec.get("strategy") or {}).get("type") == "Recreate"
        if recreate:
            for one in others:
                self._resize(one, 0)
            if any((one.get("status") or {}).get("replicas") for one in others):
                return
        revision = str(1 + max((_revision(one) for one in others), default=0))
        if newest is None:
            self._create(live, name, wanted, revision)
        else:
            self._resize(newest, wanted)
            if _revision(newest) < int(revision):
                self._owned.change(REPLICA_SETS, newest, {"metadata": {"annotations": {REVISION: revision}}})
        if (live.object["metadata"].get("annotations") or {}).get(REVISION) != revision and newest is None:
            annotations = {"metadata": {"annotations": {REVISION: revision}}}
            self._owned.change(KEY, live.object, annotations, STATUS_WRITE)  # by which it is no new generation
        if not recreate and newest is not None:
            available = (newest.get("status") or {}).get("availableReplicas", 0)
            if available >= wanted:
                for one in others:
                    self._resize(one, 0)

    def _create(self, live: Revision, name: str, replicas: int, revision: str) -> None:
        spec = live.object["spec"]
        mark = {HASH_LABEL: name.rpartition("-")[2]}
        template = spec["template"]
        metadata = template.get("metadata") or {}
        labels = {**(metadata.get("labels") or {}), **mark}
        selector = spec["selector"]
        body = {
            "metadata": {
                "name": name,
                "labels": labels,
                "annotations": {
                    "deployment.kubernetes.io/desired-replicas": str(spec.get("replicas", 1)),
                    "deployment.kubernetes.io/max-replicas": str(spec.get("replicas", 1) + 1),
                    REVISION: revision,
                },
            },
            "spec": {
                "replicas": replicas,
                "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), **mark}},
                "template": {**template, "metadata": {**metadata, "labels": labels}},
            },
        }
        self._owned.create(REPLICA_SETS, live, body)

    def _resize(self, replica_set: Json, replicas: int) -> None:
        if replica_set["spec"].get("replicas", 1) != replicas:
            self._owned.change(REPLICA_SETS, replica_set, {"spec": {"replicas": replicas}})

    def _clean_up(self, live: Revision, others: list[Json]) -> None:
        """Delete old ReplicaSets beyond the history limit, oldest first."""
        limit = live.object["spec"].get("revisionHistoryLimit", _DEFAULT_HISTORY)
        empty = [one for one in others if not (one.get("status") or {}).get("replicas") and not one["spec"]["replicas"]]
        for one in sorted(empty, key=_revision)[: max(0, len(empty) - limit)]:
            self._owned.delete(REPLICA_SETS, one)

    def _write_status(self, live: Revision, name: str) -> None:
        wanted = live.object["spec"].get("replicas", 1)
        before = live.object.get("status") or {}
        sets = self._owned.of(live, REPLICA_SETS)
        counts = [one.get("status") or {} for one in sets]
        updated = sum((one.get("status") or {}).get("replicas", 0) for one in sets if one["metadata"]["name"] == name)
        total = sum(one.get("replicas", 0) for one in counts)
        ready = sum(one.get("readyReplicas", 0) for one in counts)
        available = sum(one.get("availableReplicas", 0) for one in counts)
        status = without_zeros(
            observedGeneration=live.object["metadata"].get("generation"),
            replicas=total,
            updatedReplicas=updated,
            readyReplicas=ready,
            availableReplicas=available,
            unavailableReplicas=max(0, max(wanted, total) - available),
        )
        complete = updated == wanted == available == total
        status["conditions"] = self._conditions(
            live, before.get("conditions") or [], name, available, complete=complete
        )
        self._owned.write_status(live, status)

    def _conditions(
        self, live: Revision, conditions: list[Json], name: str, available: int, *, complete: bool
    ) -> list[Json]:
        now = self._owned.api.state.now()
        wanted = live.object["spec"].get("replicas", 1)
        enough = available >= max(0, wanted - wanted // 4)
        availability = {
            "type": "Available",
            "status": "True" if enough else "False",
            "reason": "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
            "message": f"Deployment {'has' if enough else 'does not have'} minimum availability.",
        }
        progress = {
            "type": "Progressing",
            "status": "True",
            "reason": "NewReplicaSetAvailable" if complete else "ReplicaSetUpdated",
            "message": f'ReplicaSet "{name}" {"has successfully progressed" if complete else "is progressing"}.',
        }
        for one in (availability, progress):
            conditions = with_condition(conditions, one, now, updated=True)
        return conditions


def _revision(replica_set: Json) -> int:
    text = (replica_set["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdecimal() else 0
