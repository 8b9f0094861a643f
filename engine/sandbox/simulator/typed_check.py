"""Whether an applied configuration fits its type, in the words of structured-merge-diff.

In: a schema and the configuration. Out: messages, none if it fits. Values are not validated, only their kinds, undeclared
fields and the keys of list items. A quick walk says whether all is well; only if not, a slow one finds the words.
"""

from __future__ import annotations

from typing import Any

from engine.sandbox.simulator import fields
from engine.sandbox.simulator.fields import path_text
from engine.sandbox.simulator.go_text import printed, quoted, type_name
from engine.sandbox.simulator.schema import Schema

_SCALARS: dict[str, set[type]] = {"string": {str}, "boolean": {bool}, "integer": {int, float}, "number": {int, float}}
_PLAIN_FORMATS = {"", "byte"}


def typed_check(schema: Schema, value: Any) -> list[str]:
    """Return what does not fit, as the real server says it."""
    return [] if _fits(schema, value) else _value(schema, value)


def typed_text(errors: list[str]) -> str:
    """Return what does not fit as one text."""
    return errors[0] if len(errors) == 1 else "errors:\n  " + "\n  ".join(errors)


def _fits(schema: Schema, value: Any) -> bool:
    kind = schema.type
    if type(value) is dict:
        if kind not in {"object", ""}:
            return False
        declared, element = schema.fields, schema.element
        for key, one in value.items():
            field = declared.get(key) or element
            if field is None or not (one is None or _fits(field, one)):
                return False
        return True
    if type(value) is list:
        return kind in {"array", ""} and _list_fits(schema, value)
    if kind == "" or value is None:
        return True
    if kind == "string":
        return type(value) is str or schema.format not in _PLAIN_FORMATS
    return type(value) in _SCALARS.get(kind, ())


def _list_fits(schema: Schema, value: list[Any]) -> bool:
    items = schema.items
    if schema.list_type != "atomic":
        try:
            elements = {fields.element_of(schema, item) for item in value}
        except fields.UnkeyedItem:
            return False
        if len(elements) < len(value):
            return False
    return items is None or all(_fits(items, item) for item in value)


def _value(schema: Schema, value: Any) -> list[str]:
    kind = schema.type
    if isinstance(value, dict) and kind in {"object", ""}:
        return _map(schema, value)
    if isinstance(value, list) and kind in {"array", ""}:
        return _list(schema, value)
    return [] if _fits(schema, value) else [_unexpected(schema, value)]


def _unexpected(schema: Schema, value: Any) -> str:
    kind = schema.type
    if kind in {"integer", "number"}:
        return f": expected numeric (int or float), got {type_name(value)}"
    if kind == "string":
        return f": expected string, got &value.valueUnstructured{{Value:{_detailed(value)}}}"
    words = {"object": "map", "array": "list", "boolean": "boolean"}
    return f": expected {words[kind]}, got &{{{printed(value)}}}"


def _detailed(value: Any) -> str:
    """Return a value as Go's `%#v` prints it."""
    if isinstance(value, dict):
        items = ", ".join(f"{quoted(key)}:{_detailed(one)}" for key, one in sorted(value.items()))
        return f"map[string]interface {{}}{{{items}}}"
    if isinstance(value, list):
        return "[]interface {}{" + ", ".join(map(_detailed, value)) + "}"
    return quoted(value) if isinstance(value, str) else printed(value)


def _map(schema: Schema, value: dict[str, Any]) -> list[str]:
    errors: list[str] = []
    for key, one in value.items():
        field = schema.fields.get(key) or schema.element
        if field is None:
            errors.append(f".{key}: field not declared in schema")
        elif one is not None:
            errors += [f".{key}{error}" for error in _value(field, one)]
    return errors


def _list(schema: Schema, value: list[Any]) -> list[str]:
    errors: list[str] = []
    seen = set()
    items = schema.items
    for index, item in enumerate(value):
        prefix = f"[{index}]"
        if schema.list_type != "atomic":
            try:
                element = fields.element_of(schema, item)
            except fields.UnkeyedItem as error:
                return [*errors, f": element {index}: {error}"]
            prefix = path_text((element,))
            if element in seen:
                errors.append(f": duplicate entries for key {prefix}")
            seen.add(element)
        if items is not None:
            errors += [f"{prefix}{error}" for error in _value(items, item)]
    return errors
