"""Validation of where a pod should run: affinity, tolerations, spreading, gates.

In: parts of a pod's spec, and their paths. Out: causes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.sandbox.simulator.builtin.checks import (
    choice,
    dns_label,
    dns_subdomain,
    named,
    positive,
    qualified_name,
    selector,
)
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import duplicate, forbidden, invalid, not_supported, required
from engine.sandbox.simulator.names import label_value_problems

Json = dict[str, Any]

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def affinity_causes(affinity: Json, path: str) -> list[Cause]:
    """Return what is wrong with a pod's affinity."""
    causes = []
    if node := affinity.get("nodeAffinity"):
        causes += _node_causes(node, f"{path}.nodeAffinity")
    for kind in ("podAffinity", "podAntiAffinity"):
        if found := affinity.get(kind):
            causes += _pod_causes(found, f"{path}.{kind}")
    return causes


def _node_causes(affinity: Json, path: str) -> list[Cause]:
    causes: list[Cause] = []
    if _REQUIRED in affinity:
        here = f"{path}.{_REQUIRED}.nodeSelectorTerms"
        terms = affinity[_REQUIRED].get("nodeSelectorTerms") or ()
        if not terms:
            causes.append(required(here, "must have at least one node selector term"))
        for index, term in enumerate(terms):
            causes += _term_causes(term, f"{here}[{index}]")
    for index, preference in enumerate(affinity.get(_PREFERRED) or ()):
        here = f"{path}.{_PREFERRED}[{index}]"
        causes += _weight_causes(preference, here)
        causes += _term_causes(preference.get("preference") or {}, f"{here}.preference")
    return causes


def _weight_causes(preference: Json, path: str) -> list[Cause]:
    weight = preference.get("weight", 0)
    return [] if 1 <= weight <= 100 else [invalid(f"{path}.weight", weight, "must be in the range 1-100")]


def _term_causes(term: Json, path: str) -> list[Cause]:
    causes = []
    for index, one in enumerate(term.get("matchExpressions") or ()):
        causes += _requirement_causes(one, f"{path}.matchExpressions[{index}]")
    for index, one in enumerate(term.get("matchFields") or ()):
        causes += _field_causes(one, f"{path}.matchFields[{index}]")
    return causes


def _field_causes(requirement: Json, path: str) -> list[Cause]:
    operator, key = requirement.get("operator", ""), requirement.get("key", "")
    values = requirement.get("values") or ()
    causes: list[Cause] = []
    if operator not in {"In", "NotIn"}:
        causes.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))
    elif len(values) != 1:
        why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        causes.append(required(f"{path}.values", why))
    if key != "metadata.name":
        return [*causes, invalid(f"{path}.key", key, "not a valid field selector key")]
    for index, value in enumerate(values):
        causes += dns_subdomain(value, f"{path}.values[{index}]")
    return causes


def _requirement_causes(requirement: Json, path: str) -> list[Cause]:
    operator, values = requirement.get("operator", ""), requirement.get("values") or ()
    causes: list[Cause] = []
    if operator in {"In", "NotIn"}:
        if not values:
            causes.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in {"Exists", "DoesNotExist"}:
        if values:
            why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            causes.append(forbidden(f"{path}.values", why))
    elif operator in {"Gt", "Lt"}:
        if len(values) != 1:
            causes.append(required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'"))
    else:
        causes.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))
    causes += qualified_name(requirement.get("key", ""), f"{path}.key")
    for index, value in enumerate(values):
        causes += named(value, f"{path}.values[{index}]", label_value_problems)
    return causes


