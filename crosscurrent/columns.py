"""The columns of `crosscurrent get`: kubectl's, for the types that people look at most; just the age for all others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from crosscurrent.output import age

Json = dict[str, Any]


class Column(NamedTuple):
    """A column that comes after an object's name."""

    title: str
    read: Callable[[Json, float], str]
    """From the object and the wall time."""
    wide: bool = False
    """Whether it is shown with `-o wide` only."""


def columns_of(group: str, plural: str, *, wide: bool) -> list[Column]:
    """Return the columns of a type, in order."""
    known = _KNOWN.get((group, plural), (_AGE,))
    return [column for column in known if wide or not column.wide]


def condition_status(holder: object, kind: str) -> str:
    """Return the status of a condition in a status or in an entry of one, empty when it lacks it."""
    return str(_condition(holder, kind).get("status", ""))


def _condition(holder: object, kind: str) -> Mapping[str, Any]:
    conditions = (item for item in _at(holder, "conditions") or () if isinstance(item, Mapping))
    return next((item for item in conditions if item.get("type") == kind), {})


def _at(body: object, *path: str) -> Any:
    for step in path:
        body = body.get(step) if isinstance(body, Mapping) else None
    return body


def _age(body: Json, now: float) -> str:
    return age(_at(body, "metadata", "creationTimestamp") or "", now)


def _text(title: str, path: str, *, wide: bool = False) -> Column:
    def read(body: Json, _: float) -> str:
        value = _at(body, *path.split("."))
        return "" if value is None else str(value)

    return Column(title, read, wide)


def _number(title: str, path: str) -> Column:
    return Column(title, lambda body, _: str(_at(body, *path.split(".")) or 0))


def _ratio(title: str, ready: str, wanted: str) -> Column:
    def read(body: Json, _: float) -> str:
        total = _at(body, *wanted.split("."))
        return f"{_at(body, *ready.split('.')) or 0}/{1 if total is None else total}"

    return Column(title, read)


def _count(title: str, path: str) -> Column:
    return Column(title, lambda body, _: str(len(_at(body, *path.split(".")) or ())))


def _containers(title: str, field: str) -> Column:
    def read(body: Json, _: float) -> str:
        return _joined(item.get(field, "") for item in _at(body, "spec", "template", "spec", "containers") or ())

    return Column(title, read, wide=True)


def _labels(title: str, path: str) -> Column:
    def read(body: Json, _: float) -> str:
        return _joined(f"{key}={value}" for key, value in sorted((_at(body, *path.split(".")) or {}).items()))

    return Column(title, read, wide=True)


def _of_condition(title: str, field: str, *, wide: bool = False) -> Column:
    return Column(title, lambda body, _: str(_condition(_at(body, "status"), "Ready").get(field, "")), wide)


def _joined(parts: Iterable[str]) -> str:
    return ",".join(parts)


def _pod_ready(body: Json, _: float) -> str:
    statuses = _at(body, "status", "containerStatuses") or []
    return f"{sum(bool(item.get('ready')) for item in statuses)}/{len(_at(body, 'spec', 'containers') or [])}"


def _restarts(body: Json, _: float) -> str:
    return str(sum(item.get("restartCount", 0) for item in _at(body, "status", "containerStatuses") or []))


def _node_status(body: Json, _: float) -> str:
    ready = "Ready" if condition_status(_at(body, "status"), "Ready") == "True" else "NotReady"
    return f"{ready},SchedulingDisabled" if _at(body, "spec", "unschedulable") else ready


def _ports(body: Json, _: float) -> str:
    def one(port: Json) -> str:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        return f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}"

    return _joined(one(port) for port in _at(body, "spec", "ports") or ())


def _foo_clusters(body: Json, _: float) -> str:
    clusters = _at(body, "status", "clusters") or []
    good = sum(condition_status(item, "Applied") == "True" for item in clusters)
    return f"{good}/{len(clusters)}"


_AGE = Column("AGE", _age)
_READY = _ratio("READY", "status.readyReplicas", "spec.replicas")
_TEMPLATE = (_containers("CONTAINERS", "name"), _containers("IMAGES", "image"))
_SELECTOR = _labels("SELECTOR", "spec.selector.matchLabels")

_KNOWN: dict[tuple[str, str], tuple[Column, ...]] = {
    ("apps", "deployments"): (
        _READY,
        _number("UP-TO-DATE", "status.updatedReplicas"),
        _number("AVAILABLE", "status.availableReplicas"),
        _AGE,
        *_TEMPLATE,
        _SELECTOR,
    ),
    ("apps", "statefulsets"): (_READY, _AGE, *_TEMPLATE),
    ("apps", "replicasets"): (
        _number("DESIRED", "spec.replicas"),
        _number("CURRENT", "status.replicas"),
        _number("READY", "status.readyReplicas"),
        _AGE,
        *_TEMPLATE,
        _SELECTOR,
    ),
    ("apps", "daemonsets"): (
        _number("DESIRED", "status.desiredNumberScheduled"),
        _number("CURRENT", "status.currentNumberScheduled"),
        _number("READY", "status.numberReady"),
        _number("UP-TO-DATE", "status.updatedNumberScheduled"),
        _number("AVAILABLE", "status.numberAvailable"),
        _AGE,
        *_TEMPLATE,
        _SELECTOR,
    ),
    ("batch", "jobs"): (_ratio("COMPLETIONS", "status.succeeded", "spec.completions"), _AGE, *_TEMPLATE),
    ("batch", "cronjobs"): (_text("SCHEDULE", "spec.schedule"), _count("ACTIVE", "status.active"), _AGE),
    ("", "pods"): (
        Column("READY", _pod_ready),
        _text("STATUS", "status.phase"),
        Column("RESTARTS", _restarts),
        _AGE,
        _text("IP", "status.podIP", wide=True),
        _text("NODE", "spec.nodeName", wide=True),
    ),
    ("", "namespaces"): (_text("STATUS", "status.phase"), _AGE),
    ("", "nodes"): (Column("STATUS", _node_status), _AGE, _text("VERSION", "status.nodeInfo.kubeletVersion")),
    ("", "services"): (
        _text("TYPE", "spec.type"),
        _text("CLUSTER-IP", "spec.clusterIP"),
        Column("PORT(S)", _ports),
        _AGE,
        _labels("SELECTOR", "spec.selector"),
    ),
    ("", "configmaps"): (_count("DATA", "data"), _AGE),
    ("", "secrets"): (_text("TYPE", "type"), _count("DATA", "data"), _AGE),
    ("samplecontroller.k8s.io", "foos"): (
        _text("DEPLOYMENT", "spec.deploymentName"),
        _text("REPLICAS", "spec.replicas"),
        _of_condition("READY", "status"),
        Column("CLUSTERS", _foo_clusters),
        _of_condition("REASON", "reason"),
        _AGE,
        _of_condition("MESSAGE", "message", wide=True),
    ),
    ("crosscurrent.dev", "clusters"): (_text("STATE", "status.state"), _text("VERSION", "status.version")),
}
