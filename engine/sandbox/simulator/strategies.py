"""What each type's registry does on its own: what a request may set, when the generation rises, how a deletion goes.

In: the object as a request wants it, and the stored one. Out: the object with everything that is not the request's to say
put back. The rules are those of `pkg/registry/*/strategy.go`; types that are not named here follow the common ones.
Defaults, validation and ownership of fields are elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from engine.sandbox.simulator.objects import empty_status
from engine.sandbox.simulator.resource_types import ResourceType, TypeKey

Json = dict[str, Any]
CollectionPolicy = Literal["background", "unsupported"]

CRD = ("apiextensions.k8s.io", "customresourcedefinitions")
NAMESPACES = ("", "namespaces")
PODS = ("", "pods")
CLAIMS = ("", "persistentvolumeclaims")
_DAEMON_SETS = ("apps", "daemonsets")
_LEASES = ("coordination.k8s.io", "leases")
_STATEFUL_SETS = ("apps", "statefulsets")
JOBS = ("batch", "jobs")
_CONTROLLER_UID, _JOB_NAME = "controller-uid", "job-name"

_GENERATION_FOLLOWS: dict[TypeKey, tuple[str, ...]] = {
    PODS: ("spec",),
    CRD: ("spec",),
    ("", "podtemplates"): ("template",),
    ("", "replicationcontrollers"): ("spec",),
    ("apps", "daemonsets"): ("spec",),
    ("apps", "deployments"): ("spec", "metadata.annotations"),
    ("apps", "replicasets"): ("spec",),
    ("apps", "statefulsets"): ("spec",),
    ("batch", "cronjobs"): ("spec",),
    ("batch", "jobs"): ("spec",),
    ("networking.k8s.io", "ingresses"): ("spec",),
    ("networking.k8s.io", "ingressclasses"): ("spec",),
    ("networking.k8s.io", "networkpolicies"): ("spec",),
    ("policy", "poddisruptionbudgets"): ("spec",),
    ("scheduling.k8s.io", "priorityclasses"): (),
    ("discovery.k8s.io", "endpointslices"): ("addressType", "endpoints", "ports", "metadata.labels"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): ("webhooks",),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): ("webhooks",),
}
"""Types that keep a generation, and the fields whose change raises it."""

_RETURNED = frozenset(
    ("", one)
    for one in (
        "namespaces",
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "podtemplates",
        "resourcequotas",
        "serviceaccounts",
        "services",
    )
) | {("storage.k8s.io", "csidrivers"), ("storage.k8s.io", "storageclasses"), ("storage.k8s.io", "volumeattachments")}
"""Types whose delete answers with the object, not with a Status."""

_STATUS_KEPT: dict[TypeKey, tuple[str, ...]] = {
    ("apps", "deployments"): ("labels",),
    PODS: ("ownerReferences",),
}
"""Metadata that an update of the status cannot change; everything else of it can be."""

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
"""Annotation that stands for a DaemonSet's `spec.templateGeneration`, which apps/v1 does not have."""


def returns_deleted(rtype: ResourceType) -> bool:
    """Return whether a delete is answered with the object that was deleted."""
    return rtype.key in _RETURNED


def orphans_by_default(rtype: ResourceType) -> bool:
    """Return whether a delete that says no policy leaves the dependents: so it was before there was garbage collection."""
    return rtype.key in {JOBS, ("", "replicationcontrollers")}


def is_collected(rtype: ResourceType) -> bool:
    """Return whether objects of a type may have dependents: all but Events."""
    return rtype.resource != "events" or rtype.custom


def has_generation(rtype: ResourceType) -> bool:
    """Return whether a type keeps metadata.generation."""
    return rtype.custom or rtype.key in _GENERATION_FOLLOWS


def prepared_for_create(rtype: ResourceType, obj: Json, now: str) -> Json:
    """Return a new object without what a create may not set; `now` is a timestamp."""
    result = dict(obj)
    if rtype.has_status:
        result.pop("status", None)
        if (status := empty_status(rtype)) is not None:
            result["status"] = status
    if has_generation(rtype):
        result["metadata"] = {**result["metadata"], "generation": 1}
    special = _ON_CREATE.get(rtype.key)
    return special(result, obj, now) if special else result


def prepared_for_update(rtype: ResourceType, new: Json, old: Json, subresource: str) -> Json:
    """Return an object without what an update may not change.

    Args:
        rtype: of the object.
        new: as the request wants it.
        old: as it is stored.
        subresource: through which it is written; empty: none.

    """
    if subresource == "status":
        return _with_status(rtype, new, old)
    if subresource in _PARTS:
        new = _with_part(new, old, _PARTS[subresource])
    result = dict(new)
    if rtype.has_status:
        _put_back(result, old, "status")
    if rtype.key == NAMESPACES:
        if not subresource:
            result["spec"] = _namespace_spec(new, old)
        return result
    metadata = {**new["metadata"]}
    result["metadata"] = metadata
    generation = old["metadata"].get("generation")
    if generation is None:
        metadata.pop("generation", None)
    else:
        metadata["generation"] = generation + _differs(rtype, result, old)
    special = _ON_UPDATE.get(rtype.key)
    return special(result, old) if special else result


