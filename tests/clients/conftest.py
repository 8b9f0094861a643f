"""The servers that clients are tried on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.sandbox.simulator.api_server import SimulatedApiServer
from engine.sandbox.simulator.fleet import SimulatedFleet


@pytest.fixture(scope="package")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedApiServer]:
    """A simulated cluster for clients; use a namespace of your own."""
    with SimulatedFleet(tmp_path_factory.mktemp("simulated"), count=1) as fleet:
        yield fleet["cluster1"]
