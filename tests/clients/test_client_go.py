"""client-go's informers: the reference for how a client lists and watches, at the simulator and at a real server."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest
import yaml

from engine.sandbox.api_client import MERGE_PATCH, ApiClient
from engine.sandbox.assets import cache_directory
from engine.sandbox.go_toolchain import AssetsUnavailable, find_go, go_build
from engine.sandbox.simulator.api_server import SimulatedApiServer

MODULE = Path(__file__).with_name("informer")
"""A Go module whose versions are those of the real control plane, so that nothing more is downloaded or compiled twice."""

LINE_SECONDS = 30.0
"""client-go waits up to a second before it watches again, and this machine may be busy."""


@pytest.fixture(scope="session")
def informer() -> Path:
    """The built program, from the user's cache. Without Go: skipped here, failed in CI, always with the reason."""
    digest = hashlib.sha256()
    for file in ("go.mod", "go.sum", "main.go"):
        digest.update((MODULE / file).read_bytes())
    cache = cache_directory().parent
    program = cache / f"informer-{digest.hexdigest()[:12]}"
    if program.exists():
        return program
    try:
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = program.with_name(f"{program.name}.{os.getpid()}")
        go_build(find_go((1, 26), cache, print), ".", unfinished, module=MODULE, link_flags="-s -w", progress=print)
        unfinished.rename(program)
    except AssetsUnavailable as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
    return program


class Informer:
    """The running program: what it says, line by line."""

    def __init__(self, program: Path, kubeconfig: Path, namespace: str) -> None:
        self._process = subprocess.Popen(
            [str(program), str(kubeconfig), namespace],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        self._lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def says(self) -> str:
        """Return the next line."""
        try:
            return self._lines.get(timeout=LINE_SECONDS)
        except Empty:
            raise AssertionError("the informer said nothing more") from None

    def said_before(self, last: str) -> list[str]:
        """Return the lines before the next `last`."""
        said = []
        while (line := self.says()) != last:
            said.append(line)
        return said

    def holds(self) -> dict[str, str]:
        """Return name -> resourceVersion of what the cache holds."""
        assert self._process.stdin
        self._process.stdin.write("cache\n")
        while not (line := self.says()).startswith("cache"):
            pass
        return dict(entry.split("=") for entry in line.split()[1:])  # type: ignore[misc]

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(line.strip())


class Scene:
    """A namespace, and an informer of it."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._client = client
        self.maps = f"/api/v1/namespaces/{namespace}/configmaps"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        assert client.request("POST", "/api/v1/namespaces", body)[0] == 201

    def create(self, name: str) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        assert self._client.request("POST", self.maps, body)[0] == 201

    def change(self, name: str) -> None:
        body = {"data": {"changed": "yes"}}
        assert self._client.request("PATCH", f"{self.maps}/{name}", body, content_type=MERGE_PATCH)[0] == 200

    def delete(self, name: str) -> None:
        assert self._client.request("DELETE", f"{self.maps}/{name}")[0] == 200

    def listed(self) -> dict[str, str]:
        items = self._client.request("GET", self.maps)[1]["items"]
        return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}


Start = Callable[[Any, str], tuple[Scene, Informer]]


@pytest.fixture
def start(informer: Path, tmp_path: Path) -> Iterator[Start]:
    running: list[Informer] = []

    def started(cluster: Any, namespace: str) -> tuple[Scene, Informer]:
        scene = Scene(cluster.client, namespace)
        scene.create("first")
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(cluster.kubeconfig))
        running.append(Informer(informer, kubeconfig, namespace))
        return scene, running[-1]

    yield started
    for one in running:
        one.close()


@pytest.mark.parametrize("server", ["simulated", pytest.param("real", marks=[pytest.mark.e2e, pytest.mark.clusters])])
def test_an_informer_follows_what_happens(start: Start, server: str, request: pytest.FixtureRequest) -> None:
    cluster = (
        request.getfixturevalue("simulated") if server == "simulated" else request.getfixturevalue("real_clusters")[1]
    )
    scene, informer = start(cluster, "informer-follows")
    assert informer.said_before("synced") == ["add first"]
    scene.create("second")
    scene.change("second")
    scene.delete("first")
    assert [informer.says() for _ in range(3)] == ["add second", "update second", "delete first"]
    assert informer.holds() == scene.listed()


def test_an_informer_survives_cut_watches_and_a_forgotten_past(start: Start, simulated: SimulatedApiServer) -> None:
    scene, informer = start(simulated, "informer-survives")
    informer.said_before("synced")
    for number in range(2):  # client-go waits twice as long before every further list: half a minute before the sixth
        simulated.cut_watches()
        scene.create(f"n{number}")
        simulated.compact()
        informer.said_before(f"add n{number}")
    simulated.cut_watches()
    scene.delete("n0")
    simulated.compact()
    informer.said_before("delete n0")
    assert informer.holds() == scene.listed()


def test_an_informer_survives_a_server_that_is_away(start: Start, simulated: SimulatedApiServer) -> None:
    scene, informer = start(simulated, "informer-waits")
    informer.said_before("synced")
    simulated.kill()
    simulated.start()
    scene.create("later")
    informer.said_before("add later")
    assert informer.holds() == scene.listed()
