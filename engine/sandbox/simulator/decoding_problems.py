"""What is wrong with a body that Go cannot decode, or that has unknown fields, and where: slow companion of `decoding`."""

from __future__ import annotations

from typing import Any

from engine.sandbox.simulator import quantities
from engine.sandbox.simulator.decoding import DECODERS, NAMED_KINDS, Mismatch, Notes, kind_of
from engine.sandbox.simulator.go_text import json_text
from engine.sandbox.simulator.go_time import GoTimeError, rfc3339, rfc3339_micro
from engine.sandbox.simulator.schema import Schema

Json = dict[str, Any]


_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


class WrongType(ValueError):
    """Raised for a body that Go cannot decode; the text is Go's."""


def unknown_fields(schema: Schema, value: Any, path: str = "") -> list[str]:
    """Return the paths of unknown fields, in the order of the body."""
    if schema.go is not None and isinstance(value, dict):
        found = []
        for name, item in value.items():
            below = f"{path}.{name}" if path else name
            if name in schema.fields:
                found += unknown_fields(schema.fields[name], item, below)
            else:
                found.append(below)
        return found
    if isinstance(value, dict) and schema.element is not None and schema.name not in NAMED_KINDS:
        element = schema.element
        return [one for name, item in value.items() for one in unknown_fields(element, item, f"{path}.{name}")]
    if isinstance(value, list) and schema.items is not None and schema.name not in NAMED_KINDS:
        items = schema.items
        return [one for index, item in enumerate(value) for one in unknown_fields(items, item, f"{path}[{index}]")]
    return []


class _Fatal(Exception):
    """Raised for a value whose own decoder refuses it, which ends Go's decoding at once."""


def explained(schema: Schema, body: Any) -> str:
    """Return Go's message for a body that cannot be decoded."""
    try:
        problems = _problems(schema, body, "", schema.name, f"v1.{schema.name}")
    except _Fatal as fatal:
        return str(fatal)
    return problems[0]


def _problems(schema: Schema, value: Any, path: str, struct: str, go_type: str) -> list[str]:
    """Return the mismatches below a value; `struct` is the innermost Go struct, `path` that of the field within the body."""
    if value is None:
        return []
    kind = kind_of(schema)
    where = f"Go struct field {struct}.{path} of type" if path else "Go value of type"
    if kind == "struct" and isinstance(value, dict):
        return _struct_problems(schema, value, path)
    if kind == "map" and isinstance(value, dict):
        element, of = schema.element, go_type.partition("]")[2]
        return [one for item in value.values() for one in _problems(element, item, path, struct, of)] if element else []
    if kind == "list" and isinstance(value, list):
        items, of = schema.items, go_type.removeprefix("[]")
        return [one for item in value for one in _problems(items, item, path, struct, of)] if items else []
    return _scalar_problem(schema, kind, value, where, go_type)


def _struct_problems(schema: Schema, value: Json, path: str) -> list[str]:
    found = []
    for name, item in value.items():
        go = (schema.go or {}).get(name)
        if go is not None:
            below = f"{path}.{name}" if path else name
            found += _problems(schema.fields[name], item, below, schema.name, go.type)
    return found


def _scalar_problem(schema: Schema, kind: str, value: Any, where: str, go_type: str) -> list[str]:
    try:
        DECODERS[kind](schema, value, None, Notes())
    except Mismatch:
        pass
    else:
        return []
    if kind == "quantity":
        raise _Fatal(quantities.FORMAT_ERROR if not isinstance(value, str) else _quantity_error(value))
    if kind in {"time", "micro-time"} and isinstance(value, str):
        try:
            (rfc3339 if kind == "time" else rfc3339_micro)(value)
        except GoTimeError as error:
            raise _Fatal(str(error)) from None
    if kind == "bytes" and isinstance(value, str):
        return [f"illegal base64 data at input byte {illegal_base64(value)}"]
    shown = {"int-or-string": "int32", "time": "string", "micro-time": "string", "bytes": "[]uint8"}.get(kind, go_type)
    number = f" {json_text(value)}" if kind in {"integer", "int-or-string"} and _is_number(value) else ""
    shown = shown.replace("[]byte", "[]uint8")  # Go's own name for it
    return [f"json: cannot unmarshal {_jsonkind_of(value)}{number} into {where} {shown}"]


def _quantity_error(value: str) -> str:
    try:
        quantities.canonical_json(value)
    except quantities.InvalidQuantity as error:
        return str(error)
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _jsonkind_of(value: Any) -> str:
    for python, name in ((bool, "bool"), (str, "string"), (list, "array"), (dict, "object")):
        if isinstance(value, python):
            return name
    return "number"


def illegal_base64(text: str) -> int | None:
    """Return where Go's base64 decoder stops; None: the text is good."""
    clean = text.replace("\n", "").replace("\r", "")
    body = clean.rstrip("=")
    for index, character in enumerate(body):
        if character not in _BASE64:
            return index
    if len(clean) % 4 == 0 and len(clean) - len(body) <= 2 and len(body) % 4 != 1:
        return None
    return len(clean) // 4 * 4
