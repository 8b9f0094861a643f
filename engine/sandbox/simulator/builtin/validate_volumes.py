"""Validation of a pod's volumes: the kinds that every cluster has.

In: volumes as decoded and defaulted. Out: causes, and the volumes that are right, by name. Volumes of storage vendors
are taken as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from engine.sandbox.simulator import quantities
from engine.sandbox.simulator.builtin.checks import dns_label
from engine.sandbox.simulator.builtin.validate_claims import claim_spec_causes
from engine.sandbox.simulator.builtin.validate_containers import (
    descending_path,
    field_reference_causes,
    no_backsteps,
    resource_reference_causes,
)
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import duplicate, forbidden, invalid, not_supported, required

Json = dict[str, Any]

_ONE_KIND = "may not specify more than 1 volume type"
_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_HOST_PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
_POD_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")


def volume_causes(volumes: Sequence[Json], path: str) -> tuple[list[Cause], dict[str, Json]]:
    """Return what is wrong with volumes, and those that are right."""
    causes: list[Cause] = []
    right: dict[str, Json] = {}
    for index, volume in enumerate(volumes):
        here, name = f"{path}[{index}]", volume.get("name", "")
        found = _source_causes(volume, here)
        found += dns_label(name, f"{here}.name") if name else [required(f"{here}.name")]
        if name in right:
            found.append(duplicate(f"{here}.name", name))
        if found:
            causes += found
        else:
            right[name] = volume
    return causes, right


def _source_causes(volume: Json, path: str) -> list[Cause]:
    kinds = [kind for kind in volume if kind != "name"]
    if not kinds:
        return [required(path, "must specify a volume type")]
    ordered = sorted(kinds, key=lambda kind: _ORDER.get(kind, len(_ORDER)))
    causes = [] if ordered[0] not in _CHECKS else _CHECKS[ordered[0]](volume[ordered[0]], f"{path}.{ordered[0]}")
    return causes + [forbidden(f"{path}.{kind}", _ONE_KIND) for kind in ordered[1:]]


def _mode(source: Json, name: str, path: str) -> list[Cause]:
    mode = source.get(name)
    return [invalid(f"{path}.{name}", mode, _MODE)] if mode is not None and not 0 <= mode <= 0o777 else []


def _empty_dir(source: Json, path: str) -> list[Cause]:
    if "sizeLimit" in source and quantities.parse(source["sizeLimit"]).value < 0:
        return [forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")]
    return []


def _host_path(source: Json, path: str) -> list[Cause]:
    place = source.get("path", "")
    if not place:
        return [required(f"{path}.path")]
    causes = no_backsteps(place, f"{path}.path")
    kind = source.get("type", "")
    if kind not in _HOST_PATH_TYPES:
        causes.append(not_supported(f"{path}.type", kind, _HOST_PATH_TYPES))
    return causes


def _keys(items: Sequence[Json], path: str) -> list[Cause]:
    causes = []
    for index, item in enumerate(items):
        here = f"{path}[{index}]"
        causes += [required(f"{here}.{name}") for name in ("key", "path") if not item.get(name)]
        causes += reserved_path(item.get("path", ""), f"{here}.path")
        causes += _mode(item, "mode", here)
    return causes


def reserved_path(value: str, path: str) -> list[Cause]:
    """Check a path of a file that is projected into a volume."""
    causes = descending_path(value, path)
    if value.startswith("..") and not value.startswith("../") and value != "..":
        causes.append(invalid(path, value, "must not start with '..'"))
    return causes


def _secret(source: Json, path: str) -> list[Cause]:
    causes = [] if source.get("secretName") else [required(f"{path}.secretName")]
    return causes + _mode(source, "defaultMode", path) + _keys(source.get("items") or (), f"{path}.items")


def _config_map(source: Json, path: str) -> list[Cause]:
    causes = [] if source.get("name") else [required(f"{path}.name")]
    return causes + _mode(source, "defaultMode", path) + _keys(source.get("items") or (), f"{path}.items")


def _claim(source: Json, path: str) -> list[Cause]:
    return [] if source.get("claimName") else [required(f"{path}.claimName")]


def _nfs(source: Json, path: str) -> list[Cause]:
    causes = [] if source.get("server") else [required(f"{path}.server")]
    place = source.get("path", "")
    if not place:
        causes.append(required(f"{path}.path"))
    elif not place.startswith("/"):
        causes.append(invalid(f"{path}.path", place, "must be an absolute path"))
    return causes


def _downward(source: Json, path: str) -> list[Cause]:
    causes = _mode(source, "defaultMode", path)
    for item in source.get("items") or ():
        causes += _downward_file(item, path)
    return causes


def _downward_file(item: Json, path: str) -> list[Cause]:
    causes = [] if item.get("path") else [required(f"{path}.path")]
    causes += reserved_path(item.get("path", ""), f"{path}.path")
    if "fieldRef" in item:
        causes += field_reference_causes(item["fieldRef"], _POD_FIELDS, f"{path}.fieldRef")
        if "resourceFieldRef" in item:
            causes.append(
                invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
            )
    elif "resourceFieldRef" in item:
        causes += resource_reference_causes(item["resourceFieldRef"], f"{path}.resourceFieldRef", in_volume=True)
    else:
        causes.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    return causes + _mode(item, "mode", path)


def _projected(source: Json, path: str) -> list[Cause]:
    causes = _mode(source, "defaultMode", path)
    taken: set[str] = set()
    for index, one in enumerate(source.get("sources") or ()):
        here = f"{path}.sources[{index}]"
        for kind in ("secret", "configMap"):
            if kind in one:
                causes += _projected_object(one[kind], f"{here}.{kind}", path, taken)
        for item in (one.get("downwardAPI") or {}).get("items") or ():
            causes += _downward_file(item, f"{here}.downwardAPI")
            causes += _conflict(item.get("path", ""), item.get("path", ""), path, taken)
        if "serviceAccountToken" in one:
            causes += _token(one["serviceAccountToken"], f"{here}.serviceAccountToken", path)
        if len(one) > 1:
            causes.append(forbidden(here, "may not specify more than 1 volume type per source"))
    return causes


def _projected_object(source: Json, here: str, path: str, taken: set[str]) -> list[Cause]:
    causes = [] if source.get("name") else [required(f"{here}.name")]
    causes += _keys(source.get("items") or (), f"{here}.items")
    for item in source.get("items") or ():
        causes += _conflict(item.get("path", ""), source.get("name", ""), path, taken)
    return causes


def _conflict(place: str, shown: str, path: str, taken: set[str]) -> list[Cause]:
    if not place or place not in taken:
        taken.add(place)
        return []
    return [invalid(path, shown, "conflicting duplicate paths")]


def _token(source: Json, here: str, path: str) -> list[Cause]:
    seconds = source.get("expirationSeconds", 0)
    causes = []
    if seconds < 600:
        why = "may not specify a duration less than 10 minutes"
        causes.append(invalid(f"{here}.expirationSeconds", seconds, why))
    if seconds > 1 << 32:
        why = "may not specify a duration larger than 2^32 seconds"
        causes.append(invalid(f"{here}.expirationSeconds", seconds, why))
    place = source.get("path", "")
    return causes + (reserved_path(place, f"{path}.path") if place else [required(f"{path}.path")])


def _csi(source: Json, path: str) -> list[Cause]:
    return [] if source.get("driver") else [required(f"{path}.driver")]


def _ephemeral(source: Json, path: str) -> list[Cause]:
    if "volumeClaimTemplate" not in source:
        return [required(f"{path}.volumeClaimTemplate")]
    return claim_spec_causes(source["volumeClaimTemplate"].get("spec") or {}, f"{path}.volumeClaimTemplate.spec")


_CHECKS: dict[str, Callable[[Json, str], list[Cause]]] = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "secret": _secret,
    "nfs": _nfs,
    "persistentVolumeClaim": _claim,
    "downwardAPI": _downward,
    "configMap": _config_map,
    "projected": _projected,
    "csi": _csi,
    "ephemeral": _ephemeral,
}
_ORDER = {kind: index for index, kind in enumerate(_CHECKS)}
