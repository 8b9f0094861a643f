"""Validation of custom resources: structure, uniqueness in lists, embedded objects, scale, and rules in CEL.

In: a custom resource, and in an update the one before. Out: causes; the real server has them in the same groups, each in any
order. Metadata is checked by `object_meta`. Rules in CEL are evaluated only when nothing is wrong with the structure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from engine.sandbox.simulator import field_errors
from engine.sandbox.simulator.crd_rules import RuleSet, has_rules
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.go_text import json_text, printed, type_name
from engine.sandbox.simulator.names import path_segment_problems
from engine.sandbox.simulator.object_meta import metadata_causes
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.structural import NOTHING, Rules

Json = dict[str, Any]

_BLOCKING = {f"FieldValue{kind}" for kind in ("NotSupported", "Required", "TooLong", "TooMany", "TypeInvalid")}
_LARGEST_INT32 = 2**31 - 1
_UNCHECKED = "some validation rules were not checked because the object was invalid; "
_UNCHECKED += "correct the existing errors to complete validation"


class _Checks:
    """The checks of one version of one custom resource definition."""

    def __init__(self, rtype: ResourceType) -> None:
        source = rtype.openapi_schema or {}
        self.rules = Rules(source)
        self.lists = _list_check(source)
        self.embedded = _embedded_check(source)
        self.cel = RuleSet(source) if has_rules(source) else None


@lru_cache(maxsize=1024)
def _checks(rtype: ResourceType) -> _Checks:
    return _Checks(rtype)


def custom_causes(rtype: ResourceType, new: Json, old: Json | None, subresource: str) -> list[Cause]:
    """Return what is wrong with a custom resource, its metadata aside.

    Args:
        rtype: its type.
        new: as it would be stored.
        old: as it is stored; None: it is created.
        subresource: through which it is written; empty: none.

    """
    checks = _checks(rtype)
    if subresource == "status":
        causes = _status_causes(checks, new, old or {})
    else:
        causes = checks.rules.check(new, "", NOTHING if old is None else old).causes
        causes += _spec_replicas_causes(rtype, new)
    causes += _status_replicas_causes(rtype, new)
    if checks.embedded is not None and subresource != "status":
        causes += checks.embedded(new, "")
    if checks.lists is not None and not (old is not None and checks.lists(old, "")):
        causes += checks.lists(new, "")
    if checks.cel is not None:
        if any(cause.reason in _BLOCKING for cause in causes):
            causes.append(field_errors.invalid("<nil>", None, _UNCHECKED))
        else:
            causes += checks.cel.causes(new, old)
    return causes


def _status_causes(checks: _Checks, new: Json, old: Json) -> list[Cause]:
    rules = checks.rules.properties.get("status")
    if rules is None or "status" not in new:
        return []
    found = rules.check(new["status"], "", old.get("status", NOTHING)).causes
    return [Cause(one.reason, one.message, _below_status(one.field)) for one in found]


def _below_status(path: str) -> str:
    return "status" if path == "<nil>" or not path else f"status.{path}"


def _at(obj: Any, path: str, kind: str) -> tuple[Any, str]:
    """Return the value at a path, or None and what is wrong on the way there, as Go's `NestedInt64` and the like say it."""
    steps = path.removeprefix(".").split(".")
    value = obj
    for depth, step in enumerate(steps):
        if not isinstance(value, dict):
            return None, _accessor_error(steps[: depth + 1], value, "map[string]interface{}")
        if step not in value:
            return None, ""
        value = value[step]
    return (value, "") if type_name(value) == kind else (None, _accessor_error(steps, value, kind))


def _accessor_error(steps: Sequence[str], value: Any, wanted: str) -> str:
    return f".{'.'.join(steps)} accessor error: {printed(value)} is of the type {type_name(value)}, expected {wanted}"


def _replicas_causes(new: Json, path: str) -> list[Cause]:
    number, problem = _at(new, path, "int64")
    if problem:
        return [field_errors.invalid(path, 0, problem)]
    if number is not None and number < 0:
        return [field_errors.invalid(path, number, "should be a non-negative integer")]
    if number is not None and number > _LARGEST_INT32:
        return [field_errors.invalid(path, number, f"should be less than or equal to {_LARGEST_INT32}")]
    return []


