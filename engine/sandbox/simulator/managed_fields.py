"""Who manages which fields: metadata.managedFields, kept on every write, and server-side apply.

In: the live object, and the new one or an applied configuration. Out: the list of managedFields, or the merged object. A
`FieldManager` is made once per type and subresource. The rules are those of `k8s.io/apimachinery/pkg/util/managedfields`
and of structured-merge-diff's `merge.Updater`; sets and merging are in `fields` and `merge`.

What is not here: defaulting of the result, and moving client-side-apply's managers, which kubectl does itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.sandbox.simulator import fields
from engine.sandbox.simulator.errors import ApiError, Cause, apply_conflict, bad_request
from engine.sandbox.simulator.fields import FieldSet
from engine.sandbox.simulator.go_text import json_text
from engine.sandbox.simulator.managers import BEFORE_FIRST_APPLY, Manager, Managers, Owned, capped, decoded, encoded
from engine.sandbox.simulator.merge import Comparison, compare, merged, without
from engine.sandbox.simulator.schema import Schema
from engine.sandbox.simulator.schema_changes import reconciled
from engine.sandbox.simulator.typed_check import typed_check, typed_text

Json = dict[str, Any]

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""Annotation of client-side apply."""

_ANNOTATIONS_LIMIT = 256 * 1024
_KUBECTL = "kubectl"

_NEVER_MANAGED = fields.from_paths(
    [("f:apiVersion",), ("f:kind",), ("f:metadata",)]
    + [
        ("f:metadata", f"f:{name}")
        for name in (
            [
                "name",
                "namespace",
                "creationTimestamp",
                "selfLink",
                "uid",
                "clusterName",
                "generation",
                "managedFields",
                "resourceVersion",
            ]
        )
    ]
)


def described(api_version: str, kind: str, metadata: Json) -> str:
    """Return how the messages of an apply name an object; they say `/v1` of the core group."""
    name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    return f"{name}; {with_group(api_version)}, Kind={kind}"


def with_group(api_version: str) -> str:
    """Return group and version with the slash between them, even where there is no group."""
    return api_version if "/" in api_version else f"/{api_version}"


class _Conflicts(Exception):
    """Raised when an apply would take fields from others."""

    def __init__(self, found: list[tuple[Manager, fields.Path]]) -> None:
        super().__init__()
        self.found = found

    def answer(self, version: str) -> ApiError:
        """Return the 409; `version` is said of all managers instead of theirs, if it is not empty."""
        found = [(one._replace(api_version=version or one.api_version), path) for one, path in self.found]
        causes = [
            Cause("FieldManagerConflict", f"conflict with {manager}", fields.path_text(path)) for manager, path in found
        ]
        if len(causes) == 1:
            text = f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}"
            return apply_conflict(causes, text)
        lines = []
        for manager in sorted({manager for manager, _ in found}, key=Manager.sort_text):
            lines.append(f"conflicts with {manager}:")
            lines += [f"- {fields.path_text(path)}" for one, path in found if one == manager]
        return apply_conflict(causes, f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines))


class _Unconvertible(Exception):
    """Raised when an object does not fit another version of its type, in which a manager's fields are written."""


