"""Validation of the schemas of custom resource definitions: what a schema may say, node by node.

In: an OpenAPI schema as it is in a definition, and its path. Out: causes. That a schema is structural, and its defaults fit
it, is checked by `crd_structure`; expressions of rules are compiled by `crd_rules`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from engine.sandbox.simulator.builtin.crd_structure import default_causes, structure_causes
from engine.sandbox.simulator.crd_rules import Correlation, field_path, rule_problems
from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.field_errors import forbidden, invalid, not_supported, required

Json = dict[str, Any]

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_ROOT_FIELDS = (
    *("Description", "Type", "Format", "Title", "Maximum", "ExclusiveMaximum", "Minimum", "ExclusiveMinimum"),
    *("MaxLength", "MinLength", "Pattern", "MaxItems", "MinItems", "UniqueItems", "MultipleOf", "Required", "Items"),
    *("Properties", "ExternalDocs", "Example", "XPreserveUnknownFields", "XValidations"),
)
"""Go's names of what the root of a schema with a status may have."""
_ROOT_KEYS = {f"{name[0].lower()}{name[1:]}" for name in _ROOT_FIELDS}
_ROOT_KEYS |= {"x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations"}
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_META = {"metadata", "kind", "apiVersion"}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in a schema a node is.

    Attributes:
        path: of the node.
        is_root: whether it is the resource itself.
        no_default: why there may be no default; None: there may be.
        in_meta: whether it is inside of the metadata of some object.
        correlation: whether rules can look at the value before.
        has_rules: whether rules are looked at: not below `not`, `allOf` and the like.

    """

    path: str
    is_root: bool = False
    no_default: str | None = None
    in_meta: bool = False
    correlation: Correlation = field(default_factory=Correlation)
    has_rules: bool = True


def schema_causes(schema: Json, path: str, *, has_status: bool) -> list[Cause]:
    """Return what is wrong with the schema of one version.

    Args:
        schema: of the whole resource.
        path: of the schema.
        has_status: whether the status is a subresource, which can then be validated alone.

    """
    causes = _root_causes(schema, path) if has_status else []
    if schema.get("nullable"):
        causes.append(forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    structure = structure_causes(schema, path)
    causes += structure or default_causes(schema, path)
    sound = not causes
    return causes + list(_node_causes(schema, _Place(path, is_root=True, has_rules=sound)))


def _root_causes(schema: Json, path: str) -> list[Cause]:
    if schema.get("type", "object") != "object":
        why = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
        return [invalid(f"{path}.type", schema["type"], why)]
    for name, value in schema.items():
        if name not in _ROOT_KEYS and value not in (None, False, "", 0, [], {}):
            allowed = f"only [{' '.join(_ROOT_FIELDS)}] fields are allowed"
            why = f"{allowed} at the root of the schema if the status subresource is enabled"
            return [invalid(path, schema, why)]
    return []


def _node_causes(schema: Json, place: _Place) -> Iterator[Cause]:
    path = place.path
    yield from _keyword_causes(schema, place)
    if schema.get("uniqueItems"):
        why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield forbidden(f"{path}.uniqueItems", why)
    below = list(_below_causes(schema, place))
    own = [*_map_causes(schema, path), *_list_causes(schema, path), *_key_causes(schema, path)]
    yield from below
    yield from own
    rules = schema.get("x-kubernetes-validations") or ()
    for index, rule in enumerate(rules):
        yield from _rule_causes(rule, schema, f"{path}.x-kubernetes-validations[{index}]")
    if rules and place.has_rules and not below and not own:
        yield from rule_problems(
            schema, f"{path}.x-kubernetes-validations", place.correlation, is_resource=place.is_root
        )


def _keyword_causes(schema: Json, place: _Place) -> Iterator[Cause]:
    path, kind = place.path, schema.get("type", "")
    if kind and kind not in _TYPES:
        yield not_supported(f"{path}.type", kind, _TYPES)
    if "default" in schema and place.no_default is not None:
        yield forbidden(f"{path}.default", f"must not be set {place.no_default}".rstrip())
    for name in _UNSUPPORTED:
        if name in schema:
            yield forbidden(f"{path}.{name}", f"{name} is not supported")
    if kind == "null":
        yield forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative")
    if isinstance(schema.get("items"), list):
        yield forbidden(f"{path}.items", "items must be a schema object and not an array")
    if place.in_meta and schema.get("x-kubernetes-embedded-resource"):
        yield forbidden(f"{path}.x-kubernetes-embedded-resource", "must not be used inside of resource meta")
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        yield invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined")


def _below_causes(schema: Json, place: _Place) -> Iterator[Cause]:
    path = place.path
    inner = replace(place, is_root=False)
    other, properties = schema.get("additionalProperties"), schema.get("properties") or {}
    if other is not None:
        if properties and other is not True:
            yield forbidden(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
        if isinstance(other, dict):
            why = "inside additionalProperties applying to object metadata" if place.in_meta else place.no_default
            yield from _node_causes(other, replace(inner, path=f"{path}.additionalProperties", no_default=why))
    correlation = place.correlation
    if schema.get("x-kubernetes-map-type", "granular") != "granular":
        correlation = correlation.lost(path)
    for name, child in properties.items():
        here = replace(inner, path=f"{path}.properties[{name}]", correlation=correlation)
        if name in _META and (place.is_root or schema.get("x-kubernetes-embedded-resource")):
            why = f"in top-level {name}" if place.is_root else here.no_default
            here = replace(here, in_meta=True, no_default=why)
        yield from _node_causes(child, here)
    plain = replace(inner, has_rules=False)
    if isinstance(schema.get("not"), dict):
        yield from _node_causes(schema["not"], replace(plain, path=f"{path}.not"))
    for name in ("allOf", "oneOf", "anyOf"):
        for index, child in enumerate(schema.get(name) or ()):
            yield from _node_causes(child, replace(plain, path=f"{path}.{name}[{index}]"))
    items = schema.get("items")
    if isinstance(items, dict):
        correlation = place.correlation
        if schema.get("x-kubernetes-list-type") != "map":
            correlation = correlation.lost(path)
        yield from _node_causes(items, replace(inner, path=f"{path}.items", correlation=correlation))


def _map_causes(schema: Json, path: str) -> Iterator[Cause]:
    kind, of = schema.get("x-kubernetes-map-type"), schema.get("type", "")
    if kind is None:
        return
    why = "must be object if x-kubernetes-map-type is specified"
    if of != "object":
        yield invalid(f"{path}.type", of, why) if of else required(f"{path}.type", why)
    if kind not in {"atomic", "granular"}:
        yield not_supported(f"{path}.x-kubernetes-map-type", kind, ("atomic", "granular"))


def _list_causes(schema: Json, path: str) -> Iterator[Cause]:
    kind, of, items = schema.get("x-kubernetes-list-type"), schema.get("type", ""), schema.get("items")
    if kind is None:
        return
    why = "must be array if x-kubernetes-list-type is specified"
    if of != "array":
        yield invalid(f"{path}.type", of, why) if of else required(f"{path}.type", why)
    elif kind == "set" and isinstance(items, dict):
        why = "must be atomic as item of a list with x-kubernetes-list-type=set"
        inner = items.get("x-kubernetes-list-type")
        if items.get("type") == "array" and inner not in {None, "atomic"}:
            yield invalid(f"{path}.items.x-kubernetes-list-type", inner, why)
        if items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
            yield invalid(f"{path}.items.x-kubernetes-map-type", inner, why)
    if kind not in {"atomic", "set", "map"}:
        yield not_supported(f"{path}.x-kubernetes-list-type", kind, ("atomic", "set", "map"))


def _key_causes(schema: Json, path: str) -> Iterator[Cause]:
    """Check the keys of lists of type map, and that items of sets and maps are never null."""
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys") or []
    items = schema.get("items")
    where = f"{path}.x-kubernetes-list-map-keys"
    if keys and kind != "map":
        why = "must be map if x-kubernetes-list-map-keys is non-empty"
        type_path = f"{path}.x-kubernetes-list-type"
        yield required(type_path, why) if kind is None else invalid(type_path, kind, why)
    if kind == "map":
        if not keys:
            yield required(where, "must not be empty if x-kubernetes-list-type is map")
        if items is None:
            yield required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map")
        elif items.get("type") != "object":
            why = "must be object if parent array's x-kubernetes-list-type is map"
            yield invalid(f"{path}.items.type", items.get("type", ""), why)
        else:
            yield from _map_key_causes(items, keys, f"{path}.items", where)
    if kind in {"set", "map"} and isinstance(items, dict):
        if items.get("nullable"):
            yield forbidden(f"{path}.items.nullable", f"cannot be nullable when x-kubernetes-list-type is {kind}")
        yield from _key_value_causes(items, keys if kind == "map" else (), f"{path}.items")


def _map_key_causes(items: Json, keys: list[str], path: str, where: str) -> Iterator[Cause]:
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        if key not in properties:
            yield invalid(where, keys, "entries must all be names of item properties")
        elif properties[key].get("type") in {"array", "object"}:
            why = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield invalid(f"{path}.properties[{key}].type", items.get("type"), why)
        if key in keys[:index]:
            yield invalid(where, keys, "must not contain duplicate entries")


def _key_value_causes(items: Json, keys: list[str] | tuple[()], path: str) -> Iterator[Cause]:
    is_key = "this property is in x-kubernetes-list-map-keys, so it"
    for key in keys:
        found = (items.get("properties") or {}).get(key)
        if found is None:
            continue
        here = f"{path}.properties[{key}]"
        if key not in (items.get("required") or ()) and found.get("default") is None:
            yield required(f"{here}.default", f"{is_key} must have a default or be a required property")
        if found.get("nullable"):
            yield forbidden(f"{here}.nullable", f"{is_key} cannot be nullable")


def _rule_causes(rule: Json, schema: Json, path: str) -> Iterator[Cause]:
    text, message = rule.get("rule", "").strip(), rule.get("message", "")
    lines = "must not contain line breaks"
    if not text:
        yield required(f"{path}.rule", "rule is not specified")
    elif message and not message.strip():
        yield invalid(f"{path}.message", message, "must be non-empty if specified")
    elif _has_lines(message.strip()):
        yield invalid(f"{path}.message", message, lines)
    elif _has_lines(text) and not message.strip():
        yield required(f"{path}.message", "message must be specified if rule contains line breaks")
    expression, reason, field = rule.get("messageExpression", ""), rule.get("reason"), rule.get("fieldPath", "")
    if expression and not expression.strip():
        yield required(f"{path}.messageExpression", "messageExpression must be non-empty if specified")
    if reason is not None and reason not in _REASONS:
        yield not_supported(f"{path}.reason", reason, _REASONS)
    if field and not field.strip():
        yield invalid(f"{path}.fieldPath", field, "must be non-empty if specified")
    if _has_lines(field):
        yield invalid(f"{path}.fieldPath", field, lines)
    if field and field_path(field, schema) is None:
        yield invalid(f"{path}.fieldPath", field, "must be a valid path")


def _has_lines(text: str) -> bool:
    return "\n" in text or "\r" in text
