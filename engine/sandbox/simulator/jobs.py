"""The toy Job controller: pods until enough have ended well, and a status that says so. CronJobs start nothing."""

from __future__ import annotations

from engine.sandbox.simulator.owned import WorkloadController, is_active, is_ready, with_condition, without_zeros
from engine.sandbox.simulator.store import Json
from engine.sandbox.simulator.strategies import PODS

KEY = ("batch", "jobs")

_DEFAULT_RETRIES = 6
_REACHED = "Reached expected number of succeeded pods"


class Jobs(WorkloadController):
    """Reconciles the Jobs of one cluster."""

    def reconcile(self, key: str) -> None:
        """Make pods while there is work, and count them."""
        live = self._owned.live(KEY, key)
        if live is None or _ended(live.object):
            return
        spec, before = live.object["spec"], live.object.get("status") or {}
        pods = self._owned.of(live, PODS)
        succeeded, failed = _count(pods, "Succeeded"), _count(pods, "Failed")
        parallelism = spec.get("parallelism", 1)
        completions = spec.get("completions", parallelism)
        given_up = failed > spec.get("backoffLimit", _DEFAULT_RETRIES)
        active = [one for one in pods if is_active(one)]
        if not spec.get("suspend") and not given_up:
            for _ in range(min(parallelism, completions - succeeded) - len(active)):
                self._owned.create_pod(live, spec["template"])
        pods = self._owned.of(live, PODS)
        active = [one for one in pods if is_active(one)]
        now = self._owned.api.state.now()
        status: Json = without_zeros(
            active=len(active), ready=sum(map(is_ready, active)), succeeded=succeeded, failed=failed
        )
        status |= {"ready": sum(map(is_ready, active)), "terminating": 0, "uncountedTerminatedPods": {}}
        status["startTime"] = before.get("startTime", now)
        if succeeded >= completions:
            status["completionTime"] = now
            status["conditions"] = _conditions(
                before, ("SuccessCriteriaMet", "Complete"), "CompletionsReached", _REACHED, now
            )
        elif given_up:
            for one in active:
                self._owned.delete(PODS, one)
            message = "Job has reached the specified backoff limit"
            status["conditions"] = _conditions(
                before, ("FailureTarget", "Failed"), "BackoffLimitExceeded", message, now
            )
        self._owned.write_status(live, status)


def _count(pods: list[Json], phase: str) -> int:
    return sum((one.get("status") or {}).get("phase") == phase for one in pods)


def _ended(job: Json) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(one["type"] in {"Complete", "Failed"} and one["status"] == "True" for one in conditions)


def _conditions(status: Json, types: tuple[str, ...], reason: str, message: str, now: str) -> list[Json]:
    conditions = status.get("conditions") or []
    for kind in types:
        wanted = {"type": kind, "status": "True", "reason": reason, "message": message, "lastProbeTime": now}
        conditions = with_condition(conditions, wanted, now)
    return conditions