@dataclass(frozen=True)
class FieldManager:
    """Keeps managedFields for one type and one of its subresources.

    Attributes:
        api_version: in which objects are written here.
        kind: of the objects.
        schemas: by apiVersion, of every version of the type that is served.
        empty: what the server takes as live object of a create: an empty one of the type.
        subresource: empty: the object itself.
        reset: fields that a write through here cannot change, and so not own.
        schema_may_change: whether a custom resource definition made the type.
        conflict_version: in which managers wrote, as conflicts tell it; empty: as their entries say.

    """

    api_version: str
    kind: str
    schemas: Mapping[str, Schema]
    empty: Json
    subresource: str = ""
    reset: FieldSet = field(default_factory=dict)
    schema_may_change: bool = False
    conflict_version: str = ""

    def updated(self, live: Json | None, new: Json, *, manager: str, now: str) -> list[Json]:
        """Return the managedFields after a create, update or patch.

        Args:
            live: the object before; None: it is created.
            new: the object to be stored, defaults included; its managedFields count, as clients may edit them.
            manager: name of the field manager.
            now: in RFC 3339, whole seconds.

        """
        managers = self._decoded(live, new)
        if not managers and live is not None and live["metadata"].get("uid"):
            return []  # tracking starts with the creation or with the first apply
        before = _unmanaged(live) if live is not None else self.empty
        try:
            managers = self._update(managers, before, _unmanaged(new), self._manager(manager, "Update"), now)
        except (fields.UnkeyedItem, _Unconvertible):
            return []  # as the real server: rather none than wrong ones
        return encoded(capped(managers))

    def applied(self, live: Json | None, config: Json, *, manager: str, force: bool, now: str) -> Json:
        """Return the object that results from a server-side apply, not yet defaulted, its managedFields included.

        Args:
            live: the object before; None: it is created.
            config: what is applied.
            manager: name of the field manager.
            force: take fields from others.
            now: in RFC 3339, whole seconds.

        Raises:
            ApiError: 400 for another type or with managedFields, 409 conflicts, 500 a value of the wrong type.

        """
        self._check_type(config)
        before = live if live is not None else self.empty
        managers = decoded(before["metadata"].get("managedFields")) if "metadata" in before else {}
        before = _unmanaged(before)
        if not managers:
            name = self._manager(BEFORE_FIRST_APPLY, "Update")
            managers = self._update({}, self.empty, before, name, now)
        try:
            result, managers = self._apply_or_upgrade(before, config, managers, manager, force=force)
        except _Conflicts as conflicts:
            raise conflicts.answer(self.conflict_version) from None
        except _Unconvertible as error:
            raise ApiError(500, "", str(error)) from None
        mine = self._manager(manager, "Apply")
        if result is before or result == before:
            result = before
        elif mine in managers:
            managers[mine] = managers[mine]._replace(time=now)
        return _with_managed(_with_last_applied(result, config) if manager == _KUBECTL else result, encoded(managers))

    def _manager(self, name: str, operation: Literal["Apply", "Update"]) -> Manager:
        version = self.api_version if operation == "Update" else ""
        return Manager(name or "unknown", operation, version, self.subresource)

    def _check_type(self, config: Json) -> None:
        version, kind = config.get("apiVersion", ""), config.get("kind", "")
        if (version, kind) != (self.api_version, self.kind):
            raise bad_request(f"invalid object type: {with_group(version)}, Kind={kind}")
        metadata = config.get("metadata")
        if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
            raise bad_request("metadata.managedFields must be nil")
        if errors := typed_check(self.schemas[self.api_version], config):
            target = described(self.api_version, self.kind, metadata or {})
            raise ApiError(500, "", f"failed to create typed patch object ({target}): {typed_text(errors)}")

    def _decoded(self, live: Json | None, new: Json) -> Managers:
        """Return the managers before an update: what the client sent counts, if it can be read."""
        mine = live["metadata"].get("managedFields") if live is not None else None
        if not self.subresource:
            sent = new["metadata"].get("managedFields")
            if sent is not None and sent != mine:
                if not sent or sent == [{}]:
                    return {}
                try:
                    found = decoded(sent, from_client=True)
                except ValueError:
                    found = {}
                if found:
                    return found
        return decoded(mine)

    def _reconciled(self, managers: Managers, live: Json) -> Managers:
        """Adapt sets that were written before the type's schema changed; drop those of versions that are not served."""
        if not self.schema_may_change:
            return dict(managers)
        result = {}
        for manager, owned in managers.items():
            schema = self.schemas.get(owned.api_version)
            if schema is not None:
                if owned.api_version != self.api_version:
                    _check_conversion(schema, live, "")
                result[manager] = owned._replace(fields=reconciled(schema, owned.fields))
        return result

    def _update(self, managers: Managers, live: Json, new: Json, manager: Manager, now: str) -> Managers:
        managers = self._reconciled(managers, live)
        comparison = self._take(managers, live, new, None, force=True)
        changed = fields.union(comparison.modified, comparison.added)
        mine = fields.difference(fields.recursive_difference(changed, self.reset), _NEVER_MANAGED)
        if mine:
            before = managers.get(manager)
            mine = fields.ordered(fields.union(mine, before.fields) if before else mine)
            managers[manager] = Owned(mine, self.api_version, now)
        return managers

    def _apply_or_upgrade(
        self, live: Json, config: Json, managers: Managers, manager: str, *, force: bool
    ) -> tuple[Json, Managers]:
        """Apply; kubectl's conflicts with what client-side apply wrote as it is now are no conflicts."""
        try:
            return self._apply(live, config, managers, manager, force=force)
        except _Conflicts as conflicts:
            allowed = self._from_last_applied(live) if manager == _KUBECTL else None
            if allowed is None:
                raise
            rest = [(one, path) for one, path in conflicts.found if not fields.has(allowed, path)]
            if rest:
                raise _Conflicts(rest) from None
        return self._apply(live, config, managers, manager, force=True)

    def _apply(
        self, live: Json, config: Json, managers: Managers, manager: str, *, force: bool
    ) -> tuple[Json, Managers]:
        schema = self.schemas[self.api_version]
        managers = self._reconciled(managers, live)
        result = merged(schema, live, config)
        mine = self._manager(manager, "Apply")
        last = managers.get(mine)
        applied = fields.recursive_difference(fields.of(schema, config), self.reset)
        managers[mine] = Owned(applied, self.api_version, last.time if last else "")
        if last and fields.difference(last.fields, applied):
            result = self._pruned(result, managers, last)
        self._take(managers, live, result, mine, force=force)
        if mine in managers:
            owned = fields.difference(managers[mine].fields, _NEVER_MANAGED)
            if owned:
                managers[mine] = managers[mine]._replace(fields=owned)
            else:
                del managers[mine]
        return result, managers

    def _take(self, managers: Managers, live: Json, new: Json, mine: Manager | None, *, force: bool) -> Comparison:
        """Take from all others what this change changes and removes, or raise; return what this change does."""
        comparisons = {self.api_version: compare(self.schemas[self.api_version], live, new).without(self.reset)}
        conflicts: dict[Manager, FieldSet] = {}
        for manager, owned in list(managers.items()):
            if manager == mine:
                continue
            change = self._change(comparisons, owned.api_version, live, new)
            if change is None:
                del managers[manager]
            elif both := fields.intersection(owned.fields, fields.union(change.modified, change.added)):
                conflicts[manager] = both
        if conflicts and not force:
            raise _Conflicts([(manager, path) for manager, both in conflicts.items() for path in fields.paths(both)])
        for manager, owned in list(managers.items()):
            rest = owned.fields
            if manager != mine:
                rest = fields.difference(rest, conflicts.get(manager, {}))
                rest = fields.difference(rest, comparisons[owned.api_version].removed)
            if not rest:
                del managers[manager]
            elif rest is not owned.fields:
                managers[manager] = owned._replace(fields=rest)
        return comparisons[self.api_version]

    def _change(self, known: dict[str, Comparison], version: str, live: Json, new: Json) -> Comparison | None:
        """Return what a change is in another version of the type; None: that is not served any more."""
        schema = self.schemas.get(version)
        if version not in known and schema is not None:
            _check_conversion(schema, live, "failed to convert old object")
            _check_conversion(schema, new, "failed to convert new object")
            known[version] = compare(schema, live, new).without(self.reset)
        return known.get(version)

    def _pruned(self, result: Json, managers: Managers, last: Owned) -> Json:
        """Remove what this manager applied last time and does not now, unless another manager has it."""
        schema = self.schemas.get(last.api_version)
        if schema is None:
            return result
        if last.api_version != self.api_version:
            _check_conversion(
                schema, result, "failed to prune fields: failed to convert merged object to last applied version"
            )
        pruned = without(schema, result, fields.with_named_fields(schema, last.fields))
        managed: dict[str, FieldSet] = {last.api_version: {}}
        for owned in managers.values():
            managed[owned.api_version] = fields.union(managed.get(owned.api_version, {}), owned.fields)
        for version, together in managed.items():
            if version not in self.schemas:
                continue
            if version != self.api_version:
                why = "failed to prune fields: failed add back owned items: failed to convert merged object at version"
                _check_conversion(self.schemas[version], result, f"{why} {version}")
            pruned = _add_back(self.schemas[version], result, pruned, together)
        removed = fields.difference(_named(schema, result), _named(schema, pruned))
        dangling = fields.intersection(removed, fields.with_named_fields(schema, last.fields))
        rest: Json = without(schema, result, dangling) or {}
        return rest

    def _from_last_applied(self, live: Json) -> FieldSet | None:
        """Return the fields that client-side apply wrote and nobody changed since; None: it was never used here."""
        text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
        if not text:
            return None
        schema = self.schemas[self.api_version]
        try:
            config = json.loads(text)
            if config.get("apiVersion") != self.api_version or typed_check(schema, config):
                return None
            difference = compare(schema, config, live)
            known = fields.of(schema, config)
        except (ValueError, AttributeError):
            return None
        for changed in (difference.modified, difference.added, difference.removed):
            known = fields.difference(known, changed)
        return known


