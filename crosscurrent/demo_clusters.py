"""Clusters for the demo to play in: simulated or real, the same to it.

Both kinds are fleets of the sandbox, started here and ended with the block. All that the demo does to them beside requests is
to cut one off and to give it back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosscurrent.stage import Stage
from crosscurrent.talk import TalkCluster

if TYPE_CHECKING:
    from engine.sandbox.clusters import SandboxFleet

POD_START_S = 0.3
"""Quick, for an audience; long enough to see a Deployment become ready."""


class Grounds:
    """Clusters that are ours to break.

    Args:
        fleet: running.

    """

    def __init__(self, fleet: SandboxFleet[Any]) -> None:
        self._fleet = fleet
        self.clusters: Mapping[str, TalkCluster] = fleet.clusters
        self.kubeconfig_path = fleet.kubeconfig_path

    async def cut_off(self, name: str) -> None:
        """Let a cluster's API server be gone, for everyone."""
        await asyncio.to_thread(self._fleet[name].api_server.kill)

    async def give_back(self, name: str) -> None:
        """Let it be there again, with all that it held."""
        await asyncio.to_thread(self._fleet[name].start)


Open = Callable[[Stage, Path, int], AbstractAsyncContextManager[Grounds]]
"""Opens so many clusters below a directory, for as long as a block runs."""


@asynccontextmanager
async def simulated_grounds(stage: Stage, directory: Path, count: int) -> AsyncIterator[Grounds]:
    """Simulate clusters in this process, with controllers that let Deployments become ready."""
    from engine.sandbox.simulator.controllers import Controllers  # noqa: PLC0415 - only what the demo really starts
    from engine.sandbox.simulator.fleet import simulated_clusters  # noqa: PLC0415

    stage.step(f"Start {count} simulated clusters")
    controllers = Controllers(service_accounts=True, workloads=True, pod_start_seconds=POD_START_S)
    starting = simulated_clusters(directory / "clusters", count=count, controllers=controllers)
    async with _ready(stage, starting) as grounds:
        yield grounds


@asynccontextmanager
async def real_grounds(stage: Stage, directory: Path, count: int) -> AsyncIterator[Grounds]:
    """Run etcds and kube-apiservers, built first if need be."""
    from engine.sandbox.assets import ensure_assets  # noqa: PLC0415
    from engine.sandbox.fleet import start_clusters  # noqa: PLC0415

    stage.step(f"Start {count} real clusters, each with its own etcd and kube-apiserver")
    assets = await asyncio.to_thread(ensure_assets, stage.note)
    async with _ready(stage, start_clusters(count, directory / "clusters", assets=assets)) as grounds:
        yield grounds


@asynccontextmanager
async def _ready(stage: Stage, starting: AbstractAsyncContextManager[SandboxFleet[Any]]) -> AsyncIterator[Grounds]:
    async with AsyncExitStack() as stack:
        with stage.waiting("starting"):
            fleet = await stack.enter_async_context(starting)
        stage.note(f"{', '.join(fleet.clusters)} are ready")
        yield Grounds(fleet)
