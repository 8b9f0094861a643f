"""Custom resources as the server stores them: unknown fields dropped, defaults filled in.

In: what a client sent, or an object that was changed, and its structural schema. Out: a new object, sharing what is
unchanged. The rules are those of apiextensions-apiserver's `pruning`, `defaulting` and `objectmeta`. Validation is in
`crd_schema`.
"""

from __future__ import annotations

from operator import is_
from typing import Any

from engine.sandbox.simulator.decoding import Mismatch, decode
from engine.sandbox.simulator.decoding_problems import WrongType, explained, unknown_fields
from engine.sandbox.simulator.field_errors import invalid
from engine.sandbox.simulator.schema import DEDUCED, UNTYPED, Schema

Json = dict[str, Any]

_META = frozenset(("apiVersion", "kind", "metadata"))
_SMALLEST_INT64, _LARGEST_INT64 = -(2**63), 2**63 - 1

_FREE = Schema({"x-kubernetes-preserve-unknown-fields": True})


def pruned(
    schema: Schema, body: Json, known: Json | None = None, *, keep_nulls: bool = False
) -> tuple[Json, list[str]]:
    """Return the object less what its schema does not know, and the paths of that.

    Args:
        schema: of the type.
        body: what was sent.
        known: the object before; None: there is none.
        keep_nulls: keep nulls where there should be none, for validation to find: an apply's are not dropped.

    Raises:
        WrongType: when the metadata of the object or of an embedded one cannot be decoded.

    """
    notes = _Notes(keep_nulls)
    result: Json = _pruned(schema, body, known, "", notes)
    unknown = sorted(notes.unknown)
    if "metadata" in body:
        metadata, before = body["metadata"], (known or {}).get("metadata")
        strange: list[str] = []
        result = {**result, "metadata": _metadata(schema.fields["metadata"], metadata, before, "metadata", strange)}
        unknown = strange + unknown
    return result, unknown


def _metadata(schema: Schema, value: Any, known: Any, path: str, unknown: list[str]) -> Any:
    """Return the metadata as Go's struct has it."""
    try:
        result, strange = decode(schema, value, known)
    except Mismatch:
        raise WrongType(explained(schema, value)) from None
    if strange:
        unknown += [f"{path}.{one}" for one in unknown_fields(schema, value)]
    if result and result.get("managedFields") == []:
        return {key: item for key, item in result.items() if key != "managedFields"}
    return result


class _Notes:
    """What a walk is to do, and what it finds out beside the result."""

    __slots__ = ("keep_nulls", "unknown")

    def __init__(self, keep_nulls: bool) -> None:
        self.keep_nulls = keep_nulls
        self.unknown: list[str] = []


def _pruned(schema: Schema, value: Any, known: Any, path: str, notes: _Notes) -> Any:
    if value is known:
        return value
    if isinstance(value, dict):
        return _pruned_map(schema, value, known if isinstance(known, dict) else {}, path, notes)
    if isinstance(value, list):
        items = schema.items or (_FREE if schema.preserve_unknown else _NOTHING)
        before = known if isinstance(known, list) and len(known) == len(value) else [None] * len(value)
        result = [
            _pruned(items, item, old, f"{path}[{index}]", notes)
            for index, (item, old) in enumerate(zip(value, before, strict=True))
        ]
        return known if result and before is known and all(map(is_, result, before)) else result
    value = _number(value)
    return known if value == known and type(value) is type(known) else value


def _number(value: Any) -> Any:
    """Return a number as Go's JSON has it: int64 where that holds it, else float64; whole ones are written without point."""
    if type(value) is int and not _SMALLEST_INT64 <= value <= _LARGEST_INT64:
        return float(value)
    if type(value) is float and value.is_integer() and _SMALLEST_INT64 <= value <= _LARGEST_INT64:
        return int(value)
    return value


_NOTHING = Schema({"type": "object"})
"""What has no schema: its fields are all unknown."""


def _pruned_map(schema: Schema, value: Json, known: Json, path: str, notes: _Notes) -> Json:
    result = {}
    for key, item in value.items():
        old = known.get(key)
        below = f"{path}.{key}" if path else key
        if schema.embedded and key in _META:
            result[key] = _embedded(schema, key, item, old, below, notes.unknown) if path else item
            continue
        field = schema.fields.get(key) or schema.element
        if field is None or (field is DEDUCED and not _keeps_all(schema)):
            if schema.preserve_unknown:
                field = _FREE
            else:
                notes.unknown.append(below)
                continue
        if field in (DEDUCED, UNTYPED, _FREE):
            result[key] = _kept(item, old)
        elif notes.keep_nulls or not (item is None and not field.nullable and field.default is None):
            result[key] = _pruned(field, item, old, below, notes)
    same = len(result) == len(known) and all(item is known.get(key, _FREE) for key, item in result.items())
    return known if same and known else result


def _embedded(schema: Schema, key: str, value: Any, known: Any, path: str, unknown: list[str]) -> Any:
    """Return the apiVersion, kind or metadata of an object within the object."""
    if key == "metadata":
        return _metadata(schema.fields[key], value, known, path, unknown) if value is not None else None
    if not isinstance(value, str):
        raise WrongType(f"{path}: {invalid(path, value, 'must be a string').message}")
    return value


def _keeps_all(schema: Schema) -> bool:
    """Return whether a map takes anything because its definition says so, not for want of a definition."""
    return schema.preserve_unknown or schema.source.get("additionalProperties") is True


def _kept(value: Any, known: Any) -> Any:
    """Return a value of no known shape, its whole numbers written as such."""
    if value is known:
        return value
    if isinstance(value, dict):
        before = known if isinstance(known, dict) else {}
        return {key: _kept(item, before.get(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_kept(item, None) for item in value]
    return _number(value)


def defaulted(schema: Schema, value: Any) -> Any:
    """Return the object with the defaults of its schema; the same one if it lacks none."""
    if isinstance(value, dict):
        return _defaulted_map(schema, value)
    if isinstance(value, list) and schema.items is not None:
        items = schema.items
        result = [_defaulted_value(items, item) for item in value]
        return result if any(new is not old for new, old in zip(result, value, strict=True)) else value
    return value


def _defaulted_map(schema: Schema, value: Json) -> Json:
    result = value
    for key, field in schema.fields.items():
        if field.default is not None and (key not in value or (value[key] is None and not field.nullable)):
            result = {**result, key: field.default}
    for key, item in result.items():
        below = schema.fields.get(key) or schema.element
        if below is None or below is DEDUCED or (schema.embedded and key == "metadata"):
            continue
        after = _defaulted_value(below, item)
        if after is not item:
            result = {**result, key: after}
    return result


def _defaulted_value(schema: Schema, value: Any) -> Any:
    if value is None and not schema.nullable and schema.default is not None:
        value = schema.default
    return defaulted(schema, value)
