"""A watcher whose cluster is given new credentials, taken away and given back, on a simulated cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from engine.runtime.clock import SystemClock
from engine.runtime.kubeconfig import parse, resolve
from engine.runtime.registry import Member, Registry
from engine.sandbox.identities import Identity, Rule
from engine.sandbox.memory_log import MemoryLog
from engine.sandbox.simulator.api_server import SimulatedApiServer
from engine.sandbox.simulator.fleet import SimulatedFleet
from schemas import subjects
from schemas.clusters import ClusterRecord, ClusterState, ClusterStatus, cluster_ref
from schemas.facts import decode_fact
from schemas.names import ClusterName
from watchers.registered_watcher import RegisteredWatcher
from watchers.settings import WatchSettings

NAME = ClusterName("cluster1")
RIGHTS = [
    Rule([""], ["configmaps"], ["get", "list", "watch"]),
    Rule([""], ["namespaces"], ["get", "list"]),
    Rule(["apiextensions.k8s.io"], ["customresourcedefinitions"], ["list", "watch"]),
]
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


class Told:
    """A provider that tells what the test says, and how its registry is told."""

    hub = None

    async def run(self, found: Callable[[Sequence[Member]], None], trouble: Callable[[str], None]) -> None:
        self.found = found
        found([])
        await asyncio.Event().wait()

    def tell(self, kubeconfig: dict[str, Any] | None, problem: str = "") -> None:
        if kubeconfig is None:
            self.found([])
            return
        document = parse(yaml.safe_dump(kubeconfig).encode(), source="test", directory=None)
        self.found([Member(name=NAME, source="test", context=resolve(document), problem=problem, labels={"a": "b"})])


class Scene:
    def __init__(self, cluster: SimulatedApiServer) -> None:
        self.cluster, self.provider = cluster, Told()
        self.log = MemoryLog(SystemClock())

    def status(self) -> ClusterStatus | None:
        wanted = subjects.fact(cluster_ref(NAME))
        found = [record for record in self.log.records("STATE") if record.subject == wanted]
        return msgspec.json.decode(decode_fact(found[-1].body).data, type=ClusterRecord).status if found else None

    def seen(self) -> set[str]:
        """Names of the ConfigMaps that FACTS tells of."""
        refs = [subjects.parse_fact(one.subject) for one in self.log.records("FACTS") if one.subject[:6] == "facts."]
        return {ref.name for ref in refs if ref.resource == "configmaps"}

    def create(self, name: str) -> None:
        status, answer = self.cluster.client.request("POST", CONFIGMAPS, {"metadata": {"name": name}})
        assert status == 201, answer

    async def until(self, condition: Callable[[], Any], seconds: float = 5.0) -> float:
        """Return how long it took."""
        started = time.monotonic()
        while not condition():
            assert time.monotonic() < started + seconds, self.status()
            await asyncio.sleep(0.01)
        return time.monotonic() - started

    def state(self) -> tuple[str, str]:
        status = self.status()
        return (status.state, status.reason) if status else ("", "")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedApiServer]:
    directory: Path = tmp_path_factory.mktemp("watched")
    with SimulatedFleet(directory, count=1) as fleet:
        yield next(iter(fleet))


@asynccontextmanager
async def scene(cluster: SimulatedApiServer) -> AsyncIterator[Scene]:
    one = Scene(cluster)
    await one.log.prepare()
    registry = Registry([one.provider])
    settings = WatchSettings(resources=("v1/configmaps",), run="run", retry_cap_seconds=600.0)
    watcher = RegisteredWatcher(NAME, registry, one.log, SystemClock(), settings)
    tasks = [asyncio.create_task(registry.run()), asyncio.create_task(watcher.run())]
    try:
        await one.until(lambda: registry.complete)
        yield one
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def member(cluster: SimulatedApiServer, name: str) -> Identity:
    return cluster.grant(name, RIGHTS)


async def test_a_rotated_token_is_taken_up_while_facts_go_on_and_none_is_lost(cluster: SimulatedApiServer) -> None:
    first, second = member(cluster, "first"), member(cluster, "second")
    async with scene(cluster) as one:
        one.provider.tell(first.kubeconfig)
        await one.until(lambda: one.state() == (ClusterState.LIVE, ""))
        names = {f"rotation-{number}" for number in range(60)}
        for number, name in enumerate(sorted(names)):
            await asyncio.to_thread(one.create, name)
            if number == 20:
                one.provider.tell(second.kubeconfig)
            if number == 40:
                await asyncio.to_thread(cluster.revoke, first)
                cluster.cut_watches()
        await one.until(lambda: names <= one.seen())
        assert one.state() == (ClusterState.LIVE, ""), "the first token was never missed"


async def test_a_cluster_that_refuses_us_is_asked_at_once_when_there_is_another_token(
    cluster: SimulatedApiServer,
) -> None:
    """Its turn would come in minutes: what changed is a reason to ask now."""
    first, second = member(cluster, "third"), member(cluster, "fourth")
    async with scene(cluster) as one:
        one.provider.tell(first.kubeconfig)
        await one.until(lambda: one.state() == (ClusterState.LIVE, ""))
        await asyncio.to_thread(cluster.revoke, first)
        cluster.cut_watches()
        await one.until(lambda: one.state() == (ClusterState.SUSPECT, "Unauthorized"), seconds=15)
        await asyncio.to_thread(one.create, "while-refused")
        one.provider.tell(second.kubeconfig)
        await one.until(lambda: one.state() == (ClusterState.LIVE, "") and "while-refused" in one.seen())


async def test_credentials_that_cannot_be_used_are_a_condition_of_a_cluster_that_stays_live(
    cluster: SimulatedApiServer,
) -> None:
    async with scene(cluster) as one:
        one.provider.tell(cluster.kubeconfig, problem="get secrets fleet/cluster1 in hub: it has no `kubeconfig`")
        await one.until(lambda: one.state() == (ClusterState.LIVE, "RegistryProblem"))
        status = one.status()
        assert status is not None
        assert status.message == "get secrets fleet/cluster1 in hub: it has no `kubeconfig`"
        one.provider.tell(cluster.kubeconfig)
        await one.until(lambda: one.state() == (ClusterState.LIVE, ""))


async def test_a_disengaged_cluster_is_unknown_and_nothing_of_it_is_gone(cluster: SimulatedApiServer) -> None:
    async with scene(cluster) as one:
        one.provider.tell(cluster.kubeconfig)
        await asyncio.to_thread(one.create, "kept")
        await one.until(lambda: one.state() == (ClusterState.LIVE, "") and "kept" in one.seen())
        one.provider.tell(None)
        await one.until(lambda: one.state() == (ClusterState.SUSPECT, "Disengaged"))
        records = [record for record in one.log.records("STATE") if record.subject.startswith("facts.")]
        assert not any(decode_fact(record.body).deleted for record in records)
        assert cluster.open_watches == 0
        await asyncio.to_thread(one.create, "meanwhile")
        one.provider.tell(cluster.kubeconfig)
        await one.until(lambda: one.state() == (ClusterState.LIVE, "") and "meanwhile" in one.seen())
