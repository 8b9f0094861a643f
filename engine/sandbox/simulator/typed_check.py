"""Whether an applied configuration fits its type, in the words of structured-merge-diff.

In: a schema and the configuration. Out: messages, none if it fits. Values are not validated, only their kinds, undeclared
fields and the keys of list items.
"""

from __future__ import annotations

from typing import Any

from engine.sandbox.simulator import fields
from engine.sandbox.simulator.fields import path_text
from engine.sandbox.simulator.go_text import printed, quoted
from engine.sandbox.simulator.schema import Schema

_GO_KINDS = {bool: "bool", int: "int64", float: "float64", str: "string", dict: "map[string]interface {}"}
_GO_KINDS[list] = "[]interface {}"


def typed_check(schema: Schema, value: Any) -> list[str]:
    """Return what does not fit, as the real server says it."""
    if isinstance(value, dict) and not schema.type:
        return _map(schema, value)
    return _value(schema, value)


def typed_text(errors: list[str]) -> str:
    """Return what does not fit as one text."""
    return errors[0] if len(errors) == 1 else "errors:\n  " + "\n  ".join(errors)


def _value(schema: Schema, value: Any) -> list[str]:
    if value is None:
        return []
    kind = schema.type
    if isinstance(value, dict):
        return _map(schema, value) if kind in {"object", ""} else [_unexpected(schema, value)]
    if isinstance(value, list):
        return _list(schema, value) if kind in {"array", ""} else [_unexpected(schema, value)]
    if kind == "" or schema.int_or_string or (kind == "string" and schema.format not in {"", "byte"}):
        return []
    if kind == "string":
        fits = isinstance(value, str)
    elif kind == "boolean":
        fits = isinstance(value, bool)
    elif kind in {"integer", "number"}:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        fits = False
    return [] if fits else [_unexpected(schema, value)]


def _unexpected(schema: Schema, value: Any) -> str:
    kind = schema.type
    if kind in {"integer", "number"}:
        return f": expected numeric (int or float), got {_GO_KINDS[type(value)]}"
    if kind == "string":
        return f": expected string, got &value.valueUnstructured{{Value:{_detailed(value)}}}"
    words = {"object": "map", "array": "list", "boolean": "boolean"}
    return f": expected {words[kind]}, got &{{{printed(value)}}}"


def _detailed(value: Any) -> str:
    """Return a value as Go's `%#v` prints it."""
    if isinstance(value, dict):
        return (
            "map[string]interface {}{"
            + ", ".join(f"{quoted(k)}:{_detailed(v)}" for k, v in sorted(value.items()))
            + "}"
        )
    if isinstance(value, list):
        return "[]interface {}{" + ", ".join(map(_detailed, value)) + "}"
    return quoted(value) if isinstance(value, str) else printed(value)


def _map(schema: Schema, value: dict[str, Any]) -> list[str]:
    errors: list[str] = []
    for key, one in value.items():
        field = schema.fields.get(key) or schema.element
        if field is None:
            errors.append(f".{key}: field not declared in schema")
        elif one is not None and (field.type in {"object", "array"} or one.__class__ in {dict, list} or field.type):
            errors += [_prefixed(f".{key}", error) for error in _value(field, one)]
    return errors


def _prefixed(prefix: str, error: str) -> str:
    return prefix + error


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
            errors += [_prefixed(prefix, error) for error in _value(items, item)]
    return errors
