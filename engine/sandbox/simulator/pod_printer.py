"""The row of a Pod in a table. Its status is a story that its containers tell together."""

from __future__ import annotations

from typing import Any

from engine.sandbox.simulator.human import NONE, Json, age, seconds_of


def pod_cells(pod: Json, now: float) -> list[Any]:
    """Return the cells: name, ready, status, restarts, age, IP, node, nominated node, readiness gates."""
    spec, status, metadata = pod.get("spec") or {}, pod.get("status") or {}, pod["metadata"]
    summary = _Summary(spec, status)
    reason = summary.reason
    if metadata.get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif status.get("phase") not in {"Succeeded", "Failed"}:
            reason = "Terminating"
    restarts = str(summary.restarts)
    if summary.restarts and summary.last_restart:
        restarts += f" ({age(summary.last_restart, now)} ago)"
    addresses = status.get("podIPs") or [{}]
    return [
        metadata.get("name", ""),
        f"{summary.ready}/{summary.total}",
        reason,
        restarts,
        age(metadata.get("creationTimestamp"), now),
        addresses[0].get("ip") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _readiness_gates(spec, status),
    ]


def pod_conditions(pod: Json) -> list[Json]:
    """Return the conditions of the row: whether the Pod is finished."""
    phase = (pod.get("status") or {}).get("phase")
    messages = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}
    if phase not in messages:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": messages[phase]}]


class _Summary:
    """What a Pod's containers add up to."""

    def __init__(self, spec: Json, status: Json) -> None:
        self.reason: str = status.get("reason") or status.get("phase") or ""
        self.restarts = 0
        self.last_restart = ""
        self.ready = 0
        self._conditions = {one.get("type"): one for one in status.get("conditions") or ()}
        self._init = spec.get("initContainers") or []
        self._sidecars = {one.get("name") for one in self._init if one.get("restartPolicy") == "Always"}
        self.total = len(spec.get("containers") or ()) + len(self._sidecars)
        if (self._conditions.get("PodScheduled") or {}).get("reason") == "SchedulingGated":
            self.reason = "SchedulingGated"
        init_statuses = status.get("initContainerStatuses") or []
        if not self._initializing(init_statuses) or self._is_true("Initialized"):
            self.restarts, self.last_restart = 0, ""
            for one in init_statuses:
                if one.get("name") in self._sidecars:
                    self._count_restarts(one)
            self._running(status.get("containerStatuses") or [])

    def _is_true(self, condition: str) -> bool:
        return bool((self._conditions.get(condition) or {}).get("status") == "True")

    def _count_restarts(self, container: Json) -> None:
        self.restarts += container.get("restartCount", 0)
        finished = ((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or ""
        if (seconds_of(finished) or 0) > (seconds_of(self.last_restart) or 0):
            self.last_restart = finished

    def _initializing(self, statuses: list[Json]) -> bool:
        """Look at init containers up to the first that is not done; return whether there is one."""
        for index, container in enumerate(statuses):
            self._count_restarts(container)
            state = container.get("state") or {}
            terminated, waiting = state.get("terminated"), state.get("waiting") or {}
            if terminated and not terminated.get("exitCode"):
                continue
            if container.get("name") in self._sidecars and container.get("started"):
                self.ready += bool(container.get("ready"))
                continue
            if terminated:
                self.reason = f"Init:{_end(terminated)}"
            elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
                self.reason = f"Init:{waiting['reason']}"
            else:
                self.reason = f"Init:{index}/{len(self._init)}"
            return True
        return False

    def _running(self, statuses: list[Json]) -> None:
        running, error = False, ""
        for container in reversed(statuses):
            self._count_restarts(container)
            state = container.get("state") or {}
            terminated, waiting = state.get("terminated"), state.get("waiting") or {}
            if waiting.get("reason"):
                self.reason = waiting["reason"]
            elif terminated:
                self.reason = _end(terminated)
                error = self.reason if terminated.get("exitCode") else error
            elif container.get("ready") and state.get("running") is not None:
                running = True
                self.ready += 1
        if self.reason == "Completed":
            if running and self._is_true("Ready"):
                self.reason = "Running"
            elif error or running:
                self.reason = error or "NotReady"


def _end(terminated: Json) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _readiness_gates(spec: Json, status: Json) -> str:
    gates = spec.get("readinessGates") or []
    if not gates:
        return NONE
    true = {one.get("type") for one in status.get("conditions") or () if one.get("status") == "True"}
    return f"{sum(gate.get('conditionType') in true for gate in gates)}/{len(gates)}"