def _differs(rtype: ResourceType, new: Json, old: Json) -> bool:
    if rtype.custom:
        return _without_metadata(new) != _without_metadata(old)
    return any(_at(new, field) != _at(old, field) for field in _GENERATION_FOLLOWS.get(rtype.key, ()))


def _at(obj: Json, field: str) -> Any:
    first, dot, rest = field.partition(".")
    value = obj.get(first)
    return (value or {}).get(rest) or None if dot else value or None


def _without_metadata(obj: Json) -> Json:
    return {name: value for name, value in obj.items() if name not in {"metadata", "apiVersion"}}


def _with_status(rtype: ResourceType, new: Json, old: Json) -> Json:
    """Return what an update of the status makes of an object."""
    if rtype.custom:
        metadata = {**old["metadata"]}
        for name in ("managedFields", "resourceVersion"):
            _put_back(metadata, new["metadata"], name)
        result = {**old, "metadata": metadata}
        _put_back(result, new, "status")
        return result
    result = {**new}
    _put_back(result, old, "spec")
    metadata = {**new["metadata"]}
    for name in ("generation", *_STATUS_KEPT.get(rtype.key, ())):
        _put_back(metadata, old["metadata"], name)
    result["metadata"] = metadata
    if rtype.key == PODS:
        metadata.pop("deletionTimestamp", None)  # what the old pod has is put back
        status = result.get("status") or {}
        result["status"] = {
            **status,
            "qosClass": status.get("qosClass") or (old.get("status") or {}).get("qosClass", ""),
        }
    return result


_PARTS = {"ephemeralcontainers": ("ephemeralContainers",), "resize": ("containers", "initContainers", "resources")}
"""Subresources of pods, and the lists and fields of the spec that can be changed through them."""

_RESIZED = ("resources", "resizePolicy")


def _with_part(new: Json, old: Json, parts: Sequence[str]) -> Json:
    """Return the old pod with those parts of the new one that a subresource may change."""
    metadata = {**old["metadata"]}
    for name in ("deletionGracePeriodSeconds", "generateName", "managedFields", "resourceVersion"):
        _put_back(metadata, new["metadata"], name)
    spec = {**old["spec"]}
    for part in parts:
        if part in {"containers", "initContainers"}:
            resized = _resized(new["spec"].get(part) or [], old["spec"].get(part) or [])
            if resized is None:
                return new  # containers were added, removed or renamed: validation says so
            _put_back(spec, {part: resized} if resized else {}, part)
        else:
            _put_back(spec, new["spec"], part)
    return {**old, "metadata": metadata, "spec": spec}


def _resized(new: list[Json], old: list[Json]) -> list[Json] | None:
    """Return the old containers with the new ones' resources; None: they are not the same containers."""
    if [one["name"] for one in new] != [one["name"] for one in old]:
        return None
    result = []
    for after, before in zip(new, old, strict=True):
        one = dict(before)
        for name in _RESIZED:
            _put_back(one, after, name)
        result.append(one)
    return result


def _put_back(target: Json, source: Json, name: str) -> None:
    if name in source:
        target[name] = source[name]
    else:
        target.pop(name, None)


# What single types do


