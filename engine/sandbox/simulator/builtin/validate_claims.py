"""Validation of storage: claims of volumes, volumes, and their classes."""

from __future__ import annotations

from typing import Any

from engine.sandbox.simulator import quantities
from engine.sandbox.simulator.builtin.checks import (
    dns_subdomain,
    immutable,
    named,
    qualified_name,
    resource_quantity,
    selector,
)
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import forbidden, invalid, not_supported, required
from engine.sandbox.simulator.names import dns_subdomain_problems

Json = dict[str, Any]

_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_VOLUME_MODES = ("Block", "Filesystem")


def claim_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a PersistentVolumeClaim."""
    spec = new.get("spec") or {}
    causes = claim_spec_causes(spec, "spec")
    return causes if old is None else causes + _claim_change_causes(spec, old.get("spec") or {})


def claim_spec_causes(spec: Json, path: str) -> list[Cause]:
    """Return what is wrong with what a claim asks for."""
    causes = _mode_causes(spec, path)
    causes[len(causes) :] = selector(spec.get("selector"), f"{path}.selector")
    where = f"{path}.resources[storage]"
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if size is None:
        causes.append(required(where))
    elif quantities.parse(size).value <= 0:
        causes.append(invalid(where, size, "must be greater than zero"))
    else:
        causes += resource_quantity("storage", size, where)
    if spec.get("storageClassName"):
        causes += named(spec["storageClassName"], f"{path}.storageClassName", dns_subdomain_problems)
    mode = spec.get("volumeMode")
    if mode is not None and mode not in _VOLUME_MODES:
        causes.append(not_supported(f"{path}.volumeMode", mode, _VOLUME_MODES))
    return causes


def _mode_causes(spec: Json, path: str) -> list[Cause]:
    modes = spec.get("accessModes") or ()
    where = f"{path}.accessModes"
    if not modes:
        return [required(where, "at least 1 access mode is required")]
    causes = [not_supported(where, mode, _MODES) for mode in modes if mode not in _MODES]
    if "ReadWriteOncePod" in modes and any(mode in _MODES and mode != "ReadWriteOncePod" for mode in modes):
        causes.append(forbidden(where, "may not use ReadWriteOncePod with other access modes"))
    return causes


def _claim_change_causes(spec: Json, old: Json) -> list[Cause]:
    def rest(claim: Json) -> Json:
        resources = {key: value for key, value in (claim.get("resources") or {}).items() if key != "requests"}
        return {**claim, "resources": resources, "volumeAttributesClassName": None}

    before = dict(old)
    if "volumeName" not in before and "volumeName" in spec:
        before["volumeName"] = spec["volumeName"]
    if rest(spec) != rest(before):
        why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"
        return [forbidden("spec", why)]
    new_size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    old_size = ((old.get("resources") or {}).get("requests") or {}).get("storage")
    if new_size and old_size and quantities.parse(new_size).value < quantities.parse(old_size).value:
        return [forbidden("spec.resources.requests.storage", "field can not be less than previous value")]
    return []


def volume_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a PersistentVolume."""
    spec = new.get("spec") or {}
    causes = _mode_causes(spec, "spec")
    capacity = spec.get("capacity") or {}
    if not capacity:
        causes.append(required("spec.capacity"))
    elif set(capacity) != {"storage"}:
        causes.append(not_supported("spec.capacity", capacity, ("storage",)))
    for name, size in capacity.items():
        where = f"spec.capacity[{name}]"
        if quantities.parse(size).value <= 0:
            causes.append(invalid(where, size, "must be greater than zero"))
    policy = spec.get("persistentVolumeReclaimPolicy", "")
    policies = ("Delete", "Recycle", "Retain")
    if policy and policy not in policies:
        causes.append(not_supported("spec.persistentVolumeReclaimPolicy", policy, policies))
    if not any(key not in _NO_SOURCE for key in spec):
        causes.append(required("spec", "must specify a volume type"))
    if spec.get("storageClassName"):
        causes += dns_subdomain(spec["storageClassName"], "spec.storageClassName")
    mode = spec.get("volumeMode")
    if mode is not None and mode not in _VOLUME_MODES:
        causes.append(not_supported("spec.volumeMode", mode, _VOLUME_MODES))
    if old is not None:
        before = old.get("spec") or {}
        causes += immutable(spec.get("volumeMode"), before.get("volumeMode"), "spec.volumeMode")
        if any(spec.get(key) != value for key, value in before.items() if key not in _NO_SOURCE):
            why = "spec.persistentvolumesource is immutable after creation\n"
            causes.append(forbidden("spec.persistentvolumesource", why))
    return causes


_NO_SOURCE = {
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
}
"""Fields of a volume that are not its source."""


def storage_class_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a StorageClass."""
    if old is not None:
        return [
            cause
            for name in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode")
            for cause in immutable(new.get(name), old.get(name), name)
        ]
    provisioner = new.get("provisioner", "")
    causes = qualified_name(provisioner.lower(), "provisioner") if provisioner else [required("provisioner")]
    policy, mode = new.get("reclaimPolicy"), new.get("volumeBindingMode")
    if policy is not None and policy not in {"Delete", "Retain"}:
        causes.append(not_supported("reclaimPolicy", policy, ("Delete", "Retain")))
    if mode is None:
        causes.append(required("volumeBindingMode"))
    elif mode not in {"Immediate", "WaitForFirstConsumer"}:
        causes.append(not_supported("volumeBindingMode", mode, ("Immediate", "WaitForFirstConsumer")))
    return causes
