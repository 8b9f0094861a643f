"""Probes answer as kube-apiserver's do; metrics carry controller-runtime's names; a taken port is named."""

from __future__ import annotations

import socket

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from crosscurrent import fleet_metrics, health
from crosscurrent.errors import PortTaken
from crosscurrent.fleet_metrics import FleetCollector
from crosscurrent.supervisor import Child, ChildSpec, Standing
from engine.runtime.worker_metrics import WorkerMetrics
from engine.sandbox.memory_log import MemoryLog
from tests.crosscurrent.conftest import C1, C2, C3


def listening() -> tuple[socket.socket, str]:
    found = health.take_port(0, host="127.0.0.1", purpose="test", advice="")
    return found, f"http://127.0.0.1:{found.getsockname()[1]}"


async def fetch(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_probes_say_ok_or_which_check_failed() -> None:
    problem = ""

    async def good() -> str:
        return ""

    async def changing() -> str:
        return problem

    held, url = listening()
    async with health.probes(held, live={"ping": good}, ready={"broker": changing}):
        assert await fetch(f"{url}/livez") == (200, "ok")
        assert await fetch(f"{url}/readyz?verbose") == (200, "[+]ping ok\n[+]broker ok\nreadyz check passed\n")
        problem = "does not answer"
        assert await fetch(f"{url}/livez") == (200, "ok")
        expected = "[+]ping ok\n[-]broker failed: does not answer\nreadyz check failed\n"
        assert await fetch(f"{url}/readyz") == (503, expected)


async def test_a_taken_port_is_named_with_what_to_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken) as raised:
            health.take_ports(0, port, host="127.0.0.1")
    assert raised.value.message == f"metrics: port {port} of 127.0.0.1 is taken by another process"
    assert "metrics_port" in raised.value.advice
    with pytest.raises(PortTaken, match="cannot be used"):
        health.take_port(1, host="203.0.113.7", purpose="x", advice="")


async def test_a_port_of_zero_serves_nothing() -> None:
    assert health.take_ports(0, 0, host="127.0.0.1") == (None, None)
    async with health.probes(None, live={}, ready={}), health.metrics(None, CollectorRegistry()):
        pass


async def test_the_fleet_shows_clusters_processes_and_its_childrens_metrics(fleet: MemoryLog) -> None:
    children = []
    workers = []
    for number in (1, 2):
        registry = CollectorRegistry()
        metrics = WorkerMetrics(registry)
        with metrics.reconcile("foo") as measured:
            measured.result = "success"
        held, _ = listening()
        serving = health.metrics(held, registry)
        await serving.__aenter__()
        workers.append(serving)
        child = Child(ChildSpec(name=f"reconcile {number}", kind="reconcile", arguments=()), {}, print)
        child.metrics_port, child.standing = held.getsockname()[1], Standing.READY
        children.append(child)
    registry = CollectorRegistry()
    collector = FleetCollector(fleet, (C1, C2, C3), children)
    registry.register(collector)
    held, url = listening()
    async with health.metrics(held, registry, before=collector.refresh):
        _, text = await fetch(f"{url}/metrics")
    for serving in workers:
        await serving.__aexit__(None, None, None)
    for number in (1, 2):
        labels = f'controller="foo",process="reconcile {number}",result="success"'
        assert f"controller_runtime_reconcile_total{{{labels}}} 1.0" in text
    assert text.count("# TYPE controller_runtime_reconcile_total counter") == 1
    assert 'crosscurrent_cluster_unsynced_types{cluster="cluster2"} 1.0' in text
    assert 'crosscurrent_cluster_state{cluster="cluster3",state="suspect"} 1.0' in text
    assert 'crosscurrent_process_up{cluster="",kind="reconcile",process="reconcile 1"} 1.0' in text


async def test_what_does_not_answer_is_left_out(fleet: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_metrics, "SCRAPE_TIMEOUT_S", 0.2)
    child = Child(ChildSpec(name="reconcile 1", kind="reconcile", arguments=()), {}, print)
    child.metrics_port = 1
    fleet.down = True
    registry = CollectorRegistry()
    collector = FleetCollector(fleet, (C1,), [child])
    registry.register(collector)
    await collector.refresh()
    text = generate_latest(registry).decode()
    assert "crosscurrent_broker_up 0.0" in text
    assert "crosscurrent_cluster_state" not in text
