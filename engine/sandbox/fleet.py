"""Several real clusters at once, started in parallel, with one kubeconfig for all of them.

with Fleet(directory, assets=assets, count=3) as fleet: ...                     # fixtures
async with start_clusters(3, directory, assets=assets) as fleet: ...            # `crosscurrent demo --real`
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import yaml

from engine.sandbox.api_servers import ApiServer
from engine.sandbox.identities import merged
from engine.sandbox.private_file import write_private

KUBECONFIG_NAME = "kubeconfig"


class Fleet:
    """Clusters by name, in order. As a context manager they are started, and killed at the end; directories stay.

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
        self.clusters = {
            name: ApiServer(
                name,
                directory / name,
                assets=assets,
                controllers=controllers,
                audit=audit,
                api_server_flags=api_server_flags,
            )
            for name in names or [f"cluster{number}" for number in range(1, count + 1)]
        }
        self.kubeconfig_path = directory.absolute() / KUBECONFIG_NAME
        """The merged kubeconfig: one context per cluster, named like it, as administrator."""
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> ApiServer:
        return self.clusters[name]

    def __iter__(self) -> Iterator[ApiServer]:
        return iter(self.clusters.values())

    def __len__(self) -> int:
        return len(self.clusters)

    def start(self) -> None:
        """Start what is not running, in parallel, and return when every cluster is ready.

        Raises:
            ProcessFailed: when one cannot be started; the others go on running.

        """
        with self._lock:
            self._each(ApiServer.start)
            write_private(self.kubeconfig_path, yaml.safe_dump(merged([one.kubeconfig for one in self])).encode())

    def kill(self) -> None:
        """End every process at once. What the clusters hold stays on disk, for another `start`."""
        self._each(ApiServer.kill)  # before the lock: a `start` under way in another thread fails now, not in a minute
        with self._lock:
            self._each(ApiServer.kill)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _each(self, action: Callable[[ApiServer], None]) -> None:
        with ThreadPoolExecutor(max_workers=max(1, len(self.clusters)), thread_name_prefix="fleet") as pool:
            for done in [pool.submit(action, cluster) for cluster in self]:
                done.result()


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
