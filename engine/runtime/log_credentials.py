"""How we authenticate: by what is in the url, by a token, or by a NATS credentials file.

A credentials file holds a JWT that says who we are, and the nkey seed (Ed25519) that proves it. nats-py leaves the signing to
two more packages; `cryptography` is here already. The file is read at every connection, so a
rotated one is used without a restart.
"""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.runtime.ports import EventLogError

_BLOCK = re.compile(rb"-+BEGIN ([A-Z0-9 ]+)-+\s+(\S+)\s+-+END [A-Z0-9 ]+-+")
_PREFIX_BYTES = 2
_SEED_BYTES = 32
_CHECKSUM_BYTES = 2


class Credentials:
    """One credentials file.

    Raises:
        EventLogError: when it is missing, or not a credentials file. No message holds any of its contents.

    """

    def __init__(self, path: str) -> None:
        """Take the file at `path` and check it."""
        self._path = Path(path).expanduser()
        self.jwt()
        self.sign("")

    def jwt(self) -> bytearray:
        """Return the JWT."""
        return bytearray(self._block(b"NATS USER JWT"))

    def sign(self, nonce: str) -> bytes:
        """Return the signature of the broker's nonce, base64."""
        key = Ed25519PrivateKey.from_private_bytes(_seed(self._block(b"USER NKEY SEED"), self._path))
        return base64.b64encode(key.sign(nonce.encode()))

    def _block(self, name: bytes) -> bytes:
        try:
            blocks = dict(_BLOCK.findall(self._path.read_bytes()))
        except OSError as problem:
            raise EventLogError(f"credentials file {self._path}: {problem.strerror}") from problem
        if name not in blocks:
            raise EventLogError(f"credentials file {self._path}: has no block {name.decode()}")
        return bytes(blocks[name])


def _seed(text: bytes, path: Path) -> bytes:
    """Return the 32 bytes of an nkey seed: base32 of prefix, seed and CRC-16."""
    try:
        raw = base64.b32decode(text + b"=" * (-len(text) % 8))
    except binascii.Error:
        raw = b""
    if len(raw) != _PREFIX_BYTES + _SEED_BYTES + _CHECKSUM_BYTES:
        raise EventLogError(f"credentials file {path}: its seed is not an nkey seed")
    if binascii.crc_hqx(raw[:-_CHECKSUM_BYTES], 0) != int.from_bytes(raw[-_CHECKSUM_BYTES:], "little"):
        raise EventLogError(f"credentials file {path}: the checksum of its seed is wrong")
    return raw[_PREFIX_BYTES:-_CHECKSUM_BYTES]


def connect_options(url: str, *, token: str, credentials: str) -> tuple[list[str], dict[str, Any]]:
    """Return the servers without their secrets, and what authenticates."""
    servers: list[str] = []
    options: dict[str, Any] = {"token": token} if token else {}
    for entry in url.split(","):
        parts = urlsplit(entry.strip() if "://" in entry else f"nats://{entry.strip()}")
        if parts.username and parts.password:
            options = {"user": unquote(parts.username), "password": unquote(parts.password)}
        elif parts.username:
            options = {"token": unquote(parts.username)}
        servers.append(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
    if credentials:
        file = Credentials(credentials)
        options = {"user_jwt_cb": file.jwt, "signature_cb": file.sign}
    return servers, options
