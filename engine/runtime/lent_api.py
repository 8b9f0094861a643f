"""A member's API server by a token that its agent lends (the port `ClusterApi`): for a hub that watches and acts itself.

In: `Lent`s over NATS, asked for when the first request needs one and then at 75 to 85 % of each life. Out: requests straight
to the member's API server. The token is kept in memory only; it is of a ServiceAccount of the member's that may do what its
role says, and it ends by itself within an hour of the agent's last word.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import structlog

from engine.core.renewal import renewal
from engine.runtime.addresses import Addresses
from engine.runtime.cluster_api import KubernetesApi
from engine.runtime.kubeconfig import Context, KubeconfigError
from engine.runtime.kubeconfig_checks import check_server
from engine.runtime.member_api import MemberApi
from engine.runtime.ports import Clock, ClusterUnreachable, CredentialsRejected, Reply
from schemas.members import Lent
from schemas.names import ClusterName

BORROW_SECONDS = 5.0
RETRY_SECONDS = 5.0
"""Between two tries to borrow while the last token is still good."""

_log = structlog.get_logger(__name__)


class LentApi:
    """One member's API server.

    Args:
        member: its agent.
        clock: time.
        seed: a number in [0, 1) that spreads renewals.
        addresses: where an agent may send us (SEC-22).

    """

    def __init__(self, member: MemberApi, clock: Clock, *, seed: float, addresses: Addresses) -> None:
        self._member, self._clock, self._seed, self._addresses = member, clock, seed, addresses
        self._api: KubernetesApi | None = None
        self._context: Context | None = None
        self._renew_at = self._ends_at = 0.0
        self._borrowing = asyncio.Lock()

    @property
    def name(self) -> ClusterName:
        """The cluster's name."""
        return self._member.name

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout: float,
    ) -> Reply:
        """Send one request and return the answer; see the port."""
        until = self._clock.monotonic() + timeout
        api = await self._open(timeout)
        return await api.request(
            method,
            path,
            params=params,
            body=body,
            content_type=content_type,
            accept=accept,
            timeout=max(0.0, until - self._clock.monotonic()),
        )

    async def stream(
        self, path: str, *, params: Mapping[str, str], idle_timeout: float
    ) -> AsyncGenerator[Reply | list[bytes], None]:
        """Open a watch; see the port. The API server ends it when the token does, and it is resumed."""
        api = await self._open(BORROW_SECONDS)
        async with aclosing(api.stream(path, params=params, idle_timeout=idle_timeout)) as items:
            async for item in items:
                yield item

    def refresh(self) -> None:
        """Do nothing: what the registry says of a member changes nothing here."""

    async def close(self) -> None:
        """Close every connection."""
        if self._api is not None:
            await self._api.close()

    async def _open(self, timeout: float) -> KubernetesApi:
        """Return the API server's connections, with a token that is good."""
        now = self._clock.monotonic()
        if self._api is None or now >= self._renew_at:
            try:
                async with asyncio.timeout(timeout), self._borrowing:
                    if self._api is None or self._clock.monotonic() >= self._renew_at:
                        await self._borrow(min(timeout, BORROW_SECONDS))
            except (ClusterUnreachable, CredentialsRejected, TimeoutError) as problem:
                if self._api is None or now >= self._ends_at:
                    message = f"{self.name}: no token to ask it with: {problem or 'its agent does not answer'}"
                    raise ClusterUnreachable(message) from problem
                self._renew_at = now + RETRY_SECONDS
        assert self._api is not None  # noqa: S101 - it was borrowed for, or that raised
        return self._api

    async def _borrow(self, timeout: float) -> None:
        asked_at = self._clock.monotonic()
        lent = await self._member.borrow(timeout=timeout)
        self._context = context_of(self.name, lent, self._addresses)
        self._renew_at = renewal(asked_at, lent.seconds, self._seed)
        self._ends_at = asked_at + lent.seconds
        _log.info("token borrowed", cluster=self.name, server=lent.server, seconds=lent.seconds)
        if self._api is None:
            self._api = await KubernetesApi.open(
                self.name, self._context, current=self._current, addresses=self._addresses
            )
        self._api.refresh()

    def _current(self) -> Context:
        assert self._context is not None  # noqa: S101 - it is set before anybody can ask
        return self._context


def context_of(name: ClusterName, lent: Lent, addresses: Addresses) -> Context:
    """Return how a member is reached with a token that it lent.

    Raises:
        CredentialsRejected: when its address is none that a token may go to (SEC-22).

    """
    cluster = {"server": lent.server}
    if lent.authority:
        cluster["certificate-authority-data"] = b64encode(lent.authority).decode()
    try:
        check_server(cluster, f"the agent of {name}", addresses)
    except KubeconfigError as problem:
        raise CredentialsRejected(str(problem)) from problem
    return Context(name=name, cluster=cluster, user={"token": lent.token}, source=f"the agent of {name}")
