"""The toy ReplicaSet controller: as many pods as wanted, and a status that counts them."""

from __future__ import annotations

from engine.sandbox.simulator.owned import WorkloadController, is_active, is_ready, without_zeros
from engine.sandbox.simulator.strategies import PODS

KEY = ("apps", "replicasets")


class ReplicaSets(WorkloadController):
    """Reconciles the ReplicaSets of one cluster."""

    def reconcile(self, key: str) -> None:
        """Make or delete pods, and count them."""
        live = self._owned.live(KEY, key)
        if live is None:
            return
        spec, metadata = live.object["spec"], live.object["metadata"]
        wanted = spec.get("replicas", 1)
        pods = [one for one in self._owned.of(live, PODS) if is_active(one)]
        for _ in range(wanted - len(pods)):
            self._owned.create_pod(live, spec["template"])
        if len(pods) > wanted:
            # Those that are not ready go first, then the youngest
            youngest_first = pods[::-1]
            for one in sorted(youngest_first, key=is_ready)[: len(pods) - wanted]:
                self._owned.delete(PODS, one)
        pods = [one for one in self._owned.of(live, PODS) if is_active(one)]
        ready = sum(map(is_ready, pods))
        status = {"replicas": len(pods)} | without_zeros(
            fullyLabeledReplicas=len(pods),
            readyReplicas=ready,
            availableReplicas=ready,
            observedGeneration=metadata.get("generation"),
        )
        self._owned.write_status(live, status)
