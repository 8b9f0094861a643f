"""Validation of ResourceQuotas and LimitRanges.

In: an object as decoded and defaulted, and in an update the one before. Out: causes in the order of the real server, where
that has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from engine.sandbox.simulator import quantities
from engine.sandbox.simulator.builtin.checks import (
    STANDARD_RESOURCES,
    container_resource_name,
    go_struct,
    is_huge_page,
    is_native,
    named,
    resource_name,
    resource_quantity,
)
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import duplicate, forbidden, invalid, required
from engine.sandbox.simulator.names import label_key_problems

Json = dict[str, Any]

_POD_QUOTAS = {"pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"}
_QUOTAS = STANDARD_RESOURCES - {"storage"}
_POD_SCOPES = {"Terminating", "NotTerminating", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity"}
_EXISTING_SCOPES = {"BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity"}
_SCOPES = _POD_SCOPES | {"BestEffort", "VolumeAttributesClass"}
_OPPOSITES = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_MUST_EXIST = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)


# Quotas


def quota_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a ResourceQuota."""
    spec = new.get("spec") or {}
    hard = spec.get("hard") or {}
    causes = _quota_value_causes(hard, "spec.hard")
    scopes, path = spec.get("scopes") or [], "spec.scopes"
    for scope in scopes:
        if scope not in _SCOPES:
            causes.append(invalid(path, scopes, "unsupported scope"))
        unfit = [name for name in sorted(hard) if _is_quota(name) and not _limits(scope, name)]
        causes += [invalid(path, scopes, "unsupported scope applied to resource") for _ in unfit]
    causes += [invalid(path, scopes, "conflicting scopes") for pair in _OPPOSITES if pair <= set(scopes)]
    if "scopeSelector" in spec:
        causes += _scope_selector_causes(spec, hard, "spec.scopeSelector.matchExpressions")
    if old is not None:
        before = (old.get("spec") or {}).get("scopes") or []
        return causes if set(scopes) == set(before) else [*causes, invalid(path, scopes, "field is immutable")]
    return causes


def quota_status_causes(new: Json, _: Json) -> list[Cause]:
    """Return what is wrong with a ResourceQuota's status."""
    status = new.get("status") or {}
    causes = _quota_value_causes(status.get("hard") or {}, "status.hard")
    return causes + _quota_value_causes(status.get("used") or {}, "status.used")


def _quota_value_causes(values: Mapping[str, str], path: str) -> list[Cause]:
    causes = []
    for name, value in values.items():
        here = f"{path}[{name}]"
        causes += resource_name(name, here)
        if "/" not in name and not _is_quota(name):
            why = "must be a standard resource for quota"
            causes.append(invalid(here, name, why))
        causes += resource_quantity(name, value, here)
    return causes


def _is_quota(name: str) -> bool:
    return name in _QUOTAS or is_huge_page(name) or is_huge_page(name.removeprefix("requests."))


def _limits(scope: str, name: str) -> bool:
    """Return whether a scope can limit a resource."""
    if scope in _POD_SCOPES:
        return name in _POD_QUOTAS
    if scope == "BestEffort":
        return name == "pods"
    return scope != "VolumeAttributesClass" or name in {"persistentvolumeclaims", "requests.storage"}


def _scope_selector_causes(spec: Json, hard: Json, path: str) -> list[Cause]:
    causes = []
    found = spec["scopeSelector"].get("matchExpressions") or []
    for one in found:
        scope, operator, values = one.get("scopeName", ""), one.get("operator", ""), one.get("values")
        if scope not in _SCOPES:
            causes.append(invalid(f"{path}.scopeName", scope, "unsupported scope"))
        shown = {"MatchExpressions": [go_struct(each, scopeName="", operator="", values=None) for each in found]}
        unfit = [name for name in sorted(hard) if _is_quota(name) and not _limits(scope, name)]
        causes += [invalid(path, shown, "unsupported scope applied to resource") for _ in unfit]
        if scope in _EXISTING_SCOPES and operator != "Exists":
            causes.append(invalid(f"{path}.operator", operator, _MUST_EXIST))
        if operator in {"In", "NotIn"}:
            if not values:
                why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                causes.append(required(f"{path}.values", why))
        elif operator not in {"Exists", "DoesNotExist"}:
            causes.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))
        elif values:
            why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            causes.append(invalid(f"{path}.values", values, why))
    names = {one.get("scopeName") for one in found}
    return causes + [invalid(path, spec.get("scopes"), "conflicting scopes") for pair in _OPPOSITES if pair <= names]


