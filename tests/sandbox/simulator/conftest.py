"""Two simulated clusters for the suite, a session at the first, and a namespace of one's own in it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from engine.sandbox.simulator.api_server import SimulatedApiServer
from engine.sandbox.simulator.fleet import SimulatedFleet
from tests.api_session import ApiSession

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedFleet]:
    with SimulatedFleet(tmp_path_factory.mktemp("simulated"), count=2) as running:
        yield running


@pytest.fixture
def cluster(fleet: SimulatedFleet) -> Iterator[SimulatedApiServer]:
    """The first cluster, which gets well again after the test."""
    yield fleet["cluster1"]
    fleet["cluster1"].set_faults()
    fleet["cluster1"].resume()
    fleet["cluster1"].start()


@pytest.fixture
async def session(cluster: SimulatedApiServer) -> AsyncIterator[ApiSession]:
    async with ApiSession.of(cluster.kubeconfig) as opened:
        yield opened


@pytest.fixture
async def maps(session: ApiSession) -> str:
    """Path of the ConfigMaps of a namespace of one's own."""
    name = f"wire-{next(_numbers)}"
    assert (await session.post("/api/v1/namespaces", {"metadata": {"name": name}})).status == 201
    return f"/api/v1/namespaces/{name}/configmaps"
