"""What an object's metadata must be like, whatever its type: the rules of `k8s.io/apimachinery/pkg/api/validation`.

In: the metadata of a new object, and of the old one in an update. Out: causes for a 422. Which names a type allows is the
caller's to say; the rest is the same for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import forbidden, invalid, required, too_long
from engine.sandbox.simulator.go_text import quoted
from engine.sandbox.simulator.names import (
    NameRule,
    dns_label_problems,
    dns_subdomain_problems,
    label_key_problems,
    label_value_problems,
)

Json = dict[str, Any]
ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"

ANNOTATIONS_LIMIT = 256 * 1024
"""Bytes of all keys and values together."""

STANDARD_FINALIZERS = frozenset({"kubernetes", ORPHAN, FOREGROUND})

_MANAGER_LIMIT = 128
_SUBRESOURCE_LIMIT = 256
_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def metadata_causes(metadata: Json, *, namespaced: bool, name_rule: NameRule = dns_subdomain_problems) -> list[Cause]:
    """Return what is wrong with the metadata of an object whose name is generated already.

    Args:
        metadata: of the new object.
        namespaced: whether the type is.
        name_rule: of the type.

    """
    causes: list[Cause] = []
    if prefix := metadata.get("generateName"):
        causes += [invalid("metadata.generateName", prefix, problem) for problem in name_rule(_without_dash(prefix))]
    name = metadata.get("name", "")
    if name:
        causes += [invalid("metadata.name", name, problem) for problem in name_rule(name)]
    else:
        causes.append(required("metadata.name", "name or generateName is required"))
    namespace = metadata.get("namespace", "")
    if not namespaced:
        if namespace:
            causes.append(forbidden("metadata.namespace", "not allowed on this type"))
    elif namespace:
        causes += [invalid("metadata.namespace", namespace, problem) for problem in dns_label_problems(namespace)]
    else:
        causes.append(required("metadata.namespace"))
    return causes + _common_causes(metadata) + _finalizer_causes(metadata.get("finalizers") or ())


def metadata_update_causes(new: Json, old: Json) -> list[Cause]:
    """Return what is wrong with a change of metadata."""
    causes: list[Cause] = []
    if old.get("deletionTimestamp"):
        extra = sorted(set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()))
        if extra:
            found = ", ".join(quoted(one) for one in extra)
            why = "no new finalizers can be added if the object is being deleted, found new finalizers "
            causes.append(forbidden("metadata.finalizers", f"{why}[]string{{{found}}}"))
    if not new.get("resourceVersion"):
        causes.append(invalid("metadata.resourceVersion", "", "must be specified for an update"))
    changed = [field for field in _IMMUTABLE if new.get(field) != old.get(field)]
    causes += [invalid(f"metadata.{field}", new.get(field), "field is immutable") for field in changed]
    return causes + _common_causes(new)


def plain_finalizer_causes(metadata: Json) -> list[Cause]:
    """Return a cause for each finalizer that does not say whose it is, which most built-in types refuse."""
    why = "name is neither a standard finalizer name nor is it fully qualified"
    return [
        invalid(f"metadata.finalizers[{index}]", name, why)
        for index, name in enumerate(metadata.get("finalizers") or ())
        if "/" not in name and name not in STANDARD_FINALIZERS
    ]


def _common_causes(metadata: Json) -> list[Cause]:
    causes: list[Cause] = []
    for key, value in (metadata.get("labels") or {}).items():
        causes += [invalid("metadata.labels", key, problem) for problem in label_key_problems(key)]
        causes += [invalid("metadata.labels", value, problem) for problem in label_value_problems(value)]
    if annotations := metadata.get("annotations"):
        for key in annotations:
            causes += [invalid("metadata.annotations", key, problem) for problem in label_key_problems(key.lower())]
        if _size(annotations) > ANNOTATIONS_LIMIT:
            causes.append(too_long("metadata.annotations", ANNOTATIONS_LIMIT))
    if references := metadata.get("ownerReferences"):
        causes += _owner_causes(references)
    for index, entry in enumerate(metadata.get("managedFields") or ()):
        causes += _managed_fields_causes(entry, f"metadata.managedFields[{index}]")
    return causes


def _size(annotations: dict[str, str]) -> int:
    return sum(
        len(key) + len(value) if value.isascii() else len(key) + len(value.encode())
        for key, value in annotations.items()
    )


def _owner_causes(references: Sequence[Json]) -> list[Cause]:
    field = "metadata.ownerReferences"
    causes: list[Cause] = []
    controller = ""
    for reference in references:
        api_version, kind = reference.get("apiVersion", ""), reference.get("kind", "")
        if not api_version.rpartition("/")[2]:
            causes.append(invalid(f"{field}.apiVersion", api_version, "version must not be empty"))
        empty = [key for key in ("kind", "name", "uid") if not reference.get(key)]
        causes += [invalid(f"{field}.{key}", "", "must not be empty") for key in empty]
        if (api_version, kind) == ("v1", "Event"):
            causes.append(invalid(field, reference, "/v1, Kind=Event is disallowed from being an owner"))
        if reference.get("controller"):
            current = f"{kind}/{reference.get('name', '')}"
            if controller:
                why = 'Only one reference can have Controller set to true. Found "true" in references for '
                causes.append(invalid(field, references, f"{why}{controller} and {current}"))
            else:
                controller = current
    return causes


def _finalizer_causes(finalizers: Iterable[str]) -> list[Cause]:
    field = "metadata.finalizers"
    names = list(finalizers)
    causes = [invalid(field, name, problem) for name in names for problem in label_key_problems(name)]
    if ORPHAN in names and FOREGROUND in names:
        causes.append(invalid(field, names, f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set"))
    return causes


def _managed_fields_causes(entry: Json, field: str) -> list[Cause]:
    causes: list[Cause] = []
    operation = entry.get("operation", "")
    if operation not in {"Apply", "Update"}:
        causes.append(invalid(f"{field}.operation", operation, "must be `Apply` or `Update`"))
    if entry.get("fieldsType", "FieldsV1") not in {"", "FieldsV1"}:
        causes.append(invalid(f"{field}.fieldsType", entry["fieldsType"], "must be `FieldsV1`"))
    manager = entry.get("manager", "")
    if len(manager.encode()) > _MANAGER_LIMIT:
        causes.append(too_long(f"{field}.manager", _MANAGER_LIMIT))
    for index, character in enumerate(manager):
        if not character.isprintable():
            why = f"invalid character U+{ord(character):04X} (at position {len(manager[:index].encode())})"
            causes.append(invalid(f"{field}.manager", manager, why))
    if len(entry.get("subresource", "").encode()) > _SUBRESOURCE_LIMIT:
        causes.append(too_long(f"{field}.subresource", _SUBRESOURCE_LIMIT))
    return causes


def _without_dash(prefix: str) -> str:
    """Return a prefix as its rule sees it: a name will follow, so a dash may end it."""
    return f"{prefix[:-2]}a" if len(prefix) > 1 and prefix.endswith("-") else prefix
