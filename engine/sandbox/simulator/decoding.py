"""Bodies of built-in types as Go's decoder and encoder make them: the form in which the real server stores objects.

In: what a client sent, as JSON values, and the type's schema. Out: the object with unknown fields dropped, nulls and empty
optional values left out, required ones filled with zeros, quantities and times in canonical form; or the complaint about a
value of the wrong type. Defaults come later, from `builtin.defaults`. Custom resources are not Go structs: see `pruning`.

The result shares with the object before (`known`) every part that is equal, so that later steps can skip it. Where problems
are is found out by another, slow walk in `decoding_problems`, only when there are any.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from engine.sandbox.simulator import quantities
from engine.sandbox.simulator.go_time import GoTimeError, rfc3339, rfc3339_micro
from engine.sandbox.simulator.schema import GoField, Schema

Json = dict[str, Any]

_RANGES = {"int32": 2**31, "int64": 2**63}

_ABSENT: Any = object()
"""What a field becomes that is left out."""

_KEPT: Any = object()
"""What a field becomes that stays as it is."""


class Mismatch(Exception):
    """Raised for a value of the wrong type; `decoding_problems` finds out where it is."""


class Notes:
    """What the fast walk finds out beside the result."""

    __slots__ = ("unknown",)

    def __init__(self) -> None:
        self.unknown = False


def decode(schema: Schema, body: Any, known: Json | None = None) -> tuple[Json, bool]:
    """Return the object, and whether the body has fields that the schema has not.

    Args:
        schema: of the type.
        body: what was sent.
        known: the object before; None: there is none.

    Raises:
        Mismatch: when a value is not of its field's type.

    """
    notes = Notes()
    return _decode(schema, body, known, notes), notes.unknown


def stored(schema: Schema, obj: Json) -> Json:
    """Return an object as it comes back from storage.

    The server stores all but custom resource definitions as protocol buffers, which cannot tell empty from nothing. Only the
    fields of the object itself are looked at: further down, validation wants such lists to have something in them.
    """
    obj = shown(schema, obj)
    empty = [name for name in _struct_plan(schema).null_when_empty if obj.get(name) in ([], {})]
    return {**obj, **dict.fromkeys(empty)} if empty and not schema.definition.startswith("apiextensions") else obj


def shown(schema: Schema, obj: Json) -> Json:
    """Return an object without the empty maps that only validation tells from none at all."""
    told = _TOLD_FROM_NONE.get(schema.definition)
    return {name: value for name, value in obj.items() if name != told or value} if told else obj


def zero(schema: Schema) -> Any:
    """Return what Go has where nothing was said: an empty struct's JSON, an empty text, 0, false, or null."""
    if schema.go is not None:
        return dict(_struct_plan(schema).absent)
    return _ZEROS.get(kind_of(schema))


def _decode(schema: Schema, value: Any, known: Any, notes: Notes) -> Any:
    if value is known and value is not None:
        return value
    return DECODERS[kind_of(schema)](schema, value, known, notes)


def kind_of(schema: Schema) -> str:
    """Return which of `DECODERS` a schema needs."""
    plan = schema.plan
    if plan is None:
        plan = schema.plan = _Plan(schema)
    return str(plan.kind)


Decoder = Callable[[Schema, Any, Any, Notes], Any]


class _Plan:
    """What decoding works out once per schema.

    Attributes:
        kind: key of `DECODERS`.
        fields: of a struct: schema, decoder, and what an empty value becomes.
        absent: of a struct: what its fields are when they are not given, those left out excluded.
        null_when_empty: of a struct: lists and maps that are there even if they are empty, and then come back as null.
        complete: whether the last two are filled.

    """

    __slots__ = ("absent", "complete", "fields", "kind", "null_when_empty")

    def __init__(self, schema: Schema) -> None:
        self.kind = _kind_of(schema)
        self.fields: dict[str, tuple[Schema, Decoder, Any]] = {}
        self.absent: list[tuple[str, Any]] = []
        self.null_when_empty: list[str] = []
        self.complete = False


