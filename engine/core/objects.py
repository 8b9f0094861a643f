"""Object bytes: what is taken out of an API server's object before it is published, and the hashes that stay.

Objects travel as the server's own bytes. Only their top level and their metadata are ever taken apart, by a JSON parser
and never by text search (SEC-10): values below are spliced through untouched. managedFields is about half of an object
and goes (W-30), but a hash of what each of our own field managers owns stays (DESIGN §5, §7). What may hold values of Secrets
goes through `engine/core/redaction.py` instead.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any

import msgspec

MANAGER_PREFIX = "crosscurrent/"
"""Field managers of the engine are `crosscurrent/<reconciler>`."""
_OURS = re.compile(r"crosscurrent/[A-Za-z0-9._-]{1,100}")
"""Anyone may apply under any manager's name: one that could be mistaken for two entries of `managers` is no manager."""
MAX_OBJECT_BYTES = 8 * 1024 * 1024
"""Larger objects are not parsed (SEC-11). API servers accept requests up to 3 MiB, etcd about 1.5 MiB."""
MAX_DEPTH = 128
"""Objects nested deeper are published without their body (SEC-11): readers parse them with recursive decoders."""

NULL = b"null"
"""The `data` of a fact whose object is not known or must not be published."""


class Stripped(msgspec.Struct, frozen=True, gc=False):
    """An object ready to publish."""

    data: bytes
    """The object's JSON without managedFields."""
    managers: str = ""
    """`manager=hash` or `manager:subresource=hash`, sorted, space separated: the engine's own field managers."""


class ObjectRefused(ValueError):
    """Raised when an object cannot be published as it is; the message says why and holds nothing of its content."""


def fields_hashes(managed_fields: list[dict[str, Any]]) -> dict[str, str]:
    """Return the hash of the fields that each of the engine's managers owns by server-side apply.

    Args:
        managed_fields: `metadata.managedFields`, decoded.

    Returns:
        `crosscurrent/<reconciler>`, or `crosscurrent/<reconciler>:<subresource>`, to 16 hex digits.

    """
    hashes = {}
    for entry in managed_fields:
        manager = entry.get("manager", "")
        if entry.get("operation") != "Apply" or not _OURS.fullmatch(manager):
            continue
        subresource = entry.get("subresource", "")
        name = f"{manager}:{subresource}" if subresource else manager
        hashes[name] = _digest(entry.get("fieldsV1"))
    return hashes


def fields_hash(raw_fields_v1: bytes) -> str:
    """Return the hash of one fieldsV1, whatever the order of its keys: 16 hex digits.

    Raises:
        msgspec.DecodeError: when it is not JSON.

    """
    return _digest(msgspec.json.decode(raw_fields_v1))


def strip(raw: bytes | msgspec.Raw) -> Stripped:
    """Return an object without `metadata.managedFields`, and the hashes of the engine's managers (W-30).

    Raises:
        ObjectRefused: when it is too large, too deep, or not an object with metadata.

    """
    body = bytes(raw)
    if b'"managedFields"' in body:
        top, metadata = opened(body)
        if "managedFields" in metadata:
            return closed(top, metadata)
    _check_size(body)
    _check_depth(body)
    return Stripped(body)


def opened(body: bytes) -> tuple[dict[str, msgspec.Raw], dict[str, msgspec.Raw]]:
    """Return the members of an object, and those of its metadata.

    Raises:
        ObjectRefused: when it is too large, or no object with metadata.

    """
    _check_size(body)
    try:
        top = _members.decode(body)
        return top, _members.decode(top["metadata"])
    except (msgspec.DecodeError, KeyError, RecursionError) as error:
        message = "not an object with metadata"
        raise ObjectRefused(message) from error


def encoded(value: object) -> msgspec.Raw:
    """Return the JSON of a part of an object."""
    return msgspec.Raw(_encoder.encode(value))


def closed(top: dict[str, msgspec.Raw], metadata: dict[str, msgspec.Raw]) -> Stripped:
    """Return an object that was taken apart by `opened`, without managedFields, and the hashes of the engine's managers.

    Raises:
        ObjectRefused: when it is too deep, or managedFields are not understood.

    """
    managed = metadata.pop("managedFields", None)
    body = _encoder.encode({**top, "metadata": encoded(metadata)})
    _check_depth(body)
    return Stripped(body, "" if managed is None else _managers(managed))


def _managers(managed: msgspec.Raw) -> str:
    # Nearly no object of a cluster is ours, and managedFields is long: look for our prefix before parsing it.
    if _PREFIX not in bytes(managed):
        return ""
    try:
        hashes = fields_hashes(msgspec.json.decode(managed))
    except (msgspec.DecodeError, RecursionError) as error:
        message = "managedFields are not understood"
        raise ObjectRefused(message) from error
    return " ".join(f"{name}={digest}" for name, digest in sorted(hashes.items()))


def _digest(fields: Any) -> str:
    return blake2b(_canonical.encode(fields), digest_size=8).hexdigest()


def _check_size(body: bytes) -> None:
    if len(body) > MAX_OBJECT_BYTES:
        message = f"{len(body)} bytes are more than {MAX_OBJECT_BYTES}"
        raise ObjectRefused(message)


def _check_depth(body: bytes) -> None:
    # No value is nested deeper than it has brackets: most objects need no more than this look.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _deeper_than(body, MAX_DEPTH):
        message = f"nested deeper than {MAX_DEPTH}"
        raise ObjectRefused(message)


def _deeper_than(body: bytes, limit: int) -> bool:
    """Return whether a valid JSON text is nested deeper than `limit`, without recursion and in a few passes of C."""
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    brackets = b"".join(plain.split(b'"')[::2]).translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(limit):
        if not brackets:
            return False
        # Every pass takes the innermost level away.
        brackets = brackets.replace(b"{}", b"")
    return bool(brackets)


_PREFIX = f'"{MANAGER_PREFIX}'.encode()
_ONE_KIND = bytes.maketrans(b"[]", b"{}")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"{}[]")
_encoder = msgspec.json.Encoder()
_canonical = msgspec.json.Encoder(order="sorted")
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
