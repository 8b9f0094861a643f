"""Clusters for the demo to play in: simulated or real, the same to it.

Both are started here and ended with the block, and both can be cut off, which is all that the demo must know of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from crosscurrent.stage import Stage
from crosscurrent.talk import TalkCluster

if TYPE_CHECKING:
    from engine.sandbox.fleet import Fleet


class Grounds(Protocol):
    """Clusters that are ours to break."""

    @property
    def clusters(self) -> Mapping[str, TalkCluster]:
        """By name, in order."""

    @property
    def kubeconfig_path(self) -> Path:
        """A kubeconfig with a context for each, named like it."""

    async def cut_off(self, name: str) -> None:
        """Let a cluster's API server be gone for everyone."""

    async def give_back(self, name: str) -> None:
        """Let it be there again, with all that it held."""


class RealGrounds:
    """API servers that are processes: to be gone is to be killed."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.clusters: Mapping[str, TalkCluster] = fleet.clusters
        self.kubeconfig_path = fleet.kubeconfig_path

    async def cut_off(self, name: str) -> None:
        """Kill its API server."""
        await asyncio.to_thread(self._fleet[name].api_server.kill)

    async def give_back(self, name: str) -> None:
        """Start it again."""
        await asyncio.to_thread(self._fleet[name].start)


@asynccontextmanager
async def real_grounds(stage: Stage, directory: Path, count: int) -> AsyncIterator[Grounds]:
    """Build the API servers if need be, and run them for as long as the block runs."""
    from engine.sandbox.assets import ensure_assets  # noqa: PLC0415 - only what the demo really starts
    from engine.sandbox.fleet import start_clusters  # noqa: PLC0415

    stage.step(f"Start {count} real clusters, each with its own etcd and kube-apiserver")
    assets = await asyncio.to_thread(ensure_assets, stage.note)
    async with AsyncExitStack() as stack:
        with stage.waiting("starting"):
            fleet = await stack.enter_async_context(start_clusters(count, directory / "clusters", assets=assets))
        stage.note(f"{', '.join(fleet.clusters)} are ready")
        yield RealGrounds(fleet)


@asynccontextmanager
async def simulated_grounds(stage: Stage, directory: Path, count: int) -> AsyncIterator[Grounds]:
    raise NotImplementedError
    yield