def _struct_plan(schema: Schema) -> _Plan:
    """Return the plan of a struct, complete."""
    plan = schema.plan
    if not isinstance(plan, _Plan):
        plan = schema.plan = _Plan(schema)
    if not plan.complete:
        plan.complete = True  # before the fields: a struct may contain itself, by way of pointers
        for name, field in schema.fields.items():
            go = (schema.go or {}).get(name, _PLAIN)
            kind = kind_of(field)
            told = name == _TOLD_FROM_NONE.get(schema.definition)
            plan.fields[name] = field, DECODERS[kind], _KEPT if told else _when_empty(name, kind, go)
            if kind in {"list", "map"} and not (go.pointer or go.omit_empty):
                plan.null_when_empty.append(name)
            absent = _when_absent(field, kind, go)
            if absent is not _ABSENT:
                plan.absent.append((name, absent))
    return plan


_PLAIN = GoField("", pointer=False, omit_empty=True, omit_zero=False)


def _when_empty(name: str, kind: str, go: GoField) -> Any:
    """Return what an empty text, list or map of a field becomes: left out, or kept."""
    if go.pointer or kind in _NEVER_EMPTY or name in _KEPT_EMPTY:
        return _KEPT
    if go.omit_empty:
        return _ABSENT
    return _KEPT


def _when_absent(schema: Schema, kind: str, go: GoField) -> Any:
    if go.pointer:
        return _ABSENT if go.omit_empty else None
    if kind in _NEVER_EMPTY:
        return _ABSENT if go.omit_zero else zero(schema)
    return _ABSENT if go.omit_empty else zero(schema)


def _kind_of(schema: Schema) -> str:
    if schema.go is not None:
        return "struct"
    if schema.name in NAMED_KINDS:
        return NAMED_KINDS[schema.name]
    if schema.type == "array":
        return "list"
    if schema.type == "object":
        return "map"
    if schema.type == "string":
        return "bytes" if schema.format == "byte" else "string"
    return {"boolean": "boolean", "integer": "integer", "number": "number"}.get(schema.type, "opaque")


def _struct(schema: Schema, value: Any, known: Any, notes: Notes) -> Any:
    if type(value) is not dict:
        if value is None:
            return zero(schema)
        raise Mismatch
    plan = _struct_plan(schema)
    fields = plan.fields
    before = known if type(known) is dict else {}
    result = {}
    for name, item in value.items():
        field = fields.get(name)
        if field is None:
            notes.unknown = True
        elif item is not None:
            below, decoder, when_empty = field
            old = before.get(name)
            after = old if item is old else decoder(below, item, old, notes)
            if after or when_empty is _KEPT:
                result[name] = after
    for name, absent in plan.absent:
        if name not in result:
            result[name] = absent
    return _shared(result, before)


def _shared(result: Json, before: Json) -> Json:
    """Return the object before if the new one has nothing but its parts."""
    if len(result) != len(before):
        return result
    for name, item in result.items():
        if item is not before.get(name, _ABSENT):
            return result
    return before


def _map(schema: Schema, value: Any, known: Any, notes: Notes) -> Any:
    if type(value) is not dict:
        if value is None:
            return None
        raise Mismatch
    element = schema.element
    if element is None:
        return value
    decoder = DECODERS[kind_of(element)]
    before = known if type(known) is dict else {}
    return _shared({name: decoder(element, item, before.get(name), notes) for name, item in value.items()}, before)


def _list(schema: Schema, value: Any, known: Any, notes: Notes) -> Any:
    if type(value) is not list:
        if value is None:
            return None
        raise Mismatch
    element = schema.items
    if element is None:
        return value
    decoder = DECODERS[kind_of(element)]
    before = known if type(known) is list else []
    known_items = before if len(before) == len(value) else [*before, *([None] * len(value))]
    result = [decoder(element, item, old, notes) for item, old in zip(value, known_items, strict=False)]
    if len(result) == len(before) and all(item is old for item, old in zip(result, before, strict=True)):
        return before
    return result


