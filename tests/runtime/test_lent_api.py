"""A hub that watches and acts itself: with tokens that a member's agent lends, each for as long as it is good."""

from __future__ import annotations

import pytest

from engine.runtime.addresses import DECLARED, read_from_clusters
from engine.runtime.lent_api import LentApi, context_of
from engine.runtime.member_api import MemberApi
from engine.runtime.ports import ClusterUnreachable, CredentialsRejected
from schemas.members import Lent
from schemas.names import ClusterName
from tests.fakes import Clock
from tests.runtime.raw_server import Exchange, RawServer

NAME = ClusterName("a")


class Agent(MemberApi):
    """Lends token-1, token-2, ... for an hour each; away while `away`."""

    def __init__(self, server: str) -> None:
        self._name, self.server, self.lent, self.away = NAME, server, 0, False

    async def borrow(self, *, timeout: float) -> Lent:
        if self.away:
            raise ClusterUnreachable("its agent is not connected")
        self.lent += 1
        return Lent(server=self.server, authority=b"", token=f"token-{self.lent}", seconds=3600.0)


async def answer(exchange: Exchange) -> None:
    await exchange.answer()


async def test_a_token_is_borrowed_once_renewed_before_its_end_and_used_until_then_while_the_agent_is_away() -> None:
    clock = Clock()
    async with RawServer(answer) as server:
        agent = Agent(server.url)
        api = LentApi(agent, clock, seed=0.5, addresses=DECLARED)

        async def shown() -> str:
            await api.request("GET", "/version", timeout=2)
            return server.requests[-1].headers["authorization"]

        agent.away = True
        with pytest.raises(ClusterUnreachable, match="no token"):
            await api.request("GET", "/version", timeout=2)
        assert server.requests == []
        agent.away = False
        assert await shown() == await shown() == "Bearer token-1"
        clock.now += 3600 * 0.79
        assert await shown() == "Bearer token-1"
        clock.now += 3600 * 0.02
        agent.away = True
        assert await shown() == "Bearer token-1"  # still good
        agent.away = False
        clock.now += 10
        assert await shown() == "Bearer token-2"
        assert agent.lent == 2
        agent.away = True
        clock.now += 3601
        with pytest.raises(ClusterUnreachable, match="not connected"):
            await api.request("GET", "/version", timeout=2)
        await api.close()


@pytest.mark.parametrize(
    "server", ["http://example.com", "https://169.254.169.254", "file:///etc/passwd", "", "http://127.0.0.1"]
)
def test_a_token_does_not_go_where_no_api_server_is(server: str) -> None:
    with pytest.raises(CredentialsRejected):
        context_of(NAME, Lent(server=server, authority=b"", token="t", seconds=1.0), read_from_clusters(()))
