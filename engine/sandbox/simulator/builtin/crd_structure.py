"""Whether the schema of a custom resource definition is structural, and whether its defaults fit it.

In: an OpenAPI schema, and its path. Out: causes. Structural means: what there is, is said outside of `allOf`, `anyOf`,
`oneOf` and `not`; these only restrict values. The rules are those of `apiextensions-apiserver/pkg/apiserver/schema`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import forbidden, invalid, required
from engine.sandbox.simulator.structural import Rules

Json = dict[str, Any]
_Level = Literal["root", "items", "field"]

_EMPTY_TYPE = {
    "root": "must not be empty at the root",
    "items": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_JUNCTORS = ("anyOf", "allOf", "oneOf")
_EMBEDDED = "x-kubernetes-embedded-resource"
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EITHER = "x-kubernetes-int-or-string"
_NESTED_EMPTY = {"type": "empty", "title": "empty", "description": "empty", "x-kubernetes-list-map-keys": "empty"}
_NESTED_UNDEFINED = {
    "default": "undefined",
    "x-kubernetes-list-type": "undefined",
    "x-kubernetes-map-type": "undefined",
}
_NESTED_FALSE = {"nullable": "false", _PRESERVE: "false", _EMBEDDED: "false", _EITHER: "false"}
_NESTED_FORBIDDEN = {**_NESTED_EMPTY, **_NESTED_UNDEFINED, **_NESTED_FALSE}
"""What may not be said where only values are restricted, and what it must be instead."""


def structure_causes(schema: Json, path: str) -> list[Cause]:
    """Return why a schema is not structural, in the alphabet's order."""
    causes = [*_invariant_causes(schema, "root", path), *_completeness_causes(schema, schema, path, path)]
    return sorted(causes, key=lambda cause: f"{cause.field}: {cause.message}")


def _invariant_causes(schema: Json, level: _Level, path: str) -> Iterator[Cause]:
    kind, items, other = schema.get("type", ""), schema.get("items"), schema.get("additionalProperties")
    if kind == "array" and items is None:
        yield required(f"{path}.items", "must be specified")
    if isinstance(items, dict):
        yield from _invariant_causes(items, "items", f"{path}.items")
    for name, child in (schema.get("properties") or {}).items():
        yield from _invariant_causes(child, "field", f"{path}.properties[{name}]")
    if other is not None:
        if level == "root":
            yield forbidden(f"{path}.additionalProperties", "must not be used at the root")
        if isinstance(other, dict):
            yield from _invariant_causes(other, "field", f"{path}.additionalProperties")
    if schema.get(_EITHER):
        for name in (_PRESERVE, _EMBEDDED):
            if schema.get(name):
                yield invalid(f"{path}.{name}", True, "must be false if x-kubernetes-int-or-string is true")
    yield from _value_causes(schema, path)
    yield from _type_causes(schema, level, path)
    yield from _meta_causes(schema, level, path)


def _type_causes(schema: Json, level: _Level, path: str) -> Iterator[Cause]:
    kind, where = schema.get("type", ""), f"{path}.type"
    if schema.get(_EMBEDDED) and kind != "object":
        why = "must be object if x-kubernetes-embedded-resource is true"
        yield invalid(where, kind, why) if kind else required(where, why)
    elif not kind and not schema.get(_EITHER) and not schema.get(_PRESERVE):
        yield required(where, _EMPTY_TYPE[level])
    if schema.get(_EMBEDDED) and "additionalProperties" in schema:
        why = "must not be used if x-kubernetes-embedded-resource is set"
        yield forbidden(f"{path}.additionalProperties", why)
    if level == "root" and kind and kind != "object":
        yield invalid(where, kind, "must be object at the root")


def _meta_causes(schema: Json, level: _Level, path: str) -> Iterator[Cause]:
    """Check what a schema says of fields that every object has."""
    properties = schema.get("properties") or {}
    if schema.get(_EMBEDDED) and not schema.get(_PRESERVE) and not properties:
        why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        yield required(f"{path}.properties", why)
    is_object = level == "root" or bool(schema.get(_EMBEDDED))
    for name in ("kind", "apiVersion"):
        if is_object and name in properties and properties[name].get("type") != "string":
            yield invalid(f"{path}.properties[{name}].type", properties[name].get("type", ""), "must be string")
    metadata = properties.get("metadata")
    if metadata is None:
        return
    where = f"{path}.properties[metadata]"
    if is_object and metadata.get("type") != "object":
        yield invalid(f"{where}.type", metadata.get("type", ""), "must be object")
    if level == "root":
        known = set(metadata.get("properties") or {})
        rest = {name for name, value in metadata.items() if value} - {"type", "properties", "default", "description"}
        if rest or known - {"name", "generateName"}:
            why = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            yield forbidden(where, why)


