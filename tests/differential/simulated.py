"""The simulated side: a cluster in which nothing happens but what is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.sandbox.simulator.api_server import SimulatedApiServer
from engine.sandbox.simulator.controllers import Controllers
from engine.sandbox.simulator.fleet import SimulatedFleet

NO_CONTROLLERS = Controllers(garbage_collector=False, namespaces=False)


@contextmanager
def simulated_without_controllers(directory: Path) -> Iterator[SimulatedApiServer]:
    """Run a simulated cluster like a real one that has no kube-controller-manager: scripts are then the only writers."""
    with SimulatedFleet(directory, names=["simulated"], controllers=NO_CONTROLLERS) as fleet:
        yield fleet["simulated"]