def _check_conversion(schema: Schema, obj: Json, why: str) -> None:
    """Refuse an object that another version of its type cannot hold: conversion changes nothing but the apiVersion.

    Raises:
        _Unconvertible: with the server's text.

    """
    if errors := typed_check(schema, obj):
        raise _Unconvertible(f"{why}: {typed_text(errors)}" if why else typed_text(errors))


def _named(schema: Schema, value: Json) -> FieldSet:
    return fields.with_named_fields(schema, fields.of(schema, value))


def _add_back(schema: Schema, whole: Json, pruned: Json, managed: FieldSet) -> Json:
    """Return `whole` less what `pruned` lacks and nobody manages."""
    kept = fields.union(_named(schema, pruned or {}), fields.with_named_fields(schema, managed))
    result: Json = without(schema, whole, fields.difference(_named(schema, whole), kept)) or {}
    return result


def _unmanaged(obj: Json) -> Json:
    """Return the object without managedFields, so that they are not managed themselves."""
    metadata = obj.get("metadata")
    if not metadata or "managedFields" not in metadata:
        return obj
    rest = {key: value for key, value in metadata.items() if key != "managedFields"}
    return {**obj, "metadata": rest}


def _with_managed(obj: Json, managed: list[Json]) -> Json:
    metadata = dict(obj.get("metadata") or {})
    if managed:
        metadata["managedFields"] = managed
    return {**obj, "metadata": metadata}


def _with_last_applied(result: Json, config: Json) -> Json:
    """Keep the annotation of client-side apply current, if it is there: kubectl may go back to it."""
    annotations = result["metadata"].get("annotations") or {}
    if not annotations.get(LAST_APPLIED):
        return result
    metadata = dict(config.get("metadata") or {})
    if LAST_APPLIED in (metadata.get("annotations") or {}):
        metadata["annotations"] = {key: value for key, value in metadata["annotations"].items() if key != LAST_APPLIED}
    annotations = {**annotations, LAST_APPLIED: json_text({**config, "metadata": metadata}) + "\n"}
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > _ANNOTATIONS_LIMIT:
        del annotations[LAST_APPLIED]
    return {**result, "metadata": {**result["metadata"], "annotations": annotations}}
