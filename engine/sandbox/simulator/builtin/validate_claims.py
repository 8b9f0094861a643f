"""Validation of storage: claims of volumes, volumes, and their classes."""

from __future__ import annotations

from decimal import Decimal
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
    return causes if old is None else causes + _claim_change_causes(new, old)


def claim_spec_causes(spec: Json, path: str) -> list[Cause]:
    """Return what is wrong with what a claim asks for."""
    causes = _mode_causes(spec, path, "at least 1 access mode is required")
    causes += selector(spec.get("selector"), f"{path}.selector")
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


def _mode_causes(spec: Json, path: str, why: str = "") -> list[Cause]:
    modes = spec.get("accessModes") or ()
    where = f"{path}.accessModes"
    if not modes:
        return [required(where, why)]
    causes = [not_supported(where, mode, _MODES) for mode in modes if mode not in _MODES]
    if "ReadWriteOncePod" in modes and any(mode in _MODES and mode != "ReadWriteOncePod" for mode in modes):
        causes.append(forbidden(where, "may not use ReadWriteOncePod with other access modes"))
    return causes


def _claim_change_causes(new: Json, old: Json) -> list[Cause]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    comparable = dict(spec)
    if "storageClassName" not in before:
        comparable.pop("storageClassName", None)  # the default class may be put in late
    known = dict(before)
    if not before.get("volumeName") and "volumeName" in spec:
        known["volumeName"] = spec["volumeName"]
    if (new.get("status") or {}).get("phase") == "Bound":
        comparable["resources"], known["resources"] = _unsized(spec), _unsized(before)
        for claim in (comparable, known):
            claim.pop("volumeAttributesClassName", None)
    causes = []
    if comparable != known:
        why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n"
        causes.append(forbidden("spec", why))
    if _size(spec) < _size(before) and _size(spec) <= _capacity(old):
        why = "field can not be less than status.capacity"
        causes.append(forbidden("spec.resources.requests.storage", why))
    if spec.get("volumeMode") != before.get("volumeMode"):
        causes += immutable(spec.get("volumeMode"), before.get("volumeMode"), "volumeMode")
    return causes


def _unsized(spec: Json) -> Json:
    resources = spec.get("resources") or {}
    requests = {name: size for name, size in (resources.get("requests") or {}).items() if name != "storage"}
    return {**resources, "requests": requests}


def _size(spec: Json) -> Decimal:
    return quantities.parse(((spec.get("resources") or {}).get("requests") or {}).get("storage", "0")).value


def _capacity(claim: Json) -> Decimal:
    return quantities.parse(((claim.get("status") or {}).get("capacity") or {}).get("storage", "0")).value


def volume_causes(new: Json, old: Json | None) -> list[Cause]:
    """Return what is wrong with a PersistentVolume."""
    spec = new.get("spec") or {}
    causes = _mode_causes(spec, "spec")
    capacity = spec.get("capacity") or {}
    if not capacity:
        causes.append(required("spec.capacity"))
    if set(capacity) != {"storage"}:
        causes.append(not_supported("spec.capacity", spec.get("capacity"), ("storage",)))
    for name, size in capacity.items():
        where = f"spec.capacity[{name}]"
        if quantities.parse(size).value <= 0:
            causes.append(invalid(where, size, "must be greater than zero"))
    policy = spec.get("persistentVolumeReclaimPolicy", "")
    policies = ("Delete", "Recycle", "Retain")
    if policy and policy not in policies:
        causes.append(not_supported("spec.persistentVolumeReclaimPolicy", policy, policies))
    sources = sorted((key for key in spec if key not in _NO_SOURCE), key=lambda key: key != "hostPath")
    if not sources:
        causes.append(required("spec", "must specify a volume type"))
    causes += [forbidden(f"spec.{extra}", "may not specify more than 1 volume type") for extra in sources[1:]]
    if (spec.get("hostPath") or {}).get("path") == "/" and policy == "Recycle":
        why = "may not be 'recycle' for a hostPath mount of '/'"
        causes.append(forbidden("spec.persistentVolumeReclaimPolicy", why))
    if spec.get("storageClassName"):
        causes += dns_subdomain(spec["storageClassName"], "spec.storageClassName")
    mode = spec.get("volumeMode")
    if mode is not None and mode not in _VOLUME_MODES:
        causes.append(not_supported("spec.volumeMode", mode, _VOLUME_MODES))
    if old is not None:
        before = old.get("spec") or {}
        causes += immutable(spec.get("volumeMode"), before.get("volumeMode"), "volumeMode")
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
    if "" in (new.get("parameters") or {}):
        causes.append(invalid("parameters", "", "field can not be empty."))
    for index, term in enumerate(new.get("allowedTopologies") or ()):
        for number, one in enumerate(term.get("matchLabelExpressions") or ()):
            here = f"allowedTopologies[{index}].matchLabelExpressions[{number}]"
            causes += qualified_name(one.get("key", ""), f"{here}.key")
            if not one.get("values"):
                causes.append(required(f"{here}.values"))
    return causes