# Limit ranges


def limit_range_causes(new: Json, _: Json | None) -> list[Cause]:
    """Return what is wrong with a LimitRange."""
    causes: list[Cause] = []
    seen: set[str] = set()
    for index, limit in enumerate((new.get("spec") or {}).get("limits") or ()):
        here, kind = f"spec.limits[{index}]", limit.get("type", "")
        problems = named(kind, f"{here}.type", label_key_problems)
        if not problems and "/" not in kind and kind not in {"Pod", "Container", "PersistentVolumeClaim"}:
            why = "must be a standard limit type or fully qualified"
            problems = [invalid(f"{here}.type", kind, why)]
        causes += problems
        if kind in seen:
            causes.append(duplicate(f"{here}.type", kind))
        seen.add(kind)
        causes += _limit_causes(limit, kind, here)
    return causes


def _limit_causes(limit: Json, kind: str, path: str) -> list[Cause]:
    check = container_resource_name if kind in {"Pod", "Container"} else resource_name
    causes: list[Cause] = []
    names: set[str] = set()
    bounded = {**(limit.get("min") or {}), **(limit.get("max") or {})}
    for field in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
        found = limit.get(field) or {}
        if field.startswith("default") and kind == "Pod":
            why = "may not be specified when `type` is 'Pod'"
            causes += [forbidden(f"{path}.{field}", why)] if found else []
            continue
        if field == "maxLimitRequestRatio" and kind == "PersistentVolumeClaim" and "storage" not in bounded:
            why = "either minimum or maximum storage value is required, but neither was provided"
            causes.append(required(f"{path}.limits", why))
        for name in found:
            causes += check(name, f"{path}.{field}[{name}]")
            names.add(name)
    for name in sorted(names):
        causes += _comparison_causes(limit, name, path)
    return causes


_COMPARISONS = (
    ("min", "max", "min", "min value", "max value"),
    ("min", "defaultRequest", "defaultRequest", "min value", "default request value"),
    ("defaultRequest", "max", "defaultRequest", "default request value", "max value"),
    ("defaultRequest", "default", "defaultRequest", "default request value", "default limit value"),
    ("min", "default", "default", "min value", "default value"),
    ("default", "max", "default", "default value", "max value"),
)
"""What must not be greater than what; the field that is complained of; and what both are called."""
_SHOWN_OTHERWISE = {("min", "default"), ("default", "max")}
"""Comparisons whose message shows the value of the other field than the one that is complained of."""


def _comparison_causes(limit: Json, name: str, path: str) -> list[Cause]:
    def at(field: str) -> tuple[str, Decimal] | None:
        text = (limit.get(field) or {}).get(name)
        return None if text is None else (text, quantities.parse(text).value)

    causes = []
    for least, most, field, lesser, greater in _COMPARISONS:
        low, high = at(least), at(most)
        if low is None or high is None or low[1] <= high[1]:
            continue
        shown = high[0] if (field == most) != ((least, most) in _SHOWN_OTHERWISE) else low[0]
        why = f"{lesser} {low[0]} is greater than {greater} {high[0]}"
        causes.append(invalid(f"{path}.{field}[{name}]", shown, why))
    ratio, low, high = at("maxLimitRequestRatio"), at("min"), at("max")
    where = f"{path}.maxLimitRequestRatio[{name}]"
    if ratio is not None and ratio[1] < 1:
        causes.append(invalid(where, ratio[0], f"ratio {ratio[0]} is less than 1"))
    if ratio is not None and low is not None and high is not None and low[1] > 0:
        most_ratio = float(high[1]) / float(low[1])
        if float(ratio[1]) > most_ratio:
            why = f"ratio {ratio[0]} is greater than max/min = {most_ratio:f}"
            causes.append(invalid(where, ratio[0], why))
    default, request = at("default"), at("defaultRequest")
    fixed = not is_native(name) or is_huge_page(name)
    if fixed and default is not None and request is not None and default[1] != request[1]:
        why = f"default value {default[0]} must equal to defaultRequest value {request[0]} in {name}"
        causes.append(invalid(f"{path}.defaultRequest[{name}]", request[0], why))
    return causes
