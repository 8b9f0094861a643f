"""The toy scheduler and kubelet: pods get a node, start, end if they are meant to, and go when they are deleted.

In: pods. Out: bindings, statuses and the last delete, each when its time has come. Images, probes and resources mean
nothing here. A pod whose container commands mention `exit 1` fails; that is the only way to.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from engine.sandbox.simulator.api import ClusterApi
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.options import DeleteOptions, User, WriteOptions
from engine.sandbox.simulator.owned import controller_of, with_condition
from engine.sandbox.simulator.store import Json, Revision
from engine.sandbox.simulator.strategies import PODS
from engine.sandbox.simulator.workload_settings import WorkloadSettings

NODE = "simulated-node"
"""Where pods run when the cluster has no Node."""

_HOST_IP = "10.1.0.1"
_FAILS = "exit 1"

_SCHEDULER = WriteOptions(
    subresource="binding", user_agent="kube-scheduler", user=User("system:kube-scheduler", groups=("system:masters",))
)
_KUBELET_USER = User(f"system:node:{NODE}", groups=("system:nodes", "system:masters"))
_STATUS = WriteOptions(subresource="status", user_agent="kubelet", user=_KUBELET_USER)


class Pods:
    """Runs the pods of one cluster.

    Args:
        api: of the cluster.
        settings: how long things take.

    """

    def __init__(self, api: ClusterApi, settings: WorkloadSettings) -> None:
        self._api = api
        self._settings = settings
        self._address = 0

    def reconcile(self, key: str) -> float | None:
        """Take a pod's next step, or return in how many seconds it is due."""
        live = self._api.state.store.get(PODS, key)
        if live is None:
            return None
        metadata, status = live.object["metadata"], live.object.get("status") or {}
        if metadata.get("deletionTimestamp"):
            return self._stop(live)
        spec = live.object["spec"]
        if spec.get("schedulingGates") or status.get("phase") in {"Succeeded", "Failed"}:
            return None
        if not spec.get("nodeName"):
            node = next((one.name for one in self._api.objects("", "nodes")), NODE)
            self._api.create(live.rtype, live.namespace, live.name, {"target": {"name": node}}, _SCHEDULER)
            return None
        if status.get("phase") == "Pending":
            wait = _seconds(metadata["creationTimestamp"]) + self._settings.pod_start_seconds - self._api.state.clock()
            if wait > 0:
                return wait
            self._write(live, self._running(live))
        elif _ends(live.object):
            wait = _seconds(status["startTime"]) + self._settings.job_seconds - self._api.state.clock()
            if wait > 0:
                return wait
            self._write(live, self._ended(live))
        return None

    def _stop(self, live: Revision) -> float | None:
        """Delete a pod for good once it has had time to end."""
        metadata = live.object["metadata"]
        grace = metadata.get("deletionGracePeriodSeconds") or 0
        if grace:
            end = _seconds(metadata["deletionTimestamp"]) - grace + min(grace, self._settings.pod_stop_seconds)
            wait = end - self._api.state.clock()
            if wait > 0:
                return wait
            options = DeleteOptions(uid=metadata["uid"], grace_period_seconds=0, user=_KUBELET_USER)
            try:
                self._api.delete(live.rtype, live.namespace, live.name, options)
            except ApiError as error:
                if error.code not in {404, 409}:
                    raise
        return None

    def _running(self, live: Revision) -> Json:
        now = self._api.state.now()
        spec, status = live.object["spec"], live.object.get("status") or {}
        self._address += 1
        address = f"10.0.{self._address // 254 % 256}.{self._address % 254 + 1}"
        conditions = status.get("conditions") or []
        for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"):
            conditions = with_condition(conditions, {"type": kind, "status": "True"}, now)
        return {
            **status,
            "phase": "Running",
            "conditions": conditions,
            "hostIP": _HOST_IP,
            "hostIPs": [{"ip": _HOST_IP}],
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": now,
            "containerStatuses": [_container(one, {"running": {"startedAt": now}}) for one in spec["containers"]],
        }

    def _ended(self, live: Revision) -> Json:
        now = self._api.state.now()
        status = live.object["status"]
        fails = any(
            _FAILS in " ".join([*(one.get("command") or ()), *(one.get("args") or ())]) for one in _containers(live)
        )
        conditions = status.get("conditions") or []
        reason = "PodFailed" if fails else "PodCompleted"
        for kind in ("Ready", "ContainersReady"):
            conditions = with_condition(conditions, {"type": kind, "status": "False", "reason": reason}, now)
        terminated = {
            "exitCode": int(fails),
            "reason": "Error" if fails else "Completed",
            "startedAt": status["startTime"],
            "finishedAt": now,
        }
        return {
            **status,
            "phase": "Failed" if fails else "Succeeded",
            "conditions": conditions,
            "containerStatuses": [_container(one, {"terminated": terminated}) for one in _containers(live)],
        }

    def _write(self, live: Revision, status: Json) -> None:
        changed = {**live.object, "status": status}
        self._api.replace(live.rtype, live.namespace, live.name, changed, _STATUS)


def _containers(live: Revision) -> list[Json]:
    containers: list[Json] = live.object["spec"]["containers"]
    return containers


def _container(container: Json, state: Json) -> Json:
    runs = "running" in state
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "lastState": {},
        "ready": runs,
        "restartCount": 0,
        "started": runs,
        "state": state,
    }


def _ends(pod: Json) -> bool:
    """Return whether a pod is meant to end: it belongs to a Job, or is not to be started again."""
    controller = controller_of(pod)
    restarts = pod["spec"].get("restartPolicy", "Always")
    return restarts != "Always" and (controller is None or controller["kind"] == "Job")


def _seconds(text: Any) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
