"""What is wrong with an object that Go's converter from unstructured values cannot make into a built-in type's struct.

Strategic merge patches and applies go through that converter, whose texts are not those of the JSON decoder in
`decoding_problems`: it knows Go's kinds of values and no paths. The rules are those of
`apimachinery/pkg/runtime/converter.go`.
"""

from __future__ import annotations

from typing import Any

from engine.sandbox.simulator import quantities
from engine.sandbox.simulator.decoding import kind_of
from engine.sandbox.simulator.decoding_problems import illegal_base64
from engine.sandbox.simulator.go_time import GoTimeError, rfc3339, rfc3339_micro
from engine.sandbox.simulator.schema import Schema

_CONTAINERS = {"struct": "struct from:", "map": "map from", "list": "slice from"}
_SOURCES = ((bool, "bool"), (int, "int64"), (float, "float64"), (str, "string"), (list, "slice"), (dict, "map"))


def conversion_problem(schema: Schema, value: Any, go_type: str = "") -> str:
    """Return the first problem below a value; empty: there is none.

    Args:
        schema: of the value.
        value: as merged.
        go_type: as messages show it, such as `v1.SecretType`.

    """
    if value is None:
        return ""
    kind = kind_of(schema)
    if kind == "struct" and isinstance(value, dict):
        return _in_struct(schema, value)
    if kind == "map" and isinstance(value, dict):
        element, below = schema.element, go_type.partition("]")[2]
        return _first(conversion_problem(element, item, below) for item in value.values()) if element else ""
    if kind == "list" and isinstance(value, list):
        items, below = schema.items, go_type.removeprefix("[]")
        return _first(conversion_problem(items, item, below) for item in value) if items else ""
    if kind in _CONTAINERS:
        return f"cannot restore {_CONTAINERS[kind]} {_source(value)}"
    return _in_scalar(schema, kind, value, go_type)


def _in_struct(schema: Schema, value: dict[str, Any]) -> str:
    for name, field in schema.fields.items():
        if name in value:
            go = (schema.go or {}).get(name)
            problem = conversion_problem(field, value[name], go.type if go else "")
            if problem:
                return problem
    return ""


def _in_scalar(schema: Schema, kind: str, value: Any, go_type: str) -> str:
    if kind == "bytes":
        if not isinstance(value, str):
            return "" if isinstance(value, list) else f"cannot restore slice from {_source(value)}"
        wrong = illegal_base64(value)
        return "" if wrong is None else f"error decoding from json: illegal base64 data at input byte {wrong}"
    if kind in {"time", "micro-time"} and isinstance(value, str):
        try:
            (rfc3339 if kind == "time" else rfc3339_micro)(value)
        except GoTimeError as error:
            return str(error)
        return ""
    if kind == "quantity":
        try:
            quantities.canonical_json(value)
        except quantities.InvalidQuantity as error:
            return str(error)
        return ""
    return _in_plain(
        kind, value, go_type or {"string": "string", "boolean": "bool"}.get(kind, schema.format or "int64")
    )


def _in_plain(kind: str, value: Any, go_type: str) -> str:
    source = _source(value)
    if kind == "string" and not isinstance(value, str):
        # Go converts a number to a text, as the character of that number; the converter knows better.
        return f"cannot convert {source} to {go_type}" if source == "int64" else "unrecognized type: string"
    if kind == "boolean" and not isinstance(value, bool):
        return "unrecognized type: bool"
    if kind in {"integer", "number"} and source not in {"int64", "float64"}:
        return f"unrecognized type: {go_type}"
    if kind == "integer" and isinstance(value, float) and not value.is_integer():
        return f"cannot convert float64 to {go_type}"
    return ""


def _source(value: Any) -> str:
    return next(name for python, name in _SOURCES if isinstance(value, python))


def _first(problems: Any) -> str:
    return next((problem for problem in problems if problem), "")
