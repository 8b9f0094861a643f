"""The managers in metadata.managedFields: read, written, sorted, and not too many of them.

In and out: the list of managedFields, and the same as a dictionary by manager. What they own is in `fields`, how it changes
in `managed_fields`.
"""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

from engine.sandbox.simulator import fields
from engine.sandbox.simulator.fields import FieldSet
from engine.sandbox.simulator.go_text import quoted

Json = dict[str, Any]

UPDATE_MANAGERS_LIMIT = 10
"""Managers by update of one object; the oldest beyond it are merged into one."""

BEFORE_FIRST_APPLY = "before-first-apply"
"""Whose fields are that nobody owned when an apply came first."""

_ANCIENT = "ancient-changes"


class Manager(NamedTuple):
    """What tells one entry from another.

    Attributes:
        name: of the field manager.
        operation: Apply or Update.
        api_version: of an update; empty: it is an apply.
        subresource: empty: the object itself.

    """

    name: str
    operation: Literal["Apply", "Update"]
    api_version: str
    subresource: str

    def sort_text(self) -> str:
        """Return what the real server sorts conflicts by."""
        pairs = {"manager": self.name, "operation": self.operation, "apiVersion": self.api_version}
        pairs["subresource"] = self.subresource
        return json.dumps({key: value for key, value in pairs.items() if value}, separators=(",", ":"))

    def __str__(self) -> str:
        text = quoted(self.name)
        if self.subresource:
            text += f" with subresource {quoted(self.subresource)}"
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


class Owned(NamedTuple):
    """What one manager has.

    Attributes:
        fields: the set.
        api_version: in which it is written.
        time: of the last change by this manager; empty: unknown.

    """

    fields: FieldSet
    api_version: str
    time: str = ""


Managers = dict[Manager, Owned]


def decoded(entries: list[Json] | None, *, from_client: bool = False) -> Managers:
    """Return the managers of a list of managedFields.

    Args:
        entries: the list; None: there is none.
        from_client: whether the sets may be written in another way than ours.

    Raises:
        ValueError: when it is not valid.

    """
    managers: Managers = {}
    for entry in entries or ():
        operation = entry.get("operation")
        if operation not in {"Apply", "Update"}:
            raise ValueError("operation must be `Apply` or `Update`")
        if not entry.get("apiVersion"):
            raise ValueError("apiVersion must not be empty")
        if entry.get("fieldsType") != "FieldsV1":
            raise ValueError("fieldsType must be `FieldsV1`")
        version = entry["apiVersion"]
        name, subresource = entry.get("manager", ""), entry.get("subresource", "")
        owned = entry.get("fieldsV1") or {}
        owned = fields.canonical(owned) if from_client else owned
        managers[Manager(name, operation, version if operation == "Update" else "", subresource)] = Owned(
            owned, version, entry.get("time") or ""
        )
    return managers


def encoded(managers: Managers) -> list[Json]:
    """Return the list of managedFields: by operation, time, name, version and subresource."""
    entries = sorted(
        (manager.operation, owned.time, manager.name, owned.api_version, manager.subresource, index)
        for index, (manager, owned) in enumerate(managers.items())
    )
    all_owned = list(managers.values())
    return [
        _entry(operation, time, name, version, subresource, all_owned[index].fields)
        for operation, time, name, version, subresource, index in entries
    ]


def _entry(operation: str, time: str, name: str, version: str, subresource: str, owned: FieldSet) -> Json:
    entry: Json = {"manager": name} if name else {}
    entry |= {"operation": operation, "apiVersion": version}
    if time:
        entry["time"] = time
    entry |= {"fieldsType": "FieldsV1", "fieldsV1": owned}
    if subresource:
        entry["subresource"] = subresource
    return entry


def capped(managers: Managers) -> Managers:
    """Merge the oldest managers by update into one per version, while there are too many."""
    updates = [manager for manager in managers if manager.operation == "Update"]
    excess = len(updates) - UPDATE_MANAGERS_LIMIT
    if excess <= 0:
        return managers
    managers = dict(managers)
    first: dict[str, Manager] = {}
    for manager in sorted(updates, key=lambda one: (managers[one].time, one.sort_text())):
        if excess <= 0:
            break
        owned = managers[manager]
        bucket = Manager(_ANCIENT, "Update", owned.api_version, "")
        if owned.api_version not in first:
            first[owned.api_version] = manager
            continue
        if bucket not in managers:
            managers[bucket] = managers.pop(first[owned.api_version])
        if manager != bucket:
            together = fields.ordered(fields.union(owned.fields, managers[bucket].fields))
            managers[bucket] = managers[bucket]._replace(fields=together, time=owned.time)
            del managers[manager]
        excess -= 1
    return managers
