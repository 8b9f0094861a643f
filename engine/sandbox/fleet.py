"""Several real clusters at once, started in parallel, with one kubeconfig for all of them.

with Fleet(directory, assets=assets, count=3) as fleet: ...                     # fixtures
async with start_clusters(3, directory, assets=assets) as fleet: ...            # `crosscurrent demo --real`
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from engine.sandbox.api_servers import ApiServer
from engine.sandbox.clusters import SandboxFleet, cluster_names


class Fleet(SandboxFleet[ApiServer]):
    """Real clusters.

    Args:
        directory: holds one directory per cluster and the merged kubeconfig.
        assets: directory of the binaries.
        count: how many: cluster1, cluster2, …
        names: other names, instead of `count`.
        controllers: as for `ApiServer`, the same for all.
        audit: as for `ApiServer`.
        api_server_flags: as for `ApiServer`.

    """

    def __init__(
        self,
        directory: Path,
        *,
        assets: Path,
        count: int = 3,
        names: Sequence[str] = (),
        controllers: bool | Sequence[str] = False,
        audit: bool = False,
        api_server_flags: Sequence[str] = (),
    ) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        clusters = {
            name: ApiServer(
                name,
                directory / name,
                assets=assets,
                controllers=controllers,
                audit=audit,
                api_server_flags=api_server_flags,
            )
            for name in cluster_names(count, names)
        }
        super().__init__(directory, clusters)


@asynccontextmanager
async def start_clusters(
    count: int,
    directory: Path,
    *,
    assets: Path,
    names: Sequence[str] = (),
    controllers: bool | Sequence[str] = False,
    audit: bool = False,
) -> AsyncIterator[Fleet]:
    """Run a fleet for the length of an `async with`; arguments as for `Fleet`. Cancelling while it starts ends it at once.

    Raises:
        ProcessFailed: when a cluster cannot be started.

    """
    fleet = Fleet(directory, assets=assets, count=count, names=names, controllers=controllers, audit=audit)
    try:
        await asyncio.to_thread(fleet.start)
        yield fleet
    finally:
        await asyncio.shield(asyncio.to_thread(fleet.kill))
