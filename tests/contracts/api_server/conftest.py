"""The server under test, simulated and real, and a namespace of one's own in it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from engine.sandbox.api_servers import ApiServer
from engine.sandbox.simulator.fleet import SimulatedFleet
from tests.api_session import ApiSession
from tests.contracts.api_server.servers import Place, ServerUnderTest, forget_history, open_place


@pytest.fixture(scope="package")
def real_with_controllers(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerUnderTest]:
    """A real cluster that collects garbage and finishes namespaces, and whose history may be compacted."""
    directory = tmp_path_factory.mktemp("contract")
    with ApiServer("real", directory, assets=assets, controllers=True) as cluster:
        yield ServerUnderTest("real", cluster.kubeconfig, partial(forget_history, cluster))
    shutil.rmtree(cluster.layout.etcd_data)


@pytest.fixture(scope="package")
def simulated_with_controllers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerUnderTest]:
    """A simulated cluster with the same controllers."""
    with SimulatedFleet(tmp_path_factory.mktemp("contract"), names=["simulated"]) as fleet:
        cluster = fleet["simulated"]
        yield ServerUnderTest("simulated", cluster.kubeconfig, lambda _: cluster.compact())


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.e2e)])
def server(request: pytest.FixtureRequest) -> ServerUnderTest:
    found: ServerUnderTest = request.getfixturevalue(f"{request.param}_with_controllers")
    return found


@pytest.fixture
async def session(server: ServerUnderTest) -> AsyncIterator[ApiSession]:
    async with ApiSession.of(server.kubeconfig) as opened:
        yield opened


@pytest.fixture
async def place(session: ApiSession) -> Place:
    return await open_place(session)
