"""The shape of objects, compiled: one tree of `Schema` serves built-in types and custom resources alike.

In: OpenAPI fragments, from the data file of the built-in types or from a custom resource definition. Out: nodes that
decoding, pruning, defaulting, field ownership and merging walk side by side with an object, choosing by the *value's* kind
what applies. Nothing here looks at an object. Which values a custom resource may hold is validated in `crd_schema`.

How maps and lists are owned and merged is the rule of structured-merge-diff: atomic unless the schema says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]

ListType = Literal["atomic", "set", "map"]

OBJECT_META = "apimachinery.pkg.apis.meta.v1.ObjectMeta"
"""Name of the definition that every object's metadata has."""


@dataclass(frozen=True, slots=True)
class GoField:
    """How Go's JSON handles one field of a struct; only built-in types have it.

    Attributes:
        type: as in error messages, such as `[]v1.Container`.
        pointer: null and absent are the same, and a zero value is kept.
        omit_empty: an empty value is left out.
        omit_zero: a zero struct is left out.

    """

    type: str
    pointer: bool
    omit_empty: bool
    omit_zero: bool


class Schema:
    """One node. Made by this module only, and not changed afterwards.

    Attributes:
        definition: name in the data file, such as `api.apps.v1.DeploymentSpec`; empty: it is inline.
        name: its last part: that of the Go struct.
        type: object, array, string, integer, number, boolean; empty: any.
        format: such as int32, byte, int-or-string.
        fields: declared fields of an object.
        element: schema of an object's other values; None: there may be no others.
        map_atomic: the object is owned and replaced as a whole.
        items: schema of a list's items; None: this is no list, or anything may be in it.
        list_type: how a list is owned and merged.
        list_keys: sorted names of the fields that identify an item of a list of type map.
        key_defaults: what items that lack a key field are taken to hold.
        default: of this value; None: there is none.
        nullable: whether null is a value.
        preserve_unknown: whether undeclared fields of this object are kept.
        embedded: whether this is a whole object, with apiVersion, kind and metadata.
        int_or_string: whether an integer or a string may be here.
        merge_key: identifies items in a strategic merge patch; empty: none.
        patch_strategies: of a strategic merge patch: merge, replace, retainKeys.
        go: how Go's JSON handles the fields; None: this is no Go struct.
        source: the OpenAPI fragment that this was made of.
        plan: what `decoding` works out once; nobody else's affair.

    """

    __slots__ = (
        "default",
        "definition",
        "element",
        "embedded",
        "fields",
        "format",
        "go",
        "int_or_string",
        "items",
        "key_defaults",
        "list_keys",
        "list_type",
        "map_atomic",
        "merge_key",
        "name",
        "nullable",
        "patch_strategies",
        "plan",
        "preserve_unknown",
        "source",
        "type",
    )

    def __init__(self, source: Json, definition: str = "") -> None:
        self.definition = definition
        self.name = definition.rpartition(".")[2]
        self.source = source
        self.type: str = source.get("type", "")
        self.format: str = source.get("format", "")
        self.fields: dict[str, Schema] = {}
        self.element: Schema | None = None
        self.map_atomic: bool = source.get("x-kubernetes-map-type") == "atomic"
        self.items: Schema | None = None
        self.list_type, self.list_keys = _list_type(source)
        self.key_defaults: dict[str, Any] = {}
        self.default: Any = source.get("default")
        self.nullable: bool = source.get("nullable", False)
        self.preserve_unknown: bool = source.get("x-kubernetes-preserve-unknown-fields", False)
        self.embedded: bool = source.get("x-kubernetes-embedded-resource", False)
        self.int_or_string: bool = source.get("x-kubernetes-int-or-string", False)
        self.merge_key: str = source.get("x-kubernetes-patch-merge-key", "")
        self.patch_strategies: tuple[str, ...] = tuple(source.get("x-kubernetes-patch-strategy", "").split(","))
        self.go: dict[str, GoField] | None = None
        self.plan: Any = None

    def __repr__(self) -> str:
        return f"Schema({self.name or self.type or 'any'})"

    def child(self, key: str) -> Schema | None:
        """Return the schema of an object's value; None: such a field is not declared."""
        return self.fields.get(key) or self.element


def _list_type(source: Json) -> tuple[ListType, tuple[str, ...]]:
    """Return a list's type and keys; those without list type get them from their patch strategy, as the server does."""
    declared = source.get("x-kubernetes-list-type")
    if declared == "map":
        return "map", tuple(sorted(source.get("x-kubernetes-list-map-keys", ())))
    if declared in {"set", "atomic"}:
        return declared, ()
    if source.get("x-kubernetes-patch-strategy", "").startswith("merge"):
        key = source.get("x-kubernetes-patch-merge-key")
        return ("map", (key,)) if key else ("set", ())
    return "atomic", ()


def _free_forms() -> tuple[Schema, Schema]:
    untyped, deduced = Schema({}, "untyped"), Schema({}, "deduced")
    untyped.map_atomic = True
    untyped.element = untyped.items = untyped
    deduced.element = deduced
    deduced.items = untyped
    return untyped, deduced


