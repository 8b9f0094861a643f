"""Object bytes: what is taken out of an API server's object before it is published, and the hashes that stay.

Objects travel as the server's own bytes. Only their top level and their metadata are ever taken apart, by a JSON parser
and never by text search (SEC-10): values below are spliced through untouched. managedFields is about half of an object
and goes (W-30), but a hash of what each of our own field managers owns stays (DESIGN §5, §7). Secrets lose their values.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64decode
from binascii import Error as BinasciiError
from hashlib import blake2b
from typing import Any

import msgspec

from engine.core.sealing import Sealer
from schemas.names import ClusterId

MANAGER_PREFIX = "crosscurrent/"
"""Field managers of the engine are `crosscurrent/<reconciler>`."""
_OURS = re.compile(r"crosscurrent/[A-Za-z0-9._-]{1,100}")
"""Anyone may apply under any manager's name: one that could be mistaken for two entries of `managers` is no manager."""
MAX_OBJECT_BYTES = 8 * 1024 * 1024
"""Larger objects are not parsed (SEC-11). API servers accept requests up to 3 MiB, etcd about 1.5 MiB."""
MAX_DEPTH = 128
"""Objects nested deeper are published without their body (SEC-11): readers parse them with recursive decoders."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's annotation: a Secret's holds all of its values in the clear."""

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
    _check_size(body)
    managers = ""
    if b'"managedFields"' in body:
        top, metadata = _open(body)
        managed = metadata.pop("managedFields", None)
        if managed is not None:
            top["metadata"] = msgspec.Raw(_encoder.encode(metadata))
            body, managers = _encoder.encode(top), _managers(managed)
    _check_depth(body)
    return Stripped(body, managers)


class Redactor:
    """Takes the values out of Secrets, leaving keyed hashes: equal values stay recognisable, none can be guessed.

    Args:
        key: secret bytes, the same in every watcher of an installation; at least 16.
        sealed_for: identity of the cluster, if values are to be sealed instead, for reconcilers that copy them.

    Raises:
        ValueError: for a shorter key.

    """

    def __init__(self, key: bytes, *, sealed_for: ClusterId | None = None) -> None:
        if len(key) < 16:
            message = "the redaction key needs at least 16 bytes"
            raise ValueError(message)
        self._key = key
        self._identity = sealed_for or ClusterId("")
        self._sealer = Sealer(key) if sealed_for else None

    def strip(self, raw: bytes | msgspec.Raw) -> Stripped:
        """Return a Secret without managedFields, each value a hash `hmac:<16 hex digits>:<length class>`, or sealed (SEC-13).

        The length class is the smallest power of two that is not less than the value's length in bytes.

        Raises:
            ObjectRefused: when it is too large, too deep, or not understood; it must then not be published at all.

        """
        body = bytes(raw)
        _check_size(body)
        top, metadata = _open(body)
        managed = metadata.pop("managedFields", None)
        try:
            if "annotations" in metadata:
                metadata["annotations"] = self._annotations(metadata["annotations"])
            if "data" in top:
                top["data"] = self._sealed(top) if self._sealer else self._values(top["data"], encoded=True)
            if "stringData" in top:
                top["stringData"] = self._values(top["stringData"], encoded=False)
        except msgspec.DecodeError as error:
            message = "not understood as a Secret"
            raise ObjectRefused(message) from error
        top["metadata"] = msgspec.Raw(_encoder.encode(metadata))
        body = _encoder.encode(top)
        _check_depth(body)
        return Stripped(body, "" if managed is None else _managers(managed))

    def _sealed(self, top: dict[str, msgspec.Raw]) -> msgspec.Raw:
        assert self._sealer is not None  # noqa: S101 - asked for with one only
        place = _place.decode(top["metadata"])
        values = _strings.decode(top["data"]) or {}
        where = (self._identity, place.namespace, place.name)
        sealed = {key: self._sealer.seal(_decoded(value), *where) for key, value in values.items()}
        return msgspec.Raw(_encoder.encode(sealed))

    def hash(self, value: bytes) -> str:
        """Return what stands for a value."""
        digest = hmac.digest(self._key, value, "sha256").hex()[:16]
        length_class = 1 << (len(value) - 1).bit_length() if value else 0
        return f"hmac:{digest}:{length_class}"

    def _values(self, raw: msgspec.Raw, *, encoded: bool) -> msgspec.Raw:
        values = _strings.decode(raw) or {}
        hashed = {key: self.hash(_decoded(value) if encoded else value.encode()) for key, value in values.items()}
        return msgspec.Raw(_encoder.encode(hashed))

    def _annotations(self, raw: msgspec.Raw) -> msgspec.Raw:
        annotations = _strings.decode(raw) or {}
        if LAST_APPLIED in annotations:
            annotations[LAST_APPLIED] = self.hash(annotations[LAST_APPLIED].encode())
        return msgspec.Raw(_encoder.encode(annotations))


class _Place(msgspec.Struct):
    name: str
    namespace: str = ""


def _open(body: bytes) -> tuple[dict[str, msgspec.Raw], dict[str, msgspec.Raw]]:
    try:
        top = _members.decode(body)
        return top, _members.decode(top["metadata"])
    except (msgspec.DecodeError, KeyError, RecursionError) as error:
        message = "not an object with metadata"
        raise ObjectRefused(message) from error


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


def _decoded(value: str) -> bytes:
    try:
        return b64decode(value, validate=True)
    except BinasciiError:  # the server would have refused it; hash what is there
        return value.encode()


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
_place = msgspec.json.Decoder(_Place)
_strings = msgspec.json.Decoder(dict[str, str] | None)
