"""Several simulated clusters in one process: one thread, a port each, and one kubeconfig for all of them.

with SimulatedFleet(directory, count=3) as fleet: ...                           # fixtures
async with simulated_clusters(directory, count=3) as fleet: ...                       # `crosscurrent demo`

It has the shape of `engine.sandbox.fleet.Fleet`.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypedDict, Unpack

from engine.sandbox.clusters import SandboxFleet, cluster_names
from engine.sandbox.simulator.api_server import LOOPBACK, SimulatedApiServer
from engine.sandbox.simulator.control import Control
from engine.sandbox.simulator.controllers import Controllers
from engine.sandbox.simulator.loop_thread import LoopThread

_COLLECT_EVERY = 20_000
"""Objects made between two looks of Python's garbage collector. With its usual 700 it takes a sixth of the time of creates,
and finds next to nothing: stored objects are trees, which go when nothing refers to them."""


def collect_garbage_rarely() -> None:
    """Tune this process for holding many objects. For processes that do nothing but run clusters."""
    gc.set_threshold(_COLLECT_EVERY, 20, 100)


class SimulatedFleet(SandboxFleet[SimulatedApiServer]):
    """Simulated clusters. As a context manager they are started, and closed at the end.

    Args:
        directory: holds one directory per cluster and the merged kubeconfig.
        count: how many: cluster1, cluster2, …
        names: other names, instead of `count`.
        persist: keep objects in the directory, and go on with what is there.
        port: of the first cluster, the others follow; 0: any that are free.
        bind: address to listen at.
        hosts: as for `SimulatedApiServer`, the same for all.
        seed: makes uids, generated names and faults repeatable; None: random.
        controllers: as for `SimulatedApiServer`, the same for all.

    """

    def __init__(
        self,
        directory: Path,
        *,
        count: int = 3,
        names: Sequence[str] = (),
        persist: bool = False,
        port: int = 0,
        bind: str = LOOPBACK,
        hosts: Sequence[str] = (),
        seed: int | None = None,
        controllers: Controllers | None = None,
    ) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._thread = LoopThread("simulated clusters")
        clusters = {
            name: SimulatedApiServer(
                name,
                directory / name,
                thread=self._thread,
                persist=persist,
                port=port + number if port else 0,
                bind=bind,
                hosts=hosts,
                seed=None if seed is None else seed + number,
                controllers=controllers,
            )
            for number, name in enumerate(cluster_names(count, names))
        }
        super().__init__(directory, clusters)
        self._control: Control | None = None
        self._bind = bind
        self._hosts = tuple(hosts)

    def control(self, port: int = 0) -> Control:
        """Serve the control endpoint, and return it.

        Args:
            port: to listen at; 0: any that is free.

        Raises:
            PortTaken: when another process holds the port.

        """
        bind, hosts = self._bind, self._hosts
        control = Control(self.clusters, self.kubeconfig_path.parent, bind=bind, hosts=hosts, port=port)
        self._thread.run(control.start)
        self._control = control
        return control

    def close(self) -> None:
        """Kill the clusters for good, and end their thread."""
        if self._control is not None:
            self._thread.run(self._control.close)
        for cluster in self:
            cluster.close()
        self._thread.close()

    def __exit__(self, *_: object) -> None:
        self.close()


class FleetOptions(TypedDict, total=False):
    """Keyword arguments of `SimulatedFleet`."""

    count: int
    names: Sequence[str]
    persist: bool
    port: int
    bind: str
    hosts: Sequence[str]
    seed: int | None
    controllers: Controllers | None


@asynccontextmanager
async def simulated_clusters(directory: Path, **options: Unpack[FleetOptions]) -> AsyncIterator[SimulatedFleet]:
    """Run a fleet for the length of an `async with`; arguments as for `SimulatedFleet`."""
    fleet = await asyncio.to_thread(SimulatedFleet, directory, **options)
    try:
        await asyncio.to_thread(fleet.start)
        yield fleet
    finally:
        await asyncio.shield(asyncio.to_thread(fleet.close))
