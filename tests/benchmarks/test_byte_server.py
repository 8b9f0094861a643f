"""The byte server against the engine's own reader: what the ingest benchmark rests on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.objects import FIRST_VERSION
from benchmarks.roles import Role
from engine.runtime.cluster_api import KubernetesApi
from engine.runtime.kubeconfig import Context
from engine.runtime.ports import Reply
from engine.sandbox.certificates import CertificateAuthority
from schemas.names import ClusterName

PATH = "/apis/apps/v1/deployments"


class Running:
    def __init__(self, directory: Path) -> None:
        authority = CertificateAuthority("ca")
        authority.issue("server", hosts=("127.0.0.1",)).write(directory, "server")
        (directory / "ca.crt").write_bytes(authority.pem)
        files = {"certificate": str(directory / "server.crt"), "key": str(directory / "server.key")}
        self.role = Role("byte_server", {"objects": 3, "events": 7, **files}, directory / "log")
        port = self.role.expect("port", 20.0)["port"]
        cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(directory / "ca.crt")}
        self.context = Context(name="b", cluster=cluster, user={})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    with running.role:
        yield running


async def test_it_lists_streams_and_replays(server: Running) -> None:
    api = await KubernetesApi.open(ClusterName("b"), server.context)
    try:
        listed = msgspec.json.decode((await api.request("GET", PATH, timeout=5.0)).body)
        assert [item["metadata"]["resourceVersion"] for item in listed["items"]] == [
            str(FIRST_VERSION - 3 + index) for index in range(3)
        ]
        lines = await collect(api, {"watch": "true", "sendInitialEvents": "true"}, 4)
        assert [line["type"] for line in lines] == ["ADDED", "ADDED", "ADDED", "BOOKMARK"]
        await asyncio.to_thread(server.role.ask, {"go": 7}, "released")
        lines = await collect(api, {"watch": "true", "resourceVersion": str(FIRST_VERSION)}, 7)
        versions = [line["object"]["metadata"]["resourceVersion"] for line in lines]
        assert versions == [str(FIRST_VERSION + number) for number in range(1, 8)]
        again = msgspec.json.decode((await api.request("GET", PATH, timeout=5.0)).body)
        assert {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in again["items"]} == {
            line["object"]["metadata"]["name"]: line["object"]["metadata"]["resourceVersion"] for line in lines
        }
    finally:
        # The server goes first: the end of a TLS connection waits for the other side, and this one does not listen.
        await asyncio.to_thread(server.role.stop)
        await api.close()
        await asyncio.sleep(0.1)


async def collect(api: KubernetesApi, params: dict[str, str], count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    stream = api.stream(PATH, params=params, idle_timeout=5.0)
    async for item in stream:
        if isinstance(item, Reply):
            assert item.status == 200
        else:
            found += [msgspec.json.decode(line) for line in item]
        if len(found) >= count:
            break
    await stream.aclose()
    return found
