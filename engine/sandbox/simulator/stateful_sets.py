"""The toy StatefulSet controller: pods with numbers, one after the other, and replaced from the highest when they change.

Volume claims are not made.
"""

from __future__ import annotations

from engine.sandbox.simulator.owned import WorkloadController, is_active, is_ready, template_hash, without_zeros
from engine.sandbox.simulator.store import Json, Revision
from engine.sandbox.simulator.strategies import PODS

KEY = ("apps", "statefulsets")
HASH_LABEL = "controller-revision-hash"
NAME_LABEL, INDEX_LABEL = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"


class StatefulSets(WorkloadController):
    """Reconciles the StatefulSets of one cluster."""

    def reconcile(self, key: str) -> None:
        """Take the next step, and count pods."""
        live = self._owned.live(KEY, key)
        if live is None:
            return
        revision = f"{live.name}-{template_hash(live.object['spec']['template'])}"
        pods = {one["metadata"]["name"]: one for one in self._owned.of(live, PODS)}
        self._step(live, pods, revision)
        self._write_status(live, revision)

    def _step(self, live: Revision, pods: dict[str, Json], revision: str) -> None:
        spec = live.object["spec"]
        wanted = [f"{live.name}-{index}" for index in range(spec.get("replicas", 1))]
        parallel = spec.get("podManagementPolicy") == "Parallel"
        for index, name in enumerate(wanted):
            pod = pods.get(name)
            if pod is None:
                labels = {HASH_LABEL: revision, NAME_LABEL: name, INDEX_LABEL: str(index)}
                self._owned.create_pod(live, spec["template"], name=name, labels=labels)
            if not parallel and (pod is None or not is_ready(pod)):
                return
        spare = sorted(set(pods) - set(wanted), key=_index, reverse=True)
        for name in spare if parallel else spare[:1]:
            if is_active(pods[name]):
                self._owned.delete(PODS, pods[name])
        if spare or (spec.get("updateStrategy") or {}).get("type") == "OnDelete":
            return
        there = [pods[name] for name in wanted if name in pods]
        old = [one for one in there if (one["metadata"].get("labels") or {}).get(HASH_LABEL) != revision]
        if old and len(there) == len(wanted) and all(is_ready(one) and is_active(one) for one in there):
            self._owned.delete(PODS, old[-1])

    def _write_status(self, live: Revision, revision: str) -> None:
        pods = [one for one in self._owned.of(live, PODS) if is_active(one)]
        ready = sum(map(is_ready, pods))
        updated = sum((one["metadata"].get("labels") or {}).get(HASH_LABEL) == revision for one in pods)
        before = live.object.get("status") or {}
        done = updated == len(pods) == live.object["spec"].get("replicas", 1)
        current = revision if done else before.get("currentRevision", revision)
        status: Json = {
            "replicas": len(pods),
            "availableReplicas": ready,
            "currentRevision": current,
            "updateRevision": revision,
            "collisionCount": 0,
        } | without_zeros(
            observedGeneration=live.object["metadata"].get("generation"),
            readyReplicas=ready,
            currentReplicas=updated if current == revision else len(pods) - updated,
            updatedReplicas=updated,
        )
        self._owned.write_status(live, status)


def _index(name: str) -> int:
    number = name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1
