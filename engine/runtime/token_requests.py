"""Bound ServiceAccount tokens from an API server (TokenRequest). No log, exception or repr holds one (SEC-24)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.core.api_errors import Status
from engine.core.importing import MAX_SECONDS, SERVICE_ACCOUNTS
from engine.runtime import api_calls
from engine.runtime.ports import ClusterApi
from schemas.actions import Json


class Token(msgspec.Struct, frozen=True):
    """A token and its life in seconds, by the server's clock."""

    text: str
    seconds: int

    def __repr__(self) -> str:
        return f"Token(..., {self.seconds})"


class _Spec(msgspec.Struct, rename="camel"):
    expiration_seconds: int


class _Status(msgspec.Struct):
    token: str

    def __repr__(self) -> str:
        return "_Status(...)"


class _TokenRequest(msgspec.Struct, tag_field="kind", tag="TokenRequest"):
    spec: _Spec
    status: _Status


_token_requests = msgspec.json.Decoder(_TokenRequest)


async def request_token(
    api: ClusterApi, namespace: str, name: str, *, seconds: int, audiences: Sequence[str] = (), timeout: float
) -> Token | Status | None:
    """Ask for a token of an account.

    Returns:
        The token; why there is none; None where the answer is no token of at most an hour.

    """
    spec: Json = {"expirationSeconds": seconds}
    if audiences:
        spec["audiences"] = list(audiences)
    answer = await api_calls.call(
        api,
        "POST",
        api_calls.object_path(SERVICE_ACCOUNTS, namespace, name, "token"),
        _token_requests,
        timeout=timeout,
        body={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
    )
    if isinstance(answer, Status):
        return answer
    token, life = answer.status.token, answer.spec.expiration_seconds
    if not token or not token.isascii() or not token.isprintable() or not 0 < life <= MAX_SECONDS:
        return None
    return Token(token, life)