def _string(_: Schema, value: Any, known: Any, __: Notes) -> Any:
    if type(value) is str:
        return known if value == known else value
    if value is None:
        return ""
    raise Mismatch


def _boolean(_: Schema, value: Any, __: Any, ___: Notes) -> Any:
    if type(value) is bool:
        return value
    if value is None:
        return False
    raise Mismatch


def _integer(schema: Schema, value: Any, known: Any, _: Notes) -> Any:
    if value is None:
        return 0
    if type(value) is not int:
        raise Mismatch
    limit = _RANGES.get(schema.format, 2**63)
    if not -limit <= value < limit:
        raise Mismatch
    return known if value == known and type(known) is int else value


def _number(_: Schema, value: Any, __: Any, ___: Notes) -> Any:
    if type(value) in {int, float}:
        return value
    if value is None:
        return 0
    raise Mismatch


def _bytes(_: Schema, value: Any, known: Any, __: Notes) -> Any:
    if value is None:
        return ""
    if type(value) is not str:
        raise Mismatch
    if value == known:
        return known
    try:
        clean = value.replace("\n", "").replace("\r", "")
        base64.b64decode(clean, validate=True)
    except (binascii.Error, ValueError):
        raise Mismatch from None
    return clean


def _time(_: Schema, value: Any, known: Any, __: Notes) -> Any:
    if value is None or value == known:
        return known if value is not None else None
    try:
        return rfc3339(value)
    except GoTimeError:
        raise Mismatch from None


def _micro_time(_: Schema, value: Any, known: Any, __: Notes) -> Any:
    if value is None or value == known:
        return known if value is not None else None
    try:
        return rfc3339_micro(value)
    except GoTimeError:
        raise Mismatch from None


def _quantity(_: Schema, value: Any, known: Any, __: Notes) -> Any:
    if value is None:
        return "0"
    if type(value) is str and value == known:
        return known
    try:
        found = quantities.canonical_json(value)
    except quantities.InvalidQuantity:
        raise Mismatch from None
    return known if found == known else found


def _int_or_string(_: Schema, value: Any, known: Any, __: Notes) -> Any:
    if value is None:
        return 0
    if type(value) is str or (type(value) is int and -(2**31) <= value < 2**31):
        return known if value == known and type(value) is type(known) else value
    raise Mismatch


def _opaque(_: Schema, value: Any, known: Any, __: Notes) -> Any:
    return known if value == known else value


DECODERS: dict[str, Decoder] = {
    "struct": _struct,
    "map": _map,
    "list": _list,
    "string": _string,
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "bytes": _bytes,
    "time": _time,
    "micro-time": _micro_time,
    "quantity": _quantity,
    "int-or-string": _int_or_string,
    "opaque": _opaque,
}
NAMED_KINDS = {"Time": "time", "MicroTime": "micro-time", "Quantity": "quantity", "IntOrString": "int-or-string"}
NAMED_KINDS |= dict.fromkeys(("RawExtension", "FieldsV1", "JSON", "Duration"), "opaque")
NAMED_KINDS |= {f"JSONSchemaPropsOr{name}": "opaque" for name in ("Array", "Bool", "StringArray")}
_KEPT_EMPTY = {"managedFields"}
"""Fields whose emptiness says something: who sends no managers wants them all forgotten."""
_TOLD_FROM_NONE = {"api.core.v1.Secret": "data", "api.core.v1.ConfigMap": "binaryData"}
"""Maps of which validation says that they changed when an empty one is sent where there was none, for so does Go."""
_NEVER_EMPTY = {"struct", "time", "micro-time", "quantity", "int-or-string"}
_ZEROS = {"string": "", "boolean": False, "integer": 0, "number": 0, "quantity": "0", "int-or-string": 0}
