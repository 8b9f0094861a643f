"""The rows of workloads in tables: what runs Pods, and how many.

In: one object and the time. Out: cells, as `k8s.io/kubernetes/pkg/printers` makes them. Pods have a module of their own.
"""

from __future__ import annotations

from engine.sandbox.simulator.human import (
    NONE,
    UNKNOWN,
    UNSET,
    Json,
    age,
    containers,
    duration,
    label_selector,
    labels,
    seconds_of,
)
from engine.sandbox.simulator.printing import Cells, age_of, name_of, spec_of, status_of


def replicas_cells(obj: Json, now: float) -> Cells:
    """Return the cells of a ReplicaSet or ReplicationController."""
    spec, status = spec_of(obj), status_of(obj)
    selector = spec.get("selector")
    is_map = obj.get("kind") == "ReplicationController"
    return [
        name_of(obj),
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age_of(obj, now),
        *containers(spec.get("template")),
        labels(selector) if is_map else label_selector(selector),
    ]


def pod_template_cells(obj: Json, _now: float) -> Cells:
    """Return the cells of a PodTemplate."""
    template = obj.get("template") or {}
    return [name_of(obj), *containers(template), labels((template.get("metadata") or {}).get("labels"))]


def deployment_cells(obj: Json, now: float) -> Cells:
    """Return the cells of a Deployment."""
    spec, status = spec_of(obj), status_of(obj)
    return [
        name_of(obj),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age_of(obj, now),
        *containers(spec.get("template")),
        label_selector(spec.get("selector"), empty=""),
    ]


def stateful_set_cells(obj: Json, now: float) -> Cells:
    """Return the cells of a StatefulSet."""
    spec, status = spec_of(obj), status_of(obj)
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [name_of(obj), ready, age_of(obj, now), *containers(spec.get("template"))]


def daemon_set_cells(obj: Json, now: float) -> Cells:
    """Return the cells of a DaemonSet."""
    spec, status = spec_of(obj), status_of(obj)
    counts = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    template = spec.get("template") or {}
    return [
        name_of(obj),
        *(status.get(count, 0) for count in counts),
        labels((template.get("spec") or {}).get("nodeSelector")),
        age_of(obj, now),
        *containers(template),
        label_selector(spec.get("selector")),
    ]


def controller_revision_cells(obj: Json, now: float) -> Cells:
    """Return the cells of a ControllerRevision."""
    owner = next((one for one in obj["metadata"].get("ownerReferences") or () if one.get("controller")), None)
    controller = NONE
    if owner:
        group = owner.get("apiVersion", "").rpartition("/")[0]
        kind = owner.get("kind", "").lower()
        controller = f"{kind}.{group}/{owner.get('name')}" if group else f"{kind}/{owner.get('name')}"
    return [name_of(obj), controller, obj.get("revision", 0), age_of(obj, now)]


def job_cells(obj: Json, now: float) -> Cells:
    """Return the cells of a Job."""
    spec, status = spec_of(obj), status_of(obj)
    succeeded, parallelism = status.get("succeeded", 0), spec.get("parallelism") or 0
    completions = f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"
    if spec.get("completions") is not None:
        completions = f"{succeeded}/{spec['completions']}"
    took = ""
    started = seconds_of(status.get("startTime"))
    if started is not None:
        took = duration((seconds_of(status.get("completionTime")) or now) - started)
    return [
        name_of(obj),
        _job_status(obj),
        completions,
        took,
        age_of(obj, now),
        *containers(spec.get("template")),
        label_selector(spec.get("selector")),
    ]


def _job_status(obj: Json) -> str:
    true = {one.get("type") for one in status_of(obj).get("conditions") or () if one.get("status") == "True"}
    if true & {"Complete", "Failed"}:
        return "Complete" if "Complete" in true else "Failed"
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next((one for one in ("Suspended", "FailureTarget", "SuccessCriteriaMet") if one in true), "Running")


def cron_job_cells(obj: Json, now: float) -> Cells:
    """Return the cells of a CronJob."""
    spec, status = spec_of(obj), status_of(obj)
    job = spec_of(spec.get("jobTemplate") or {})
    last = status.get("lastScheduleTime")
    return [
        name_of(obj),
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        UNSET if spec.get("suspend") is None else str(bool(spec["suspend"])),
        len(status.get("active") or ()),
        age(last, now) if last else NONE,
        age_of(obj, now),
        *containers(job.get("template")),
        label_selector(job.get("selector")),
    ]


def autoscaler_cells(obj: Json, now: float) -> Cells:
    """Return the cells of a HorizontalPodAutoscaler."""
    spec, status = spec_of(obj), status_of(obj)
    target = spec.get("scaleTargetRef") or {}
    metrics, current = spec.get("metrics") or [], status.get("currentMetrics") or []
    shown = [_metric(one, current[index] if index < len(current) else {}) for index, one in enumerate(metrics)]
    text = ", ".join(shown[:2]) or NONE
    if len(shown) > 2:
        text += f" + {len(shown) - 2} more..."
    minimum = spec.get("minReplicas")
    return [
        name_of(obj),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        text,
        UNSET if minimum is None else str(minimum),
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        age_of(obj, now),
    ]


def _metric(spec: Json, status: Json) -> str:
    """Return one metric of an autoscaler, what it is and what it should be: `cpu: 40%/80%`."""
    kind = spec.get("type", "")
    key = kind[:1].lower() + kind[1:]
    source, seen = spec.get(key) or {}, (status.get(key) or {}).get("current") or {}
    target = source.get("target") or {}
    if kind in {"Resource", "ContainerResource"}:
        name = source.get("name", "")
        if target.get("averageValue") is not None:
            return f"{name}: {seen.get('averageValue', UNKNOWN)}/{target['averageValue']}"
        percent, wanted = seen.get("averageUtilization"), target.get("averageUtilization")
        shown = UNKNOWN if percent is None else f"{percent}%"
        return f"{name}: {shown}/{'<auto>' if wanted is None else f'{wanted}%'}"
    if kind == "Pods":
        return f"{seen.get('averageValue', UNKNOWN)}/{target.get('averageValue')}"
    if kind in {"External", "Object"}:
        if target.get("averageValue") is not None:
            return f"{seen.get('averageValue', UNKNOWN)}/{target['averageValue']} (avg)"
        return f"{seen.get('value', UNKNOWN)}/{target.get('value')}"
    return "<unknown type>"


def disruption_budget_cells(obj: Json, now: float) -> Cells:
    """Return the cells of a PodDisruptionBudget."""
    spec = spec_of(obj)
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    return [
        name_of(obj),
        "N/A" if least is None else str(least),
        "N/A" if most is None else str(most),
        status_of(obj).get("disruptionsAllowed", 0),
        age_of(obj, now),
    ]


def scale_cells(obj: Json, now: float) -> Cells:
    """Return the cells of a Scale."""
    return [name_of(obj), spec_of(obj).get("replicas", 0), status_of(obj).get("replicas", 0), age_of(obj, now)]
