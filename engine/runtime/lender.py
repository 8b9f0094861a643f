"""The agent's side of `push`: a short-lived token of one ServiceAccount of the member, for the hub. Kept nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from engine.core.api_errors import Status
from engine.core.importing import MAX_SECONDS
from engine.runtime.kubeconfig import Context
from engine.runtime.ports import ClusterApi
from engine.runtime.token_issuer import read_endpoint
from engine.runtime.token_requests import request_token
from schemas.members import Lent

REQUEST_SECONDS = 4.0
"""The hub waits five."""


class Lender:
    """Lends tokens.

    Args:
        api: the member's API server.
        context: how the agent reaches it; called in a thread.
        server: URL by which the hub reaches it; empty: the hub is lent nothing.
        account: namespace and name of the ServiceAccount.

    """

    def __init__(self, api: ClusterApi, context: Callable[[], Context], server: str, account: tuple[str, str]) -> None:
        self._api, self._context, self._server, self._account = api, context, server, account

    async def lend(self) -> Lent | str:
        """Return a token and where to use it, or why there is none."""
        if not self._server:
            return "this member lends no token: its join Secret names no `server`"
        endpoint = await asyncio.to_thread(lambda: read_endpoint(self._context()))
        if isinstance(endpoint, str):
            return endpoint
        namespace, name = self._account
        token = await request_token(self._api, namespace, name, seconds=MAX_SECONDS, timeout=REQUEST_SECONDS)
        what = f"create serviceaccounts/token {namespace}/{name}"
        if isinstance(token, Status):
            return f"{what}: {token.message}"
        if token is None:
            return f"{what}: the answer is no token of at most an hour"
        return Lent(server=self._server, authority=endpoint.authority, token=token.text, seconds=float(token.seconds))
