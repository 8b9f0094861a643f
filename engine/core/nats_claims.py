"""NATS JWTs (decentralised authentication): what the broker reads to know who may do what. Pure.

An operator signs accounts, an account signs users, each with its nkey. A user's JWT names its public key, its permissions and
its end; who shows it proves the private key by signing the broker's nonce. So a hub gives out a credential by signing what a
member sends, and no private key travels. The form is that of github.com/nats-io/jwt, version 2.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from engine.core.nkeys import KeyPair

Claims = dict[str, Any]

UNLIMITED = -1
_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
_NS = 1_000_000_000


class Permissions(msgspec.Struct, frozen=True, kw_only=True):
    """What a user may do. Subjects, wildcards allowed; whatever is not listed is refused."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    reply_seconds: float = 0.0
    """For so long after a message that asks for an answer one may be published to where it asks; 0: never."""


def operator(key: KeyPair, *, system_account: str, issued_at: int) -> str:
    """Return the JWT of an operator, signed by itself."""
    body = {"system_account": system_account, "type": "operator", "version": 2}
    return _signed(key, key.public, "crosscurrent", body, issued_at, 0)


def account(
    signer: KeyPair,
    public: str,
    name: str,
    *,
    issued_at: int,
    connections: int = UNLIMITED,
    payload: int = UNLIMITED,
    streams: bool = False,
    exports: Sequence[Claims] = (),
    imports: Sequence[Claims] = (),
) -> str:
    """Return the JWT of an account.

    Args:
        signer: the operator.
        public: the account's key.
        name: for listings.
        issued_at: seconds since the epoch.
        connections: at once.
        payload: bytes of a message.
        streams: whether it may have JetStream.
        exports: what others may use, see `service`.
        imports: what it uses of others, see `service`.

    """
    storage = UNLIMITED if streams else 0
    limits = {
        "subs": UNLIMITED,
        "data": UNLIMITED,
        "payload": payload,
        "imports": UNLIMITED,
        "exports": UNLIMITED,
        "wildcards": True,
        "conn": connections,
        "leaf": 0,
        **dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), storage),
    }
    body: Claims = {"limits": limits, "type": "account", "version": 2}
    body |= {"exports": [*exports]} if exports else {}
    body |= {"imports": [*imports]} if imports else {}
    return _signed(signer, public, name, body, issued_at, 0)


def service(name: str, subject: str, *, of: str = "") -> Claims:
    """Return an export of a request subject, or, with the account that it is `of`, an import."""
    return {"name": name, "subject": subject, "type": "service", **({"account": of} if of else {})}


def user(
    signer: KeyPair,
    public: str,
    name: str,
    permissions: Permissions | None,
    *,
    issued_at: int,
    expires_at: int = 0,
    bearer: bool = False,
) -> str:
    """Return the JWT of a user.

    Args:
        signer: the account's key.
        public: the user's key.
        name: for listings.
        permissions: None: everything within the account.
        issued_at: seconds since the epoch.
        expires_at: the same; the broker ends the connection then. 0: never.
        bearer: whoever shows the JWT is the user, without a private key.

    """
    body: Claims = {"subs": UNLIMITED, "data": UNLIMITED, "payload": UNLIMITED, "type": "user", "version": 2}
    if permissions is not None:
        body["pub"] = {"allow": [*permissions.publish]}
        body["sub"] = {"allow": [*permissions.subscribe]}
        if permissions.reply_seconds:
            body["resp"] = {"max": 1, "ttl": round(permissions.reply_seconds * _NS)}
    if bearer:
        body["bearer_token"] = True
    return _signed(signer, public, name, body, issued_at, expires_at)


def _signed(signer: KeyPair, subject: str, name: str, body: Claims, issued_at: int, expires_at: int) -> str:
    claims: Claims = {"iat": issued_at, "iss": signer.public, "name": name, "sub": subject, "nats": body}
    if expires_at:
        claims["exp"] = expires_at
    claims["jti"] = base64.b32encode(hashlib.sha256(msgspec.json.encode(claims)).digest()).decode().rstrip("=")
    text = b"%b.%b" % (_url64(msgspec.json.encode(_HEADER)), _url64(msgspec.json.encode(claims)))
    return f"{text.decode()}.{_url64(signer.sign(text)).decode()}"


def _url64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
