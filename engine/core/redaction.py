"""Secrets before they are published: their values are taken out, and keyed hashes or sealed values put there (SEC-13). Pure.

Equal values stay recognisable, and none can be guessed. What is not understood is not published at all.
"""

from __future__ import annotations

import hmac
from base64 import b64decode

import msgspec

from engine.core.objects import ObjectRefused, Stripped, closed, encoded, opened
from engine.core.sealing import Place, Sealer
from engine.core.secrecy import SECRETS
from schemas.federation_forms import APPLIED, HASHED
from schemas.names import ClusterId, Resource


class Redactor:
    """Takes the values out of Secrets.

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
        top, metadata = opened(bytes(raw))
        try:
            if "annotations" in metadata:
                metadata["annotations"] = self.annotations(metadata["annotations"])
            if "data" in top:
                place = self.place(SECRETS, top["metadata"])
                data = _strings.decode(top["data"]) or {}
                top["data"] = encoded({key: self.stand_in(decoded(value), place) for key, value in data.items()})
            if "stringData" in top:  # only ever written: no server shows it
                texts = _strings.decode(top["stringData"]) or {}
                top["stringData"] = encoded({key: self.hash(value.encode()) for key, value in texts.items()})
        except msgspec.DecodeError as error:
            message = "not understood as a Secret"
            raise ObjectRefused(message) from error
        return closed(top, metadata)

    def place(self, resource: Resource, metadata: msgspec.Raw) -> Place:
        """Return the place of an object of a type by its metadata.

        Raises:
            msgspec.DecodeError: when it names none.

        """
        named = _named.decode(metadata)
        return Place(self._identity, resource.group, resource.plural, named.namespace, named.name)

    def stand_in(self, value: bytes, place: Place) -> str:
        """Return what stands for a value of the object at a place: sealed, if reconcilers are to copy it, else its hash."""
        return self._sealer.seal(value, place) if self._sealer is not None else self.hash(value)

    def hash(self, value: bytes) -> str:
        """Return the hash of a value, which nobody can open."""
        digest = hmac.digest(self._key, value, "sha256").hex()[:16]
        length_class = 1 << (len(value) - 1).bit_length() if value else 0
        return f"{HASHED}{digest}:{length_class}"

    def annotations(self, raw: msgspec.Raw) -> msgspec.Raw:
        """Return an object's annotations, with hashes in the place of what kubectl and others like it applied.

        Raises:
            msgspec.DecodeError: when they are no texts.

        """
        annotations = _strings.decode(raw) or {}
        return encoded({key: self.hash(note.encode()) if key in APPLIED else note for key, note in annotations.items()})


def decoded(value: str) -> bytes:
    """Return the bytes of base64; what is none the server would have refused, and stands for itself."""
    try:
        return b64decode(value, validate=True)
    except ValueError:
        return value.encode()


class _Named(msgspec.Struct):
    name: str
    namespace: str = ""


_named = msgspec.json.Decoder(_Named)
_strings = msgspec.json.Decoder(dict[str, str] | None)
