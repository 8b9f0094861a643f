"""Request bodies in protobuf, as Go clients send built-in types: decoded to what their JSON would be.

In: the envelope of four magic bytes and a `runtime.Unknown`. Out: an object. Field numbers come from Go's struct tags
(`builtin.protobuf_source`); there is no generated code. Nothing is ever answered in protobuf: clients that send it take
JSON as well.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import msgspec

from engine.sandbox.simulator.builtin.data import data
from engine.sandbox.simulator.builtin.protobuf_data import Field, messages

_MAGIC: Final = b"k8s\0"
_EXTRA_KINDS: Final = {
    ("v1", "Binding"): "api.core.v1.Binding",
    ("v1", "DeleteOptions"): "apimachinery.pkg.apis.meta.v1.DeleteOptions",
    ("meta.k8s.io/v1", "DeleteOptions"): "apimachinery.pkg.apis.meta.v1.DeleteOptions",
    ("authentication.k8s.io/v1", "TokenRequest"): "api.authentication.v1.TokenRequest",
    ("autoscaling/v1", "Scale"): "api.autoscaling.v1.Scale",
    ("policy/v1", "Eviction"): "api.policy.v1.Eviction",
}
"""Bodies of subresources and deletes, which are no served types."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Json = dict[str, Any]


class UnknownMessage(ValueError):
    """Raised when a body is of a kind whose fields are not known, or is not protobuf at all."""


def decode(body: bytes) -> Json:
    """Return the object in a body.

    Raises:
        UnknownMessage: when it cannot be decoded.

    """
    if not body.startswith(_MAGIC):
        raise UnknownMessage("provided data does not appear to be a protobuf message, expected prefix k8s")
    try:
        api_version, kind, raw = _envelope(body[len(_MAGIC) :])
        name = _names().get((api_version, kind))
        if name is None or name not in messages():
            raise UnknownMessage(f'no kind "{kind}" is registered for version "{api_version}"')
        return {"kind": kind, "apiVersion": api_version, **_message(name, raw)}
    except (IndexError, struct.error, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise UnknownMessage(f"proto: {error}") from error


@cache
def _names() -> dict[tuple[str, str], str]:
    """Return the message of each apiVersion and kind."""
    found = dict(_EXTRA_KINDS)
    for one in data()["types"]:
        group_version = f"{one['group']}/{one['version']}" if one["group"] else one["version"]
        found[group_version, one["kind"]] = one["schema"]
    return found


def _envelope(data: bytes) -> tuple[str, str, bytes]:
    api_version, kind, raw = "", "", b""
    for number, value in _fields(data):
        if number == 1:
            meta = {inner: text.decode() for inner, text in _fields(value)}
            api_version, kind = meta.get(1, ""), meta.get(2, "")
        elif number == 2:
            raw = value
    return api_version, kind, raw


def _message(name: str, body: bytes) -> Json:
    known = messages()[name]
    found: Json = {}
    for number, raw in _fields(body):
        field = known.get(number)
        if field is not None:
            _put(found, field, raw)
    return found


def _put(found: Json, field: Field, raw: Any) -> None:
    """Add one field's value to the object that it belongs to."""
    name, kind, flags = field
    if not name:  # its fields belong to the message around it
        found.update(_value(kind, raw))
        return
    if "{" in flags:
        key, value = _entry(kind, raw, in_list="[" in flags)
        found.setdefault(name, {})[key] = value
    elif "[" in flags:
        items = found.setdefault(name, [])
        items += _packed(raw) if kind == "int" and isinstance(raw, bytes) else [_value(kind, raw)]
    else:
        value = _value(kind, raw)
        if value is None or ("?" in flags and "*" not in flags and value in ("", 0, False, "0", [])):
            return
        found[name] = value


def _entry(kind: str, raw: bytes, *, in_list: bool) -> tuple[str, Any]:
    """Return key and value of one entry of a map; a list as value comes as a message with its items."""
    key, value = "", b"" if kind not in {"int", "bool"} else 0
    for number, inner in _fields(raw):
        if number == 1:
            key = inner.decode()
        else:
            value = inner
    if in_list:
        return key, [_value(kind, item) for _, item in _fields(value)]  # type: ignore[arg-type]
    return key, _value(kind, value)


def _value(kind: str, raw: Any) -> Any:
    special = _SPECIAL.get(kind)
    return special(raw) if special else _message(kind, raw)


def _packed(raw: bytes) -> list[int]:
    values, position = [], 0
    while position < len(raw):
        value, position = _varint(raw, position)
        values.append(_signed(value))
    return values


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Return numbers and raw values of a message's fields, in order: numbers, or bytes."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value: Any
            value, position = _varint(data, position)
        elif wire == _BYTES:
            length, position = _varint(data, position)
            value = data[position : position + length]
            if len(value) != length:
                raise IndexError("unexpected EOF")
            position += length
        elif wire == _FIXED64:
            value, position = data[position : position + 8], position + 8
        elif wire == _FIXED32:
            value, position = data[position : position + 4], position + 4
        else:
            raise IndexError(f"illegal wire type {wire}")
        yield number, value


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise IndexError("integer overflow")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _time(raw: bytes, *, micro: bool = False) -> str | None:
    parts = dict(_fields(raw))
    seconds, nanos = _signed(parts.get(1, 0)), parts.get(2, 0)
    if (not seconds and not nanos) or not raw:
        return None  # Go's zero time, which is null in JSON
    moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{nanos // 1000:06d}Z" if micro else f"{moment}Z"


def _micro_time(raw: bytes) -> str | None:
    return _time(raw, micro=True)


def _int_or_string(raw: bytes) -> int | str:
    parts = dict(_fields(raw))
    return parts.get(3, b"").decode() if parts.get(1) else _signed(parts.get(2, 0))


def _json(raw: bytes) -> Any:
    text = dict(_fields(raw)).get(1, b"")
    return msgspec.json.decode(text) if text else None


def _quantity(raw: bytes) -> str:
    text = dict(_fields(raw)).get(1, b"").decode()
    return text or "0"


def _duration(raw: bytes) -> str:
    nanos = _signed(dict(_fields(raw)).get(1, 0))
    return f"{nanos / 1e9:g}s"


_SPECIAL: Final[dict[str, Any]] = {
    "string": lambda raw: raw.decode(),
    "bytes": lambda raw: base64.b64encode(raw).decode(),
    "bool": bool,
    "int": _signed,
    "double": lambda raw: struct.unpack("<d", raw)[0],
    "quantity": _quantity,
    "time": _time,
    "microtime": _micro_time,
    "duration": _duration,
    "intorstring": _int_or_string,
    "json": _json,
}
"""Kinds that are not messages of named fields."""
