"""The watcher against a real API server that is killed while it is written to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from engine.runtime.clock import SystemClock
from engine.runtime.cluster_api import KubernetesApi
from engine.runtime.kubeconfig import resolve_cluster
from engine.sandbox.api_client import Unanswered
from engine.sandbox.api_servers import ApiServer
from engine.sandbox.memory_log import MemoryLog
from schemas import subjects
from schemas.config import ClusterConfig
from schemas.facts import SyncType, decode_fact, decode_sync
from schemas.names import ClusterName
from watchers.cluster_watcher import ClusterWatcher
from watchers.settings import WatchSettings

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(params=["watch-list", "paged"], scope="module")
def cluster(
    request: pytest.FixtureRequest, assets: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """One real cluster, with and without WatchList."""
    flags = ("--feature-gates=WatchList=false",) if request.param == "paged" else ()
    server = ApiServer("c1", tmp_path_factory.mktemp(request.param), assets=assets, api_server_flags=flags)
    server.start()
    yield server
    server.kill()


@asynccontextmanager
async def watching(cluster: ApiServer, log: MemoryLog, run: str, *resources: str) -> AsyncIterator[ClusterWatcher]:
    config = ClusterConfig(name=ClusterName("c1"), kubeconfig=str(cluster.kubeconfig_path))
    api = await KubernetesApi.open(config.name, resolve_cluster(config, cluster.layout.directory, {}))
    settings = WatchSettings(resources=resources or ("v1/configmaps",), run=run, redaction_key=b"k" * 16)
    watcher = ClusterWatcher(api, log, SystemClock(), settings)
    task = asyncio.get_running_loop().create_task(watcher.run())
    try:
        yield watcher
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await api.close()


def put(cluster: ApiServer, name: str, value: int) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": str(value)}}
    status, answer = cluster.client.request("POST", CONFIGMAPS, body, timeout=2.0)
    if status == 409:
        status, answer = cluster.client.request("PUT", f"{CONFIGMAPS}/{name}", body, timeout=2.0)
    assert status < 300, answer


def delete(cluster: ApiServer, name: str) -> None:
    cluster.client.request("DELETE", f"{CONFIGMAPS}/{name}", timeout=2.0)


def truth(cluster: ApiServer) -> dict[str, tuple[str, str]]:
    status, found = cluster.client.request("GET", "/api/v1/configmaps")
    assert status == 200
    return {
        f"{item['metadata']['namespace']}/{item['metadata']['name']}": (
            item["metadata"]["uid"],
            item["metadata"]["resourceVersion"],
        )
        for item in found["items"]
    }


def view(log: MemoryLog, resource: str = "core.configmaps") -> dict[str, tuple[str, str]]:
    facts = [decode_fact(r.body) for r in log.records("STATE") if r.subject.startswith(f"facts.c1.{resource}.")]
    return {fact.subject: (fact.uid, fact.resourceversion) for fact in facts if not fact.deleted}


async def until(condition: object, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.1)


async def test_the_view_equals_the_server_after_kills_in_the_middle_of_writing(cluster: ApiServer) -> None:
    log = MemoryLog()
    async with watching(cluster, log, "kills") as watcher:
        await until(lambda: any(t.synced for t in watcher.statistics().types))

        def write(start: int) -> None:
            for number in range(start, start + 150):
                with suppress(Unanswered, AssertionError):
                    put(cluster, f"k{number % 20}", number)
                    if number % 7 == 0:
                        delete(cluster, f"k{(number + 3) % 20}")

        for kill in range(2):
            writing = asyncio.get_running_loop().run_in_executor(None, write, kill * 1000)
            await asyncio.sleep(0.4)
            cluster.api_server.kill()
            await writing
            delete_later = asyncio.to_thread(cluster.api_server.start)
            await delete_later
            await asyncio.to_thread(write, kill * 1000 + 500)
        expected = await asyncio.to_thread(truth, cluster)
        await until(lambda: view(log) == expected)
        # A restarted API server has forgotten what it had not delivered before it was killed, and says so with a 410.
        syncs = [decode_sync(r.body) for r in log.records("FACTS") if r.subject.startswith("sync.")]
        gaps = [record.data.reason for record in syncs if record.type is SyncType.GAP]
        assert set(gaps) <= {"Expired"}
        assert watcher.statistics().types[0].relists == 1 + len(gaps)
        facts = [decode_fact(r.body) for r in log.records("FACTS") if r.subject.startswith("facts.c1.core.")]
        versions = [int(fact.resourceversion) for fact in facts if fact.cause.value == "observed"]
        assert versions == sorted(versions)
        assert len({fact.id for fact in facts}) == len(facts)


async def test_a_restarted_watcher_resumes_without_a_list(cluster: ApiServer) -> None:
    log = MemoryLog()
    await asyncio.to_thread(put, cluster, "stays", 1)
    await asyncio.to_thread(put, cluster, "goes", 1)
    async with watching(cluster, log, "first") as watcher:
        await until(lambda: any(t.synced for t in watcher.statistics().types))
        await asyncio.to_thread(put, cluster, "stays", 2)
        expected = await asyncio.to_thread(truth, cluster)
        await until(lambda: view(log) == expected)
    await asyncio.to_thread(delete, cluster, "goes")
    await asyncio.to_thread(put, cluster, "new", 1)
    expected = await asyncio.to_thread(truth, cluster)
    async with watching(cluster, log, "second") as watcher:
        await until(lambda: view(log) == expected, 5.0)
        assert watcher.statistics().types[0].relists == 0
        gone = [f for r in log.records("FACTS") if r.subject.endswith(".goes") and (f := decode_fact(r.body)).deleted]
        assert [fact.cause.value for fact in gone] == ["observed"]
        bodies = [
            msgspec.json.decode(decode_fact(r.body).data) for r in log.records("STATE") if r.subject.endswith(".new")
        ]
        assert bodies[0]["kind"] == "ConfigMap"
        assert "managedFields" not in bodies[0]["metadata"]


async def test_everything_is_watched_and_crds_come_and_go(cluster: ApiServer) -> None:
    log = MemoryLog()
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "names": {"kind": "Widget", "plural": "widgets"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
            ],
        },
    }
    async with watching(cluster, log, "all", "*/*") as watcher:
        await until(lambda: watcher.statistics().status.state.value == "live")
        assert len(watcher.statistics().types) > 30
        assert all(t.synced for t in watcher.statistics().types)
        assert not any(t.resource.plural == "secrets" for t in watcher.statistics().types)
        await asyncio.to_thread(cluster.client.apply, crd)
        widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "default"}}
        await asyncio.to_thread(cluster.client.apply, widget)
        await until(lambda: "default/w" in view(log, "example%2Ecom.widgets"), 30.0)
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com"
        await asyncio.to_thread(cluster.client.request, "DELETE", path)

        def gone() -> bool:
            last = [
                decode_sync(r.body)
                for r in log.records("STATE")
                if r.subject == subjects.sync("c1", "example.com", "widgets")
            ]
            return bool(last) and last[0].data.reason == "TypeGone"

        await until(gone, 30.0)
        assert view(log, "example%2Ecom.widgets") == {}


async def test_secrets_reach_the_log_as_hashes(cluster: ApiServer) -> None:
    log = MemoryLog()
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "tr0ub4dor"}}
    await asyncio.to_thread(cluster.client.request, "POST", "/api/v1/namespaces/default/secrets", body)
    async with watching(cluster, log, "secret", "v1/secrets"):
        await until(lambda: "default/s" in view(log, "core.secrets"))
        everything = b"".join(record.body for record in log.records("FACTS"))
        assert b"tr0ub4dor" not in everything
        assert b"dHIwdWI0ZG9y" not in everything
        assert b"hmac:" in everything
