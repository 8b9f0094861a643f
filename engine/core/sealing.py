"""Sealed values: what a reconciler copies from one Secret to another travels the streams encrypted (SEC-13). Pure.

AES-SIV (RFC 5297) with a 512-bit key that watchers and workers share. It is deterministic, on purpose: a value that is read
again has the same sealed form, so that it means no change; and no nonce can be used twice. The place of the object that holds
it, its type and its cluster's identity included, is authenticated with it: a sealed value can only be opened as coming from
where it was. Values are padded to the next power of two, which is as much as their hashes say of their length.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from binascii import Error as BinasciiError
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from engine.core.secrecy import is_secret
from schemas.federation_forms import SEALED
from schemas.names import ClusterId, ObjectRef

_PURPOSE = b"crosscurrent sealed Secret values v1"
_END = b"\x80"


class NotSealed(ValueError):
    """Raised when a value is not what was sealed at that place; the message holds nothing of it."""


class Place(NamedTuple):
    """Where a value is: an object of a cluster."""

    identity: ClusterId
    group: str
    resource: str
    namespace: str
    name: str

    @classmethod
    def of(cls, identity: ClusterId, ref: ObjectRef) -> Place:
        """Return the place of an object in a cluster of this identity."""
        return cls(identity, ref.group, ref.resource, ref.namespace, ref.name)

    def authenticated(self) -> list[bytes]:
        """Return what is sealed together with a value. For Secrets it is without a type, as it always was."""
        parts = [self.identity, self.namespace, self.name]
        if not is_secret(self.group, self.resource):
            parts.append(f"{self.group}/{self.resource}")
        return [part.encode() for part in parts]


class Sealer:
    """Seals and opens values.

    Args:
        key: the installation's redaction key, from which the one for sealing is derived.

    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESSIV(hmac.digest(key, _PURPOSE, "sha512"))

    def seal(self, value: bytes, place: Place) -> str:
        """Return the sealed form of a value of the object at a place."""
        padded = value + _END
        padded += bytes((1 << (len(padded) - 1).bit_length()) - len(padded))
        return SEALED + b64encode(self._cipher.encrypt(padded, place.authenticated())).decode()

    def open(self, text: object, place: Place) -> bytes:
        """Return the value that was sealed.

        Raises:
            NotSealed: when it was not sealed, elsewhere, or with another key.

        """
        if not isinstance(text, str) or not text.startswith(SEALED):
            message = "its values were recorded before anybody was to copy them: write it once more"
            raise NotSealed(message)
        try:
            padded = self._cipher.decrypt(b64decode(text[len(SEALED) :], validate=True), place.authenticated())
        except (InvalidTag, BinasciiError, ValueError):
            message = "a value was sealed elsewhere, or with another key"
            raise NotSealed(message) from None
        return padded.rstrip(b"\x00")[: -len(_END)]
