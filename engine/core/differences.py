"""What differs between two states of the fleet, object by object and field by field. Pure.

What the API server changes with every write (resourceVersion) or with every change of a spec (generation) is left out: it
says nothing that the other fields do not. Items of lists whose items have names (containers, ports, conditions, ...) are told
apart by them, as Kubernetes merges them; other lists are compared place by place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from engine.core.history import Past, Stored
from schemas import subjects
from schemas.facts import decode_fact
from schemas.names import ObjectRef

Json = dict[str, Any]

_IGNORED = frozenset({".metadata.resourceVersion", ".metadata.generation"})
_STEPS = re.compile(r"\['([^']*)'\]|\[([^\]]*)\]|\.?([^.\[]+)")
_NAMES = ("name", "type", "uid", "key", "ip", "containerPort", "port")
"""Keys that tell the items of a list apart, most telling first: a subset of Kubernetes' own list-map keys."""


class Verdict(StrEnum):
    """What became of an object."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    REPLACED = "replaced"
    """It is gone, and another one has its name."""


class FieldChange(msgspec.Struct, frozen=True):
    """One field that differs. A field that is not there is UNSET."""

    path: str
    """`.spec.replicas`, `.spec.template.spec.containers[nginx].image`."""
    before: Any = msgspec.UNSET
    after: Any = msgspec.UNSET


class Difference(msgspec.Struct, frozen=True):
    """One object that differs."""

    ref: ObjectRef
    verdict: Verdict
    fields: tuple[FieldChange, ...] = ()
    """Of an object that changed or was replaced."""


def differences(before: Past, after: Past) -> list[Difference]:
    """Return the objects that differ between two pasts, by cluster, type, namespace and name."""
    return sorted(_differences(before.rows, after.rows), key=lambda one: one.ref)


def _differences(before: Mapping[str, Stored], after: Mapping[str, Stored]) -> Iterator[Difference]:
    for subject in {**before, **after}:
        if not subject.startswith(f"{subjects.FACTS}."):
            continue
        old, new = before.get(subject), after.get(subject)
        if old is not None and new is not None and old.seq == new.seq:
            continue
        found = compare(_body(old), _body(new))
        if found is not None:
            yield Difference(subjects.parse_fact(subject), *found)


def compare(old: Json | None, new: Json | None) -> tuple[Verdict, tuple[FieldChange, ...]] | None:
    """Return what became of an object, None if nothing did; None stands for an object that is not there."""
    if old is None and new is None:
        return None
    if old is None:
        return Verdict.ADDED, ()
    if new is None:
        return Verdict.REMOVED, ()
    fields = tuple(field_changes(old, new))
    if (old.get("metadata") or {}).get("uid") != (new.get("metadata") or {}).get("uid"):
        return Verdict.REPLACED, fields
    return (Verdict.CHANGED, fields) if fields else None


def field_changes(old: Any, new: Any, path: str = "") -> Iterator[FieldChange]:
    """Iterate over the fields that differ, in the order of the newer value."""
    if path in _IGNORED:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**new, **old}:
            yield from field_changes(old.get(key, msgspec.UNSET), new.get(key, msgspec.UNSET), f"{path}{_step(key)}")
        return
    if isinstance(old, list) and isinstance(new, list):
        name = _name_key(old + new)
        before, after = _items(old, name), _items(new, name)
        for key in {**after, **before}:
            yield from field_changes(before.get(key, msgspec.UNSET), after.get(key, msgspec.UNSET), f"{path}[{key}]")
        return
    if old != new or isinstance(old, bool) != isinstance(new, bool):
        yield FieldChange(path, old, new)


def value_at(body: Any, path: str) -> Any:
    """Return the value of a field, by its path as `field_changes` writes it; UNSET where it is not there."""
    for quoted, item, key in _STEPS.findall(path):
        step = quoted or item or key
        members = _items(body, _name_key(body)) if isinstance(body, list) else body
        if not isinstance(members, dict) or step not in members:
            return msgspec.UNSET
        body = members[step]
    return body


def _body(stored: Stored | None) -> Json | None:
    if stored is None:
        return None
    fact = decode_fact(stored.body)
    # An object that could not be published is there, though nothing is known of it.
    return None if fact.deleted else msgspec.json.decode(fact.data, type=Json | None) or {}


def _step(key: str) -> str:
    return f".{key}" if key.replace("-", "").replace("_", "").isalnum() else f"[{key!r}]"


def _name_key(items: list[Any]) -> str:
    """Return the key that tells all these items apart, empty if there is none."""
    if not items or not all(isinstance(item, dict) for item in items):
        return ""
    return next((key for key in _NAMES if all(isinstance(item.get(key), str | int) for item in items)), "")


def _items(items: list[Any], name: str) -> dict[str, Any]:
    """Return the items of a list by what tells them apart: the value of the key `name`, or their place."""
    found: dict[str, Any] = {}
    for place, item in enumerate(items):
        key = str(item[name]) if name else str(place)
        while key in found:  # the same port for two protocols
            key = f"{key}'"
        found[key] = item
    return found
