"""Validation of HorizontalPodAutoscalers and PodDisruptionBudgets.

In: an object as decoded and defaulted, and in an update the one before. Out: causes in the order of the real server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.sandbox.simulator import quantities
from engine.sandbox.simulator.builtin.checks import (
    at_most_everything,
    conditions,
    container_resource_name,
    count_or_percent,
    dns_label,
    go_struct,
    named,
    non_negative,
    positive,
    selector,
    shown_selector,
)
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import forbidden, invalid, not_supported, required
from engine.sandbox.simulator.names import path_segment_problems

Json = dict[str, Any]

_LONGEST_PERIOD = 1800
_LONGEST_WINDOW = 3600
_METRICS = ("ContainerResource", "External", "Object", "Pods", "Resource")
_TARGETS = ("Utilization", "Value", "AverageValue")


def autoscaler_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a HorizontalPodAutoscaler."""
    spec = new.get("spec") or {}
    if old is not None and spec is old.get("spec"):
        return []
    least, most = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    allowed = 0 if old is not None and (old.get("spec") or {}).get("minReplicas") == 0 else 1
    causes = []
    if least is not None and least < allowed:
        causes.append(invalid("spec.minReplicas", least, f"must be greater than or equal to {allowed}"))
    if most == 0:
        causes.append(required("spec.maxReplicas", "must be set and greater than 0"))
    elif most < 0:
        causes.append(invalid("spec.maxReplicas", most, "must be greater than or equal to 1"))
    if least is not None and most < least:
        causes.append(invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"))
    target = spec.get("scaleTargetRef") or {}
    causes += _reference_causes(target, "spec.scaleTargetRef")
    known = ((old or {}).get("spec") or {}).get("scaleTargetRef") or {}
    if "/" not in target.get("apiVersion", "") and (old is None or "/" in known.get("apiVersion", "")):
        why = "apiVersion must specify API group"
        causes.append(invalid("spec.scaleTargetRef.apiVersion", target.get("apiVersion", ""), why))
    for index, metric in enumerate(spec.get("metrics") or ()):
        causes += _metric_causes(metric, f"spec.metrics[{index}]")
    if least == 0 and not any(one.get("type") in {"Object", "External"} for one in spec.get("metrics") or ()):
        why = "must specify at least one Object or External metric to support scaling to zero replicas"
        causes.append(forbidden("spec.metrics", why))
    for name in ("scaleUp", "scaleDown"):
        rules = (spec.get("behavior") or {}).get(name)
        if rules is not None:
            causes += _scaling_causes(rules, f"spec.behavior.{name}")
    return causes


def autoscaler_status_causes(new: Json, _: Json) -> list[Cause]:
    """Return what is wrong with a HorizontalPodAutoscaler's status."""
    status = new.get("status") or {}
    causes = non_negative(status.get("currentReplicas"), "status.currentReplicas")
    return causes + non_negative(status.get("desiredReplicas"), "status.desiredReplicas")


def _reference_causes(reference: Json, path: str) -> list[Cause]:
    causes = []
    for name in ("kind", "name"):
        value = reference.get(name, "")
        causes += named(value, f"{path}.{name}", path_segment_problems) if value else [required(f"{path}.{name}")]
    version = reference.get("apiVersion", "")
    if version.count("/") > 1:
        causes.append(invalid(f"{path}.apiVersion", version, f"unexpected GroupVersion string: {version}"))
    return causes


# Metrics


def _metric_causes(metric: Json, path: str) -> list[Cause]:
    kind = metric.get("type", "")
    causes = [] if kind else [required(f"{path}.type", "must specify a metric source type")]
    if kind not in _METRICS:
        causes.append(not_supported(f"{path}.type", kind, _METRICS))
    present = [name for name in _SOURCES if name in metric]
    if present:
        causes += _SOURCES[present[0]](metric[present[0]], f"{path}.{present[0]}")
    expected = kind[:1].lower() + kind[1:]
    if kind not in _METRICS:
        causes.append(not_supported(f"{path}.type", kind, _METRICS))
        expected = ""
    elif expected not in metric:
        causes.append(required(f"{path}.{expected}", "must populate information for the given metric source"))
    if len(present) != 1:
        why = "must populate the given metric source only"
        causes += [forbidden(f"{path}.{name}", why) for name in present if name != expected]
    return causes


def _object_causes(source: Json, path: str) -> list[Cause]:
    causes = _reference_causes(source.get("describedObject") or {}, f"{path}.describedObject")
    causes += _identifier_causes(source, path)
    target = source.get("target") or {}
    if "value" not in target and "averageValue" not in target:
        causes.append(required(f"{path}.target.averageValue", "must set either a target value or averageValue"))
    return causes


def _external_causes(source: Json, path: str) -> list[Cause]:
    causes = _identifier_causes(source, path)
    target = source.get("target") or {}
    if "value" not in target and "averageValue" not in target:
        why = "must set either a target value for metric or a per-pod target"
        causes.append(required(f"{path}.target.averageValue", why))
    if "value" in target and "averageValue" in target:
        why = "may not set both a target value for metric and a per-pod target"
        causes.append(forbidden(f"{path}.target.value", why))
    return causes


def _pods_causes(source: Json, path: str) -> list[Cause]:
    causes = _identifier_causes(source, path)
    if "averageValue" not in (source.get("target") or {}):
        causes.append(required(f"{path}.target.averageValue", "must specify a positive target averageValue"))
    return causes


def _resource_causes(source: Json, path: str) -> list[Cause]:
    causes = [] if source.get("name") else [required(f"{path}.name", "must specify a resource name")]
    return causes + _usage_causes(source, path)


def _container_resource_causes(source: Json, path: str) -> list[Cause]:
    name, container = source.get("name", ""), source.get("container", "")
    if name:
        causes = container_resource_name(name, f"{path}.name")
    else:
        causes = [required(f"{path}.name", "must specify a resource name")]
    if container:
        causes += dns_label(container, f"{path}.container")
    else:
        causes.append(required(f"{path}.container", "must specify a container"))
    return causes + _usage_causes(source, path)


def _usage_causes(source: Json, path: str) -> list[Cause]:
    target = source.get("target") or {}
    causes = _target_causes(target, f"{path}.target")
    if "averageUtilization" not in target and "averageValue" not in target:
        why = "must set either a target raw value or a target utilization"
        causes.append(required(f"{path}.target.averageUtilization", why))
    if "averageUtilization" in target and "averageValue" in target:
        why = "may not set both a target raw value and a target utilization"
        causes.append(forbidden(f"{path}.target.averageValue", why))
    return causes


def _identifier_causes(source: Json, path: str) -> list[Cause]:
    name = (source.get("metric") or {}).get("name", "")
    where = f"{path}.metric.name"
    causes = named(name, where, path_segment_problems) if name else [required(where, "must specify a metric name")]
    return causes + _target_causes(source.get("target") or {}, f"{path}.target")


def _target_causes(target: Json, path: str) -> list[Cause]:
    kind = target.get("type", "")
    causes = [] if kind else [required(f"{path}.type", "must specify a metric target type")]
    if kind not in _TARGETS:
        causes.append(invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue"))
    causes += [
        invalid(f"{path}.{name}", target[name], "must be positive")
        for name in ("value", "averageValue")
        if name in target and quantities.parse(target[name]).value <= 0
    ]
    if target.get("averageUtilization", 1) < 1:
        where = f"{path}.averageUtilization"
        causes.append(invalid(where, target["averageUtilization"], "must be greater than 0"))
    return causes


_SOURCES: dict[str, Callable[[Json, str], list[Cause]]] = {
    "object": _object_causes,
    "external": _external_causes,
    "pods": _pods_causes,
    "resource": _resource_causes,
    "containerResource": _container_resource_causes,
}


# Scaling


def _scaling_causes(rules: Json, path: str) -> list[Cause]:
    causes = []
    window = rules.get("stabilizationWindowSeconds")
    if window is not None:
        where = f"{path}.stabilizationWindowSeconds"
        if window < 0:
            causes.append(invalid(where, window, "must be greater than or equal to zero"))
        if window > _LONGEST_WINDOW:
            causes.append(invalid(where, window, f"must be less than or equal to {_LONGEST_WINDOW}"))
    choices = ("Disabled", "Max", "Min")
    if "selectPolicy" in rules and rules["selectPolicy"] not in choices:
        causes.append(not_supported(f"{path}.selectPolicy", rules["selectPolicy"], choices))
    if not rules.get("policies"):
        causes.append(required(f"{path}.policies", "must specify at least one Policy"))
    for index, policy in enumerate(rules.get("policies") or ()):
        causes += _policy_causes(policy, f"{path}.policies[{index}]")
    if "tolerance" in rules and quantities.parse(rules["tolerance"]).value < 0:
        causes.append(invalid(f"{path}.tolerance", rules["tolerance"], "must be greater than or equal to 0"))
    return causes


def _policy_causes(policy: Json, path: str) -> list[Cause]:
    kind, period = policy.get("type", ""), policy.get("periodSeconds", 0)
    causes = [] if kind in {"Pods", "Percent"} else [not_supported(f"{path}.type", kind, ("Percent", "Pods"))]
    causes += positive(policy.get("value", 0), f"{path}.value")
    causes += positive(period, f"{path}.periodSeconds")
    if period > _LONGEST_PERIOD:
        causes.append(invalid(f"{path}.periodSeconds", period, f"must be less than or equal to {_LONGEST_PERIOD}"))
    return causes


# Disruption budgets


def budget_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a PodDisruptionBudget."""
    spec = new.get("spec") or {}
    if old is not None and spec is old.get("spec"):
        return []
    causes = []
    if "minAvailable" in spec and "maxUnavailable" in spec:
        shown = go_struct(
            {**spec, "selector": shown_selector(spec.get("selector"))},
            minAvailable=None,
            selector=None,
            maxUnavailable=None,
            unhealthyPodEvictionPolicy=None,
        )
        causes.append(invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set"))
    for name in ("minAvailable", "maxUnavailable"):
        if name in spec:
            causes += count_or_percent(spec[name], f"spec.{name}") + at_most_everything(spec[name], f"spec.{name}")
    causes += selector(spec.get("selector"), "spec.selector")
    policy, policies = spec.get("unhealthyPodEvictionPolicy"), ("AlwaysAllow", "IfHealthyBudget")
    if policy is not None and policy not in policies:
        causes.append(not_supported("spec.unhealthyPodEvictionPolicy", policy, policies))
    return causes


def budget_status_causes(new: Json, _: Json) -> list[Cause]:
    """Return what is wrong with a PodDisruptionBudget's status."""
    status = new.get("status") or {}
    names = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
    causes = conditions(status.get("conditions") or (), "status.conditions")
    return causes + [cause for name in names for cause in non_negative(status.get(name), f"status.{name}")]
