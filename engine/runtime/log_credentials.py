"""How we authenticate: by what is in the url, by a token, or by a NATS credentials file.

A credentials file holds a JWT that says who we are, and the nkey seed (Ed25519) that proves it. nats-py leaves the signing to
two more packages; `cryptography` is here already. The file is read at every connection, so a
rotated one is used without a restart.
"""

from __future__ import annotations

import base64
import re
import ssl
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import msgspec

from engine.core.nkeys import KeyPair, NotAKey
from engine.runtime.ports import EventLogError

_BLOCK = re.compile(rb"-+BEGIN ([A-Z0-9 ]+)-+\s+(\S+)\s+-+END [A-Z0-9 ]+-+")


class Signer(Protocol):
    """A credential: asked at every connection, so a renewed one is used without a restart."""

    def jwt(self) -> bytearray:
        """Return the JWT that says who we are."""

    def sign(self, nonce: str) -> bytes:
        """Return the signature of the broker's nonce, base64."""


class Tls(msgspec.Struct, frozen=True):
    """How a broker is known. TLS then comes before anything is said, so nobody in between can talk us out of it (SEC-19)."""

    authority: str = ""
    """Path of the certificates that signed the broker's, PEM; empty: those that every machine trusts."""
    server_name: str = ""
    """Name in the broker's certificate; empty: that of the url."""


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
        try:
            key = KeyPair.read(self._block(b"USER NKEY SEED").decode())
        except NotAKey as problem:
            raise EventLogError(f"credentials file {self._path}: its nkey seed cannot be used: {problem}") from problem
        return base64.b64encode(key.sign(nonce.encode()))

    def _block(self, name: bytes) -> bytes:
        try:
            blocks = dict(_BLOCK.findall(self._path.read_bytes()))
        except OSError as problem:
            raise EventLogError(f"credentials file {self._path}: {problem.strerror}") from problem
        if name not in blocks:
            raise EventLogError(f"credentials file {self._path}: has no block {name.decode()}")
        return bytes(blocks[name])


def connect_options(
    url: str, *, token: str, credentials: str | Signer, tls: Tls | None = None
) -> tuple[list[str], dict[str, Any]]:
    """Return the servers without their secrets, and what authenticates us and them.

    Raises:
        EventLogError: when a credential or an authority cannot be used.

    """
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
        signer = Credentials(credentials) if isinstance(credentials, str) else credentials
        options = {"user_jwt_cb": signer.jwt, "signature_cb": signer.sign}
    return servers, options | (_tls_options(tls) if tls is not None else {})


def _tls_options(tls: Tls) -> dict[str, Any]:
    try:
        context = ssl.create_default_context(cafile=tls.authority or None)
    except OSError as problem:  # SSLError is one
        raise EventLogError(f"{tls.authority}: no certificates to know the broker by: {problem}") from problem
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    named = {"tls_hostname": tls.server_name} if tls.server_name else {}
    return {"tls": context, "tls_handshake_first": True, **named}
