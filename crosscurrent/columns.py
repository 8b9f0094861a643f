"""The columns of `crosscurrent get`: age for every type, and what people look for first in a few known ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]
Column = tuple[str, Callable[[Json], str]]


def columns_of(group: str, plural: str) -> tuple[Column, ...]:
    """Return the extra columns of a type, none for most."""
    return _KNOWN.get((group, plural), ())


def condition_status(holder: object, kind: str) -> str:
    """Return the status of a condition in a status or in an entry of one, empty when it lacks it."""
    for condition in _at(holder, "conditions") or ():
        if isinstance(condition, Mapping) and condition.get("type") == kind:
            return str(condition.get("status", ""))
    return ""


def _at(body: object, *path: str) -> Any:
    for step in path:
        body = body.get(step) if isinstance(body, Mapping) else None
    return body


def _text(*path: str) -> Callable[[Json], str]:
    def read(body: Json) -> str:
        value = _at(body, *path)
        return "" if value is None else str(value)

    return read


def _number(*path: str) -> Callable[[Json], str]:
    return lambda body: str(_at(body, *path) or 0)


def _ratio(ready: tuple[str, ...], wanted: tuple[str, ...]) -> Callable[[Json], str]:
    def read(body: Json) -> str:
        total = _at(body, *wanted)
        return f"{_at(body, *ready) or 0}/{1 if total is None else total}"

    return read


def _pod_ready(body: Json) -> str:
    statuses = _at(body, "status", "containerStatuses") or []
    return f"{sum(bool(item.get('ready')) for item in statuses)}/{len(_at(body, 'spec', 'containers') or [])}"


def _restarts(body: Json) -> str:
    return str(sum(item.get("restartCount", 0) for item in _at(body, "status", "containerStatuses") or []))


def _ready(body: Json) -> str:
    return condition_status(_at(body, "status"), "Ready")


def _foo_clusters(body: Json) -> str:
    clusters = _at(body, "status", "clusters") or []
    good = sum(condition_status(item, "Applied") == "True" for item in clusters)
    return f"{good}/{len(clusters)}"


_REPLICATED: tuple[Column, ...] = (
    ("READY", _ratio(("status", "readyReplicas"), ("spec", "replicas"))),
    ("UP-TO-DATE", _number("status", "updatedReplicas")),
    ("AVAILABLE", _number("status", "availableReplicas")),
)
_KNOWN: dict[tuple[str, str], tuple[Column, ...]] = {
    ("apps", "deployments"): _REPLICATED,
    ("apps", "statefulsets"): _REPLICATED[:1],
    ("apps", "replicasets"): _REPLICATED[:1],
    ("", "pods"): (("READY", _pod_ready), ("STATUS", _text("status", "phase")), ("RESTARTS", _restarts)),
    ("", "namespaces"): (("STATUS", _text("status", "phase")),),
    ("", "nodes"): (("READY", _ready), ("VERSION", _text("status", "nodeInfo", "kubeletVersion"))),
    ("", "services"): (("TYPE", _text("spec", "type")), ("CLUSTER-IP", _text("spec", "clusterIP"))),
    ("", "configmaps"): (("DATA", lambda body: str(len(body.get("data") or {}))),),
    ("", "secrets"): (("TYPE", _text("type")), ("DATA", lambda body: str(len(body.get("data") or {})))),
    ("samplecontroller.k8s.io", "foos"): (
        ("REPLICAS", _text("spec", "replicas")),
        ("READY", _ready),
        ("CLUSTERS", _foo_clusters),
    ),
    ("crosscurrent.dev", "clusters"): (("STATE", _text("status", "state")), ("VERSION", _text("status", "version"))),
}
