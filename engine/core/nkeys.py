"""NATS keys: Ed25519 pairs in their text form, base32 of a prefix that says whose they are, the key, and a CRC-16. Pure."""

from __future__ import annotations

import base64
import binascii
from enum import IntEnum

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SEED_BYTES = 32
_SEED_PREFIX = 18 << 3
"""Makes the text begin with S."""
_CHECKSUM_BYTES = 2


class Role(IntEnum):
    """Whose key it is; the number makes the text of a public key begin with its letter."""

    OPERATOR = 14 << 3
    ACCOUNT = 0
    USER = 20 << 3


class NotAKey(ValueError):
    """Raised for text that is not a key of the kind that was wanted; the message holds nothing of it."""


class KeyPair:
    """A private key. It prints as its public half.

    Args:
        role: whose.
        seed: 32 random bytes.

    """

    def __init__(self, role: Role, seed: bytes) -> None:
        self.role, self._seed = role, seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = _text(bytes([role]), self._key.public_key().public_bytes_raw())

    @classmethod
    def read(cls, text: str) -> KeyPair:
        """Read the text form of a private key.

        Raises:
            NotAKey: when it is none.

        """
        raw = _bytes(text, "a seed", prefix=2)
        if raw[0] & 0xF8 != _SEED_PREFIX:
            message = "not a seed"
            raise NotAKey(message)
        return cls(_role((raw[0] & 7) << 5 | raw[1] >> 3), raw[2:])

    @property
    def text(self) -> str:
        """The private key's text form: a secret."""
        return _text(bytes([_SEED_PREFIX | self.role >> 5, (self.role & 31) << 3]), self._seed)

    def sign(self, data: bytes) -> bytes:
        """Return the signature of some bytes."""
        return self._key.sign(data)

    def __repr__(self) -> str:
        return f"KeyPair({self.public})"


def check_public(text: str, role: Role) -> None:
    """Check that text is the public key of a role.

    Raises:
        NotAKey: when it is not.

    """
    raw = _bytes(text, "a public key", prefix=1)
    if raw[0] != role:
        message = f"not the public key of {role.name.lower()}"
        raise NotAKey(message)


def _role(number: int) -> Role:
    try:
        return Role(number)
    except ValueError:
        message = "a key of no role that we know"
        raise NotAKey(message) from None


def _text(prefix: bytes, key: bytes) -> str:
    raw = prefix + key
    checksum = binascii.crc_hqx(raw, 0).to_bytes(_CHECKSUM_BYTES, "little")
    return base64.b32encode(raw + checksum).decode().rstrip("=")


def _bytes(text: str, what: str, *, prefix: int) -> bytes:
    """Return prefix and key."""
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != prefix + SEED_BYTES + _CHECKSUM_BYTES:
        message = f"not {what}"
        raise NotAKey(message)
    raw, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    if binascii.crc_hqx(raw, 0) != int.from_bytes(checksum, "little"):
        message = f"the checksum of {what} is wrong"
        raise NotAKey(message)
    return raw