def _value_causes(schema: Json, path: str) -> Iterator[Cause]:
    """Check the parts of a schema that restrict values."""
    if not (schema.keys() & {*_JUNCTORS, "not", "pattern"}):
        return
    either, nested = schema.get("anyOf") or [], schema.get("allOf") or []
    for name in _JUNCTORS:
        if name == "anyOf" and either == _INT_OR_STRING:
            continue
        for index, child in enumerate(schema.get(name) or ()):
            skipped = name == "allOf" and index == 0 and nested[0].get("anyOf") == _INT_OR_STRING
            plain = {key: value for key, value in child.items() if key != "anyOf"} if skipped else child
            yield from _nested_causes(plain, f"{path}.{name}[{index}]")
    if isinstance(schema.get("not"), dict):
        yield from _nested_causes(schema["not"], f"{path}.not")
    if pattern := schema.get("pattern"):
        try:
            re.compile(pattern)
        except re.error as error:
            why = f"must be a valid regular expression, but isn't: error parsing regexp: {error}"
            yield invalid(f"{path}.pattern", pattern, why)


def _nested_causes(schema: Json, path: str) -> Iterator[Cause]:
    yield from _value_causes(schema, path)
    if isinstance(schema.get("items"), dict):
        yield from _nested_causes(schema["items"], f"{path}.items")
    for name, child in (schema.get("properties") or {}).items():
        yield from _nested_causes(child, f"{path}.properties[{name}]")
    if schema.get("additionalProperties"):
        yield forbidden(f"{path}.additionalProperties", "must be undefined to be structural")
    for name, wanted in _NESTED_FORBIDDEN.items():
        if schema.get(name) or (wanted == "undefined" and name in schema):
            yield forbidden(f"{path}.{name}", f"must be {wanted} to be structural")
    if schema.get("x-kubernetes-validations"):
        yield forbidden(f"{path}.x-kubernetes-validations", "must be empty to be structural")
    if "metadata" in (schema.get("properties") or {}):
        yield forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context")


def _completeness_causes(nested: Json, schema: Json, path: str, source: str) -> Iterator[Cause]:
    """Check that a field whose values are restricted is one that there is."""
    for name in _JUNCTORS:
        for index, child in enumerate(nested.get(name) or ()):
            yield from _counterpart_causes(child, schema, path, f"{source}.{name}[{index}]")
    if isinstance(nested.get("not"), dict):
        yield from _counterpart_causes(nested["not"], schema, path, f"{source}.not")


def _counterpart_causes(nested: Json, schema: Json | None, path: str, source: str) -> Iterator[Cause]:
    if schema is None:
        yield required(path, f"because it is defined in {source}")
        return
    yield from _completeness_causes(nested, schema, path, source)
    if isinstance(nested.get("items"), dict):
        yield from _counterpart_causes(nested["items"], schema.get("items"), f"{path}.items", f"{source}.items")
    for name, child in (nested.get("properties") or {}).items():
        place = f"properties[{name}]"
        found = (schema.get("properties") or {}).get(name)
        yield from _counterpart_causes(child, found, f"{path}.{place}", f"{source}.{place}")


# Defaults


def default_causes(schema: Json, path: str) -> list[Cause]:
    """Return which defaults are not what their schema wants."""
    return list(_default_causes({**schema, _EMBEDDED: True}, path, in_meta=False))


def _default_causes(schema: Json, path: str, *, in_meta: bool) -> Iterator[Cause]:
    in_meta = in_meta and not schema.get(_EMBEDDED)
    if schema.get("default") is not None:
        default, where = schema["default"], f"{path}.default"
        if schema.get(_EMBEDDED) and isinstance(default, dict):
            yield from (required(f"{where}.{name}") for name in ("apiVersion", "kind") if name not in default)
        if not in_meta and not _is_pruned(schema, default):
            yield invalid(where, default, "must not have unknown fields")
        for cause in Rules(schema).check(default, "").causes:
            below = "" if cause.field in {"", "<nil>"} else f".{cause.field}"
            yield Cause(cause.reason, cause.message, where + below)
    if isinstance(schema.get("items"), dict):
        yield from _default_causes(schema["items"], f"{path}.items", in_meta=in_meta)
    for name, child in (schema.get("properties") or {}).items():
        is_meta = bool(schema.get(_EMBEDDED)) and name in {"metadata", "apiVersion", "kind"}
        yield from _default_causes(child, f"{path}.properties[{name}]", in_meta=in_meta or is_meta)


def _is_pruned(schema: Json, value: Any) -> bool:
    if isinstance(value, list):
        items = schema.get("items") or {}
        return all(_is_pruned(items, one) for one in value)
    if not isinstance(value, dict) or schema.get(_PRESERVE):
        return True
    properties, other = schema.get("properties") or {}, schema.get("additionalProperties")
    for name, one in value.items():
        child = properties.get(name, other)
        if child in {None, False} if not isinstance(child, dict) else not _is_pruned(child, one):
            return False
    return True
