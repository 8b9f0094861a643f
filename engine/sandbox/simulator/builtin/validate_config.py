"""Validation of what configures workloads: ConfigMaps, Secrets, Leases, PriorityClasses, RBAC.

In: an object as decoded and defaulted, and in an update the one before. Out: causes in the order of the real server.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from engine.sandbox.simulator.builtin.checks import choice, config_map_key_problems, immutable, selector
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import forbidden, invalid, not_supported, required, too_long
from engine.sandbox.simulator.names import dns_subdomain_problems, path_segment_problems

Json = dict[str, Any]

_LARGEST = 1 << 20
"""Bytes of all values of a ConfigMap or Secret."""
_FROZEN = "field is immutable when `immutable` is set"
_ACCOUNT_NAME = "kubernetes.io/service-account.name"
_NEEDED = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
"""Keys that secrets of a type must have."""
_RBAC = "rbac.authorization.k8s.io"
_HIGHEST_PRIORITY = 1_000_000_000
_SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


# ConfigMaps and Secrets


def config_map_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a ConfigMap."""
    causes = _frozen_causes(new, old, "data", "binaryData")
    data, binary = new.get("data") or {}, new.get("binaryData") or {}
    if old is not None and data is old.get("data") and not binary:
        return causes
    for key in data:
        causes += _key_causes(key, "data")
        if key in binary:
            causes.append(invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
    for key in binary:
        causes += _key_causes(key, "binaryData")
    size = sum(len(value.encode()) for value in data.values()) + sum(_decoded_size(value) for value in binary.values())
    return [*causes, too_long("[]", _LARGEST)] if size > _LARGEST else causes


def secret_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a Secret."""
    kind, data = new.get("type", ""), new.get("data") or {}
    causes = [] if old is None else immutable(kind, old.get("type", ""), "type")
    causes += _frozen_causes(new, old, "data")
    for key in data:
        causes += _key_causes(key, "data")
    if sum(_decoded_size(value) for value in data.values()) > _LARGEST:
        causes.append(too_long("data", _LARGEST))
    return causes + _secret_type_causes(new, kind, data)


def _key_causes(key: str, field: str) -> list[Cause]:
    return [invalid(f"{field}[{key}]", key, problem) for problem in config_map_key_problems(key)]


def _decoded_size(text: str) -> int:
    return len(text) * 3 // 4 - text[-2:].count("=")


def _frozen_causes(new: Json, old: Json | None, *fields: str) -> list[Cause]:
    if old is None or not old.get("immutable"):
        return []
    causes = [] if new.get("immutable") else [forbidden("immutable", _FROZEN)]
    # An empty map is another value than none at all to the real server.
    return causes + [forbidden(name, _FROZEN) for name in fields if new.get(name) != old.get(name)]


def _secret_type_causes(secret: Json, kind: str, data: Json) -> list[Cause]:
    if kind == "kubernetes.io/service-account-token":
        account = (secret["metadata"].get("annotations") or {}).get(_ACCOUNT_NAME)
        return [] if account else [required(f"metadata.annotations[{_ACCOUNT_NAME}]")]
    if kind == "kubernetes.io/basic-auth":
        keys = ("username", "password")
        return [] if any(key in data for key in keys) else [required(f"data[{key}]") for key in keys]
    causes = []
    for key in _NEEDED.get(kind, ()):
        if key not in data or (kind == "kubernetes.io/ssh-auth" and not data[key]):
            causes.append(required(f"data[{key}]"))
        elif key.startswith(".docker") and (problem := _object_problem(data[key])):
            causes.append(invalid(f"data[{key}]", "<secret contents redacted>", problem))
    return causes


def _object_problem(encoded: str) -> str:
    """Return why a value is no JSON object, as Go says it; empty: it is one."""
    text = base64.b64decode(encoded)
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        if not text.strip():
            return "unexpected end of JSON input"
        return f"invalid character '{text.strip()[:1].decode('utf-8', 'replace')}' looking for beginning of value"
    if isinstance(value, dict) or value is None:
        return ""
    kind = "array" if isinstance(value, list) else "string" if isinstance(value, str) else "number"
    kind = "bool" if isinstance(value, bool) else kind
    return f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"


# Leases and priorities


def lease_causes(new: Json, _: Json | None) -> list[Cause]:
    """Return what is wrong with a Lease; fields of coordinated elections are dropped before."""
    spec = new.get("spec") or {}
    causes = []
    duration, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if duration is not None and duration <= 0:
        causes.append(invalid("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    if transitions is not None and transitions < 0:
        causes.append(invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0"))
    return causes


def priority_class_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a PriorityClass."""
    value, policy = new.get("value", 0), new.get("preemptionPolicy")
    if old is not None:
        causes = [] if value == old.get("value", 0) else [forbidden("value", "may not be changed in an update.")]
        return causes + immutable(policy, old.get("preemptionPolicy"), "preemptionPolicy")
    causes = []
    name = new["metadata"].get("name", "")
    if name.startswith("system-"):
        if problem := _system_priority_problem(new, name, value):
            why = f"priority class names with 'system-' prefix are reserved for system use only. error: {problem}"
            causes.append(forbidden("metadata.name", why))
    elif value > _HIGHEST_PRIORITY:
        why = f"maximum allowed value of a user defined priority is {_HIGHEST_PRIORITY}"
        causes.append(forbidden("value", why))
    if policy is not None:
        causes += choice(policy, ("PreemptLowerPriority", "Never"), "preemptionPolicy")
    return causes


def _system_priority_problem(priority: Json, name: str, value: int) -> str:
    if name not in _SYSTEM_PRIORITIES:
        return f"{name} is not a known system priority class"
    if value != _SYSTEM_PRIORITIES[name]:
        return f"value of {name} PriorityClass must be {_SYSTEM_PRIORITIES[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if priority.get("globalDefault") else ""


# RBAC


def role_causes(new: Json, _: Json | None) -> list[Cause]:
    """Return what is wrong with a Role."""
    return _rule_causes(new, namespaced=True)


def cluster_role_causes(new: Json, _: Json | None) -> list[Cause]:
    """Return what is wrong with a ClusterRole."""
    causes = _rule_causes(new, namespaced=False)
    if "aggregationRule" not in new:
        return causes
    path = "aggregationRule.clusterRoleSelectors"
    selectors = new["aggregationRule"].get("clusterRoleSelectors") or ()
    if not selectors:
        why = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        causes.append(required(path, why))
    for index, one in enumerate(selectors):
        problems = selector(one, f"{path}[{index}]")
        causes += problems
        if problems:
            causes.append(invalid(f"{path}[{index}]", None, "invalid label selector."))
    return causes


def _rule_causes(role: Json, *, namespaced: bool) -> list[Cause]:
    causes = []
    for index, rule in enumerate(role.get("rules") or ()):
        here, urls = f"rules[{index}]", rule.get("nonResourceURLs") or ()
        if not rule.get("verbs"):
            causes.append(required(f"{here}.verbs", "verbs must contain at least one value"))
        if urls and namespaced:
            why = "namespaced rules cannot apply to non-resource URLs"
            causes.append(invalid(f"{here}.nonResourceURLs", urls, why))
        if urls:
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                why = "rules cannot apply to both regular resources and non-resource URLs"
                causes.append(invalid(f"{here}.nonResourceURLs", urls, why))
            continue
        for name, what in (("apiGroups", "api group"), ("resources", "resource")):
            if not rule.get(name):
                causes.append(required(f"{here}.{name}", f"resource rules must supply at least one {what}"))
    return causes


def role_binding_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a RoleBinding."""
    return _binding_causes(new, old, ("Role", "ClusterRole"), namespaced=True)


def cluster_role_binding_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a ClusterRoleBinding."""
    return _binding_causes(new, old, ("ClusterRole",), namespaced=False)


def _binding_causes(new: Json, old: Json | None, kinds: tuple[str, ...], *, namespaced: bool) -> list[Cause]:
    role = new.get("roleRef") or {}
    group, kind, name = role.get("apiGroup", ""), role.get("kind", ""), role.get("name", "")
    causes = []
    if group != _RBAC:
        causes.append(not_supported("roleRef.apiGroup", group, (_RBAC,)))
    if kind not in kinds:
        causes.append(not_supported("roleRef.kind", kind, kinds))
    if name:
        causes += [invalid("roleRef.name", name, problem) for problem in path_segment_problems(name)]
    else:
        causes.append(required("roleRef.name"))
    for index, subject in enumerate(new.get("subjects") or ()):
        causes += _subject_causes(subject, f"subjects[{index}]", namespaced=namespaced)
    if old is not None and old.get("roleRef") != role:
        shown = {"APIGroup": group, "Kind": kind, "Name": name}
        causes.append(invalid("roleRef", shown, "cannot change roleRef"))
    return causes


def _subject_causes(subject: Json, path: str, *, namespaced: bool) -> list[Cause]:
    kind, name, group = subject.get("kind", ""), subject.get("name", ""), subject.get("apiGroup", "")
    kinds = ("ServiceAccount", "User", "Group")
    causes = [] if name else [required(f"{path}.name")]
    if kind == "ServiceAccount":
        if name:
            causes += [invalid(f"{path}.name", name, problem) for problem in dns_subdomain_problems(name)]
        if group:
            causes.append(not_supported(f"{path}.apiGroup", group, ("",)))
        if not namespaced and not subject.get("namespace"):
            causes.append(required(f"{path}.namespace"))
    elif kind not in kinds:
        causes.append(not_supported(f"{path}.kind", kind, kinds))
    elif group != _RBAC:
        causes.append(not_supported(f"{path}.apiGroup", group, (_RBAC,)))
    return causes
