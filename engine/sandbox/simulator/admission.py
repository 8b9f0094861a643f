"""Admission plugins that every API server has built in, as far as their work can be seen.

In: an object about to be written. Out: the object as they leave it, or a refusal. They run before webhooks. Left out are
those that need what is not here: quota and limit ranges, service account tokens in pods, volume resizing, pod security.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from engine.sandbox.simulator.errors import ApiError, Cause, forbidden, not_found
from engine.sandbox.simulator.resource_types import ResourceType, TypeKey
from engine.sandbox.simulator.state import ClusterState
from engine.sandbox.simulator.strategies import NAMESPACES, PODS
from engine.sandbox.simulator.write_rules import with_metadata

Json = dict[str, Any]

SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}

_TOLERATION_SECONDS = 300
_UNREACHABLE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


class _Namespaces:
    """What refusals about namespaces are about."""

    group = ""
    resource = "namespaces"


def builtin_admission(
    state: ClusterState,
    rtype: ResourceType,
    operation: Literal["CREATE", "UPDATE"],
    name: str,
    obj: Json,
    subresource: str,
    old: Json | None,
) -> Json:
    """Return the object as the built-in plugins leave it; `old`: the stored one, None: there is none.

    Raises:
        ApiError: 404 when its namespace is not there; 403 when that is on its way out, or a class is unknown.

    """
    if rtype.namespaced and operation == "CREATE":
        shown = name or obj["metadata"].get("generateName", "")
        check_namespace(state, rtype, obj["metadata"].get("namespace", ""), shown)
    if subresource:
        return obj
    if rtype.key == PODS and old is not None:
        obj = _with_old_priority(obj, old)
    plugin = _PLUGINS.get((rtype.key, operation))
    return plugin(state, obj) if plugin else obj


def check_namespace(state: ClusterState, rtype: ResourceType, namespace: str, name: str) -> None:
    """Refuse to create anything in a namespace that is not there or is on its way out.

    Raises:
        ApiError: 404 or 403.

    """
    found = state.store.get(NAMESPACES, namespace)
    if found is None:
        raise not_found(_Namespaces, namespace)
    if (found.object.get("status") or {}).get("phase") == "Terminating":
        raise _terminating(rtype, namespace, name)


def _terminating(rtype: ResourceType, namespace: str, name: str) -> ApiError:
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    error = forbidden(rtype, name, why)
    cause = Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")
    error.details = {**(error.details or {}), "causes": [cause.as_json()]}
    return error


def _new_pod(state: ClusterState, pod: Json) -> Json:
    spec = dict(pod.get("spec") or {})
    _set_priority(state, pod, spec)
    return _updated_pod(state, {**pod, "spec": spec})


def _set_priority(state: ClusterState, pod: Json, spec: Json) -> None:
    """Do what the plugin Priority does: the class's value, or the default class's, or 0."""
    classes = state.store.collection(("scheduling.k8s.io", "priorityclasses"))
    name = spec.get("priorityClassName")
    chosen: Json
    if name:
        found = classes.objects.get(name)
        if found is None and name not in SYSTEM_PRIORITIES:
            raise forbidden(_Pods, pod["metadata"].get("name", ""), f"no PriorityClass with name {name} was found")
        chosen = found.object if found else {"value": SYSTEM_PRIORITIES[name]}
    else:
        chosen = next((one.object for one in classes if one.object.get("globalDefault")), {})
        if chosen:
            spec["priorityClassName"] = chosen["metadata"]["name"]
    spec["priority"] = chosen.get("value", 0)
    spec["preemptionPolicy"] = chosen.get("preemptionPolicy", "PreemptLowerPriority")


class _Pods:
    """What refusals about pods are about."""

    group = ""
    resource = "pods"


def _with_old_priority(pod: Json, old: Json) -> Json:
    """Do what the plugin Priority does of updates: they may leave out what it has set."""
    spec, before = pod.get("spec") or {}, old.get("spec") or {}
    kept = {name: before[name] for name in ("priority", "preemptionPolicy") if name in before and name not in spec}
    return {**pod, "spec": {**spec, **kept}} if kept else pod


def _updated_pod(_: ClusterState, pod: Json) -> Json:
    """Do what DefaultTolerationSeconds does: pods leave broken nodes after five minutes."""
    spec = pod.get("spec") or {}
    tolerations = list(spec.get("tolerations") or ())
    missing = [key for key in _UNREACHABLE if not any(_tolerates(one, key) for one in tolerations)]
    if not missing:
        return pod
    tolerations += [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _TOLERATION_SECONDS}
        for key in missing
    ]
    return {**pod, "spec": {**spec, "tolerations": tolerations}}


def _tolerates(toleration: Json, key: str) -> bool:
    return toleration.get("key", "") in {"", key} and toleration.get("effect", "") in {"", "NoExecute"}


def _new_node(_: ClusterState, node: Json) -> Json:
    """Do what TaintNodesByCondition does: nothing is scheduled on a node before it is ready."""
    spec = node.get("spec") or {}
    taints = list(spec.get("taints") or ())
    wanted = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    if any(one.get("key") == wanted["key"] and one.get("effect") == wanted["effect"] for one in taints):
        return node
    return {**node, "spec": {**spec, "taints": [*taints, wanted]}}


def _protected(finalizer: str) -> Callable[[ClusterState, Json], Json]:
    def plugin(_: ClusterState, obj: Json) -> Json:
        finalizers = list(obj["metadata"].get("finalizers") or ())
        return obj if finalizer in finalizers else with_metadata(obj, finalizers=[*finalizers, finalizer])

    return plugin


_protected_claim = _protected("kubernetes.io/pvc-protection")


def _new_claim(state: ClusterState, claim: Json) -> Json:
    """Do what StorageObjectInUseProtection and DefaultStorageClass do."""
    spec = claim.get("spec") or {}
    if "storageClassName" not in spec:
        classes = [
            one.object
            for one in state.store.collection(("storage.k8s.io", "storageclasses"))
            if (one.object["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
        ]
        if classes:
            newest = max(classes, key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"]))
            claim = {**claim, "spec": {**spec, "storageClassName": newest["metadata"]["name"]}}
    return _protected_claim(state, claim)


_PLUGINS: dict[tuple[TypeKey, str], Callable[[ClusterState, Json], Json]] = {
    (PODS, "CREATE"): _new_pod,
    (PODS, "UPDATE"): _updated_pod,
    (("", "nodes"), "CREATE"): _new_node,
    (("", "persistentvolumes"), "CREATE"): _protected("kubernetes.io/pv-protection"),
    (("", "persistentvolumeclaims"), "CREATE"): _new_claim,
}