def _new_pod(result: Json, _: Json, now: str) -> Json:
    spec = result.get("spec") or {}
    result["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
    if spec.get("schedulingGates"):
        gated = {
            "type": "PodScheduled",
            "status": "False",
            "lastProbeTime": None,
            "lastTransitionTime": now,
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }
        result["status"]["conditions"] = [gated]
    return result


def _new_job(result: Json, _: Json, __: str) -> Json:
    """Select the job's own pods, unless the request does that itself."""
    spec, metadata = result["spec"], result["metadata"]
    if spec.get("manualSelector"):
        return result
    template = spec.get("template") or {}
    marks = dict.fromkeys((_CONTROLLER_UID, f"batch.kubernetes.io/{_CONTROLLER_UID}"), metadata["uid"])
    marks |= {label: metadata.get("name", "") for label in (_JOB_NAME, f"batch.kubernetes.io/{_JOB_NAME}")}
    below = template.get("metadata") or {}
    labels = {**marks, **(below.get("labels") or {})}
    template = {**template, "metadata": {**below, "labels": labels}}
    if metadata.get("labels") and metadata["labels"] is below.get("labels"):
        # They were defaulted from the template's: one and the same map, for the real server as well.
        result["metadata"] = {**metadata, "labels": labels}
    selector = spec.get("selector") or {}
    chosen = {f"batch.kubernetes.io/{_CONTROLLER_UID}": metadata["uid"], **(selector.get("matchLabels") or {})}
    result["spec"] = {**spec, "selector": {**selector, "matchLabels": chosen}, "template": template}
    return result


def _new_namespace(result: Json, _: Json, __: str) -> Json:
    spec = result.get("spec") or {}
    finalizers = list(spec.get("finalizers") or ())
    if "kubernetes" not in finalizers:
        finalizers.append("kubernetes")
    result["spec"] = {**spec, "finalizers": finalizers}
    result["status"] = {"phase": "Active"}
    return result


def _new_node(result: Json, obj: Json, _: str) -> Json:
    _put_back(result, obj, "status")  # a node's first status comes with it
    return result


def _new_persistent_volume(result: Json, _: Json, now: str) -> Json:
    result["status"] = {"phase": "Pending", "lastPhaseTransitionTime": now}
    return result


def _new_persistent_volume_claim(result: Json, _: Json, __: str) -> Json:
    result["status"] = {"phase": "Pending"}
    return result


def _new_custom_resource_definition(result: Json, _: Json, __: str) -> Json:
    result["status"] = {**(result.get("status") or {}), "storedVersions": _storage_versions(result)}
    return result


def _new_daemon_set(result: Json, _: Json, __: str) -> Json:
    return _with_template_generation(result, max(1, template_generation(result)))


def _without_election(lease: Json) -> Json:
    """Return a Lease without the fields of coordinated elections, which are off."""
    spec = lease.get("spec") or {}
    if not spec.keys() & {"strategy", "preferredHolder"}:
        return lease
    return {**lease, "spec": {name: one for name, one in spec.items() if name not in {"strategy", "preferredHolder"}}}


def _without_max_unavailable(stateful_set: Json) -> Json:
    """Return a StatefulSet without the number of pods that may be missing in an update, which is off."""
    spec = stateful_set.get("spec") or {}
    strategy = spec.get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    if "maxUnavailable" not in rolling:
        return stateful_set
    kept = {name: one for name, one in rolling.items() if name != "maxUnavailable"}
    return {**stateful_set, "spec": {**spec, "updateStrategy": {**strategy, "rollingUpdate": kept}}}


_ON_CREATE: dict[TypeKey, Callable[[Json, Json, str], Json]] = {
    PODS: _new_pod,
    NAMESPACES: _new_namespace,
    CRD: _new_custom_resource_definition,
    ("", "nodes"): _new_node,
    ("", "persistentvolumes"): _new_persistent_volume,
    CLAIMS: _new_persistent_volume_claim,
    _DAEMON_SETS: _new_daemon_set,
    JOBS: _new_job,
    _LEASES: lambda result, _, __: _without_election(result),
    _STATEFUL_SETS: lambda result, _, __: _without_max_unavailable(result),
}


def _updated_daemon_set(result: Json, old: Json) -> Json:
    changed = _template(result) != _template(old)
    return _with_template_generation(result, template_generation(old) + changed)


def _updated_custom_resource_definition(result: Json, _: Json) -> Json:
    status = result.get("status") or {}
    stored = list(status.get("storedVersions") or ())
    if missing := [one for one in _storage_versions(result) if one not in stored]:
        result["status"] = {**status, "storedVersions": stored + missing}
    return result


def _updated_secret(result: Json, old: Json) -> Json:
    if not result.get("type"):
        result["type"] = old.get("type", "")
    return result


_ON_UPDATE: dict[TypeKey, Callable[[Json, Json], Json]] = {
    CRD: _updated_custom_resource_definition,
    ("", "secrets"): _updated_secret,
    _DAEMON_SETS: _updated_daemon_set,
    _LEASES: lambda result, _: _without_election(result),
    _STATEFUL_SETS: lambda result, _: _without_max_unavailable(result),
}


def _namespace_spec(new: Json, old: Json) -> Json:
    spec = dict(new.get("spec") or {})
    _put_back(spec, old.get("spec") or {}, "finalizers")
    return spec


def _storage_versions(crd: Json) -> list[str]:
    return [one["name"] for one in crd["spec"].get("versions") or () if one.get("storage")][:1]


def template_generation(daemon_set: Json) -> int:
    """Return a DaemonSet's template generation; 0: it has none."""
    text = (daemon_set["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, "")
    return int(text) if text.isdecimal() else 0


def _with_template_generation(daemon_set: Json, generation: int) -> Json:
    annotations = {**(daemon_set["metadata"].get("annotations") or {}), TEMPLATE_GENERATION: str(generation)}
    return {**daemon_set, "metadata": {**daemon_set["metadata"], "annotations": annotations}}


def _template(obj: Json) -> Any:
    return (obj.get("spec") or {}).get("template")


def qos_class(spec: Json) -> str:
    """Return a pod's quality of service: BestEffort, Burstable or Guaranteed, from its containers' cpu and memory."""
    containers: Sequence[Json] = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    guaranteed = True
    any_set = False
    for container in containers:
        resources = container.get("resources") or {}
        limits, requests = _compute(resources.get("limits")), _compute(resources.get("requests"))
        any_set = any_set or bool(limits or requests)
        guaranteed = (
            guaranteed and len(limits) == 2 and all(requests.get(name, limits[name]) == limits[name] for name in limits)
        )
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _compute(resources: Json | None) -> Json:
    return {
        name: value for name, value in (resources or {}).items() if name in {"cpu", "memory"} and value not in {"0", 0}
    }
