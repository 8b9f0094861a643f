"""A cluster's API as a performer may use it: within its budget, and only while the lease lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from engine.runtime.budget import Budget
from engine.runtime.ports import Clock, ClusterApi, Reply
from schemas.names import ClusterName


class LeaseOver(Exception):
    """Raised when a request was not sent because it might still be under way when another worker may hold the key."""


class LeasedApi:
    """Passes requests on (the port `ClusterApi`, without streams)."""

    def __init__(self, api: ClusterApi, budget: Budget, clock: Clock, deadline: float) -> None:
        """Take what bounds the requests.

        Args:
            api: the cluster.
            budget: slots shared by everything that writes to the cluster.
            clock: time.
            deadline: monotonic time by which every request must be over.

        """
        self._api = api
        self._budget = budget
        self._clock = clock
        self._deadline = deadline

    @property
    def name(self) -> ClusterName:
        """The cluster's configured name."""
        return self._api.name

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
        """Send a request once there is a slot for it.

        Raises:
            LeaseOver: when the rest of the lease is not longer than `timeout`, now or once there is a slot.

        """
        await self._slot(timeout)
        try:
            self._rest(timeout)
            exchange = self._api.request(
                method, path, params=params, body=body, content_type=content_type, accept=accept, timeout=timeout
            )
            return await self._budget.learn_from(exchange, self._clock)
        finally:
            self._budget.give_back()

    def stream(
        self, path: str, *, params: Mapping[str, str], idle_timeout: float
    ) -> AsyncIterator[Reply | list[bytes]]:
        """Refuse: no action is a watch."""
        raise NotImplementedError(path, params, idle_timeout)

    async def close(self) -> None:
        """Do nothing: the connection belongs to others."""

    async def _slot(self, timeout: float) -> None:
        rest = self._rest(timeout)
        if self._budget.take_now():  # mostly, and without a timer
            return
        try:
            async with asyncio.timeout(rest):
                await self._budget.take()
        except TimeoutError as error:
            message = f"the lease ran out while waiting for one of {self._budget.limit} slots of {self.name}"
            raise LeaseOver(message) from error

    def _rest(self, timeout: float) -> float:
        rest = self._deadline - self._clock.monotonic() - timeout
        if rest <= 0:
            message = "the lease ran out"
            raise LeaseOver(message)
        return rest
