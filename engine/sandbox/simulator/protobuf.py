"""Request bodies in protobuf, as Go clients send built-in types: decoded to what their JSON would be.

In: the envelope of four magic bytes and a `runtime.Unknown`. Out: an object. Field numbers come from Go's struct tags
(`builtin.protobuf_source`); there is no generated code. Nothing is ever answered in protobuf: clients that send it take
JSON as well.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
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
_NUMBERS: Final = {"int", "bool"}
"""Kinds that are numbers on the wire; all others are bytes."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
"""Of the years 1 to 9999."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Json = dict[str, Any]


class UnknownMessage(ValueError):
    """Raised when a body is of a kind whose fields are not known, or is not protobuf at all."""


class _Malformed(Exception):
    """Raised when bytes are not what their message says."""


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
    except (_Malformed, IndexError, struct.error, UnicodeDecodeError, msgspec.DecodeError) as error:
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
            version_text, kind_text = _scalars(value, b"", b"")
            api_version, kind = version_text.decode(), kind_text.decode()
        elif number == 2:
            raw = _bytes(value)
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
        found.update(_message(kind, _bytes(raw)))
        return
    if "{" in flags:
        key, value = _entry(kind, raw, in_list="[" in flags)
        found.setdefault(name, {})[key] = value
    elif "[" in flags:
        items = found.setdefault(name, [])
        items.extend(_packed(raw) if kind == "int" and isinstance(raw, bytes) else [_value(kind, raw)])
    else:
        value = _value(kind, raw)
        if value is None or ("?" in flags and "*" not in flags and value in ("", 0, False, "0", [])):
            return
        found[name] = value


def _entry(kind: str, raw: bytes, *, in_list: bool) -> tuple[str, Any]:
    """Return key and value of one entry of a map; a list as value comes as a message with its items."""
    key, value = _scalars(raw, b"", 0 if kind in _NUMBERS else b"")
    if in_list:
        return key.decode(), [_value(kind, item) for _, item in _fields(value)]
    return key.decode(), _value(kind, value)


def _value(kind: str, raw: Any) -> Any:
    if isinstance(raw, int) is not (kind in _NUMBERS):
        raise _Malformed("wrong wireType")
    special = _SPECIAL.get(kind)
    return special(raw) if special else _message(kind, raw)


def _scalars(raw: Any, *defaults: Any) -> list[Any]:
    """Return the fields of a small message, numbered from one, each of the type of its default."""
    found = list(defaults)
    for number, value in _fields(_bytes(raw)):
        if number <= len(defaults):
            if type(value) is not type(defaults[number - 1]):
                raise _Malformed("wrong wireType")
            found[number - 1] = value
    return found


def _bytes(raw: Any) -> bytes:
    if not isinstance(raw, bytes):
        raise _Malformed("wrong wireType")
    return raw


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
                raise _Malformed("unexpected EOF")
            position += length
        elif wire == _FIXED64:
            value, position = data[position : position + 8], position + 8
        elif wire == _FIXED32:
            value, position = data[position : position + 4], position + 4
        else:
            raise _Malformed(f"illegal wire type {wire}")
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
            raise _Malformed("integer overflow")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _time(raw: bytes, *, micro: bool = False) -> str | None:
    seconds, nanos = _scalars(raw, 0, 0)
    seconds = _signed(seconds)
    if not raw or not (seconds or nanos):
        return None  # Go's zero time, which is null in JSON
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        raise _Malformed(f"time {seconds} is out of range")
    moment = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{nanos // 1000:06d}Z" if micro else f"{moment}Z"


def _micro_time(raw: bytes) -> str | None:
    return _time(raw, micro=True)


def _int_or_string(raw: bytes) -> int | str:
    is_text, number, text = _scalars(raw, 0, 0, b"")
    return str(text.decode()) if is_text else _signed(number)


def _json(raw: bytes) -> Any:
    (text,) = _scalars(raw, b"")
    return msgspec.json.decode(text) if text else None


def _quantity(raw: bytes) -> str:
    (text,) = _scalars(raw, b"")
    return text.decode() or "0"


def _duration(raw: bytes) -> str:
    (nanos,) = _scalars(raw, 0)
    return f"{_signed(nanos) / 1e9:g}s"


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
