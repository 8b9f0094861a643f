"""What the write pipeline asks of a type: bodies and patches made into objects, problems told in the handlers' words.

In: bodies and patches as JSON values. Out: objects in the form in which they are stored, warnings, and refusals. What is
inside an object is the business of `objects`, and its metadata's of `object_meta`; here is the frame around them: which
kind a body says it is, what strict field validation does with what is unknown, versions of a custom resource, and the
rules of names.

`TypeRules` belong to one `ResourceType` of one cluster; a changed definition makes a new type and so new rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from engine.sandbox.simulator import objects, patches
from engine.sandbox.simulator.builtin.warnings import object_warnings
from engine.sandbox.simulator.conversion_problems import conversion_problem
from engine.sandbox.simulator.decoding_problems import WrongType
from engine.sandbox.simulator.errors import ApiError, Cause, bad_request, invalid
from engine.sandbox.simulator.go_text import json_text, printed, quoted
from engine.sandbox.simulator.managed_fields import FieldManager, described, with_group
from engine.sandbox.simulator.names import (
    NameRule,
    dns_label_problems,
    dns_subdomain_problems,
    path_segment_problems,
)
from engine.sandbox.simulator.object_kinds import ObjectKinds
from engine.sandbox.simulator.object_meta import metadata_causes, metadata_update_causes, plain_finalizer_causes
from engine.sandbox.simulator.options import WriteOptions
from engine.sandbox.simulator.resource_types import ResourceType, TypeKey
from engine.sandbox.simulator.state import ClusterState
from engine.sandbox.simulator.store import Json
from engine.sandbox.simulator.strategies import JOBS
from engine.sandbox.simulator.write_rules import with_metadata

_NAME_RULES: dict[TypeKey, NameRule] = {
    ("", "namespaces"): dns_label_problems,
    ("", "services"): dns_label_problems,
    ("apps", "statefulsets"): dns_label_problems,
    ("policy", "poddisruptionbudgets"): path_segment_problems,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): path_segment_problems,
    ("rbac.authorization.k8s.io", "clusterroles"): path_segment_problems,
    ("rbac.authorization.k8s.io", "rolebindings"): path_segment_problems,
    ("rbac.authorization.k8s.io", "roles"): path_segment_problems,
}
"""Types whose names are not DNS subdomains."""

_METADATA_UNLOOKED: frozenset[TypeKey] = frozenset(
    {("policy", "poddisruptionbudgets"), ("discovery.k8s.io", "endpointslices")}
)
"""Types whose own validation of an update does not compare the metadata with the old one."""

_METADATA_AS_NEW: frozenset[TypeKey] = frozenset(
    {
        ("", "configmaps"),
        ("", "namespaces"),
        ("", "persistentvolumeclaims"),
        ("", "pods"),
        ("", "secrets"),
        ("", "serviceaccounts"),
        ("batch", "jobs"),
        ("discovery.k8s.io", "endpointslices"),
        ("networking.k8s.io", "ingresses"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("rbac.authorization.k8s.io", "rolebindings"),
        ("rbac.authorization.k8s.io", "roles"),
    }
)
"""Types whose own validation looks at a changed object as at a new one, besides."""

_AS_NEW_FIRST: frozenset[TypeKey] = frozenset(
    {
        ("", "namespaces"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("rbac.authorization.k8s.io", "rolebindings"),
        ("rbac.authorization.k8s.io", "roles"),
    }
)
"""Of those, the types that are looked at so before they are compared."""

_PLAIN_FINALIZERS_PASS = frozenset(
    (
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "coordination.k8s.io",
        "node.k8s.io",
        "policy",
    )
)
"""Groups whose types take finalizers which do not say whose they are, as custom resources and core Events do."""

_IMMUTABLE = "field is immutable"

_PLAIN_FINALIZER = "prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers"


class TypeRules:
    """The rules of one type.

    Args:
        state: of the cluster.
        rtype: the type.

    Attributes:
        rtype: the type.
        storage: the version of the type in which objects are stored.

    """

    def __init__(self, state: ClusterState, rtype: ResourceType) -> None:
        self.rtype = rtype
        self.storage = state.storage_types.get(rtype.key, rtype)
        self._state = state
        self._kinds = ObjectKinds(rtype, state.types)
        self._name_rule = _NAME_RULES.get(rtype.key, dns_subdomain_problems)
        self._managers: dict[str, FieldManager] = {}
        self._generation = -1

    def decoded(self, body: Json, options: WriteOptions, warnings: list[str], known: Json | None = None) -> Json:
        """Return the object that a create or a replace sends, with defaults.

        Args:
            body: as sent.
            options: what to do with unknown and duplicate fields.
            warnings: gets those that are not refused.
            known: the object before, whose equal parts are shared; None: there is none.

        Raises:
            ApiError: 400.

        """
        body = self._kinds.of_body(body, options.body)
        try:
            found = objects.decoded(self.rtype, body, known)
        except WrongType as error:
            raise objects.undecodable(self.rtype, body, str(error)) from error
        problems = self._strict_problems(body, found.unknown, options)
        if problems and options.field_validation == "Strict":
            raise objects.undecodable(self.rtype, body, objects.strict_problem(problems))
        warnings += problems
        return _with_metadata(objects.defaulted(self.rtype, found.object, known))

    def patched(self, before: Json, patch: Any, patch_type: str, options: WriteOptions, warnings: list[str]) -> Json:
        """Return the object after a patch that is not an apply, with defaults.

        Raises:
            ApiError: what the patch raises, or 422 when the result is not an object of the type.

        """
        result = patches.patched(self.rtype, patch_type, before, patch)
        try:
            found = self._decoded_patch(patch_type, patch, result, before)
        except WrongType as error:
            why = str(error)
            if patch_type == patches.STRATEGIC_MERGE_PATCH:
                why = conversion_problem(self.rtype.schema, result) or why
            raise objects.unpatchable(_shown(result, patch, patch_type), why) from error
        problems = self._strict_problems(result, found.unknown, options)
        if problems and options.field_validation == "Strict":
            raise objects.unpatchable(_shown(result, patch, patch_type), objects.strict_problem(problems))
        warnings += problems
        return _with_metadata(objects.defaulted(self.rtype, found.object, before))

    def _decoded_patch(self, patch_type: str, patch: Any, result: Any, before: Json) -> objects.Decoded:
        """Return what a patch made; what is wrong with it in the order in which the real server finds it.

        Raises:
            WrongType: for what is not of the type.

        """
        result = self._kinds.of_patched(result) if patch_type != patches.STRATEGIC_MERGE_PATCH else result
        try:
            found = objects.decoded(self.rtype, result, before)
        except WrongType:
            found = None
        if found is None or found.unknown:
            found = objects.decoded(self.rtype, patches.in_decoding_order(patch_type, patch, result), before)
        if patch_type == patches.STRATEGIC_MERGE_PATCH:
            return objects.Decoded(self._kinds.named(found.object), found.unknown)
        return found

    def completed(self, obj: Json, known: Json | None, said_by: Json | None = None) -> Json:
        """Return what an apply or webhooks have made in the form in which it is stored, with defaults.

        Args:
            obj: as made.
            known: the object before, whose equal parts are shared; None: there is none.
            said_by: the configuration that was applied, for the message; None: there is none.

        Raises:
            ApiError: 500.

        """
        result = self._fitted(self.rtype, obj, known, said_by)
        return _with_metadata(objects.defaulted(self.rtype, result, known))

    def _fitted(self, rtype: ResourceType, obj: Json, known: Json | None = None, said_by: Json | None = None) -> Json:
        """Return an object as a version of this type has it, its defaults aside.

        Raises:
            ApiError: 500.

        """
        try:
            return objects.decoded(rtype, obj, known, applied=said_by is not None).object
        except WrongType as error:
            why = conversion_problem(rtype.schema, obj) or str(error)
            version, kind = rtype.group_version, rtype.kind
            target = described(version, kind, (said_by or obj).get("metadata") or {})
            made = f"unable to convert unstructured object to {with_group(version)}, Kind={kind}"
            raise ApiError(
                500, "", f"failed to convert new object ({target}) to proper version: {made}: {why}"
            ) from error

    def check_applied(self, options: WriteOptions, warnings: list[str]) -> None:
        """Warn of fields that a configuration gives twice, or refuse them.

        Raises:
            ApiError: 400.

        """
        if not options.duplicate_fields or options.field_validation == "Ignore":
            return
        lines = [
            one if one.startswith("line ") else f'line 1: key "{one.rpartition(".")[2]}" already set in map'
            for one in options.duplicate_fields
        ]
        if options.field_validation == "Strict":
            found = "\n  ".join(lines)
            conversion = f"error converting YAML to JSON: yaml: unmarshal errors:\n  {found}"
            raise bad_request(f"error strict decoding YAML: {conversion}")
        warnings += lines

    def check_new(self, obj: Json, warnings: list[str]) -> None:
        """Refuse a new object that is not valid, and warn of what is only unwise.

        Raises:
            ApiError: 422.

        """
        self._kinds.check(obj)
        metadata = obj["metadata"]
        causes = metadata_causes(metadata, namespaced=self.rtype.namespaced, name_rule=self._name_rule)
        causes += self._plain_finalizers(metadata)
        causes += objects.causes(self.rtype, obj)
        if causes:
            raise invalid(self.rtype, obj["metadata"].get("name", ""), causes)
        if self.rtype.custom:
            warnings += _finalizer_warnings(obj, ())
        else:
            warnings += object_warnings(self.rtype.key, obj)

    def check_update(self, new: Json, old: Json, subresource: str, warnings: list[str]) -> None:
        """Refuse an update that is not valid, and warn of what is only unwise.

        Raises:
            ApiError: 422.

        """
        self._kinds.check(new)
        metadata = new["metadata"]
        common = metadata_causes(metadata, namespaced=self.rtype.namespaced, name_rule=path_segment_problems)
        changes = metadata_update_causes(metadata, old["metadata"])
        causes = common + changes
        # The type's own validation finds the same problems once more, or twice.
        key = self.rtype.key
        compared = [] if key in _METADATA_UNLOOKED else changes + self._plain_finalizers(metadata)
        content = objects.causes(self.rtype, new, old, subresource)
        if key == JOBS:  # is looked at as a new one first, and then compared with the old one
            first = next((index for index, one in enumerate(content) if one.message.endswith(_IMMUTABLE)), len(content))
            content, compared = [*content[:first], *compared, *content[first:]], []
        as_new: list[Cause] = []
        if key in _METADATA_AS_NEW and not subresource:
            as_new = metadata_causes(metadata, namespaced=self.rtype.namespaced, name_rule=self._name_rule)
            as_new += self._plain_finalizers(metadata)
        causes += [*as_new, *compared] if key in _AS_NEW_FIRST else [*compared, *as_new]
        causes += content
        if causes:
            raise invalid(self.rtype, metadata.get("name", ""), causes)
        if self.rtype.custom and subresource != "status":
            warnings += _finalizer_warnings(new, old["metadata"].get("finalizers") or ())
        if not self.rtype.custom and not subresource:
            warnings += object_warnings(self.rtype.key, new, old)

    def _plain_finalizers(self, metadata: Json) -> list[Cause]:
        rtype = self.rtype
        pass_plain = rtype.custom or rtype.group in _PLAIN_FINALIZERS_PASS or rtype.key == ("", "events")
        return [] if pass_plain else plain_finalizer_causes(metadata)

    def to_storage(self, obj: Json) -> Json:
        """Return an object in the version in which it is stored, as a read of that version shows it.

        What the storage version does not know is dropped. What it alone has defaults for is stored without them, and read
        with them: see `lacks_defaults`.
        """
        obj = objects.stored(self.rtype, obj)
        return obj if self.storage is self.rtype else objects.defaulted(self.storage, self._in_storage_version(obj))

    def lacks_defaults(self, obj: Json) -> bool:
        """Return whether an object is stored without defaults that it is read with."""
        if self.storage is self.rtype:
            return False
        fitted = self._in_storage_version(obj)
        return objects.defaulted(self.storage, fitted) is not fitted

    def _in_storage_version(self, obj: Json) -> Json:
        return self._fitted(self.storage, {**obj, "apiVersion": self.storage.group_version})

    def from_storage(self, obj: Json) -> Json:
        """Return what was made by `to_storage` as reads show it."""
        return obj if self.storage is self.rtype else self.convert(self.rtype, obj)

    def convert(self, rtype: ResourceType, obj: Json) -> Json:
        """Return a stored object in this version: the defaults are those of the version in which it is stored.

        Conversion changes the apiVersion; what this version does not know is dropped, and what it alone has defaults for
        stays absent until somebody writes the object through it.
        """
        del rtype  # it is this one's: views ask the rules of the type that they are for
        types = self._state.types.versions(self.rtype.key)
        source = next((one for one in types if one.group_version == obj.get("apiVersion")), self.storage)
        result = objects.defaulted(source, self._fitted(source, obj))
        if source is not self.rtype:
            result = self._fitted(self.rtype, {**result, "apiVersion": self.rtype.group_version})
        return _with_metadata(result)

    def tracked(self, before: Json | None, new: Json, options: WriteOptions) -> Json:
        """Return an object with the managedFields of a create, a replace or a patch.

        Args:
            before: as it is stored; None: it is created.
            new: as it is wanted.
            options: who writes, through which subresource.

        """
        manager = self.field_manager(options.subresource)
        shown = objects.shown(self.rtype, new)
        managed = manager.updated(before, shown, manager=options.manager, now=self._state.now())
        return with_metadata(new, managedFields=managed or None)

    def field_manager(self, subresource: str) -> FieldManager:
        """Return who keeps managedFields for writes through a subresource; empty: the object itself."""
        types = self._state.types
        if self._generation != types.generation:
            self._generation = types.generation
            self._managers.clear()
        found = self._managers.get(subresource)
        if found is None:
            found = objects.field_manager(self.rtype, types.versions(self.rtype.key), subresource)
            self._managers[subresource] = found
        return found

    def _strict_problems(self, body: Json, unknown: Sequence[str], options: WriteOptions) -> list[str]:
        """Return what strict decoding has to say, in the order in which the real server finds it."""
        duplicates = options.duplicate_fields
        if options.field_validation == "Ignore" or not (unknown or duplicates):
            return []
        if self.rtype.custom or not duplicates:
            return [*objects.field_problems((), duplicates), *objects.field_problems(unknown)]
        order = {path: index for index, path in enumerate(_paths(body, ""))}
        paths = [(order.get(path, len(order)), path, ()) for path in unknown]
        twice = [(order.get(path, len(order)), "", (path,)) for path in duplicates]
        return [
            problem
            for _, path, again in sorted([*paths, *twice])
            for problem in objects.field_problems((path,) if path else (), again)
        ]


class TypeRulesCache:
    """The rules of all types of one cluster.

    Args:
        state: of the cluster.

    """

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._rules: dict[int, TypeRules] = {}

    def of(self, rtype: ResourceType) -> TypeRules:
        """Return the rules of a type."""
        found = self._rules.get(id(rtype))  # equal types may have different schemas; the rules keep their type alive
        if found is None:
            found = self._rules[id(rtype)] = TypeRules(self._state, rtype)
        return found

    def forget(self, key: TypeKey) -> None:
        """Drop the rules of a type's versions, because its definition has changed."""
        self._rules = {number: rules for number, rules in self._rules.items() if rules.rtype.key != key}

    def convert(self, rtype: ResourceType, obj: Json) -> Json:
        """Return a stored object in a version of its type."""
        return self.of(rtype).convert(rtype, obj)


def _with_metadata(obj: Json) -> Json:
    return obj if isinstance(obj.get("metadata"), dict) else {**obj, "metadata": {}}


def _finalizer_warnings(obj: Json, old: Sequence[str]) -> list[str]:
    """Return warnings of new finalizers of a custom resource that do not say whose they are."""
    added = sorted(set(obj["metadata"].get("finalizers") or ()) - set(old))
    plain = [one for one in added if "/" not in one and one not in {"orphan", "foregroundDeletion", "kubernetes"}]
    return [f"metadata.finalizers: {quoted(one)}: {_PLAIN_FINALIZER}" for one in plain]


def _shown(result: Any, patch: Any, patch_type: str) -> str:
    return printed(patch) if patch_type == patches.STRATEGIC_MERGE_PATCH else json_text(result)


def _paths(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, child in value.items():
            below = f"{path}.{name}" if path else name
            yield below
            yield from _paths(child, below)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _paths(child, f"{path}[{index}]")