def _spec_replicas_causes(rtype: ResourceType, new: Json) -> list[Cause]:
    return _replicas_causes(new, rtype.scale.spec_replicas) if rtype.scale else []


def _status_replicas_causes(rtype: ResourceType, new: Json) -> list[Cause]:
    if rtype.scale is None:
        return []
    causes = _replicas_causes(new, rtype.scale.status_replicas)
    if rtype.scale.label_selector:
        _, problem = _at(new, rtype.scale.label_selector, "string")
        if problem:
            causes.append(field_errors.invalid(rtype.scale.label_selector, "", problem))
    return causes


_Check = Callable[[Any, str], list[Cause]]


def _walker(source: Json, here: Callable[[Json], _Check | None]) -> _Check | None:
    """Return a check of a value and all below it, made of the checks that `here` makes of single nodes; None: none."""
    own = here(source)
    fields = {name: _walker(one, here) for name, one in source.get("properties", {}).items()}
    fields = {name: one for name, one in fields.items() if one is not None}
    other, items = source.get("additionalProperties"), source.get("items")
    element = _walker(other, here) if isinstance(other, dict) else None
    item_check = _walker(items, here) if isinstance(items, dict) else None
    if own is None and not fields and element is None and item_check is None:
        return None
    declared = source.get("properties", {})

    def check(value: Any, path: str) -> list[Cause]:
        causes = own(value, path) if own is not None else []
        if isinstance(value, dict):
            for key, one in value.items():
                if key in declared:
                    below = fields.get(key)
                    if below is not None:
                        causes += below(one, f"{path}.{key}" if path else key)
                elif element is not None:
                    causes += element(one, f"{path}[{key}]")
        elif isinstance(value, list) and item_check is not None:
            for index, one in enumerate(value):
                causes += item_check(one, f"{path}[{index}]")
        return causes

    return check


def _list_check(source: Json) -> _Check | None:
    return _walker(source, _unique)


def _unique(source: Json) -> _Check | None:
    """Return the check of one list of type set or map."""
    kind, keys = source.get("x-kubernetes-list-type"), source.get("x-kubernetes-list-map-keys", ())
    if kind == "set":
        return lambda value, path: _duplicates(value, path) if isinstance(value, list) else []
    if kind == "map":
        return lambda value, path: _duplicate_keys(value, path, keys) if isinstance(value, list) else []
    return None


def _duplicates(items: Sequence[Any], path: str) -> list[Cause]:
    """Return a cause for the first repetition of each value."""
    times: dict[str, int] = {}
    causes = []
    for index, item in enumerate(items):
        text = json_text(item)
        times[text] = times.get(text, 0) + 1
        if times[text] == 2:
            causes.append(field_errors.duplicate(f"{path}[{index}]", item))
    return causes


def _duplicate_keys(items: Sequence[Any], path: str, keys: Sequence[str]) -> list[Cause]:
    for index, item in enumerate(items):
        if item is not None and not isinstance(item, dict):
            return [field_errors.invalid(f"{path}[{index}]", item, "must be an object for an array of list-type map")]
    return _duplicates([{key: item[key] for key in keys if key in (item or {})} for item in items], path)


def _embedded_check(source: Json) -> _Check | None:
    return _walker(source, _embedded)


def _embedded(source: Json) -> _Check | None:
    return _embedded_causes if source.get("x-kubernetes-embedded-resource") else None


def _embedded_causes(value: Any, path: str) -> list[Cause]:
    if not isinstance(value, dict):
        return []
    causes = []
    for name in ("apiVersion", "kind"):
        where = f"{path}.{name}"
        if name not in value:
            causes.append(field_errors.required(where))
        elif not value[name]:
            causes.append(field_errors.invalid(where, value[name], "must not be empty"))
    if isinstance(metadata := value.get("metadata"), dict):
        named = {"name": "fakename", **metadata}
        found = metadata_causes(named, namespaced=bool(named.get("namespace")), name_rule=path_segment_problems)
        causes += [Cause(one.reason, one.message, f"{path}.{one.field}") for one in found]
    return causes
