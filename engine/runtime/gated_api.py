"""A cluster's API for questions that no lease bounds: a few at a time, and waiting for a turn does not count as no answer.

Without it a thousand dependents that are looked at together ask a thousand questions, which wait for each other until they
time out, are all UNKNOWN, and are asked again: an API server that is merely slow would look as if it were away.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping

from engine.runtime.budget import Budget
from engine.runtime.ports import Clock, ClusterApi, Reply
from schemas.names import ClusterName

QUESTIONS = 24
"""In flight to one cluster through one of these: each takes some 3 ms, so this is thousands a second."""


class GatedApi:
    """Passes requests on (the port `ClusterApi`, without streams)."""

    def __init__(self, api: ClusterApi, clock: Clock) -> None:
        """Ask `api`."""
        self._api, self._clock, self._budget = api, clock, Budget(QUESTIONS)

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
        """Send a request once it is its turn; see the port."""
        await self._budget.take()
        try:
            exchange = self._api.request(
                method, path, params=params, body=body, content_type=content_type, accept=accept, timeout=timeout
            )
            return await self._budget.learn_from(exchange, self._clock)
        finally:
            self._budget.give_back()

    def stream(
        self, path: str, *, params: Mapping[str, str], idle_timeout: float
    ) -> AsyncIterator[Reply | list[bytes]]:
        """Refuse: no question is a watch."""
        raise NotImplementedError(path, params, idle_timeout)

    async def close(self) -> None:
        """Do nothing: the connection belongs to others."""


class GatedApis(Mapping[ClusterName, ClusterApi | None]):
    """The clusters of a mapping that may change, each through one `GatedApi` for as long as its connection is the same."""

    def __init__(self, apis: Mapping[ClusterName, ClusterApi | None], clock: Clock) -> None:
        """Ask `apis`."""
        self._apis, self._clock = apis, clock
        self._gated: dict[ClusterName, tuple[ClusterApi, GatedApi]] = {}

    def __getitem__(self, name: ClusterName) -> ClusterApi | None:
        api = self._apis[name]
        if api is None:
            return None
        known = self._gated.get(name)
        if known is None or known[0] is not api:
            known = self._gated[name] = (api, GatedApi(api, self._clock))
        return known[1]

    def __iter__(self) -> Iterator[ClusterName]:
        return iter(self._apis)

    def __len__(self) -> int:
        return len(self._apis)