UNTYPED, DEDUCED = _free_forms()
"""Anything, owned as a whole; anything, its objects owned field by field."""

_SCALARS = {"Time", "MicroTime", "Duration", "Quantity", "IntOrString"}
"""Go types that look like structs to OpenAPI's tools, but are one value."""

_OPAQUE = {"RawExtension": UNTYPED, "FieldsV1": DEDUCED}
_OPAQUE |= dict.fromkeys(
    ("JSON", "JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrStringArray"), DEDUCED
)


class Definitions:
    """Named definitions, compiled when they are first asked for; they may refer to each other in circles.

    Args:
        sources: OpenAPI fragments by name, in the form of the data file.

    """

    def __init__(self, sources: Mapping[str, Json]) -> None:
        self._sources = sources
        self._done: dict[str, Schema] = {}
        self._later: list[Callable[[], None]] = []

    def schema(self, name: str) -> Schema:
        """Return the compiled definition.

        Raises:
            KeyError: when there is none of this name.

        """
        schema = self._definition(name)
        while self._later:
            self._later.pop()()
        return schema

    def _definition(self, name: str) -> Schema:
        if name not in self._done:
            source = self._sources[name]
            schema = Schema(source, name)
            short = schema.name
            self._done[name] = schema
            self._fill(schema, source)
            if short in _OPAQUE:
                schema.element, schema.items = _OPAQUE[short].element, UNTYPED
                schema.map_atomic = _OPAQUE[short].map_atomic
                schema.go = None
            elif short in _SCALARS:
                schema.type = "string" if short.endswith(("Time", "Duration")) else ""
        return self._done[name]

    def _fill(self, schema: Schema, source: Json) -> None:
        properties: Json = source.get("properties", {})
        for key, one in properties.items():
            schema.fields[key] = self._node(one)
        go = {key: _go_field(one["x-go"]) for key, one in properties.items() if "x-go" in one}
        schema.go = go or (
            {} if schema.name and schema.type == "object" and "additionalProperties" not in source else None
        )
        other = source.get("additionalProperties")
        if isinstance(other, dict):
            schema.element = self._node(other)
        elif schema.type == "object" and not properties and schema.go is None:
            schema.element = DEDUCED
        if "items" in source:
            schema.items = self._node(source["items"])
            self._later.append(lambda: _take_key_defaults(schema))

    def _node(self, source: Json) -> Schema:
        if "$ref" not in source:
            schema = Schema(source)
            self._fill(schema, source)
            return schema
        target = self._definition(source["$ref"])
        own = {key for key in source if key.startswith("x-kubernetes-")}
        if not own:
            return target
        schema = Schema(source)
        self._later.append(lambda: _take_over(schema, target))
        return schema


def _take_over(schema: Schema, target: Schema) -> None:
    """Complete a reference that says more than its target, such as a map type or a patch strategy."""
    schema.definition, schema.name = target.definition, target.name
    schema.type, schema.format = target.type, target.format
    schema.fields, schema.element, schema.items, schema.go = target.fields, target.element, target.items, target.go
    schema.map_atomic = schema.map_atomic or target.map_atomic


def _take_key_defaults(schema: Schema) -> None:
    items = schema.items
    for key in schema.list_keys if items else ():
        default = items.fields[key].default if items and key in items.fields else None
        if default is not None:
            schema.key_defaults[key] = default


def _go_field(tag: str) -> GoField:
    """Read the data file's short form, such as `*int32?`."""
    name = tag.strip("*?!")
    return GoField(name, tag.startswith("*"), "?" in tag, tag.endswith("!"))


def structural(source: Json, metadata: Schema) -> Schema:
    """Return the compiled schema of a custom resource.

    Args:
        source: `openAPIV3Schema` of its definition.
        metadata: schema of ObjectMeta.

    """
    root = _structural(source, preserve=False)
    root.embedded = True
    _embed(root, metadata)
    return root


def _embed(schema: Schema, metadata: Schema) -> None:
    """Give whole objects their apiVersion, kind and metadata, whatever they declare themselves."""
    if schema.embedded:
        schema.fields = {**schema.fields, "apiVersion": Schema({"type": "string"}), "kind": Schema({"type": "string"})}
        schema.fields["metadata"] = metadata
    for key, one in schema.fields.items():
        if not (schema.embedded and key == "metadata"):
            _embed(one, metadata)
    for other in (schema.element, schema.items):
        if other not in (None, UNTYPED, DEDUCED):
            _embed(other, metadata)


def _structural(source: Json, *, preserve: bool) -> Schema:
    """Compile one node; `preserve`: something above it keeps unknown fields, so whoever owns them is deduced."""
    schema = Schema(source)
    preserve = preserve or schema.preserve_unknown
    schema.fields = {key: _structural(one, preserve=preserve) for key, one in source.get("properties", {}).items()}
    other = source.get("additionalProperties")
    if isinstance(other, dict):
        schema.element = _structural(other, preserve=preserve)
    elif other is True or (other is None and schema.type in {"object", ""} and (preserve or not schema.fields)):
        schema.element = DEDUCED
    if "items" in source:
        schema.items = _structural(source["items"], preserve=preserve)
        _take_key_defaults(schema)
    return schema
