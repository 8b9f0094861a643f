"""The toy DaemonSet controller: a pod on every node. Where no Node was made, there is none to run on."""

from __future__ import annotations

from engine.sandbox.simulator.owned import WorkloadController, is_active, is_ready, template_hash, without_zeros
from engine.sandbox.simulator.store import Json
from engine.sandbox.simulator.strategies import PODS, template_generation

KEY = ("apps", "daemonsets")
NODES = ("", "nodes")
HASH_LABEL = "controller-revision-hash"
GENERATION_LABEL = "pod-template-generation"


class DaemonSets(WorkloadController):
    """Reconciles the DaemonSets of one cluster."""

    def reconcile(self, key: str) -> None:
        """Make and delete pods, and count them."""
        live = self._owned.live(KEY, key)
        if live is None:
            return
        spec, metadata = live.object["spec"], live.object["metadata"]
        wanted = spec["template"].get("spec", {}).get("nodeSelector") or {}
        nodes = {
            one.name
            for one in self._owned.api.objects(*NODES)
            if wanted.items() <= (one.object["metadata"].get("labels") or {}).items()
        }
        marks = {HASH_LABEL: template_hash(spec["template"]), GENERATION_LABEL: str(template_generation(live.object))}
        pods: dict[str, Json] = {}
        for one in self._owned.of(live, PODS):
            node = (one.get("spec") or {}).get("nodeName", "")
            old = one["metadata"].get("labels", {}).get(HASH_LABEL) != marks[HASH_LABEL]
            if is_active(one) and (node not in nodes or node in pods or old):
                self._owned.delete(PODS, one)
            else:
                pods[node] = one
        for node in sorted(nodes - pods.keys()):
            template = spec["template"]
            assigned = {**template, "spec": {**(template.get("spec") or {}), "nodeName": node}}
            self._owned.create_pod(live, assigned, labels=marks)
        active = [one for one in self._owned.of(live, PODS) if is_active(one)]
        ready = sum(map(is_ready, active))
        status: Json = {
            "currentNumberScheduled": len(active),
            "numberMisscheduled": 0,
            "desiredNumberScheduled": len(nodes),
            "numberReady": ready,
        } | without_zeros(
            observedGeneration=metadata.get("generation"),
            updatedNumberScheduled=len(active),
            numberAvailable=ready,
            numberUnavailable=len(nodes) - ready,
        )
        self._owned.write_status(live, status)