def _pod_causes(affinity: Json, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for index, term in enumerate(affinity.get(_REQUIRED) or ()):
        causes += _pod_term_causes(term, f"{path}.{_REQUIRED}[{index}]")
    for index, preference in enumerate(affinity.get(_PREFERRED) or ()):
        here = f"{path}.{_PREFERRED}[{index}]"
        causes += _weight_causes(preference, here)
        causes += _pod_term_causes(preference.get("podAffinityTerm") or {}, f"{here}.podAffinityTerm")
    return causes


def _pod_term_causes(term: Json, path: str) -> list[Cause]:
    causes = selector(term.get("labelSelector"), f"{path}.labelSelector")
    causes += selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for name in term.get("namespaces") or ():
        causes += dns_label(name, f"{path}.namespace")
    key = term.get("topologyKey", "")
    if not key:
        causes.append(required(f"{path}.topologyKey", "can not be empty"))
    return causes + qualified_name(key, f"{path}.topologyKey")


def node_selector_change_causes(spec: Json, before: Json) -> list[Cause]:
    """Return what an update of a gated pod may not change: where it may run can only become narrower."""
    causes = []
    new, old = spec.get("nodeSelector") or {}, before.get("nodeSelector") or {}
    for key, value in old.items():
        if new.get(key) != value:
            causes.append(
                invalid(
                    "spec.nodeSelector",
                    new,
                    "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
                )
            )
            break
    return causes


def scheduling_gate_causes(gates: Sequence[Json], path: str) -> list[Cause]:
    """Return what is wrong with what holds a pod back."""
    causes: list[Cause] = []
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        name = gate.get("name", "")
        causes += qualified_name(name, f"{path}[{index}]")
        if name in seen:
            causes.append(duplicate(f"{path}[{index}]", name))
        seen.add(name)
    return causes


def spread_causes(constraints: Sequence[Json], path: str) -> list[Cause]:
    """Return what is wrong with how pods spread."""
    causes: list[Cause] = []
    pairs = [(one.get("topologyKey", ""), one.get("whenUnsatisfiable", "")) for one in constraints]
    for index, one in enumerate(constraints):
        here, (key, action) = f"{path}[{index}]", pairs[index]
        causes += positive(one.get("maxSkew", 0), f"{here}.maxSkew")
        if not key:
            causes.append(required(f"{here}.topologyKey", "can not be empty"))
        actions = ("DoNotSchedule", "ScheduleAnyway")
        if action not in actions:
            causes.append(not_supported(f"{here}.whenUnsatisfiable", action, actions))
        if (key, action) in pairs[index + 1 :]:
            causes.append(duplicate(f"{here}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}"))
        if "minDomains" in one:
            causes += _min_domains_causes(one["minDomains"], action, f"{here}.minDomains")
        for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if one.get(name, "Honor") not in {"Honor", "Ignore"}:
                causes.append(not_supported(f"{here}.{name}", one[name], ("Honor", "Ignore")))
        causes += selector(one.get("labelSelector"), f"{here}.labelSelector")
    return causes


def _min_domains_causes(least: int, action: str, path: str) -> list[Cause]:
    causes = positive(least, path)
    if action != "DoNotSchedule":
        why = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        causes.append(invalid(path, least, why))
    return causes


def toleration_causes(tolerations: Sequence[Json], path: str) -> list[Cause]:
    """Return what is wrong with tolerations."""
    causes: list[Cause] = []
    for index, one in enumerate(tolerations):
        here = f"{path}[{index}]"
        key, operator, value = one.get("key", ""), one.get("operator", ""), one.get("value", "")
        effect = one.get("effect", "")
        if key:
            causes += qualified_name(key, f"{here}.key")
        if not key and operator != "Exists":
            why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            causes.append(invalid(f"{here}.operator", operator, why))
        if "tolerationSeconds" in one and effect != "NoExecute":
            causes.append(
                invalid(f"{here}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
            )
        if operator in {"", "Equal"}:
            if problems := label_value_problems(value):
                causes.append(invalid(f"{here}.operator", value, ";".join(problems)))
        elif operator == "Exists":
            if value:
                causes.append(invalid(f"{here}.operator", value, "value must be empty when `operator` is 'Exists'"))
        else:
            operators = ("Equal", "Exists", "Lt", "Gt") if operator in {"Lt", "Gt"} else ("Equal", "Exists")
            causes.append(not_supported(f"{here}.operator", operator, operators))
        if effect:
            causes += choice(effect, _EFFECTS, f"{here}.effect")
    return causes
