"""Fixtures that every suite shares: one nats-server and three real clusters for the session.

They are plain functions, not coroutines: a session outlives each test's event loop. Neither is started unless a test asks.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.sandbox.api_servers import ApiServer
from engine.sandbox.assets import find_assets
from engine.sandbox.fleet import Fleet
from engine.sandbox.go_toolchain import AssetsUnavailable
from engine.sandbox.nats_server import NatsServer
from tests.garbage.table import Table, number_of

LONGEST = (
    *("clusters", "xgc", "crosscurrent", "runtime", "garbage", "contracts/api_server", "."),
    *("compose", "contracts", "sandbox", "watchers", "e2e", "sandbox/simulator", "core"),
)
"""Groups of tests from the longest on, which begin in this order: then no process works alone on a long one in the end."""


@pytest.hookimpl(tryfirst=True)  # before the plugin that reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where the suite runs in several processes, keep a directory's tests together, and all that share clusters."""
    groups = {item: _group(item) for item in items}
    for item, group in groups.items():
        if item.get_closest_marker("docker") and group != "compose":
            raise pytest.UsageError(f"{item.nodeid}: the Makefile looks for tests of Docker in tests/compose alone")
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: LONGEST.index(groups[item]) if groups[item] in LONGEST else len(LONGEST))


_table = Table()
"""Here and not in the directory of the cases, which the process that prints the summary never enters."""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _table.add(report)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the forty cases of garbage collection."""
    if lines := _table.lines():
        terminalreporter.section("cross-cluster garbage collection")
        for line in lines:
            terminalreporter.write_line(line)


def _group(item: pytest.Item) -> str:
    directory = item.path.parent.relative_to(Path(__file__).parent).as_posix()
    if number_of(item.name):
        return "xgc"
    # A machine has one Docker engine of ours at a time: its tests are never apart.
    return "clusters" if _shares(item) and directory != "compose" else directory


def _shares(item: pytest.Item) -> bool:
    """Return whether a test wants `real_clusters`."""
    return "real_clusters" in getattr(item, "fixturenames", ()) or item.get_closest_marker("clusters") is not None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Start the shared clusters again where they rest and a test wants them after all."""
    if _shares(item) and item.config.stash.get(_RESTS, False):
        item.config.stash[_RESTS] = False
        item.config.stash[_SHARED].start()


@pytest.hookimpl(trylast=True)  # after the fixtures that use them have ended
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Let the shared clusters rest while no test wants them: idle API servers slow down the rest of the session."""
    if _shares(item) and nextitem is not None and not _shares(nextitem) and _SHARED in item.config.stash:
        item.config.stash[_SHARED].kill()
        item.config.stash[_RESTS] = True


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One real nats-server; use streams or accounts of your own, and a `NatsServer` of your own to kill."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="session")
def assets() -> Path:
    """Directory of the real control plane's binaries. Without them: skipped here, failed in CI, always with the reason."""
    try:
        found, reason = find_assets(), "the real API servers are not built: run `make envtest`"
    except AssetsUnavailable as error:
        found, reason = None, str(error)
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


_SHARED = pytest.StashKey[Fleet]()
"""What is behind `real_clusters`, once it was started."""
_RESTS = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def real_clusters(
    assets: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[tuple[ApiServer, ...]]:
    """Three real clusters, cluster1 to cluster3, without controllers. Use a namespace of your own, leave them running."""
    with Fleet(tmp_path_factory.mktemp("clusters"), assets=assets, count=3) as fleet:
        pytestconfig.stash[_SHARED] = fleet
        yield tuple(fleet)
    for cluster in fleet:  # etcd preallocates 130 MB, and the last three sessions' directories are kept
        shutil.rmtree(cluster.layout.etcd_data)
