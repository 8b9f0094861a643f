"""At least 2,000 random requests, answered alike by the simulator and a real kube-apiserver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from engine.sandbox.api_servers import ApiServer
from engine.sandbox.simulator.api_server import SimulatedApiServer
from tests.api_session import ApiSession
from tests.differential.allowed import ALLOWED
from tests.differential.generator import OPERATIONS_PER_SCRIPT, script
from tests.differential.runner import Runner
from tests.differential.simulated import simulated_without_controllers

SEEDS = range(1, 71)
"""The same in every run, so that a change is never blamed for what it did not do: `python -m tests.differential` explores."""
LEAST_OPERATIONS = 2_000
MOST_ALLOWED_DIFFERENCES = 10

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedApiServer]:
    with simulated_without_controllers(tmp_path_factory.mktemp("differential")) as cluster:
        yield cluster


@pytest.fixture
async def runner(real_clusters: tuple[ApiServer, ...], simulated: SimulatedApiServer) -> AsyncIterator[Runner]:
    async with ApiSession.of(real_clusters[0].kubeconfig) as real, ApiSession.of(simulated.kubeconfig) as other:
        made = Runner(real, other)
        await made.prepare()
        yield made


async def test_random_requests_are_answered_alike(runner: Runner) -> None:
    outcome = await runner.run(map(script, SEEDS))
    for found in outcome.differences:
        pytest.fail(f"{found}\nthe script, shrunk:\n{found.listing}", pytrace=False)
    print(f"{outcome.tally.operations} operations, 0 differences, allowed: {outcome.tally.allowed}")
    assert outcome.tally.operations == len(SEEDS) * OPERATIONS_PER_SCRIPT >= LEAST_OPERATIONS


def test_few_differences_are_allowed_and_each_has_its_reason() -> None:
    assert len(ALLOWED) <= MOST_ALLOWED_DIFFERENCES
    assert all(len(one.reason) > 40 for one in ALLOWED)


def test_a_seed_is_a_script() -> None:
    assert script(7) == script(7)
    assert script(7) != script(8)
