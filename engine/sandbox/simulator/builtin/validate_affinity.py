"""Validation of affinity: on which nodes, and near which pods, a pod should run."""

from __future__ import annotations

from typing import Any

from engine.sandbox.simulator.builtin.checks import dns_label, named, qualified_name, selector
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import forbidden, invalid, required
from engine.sandbox.simulator.names import label_value_problems

Json = dict[str, Any]

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


def node_affinity_change_causes(spec: Json, before: Json) -> list[Cause]:
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
