"""The system under test as its users run it: `crosscurrent up` in processes of its own, over real API servers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml

from crosscurrent.connect import connected
from crosscurrent.errors import UserError
from crosscurrent.fleet import ClusterView, read_clusters
from crosscurrent.settings import load
from engine.runtime.ports import EventLog
from engine.sandbox.api_servers import ApiServer
from engine.sandbox.processes import free_port
from schemas.names import ClusterName

ROOT = Path(__file__).resolve().parents[2]
FOO = "/apis/samplecontroller.k8s.io/v1alpha1/namespaces/{namespace}/foos"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{namespace}/deployments"
MERGE = "application/merge-patch+json"
Found = TypeVar("Found")


def until(condition: Callable[[], Any], *, seconds: float = 15.0, what: str | Callable[[], str] = "") -> Any:
    """Poll until a condition returns something true, and return that; `what` is said where it does not.

    Ever more seldom, because every look takes CPU time from the system that it waits for: at once, and in the end four times
    a second.
    """
    limit, pause = time.monotonic() + seconds, 0.01
    while time.monotonic() < limit:
        if found := condition():
            return found
        time.sleep(pause)
        pause = min(0.25, pause * 1.3)
    raise AssertionError((what() if callable(what) else what) or "it did not come true in time")


class System:
    """`crosscurrent up` on some clusters. As a context manager it is started, and stopped by Ctrl-C."""

    def __init__(
        self,
        directory: Path,
        clusters: Sequence[ApiServer],
        *,
        kubeconfigs: dict[str, Any] | None = None,
        labels: dict[str, dict[str, str]] | None = None,
        environment: dict[str, str] | None = None,
        joining: Collection[str] = (),
        **config: Any,
    ) -> None:
        """Write the configuration.

        Args:
            directory: for configuration, state and log.
            clusters: what to reconcile.
            kubeconfigs: other credentials than the administrator's, by cluster name.
            labels: of the clusters, by name.
            environment: further variables of its processes.
            joining: those of the clusters that join by themselves: the configuration does not know them.
            config: further keys of the configuration.

        """
        self.directory = directory
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self.clusters = {cluster.name: cluster for cluster in clusters}
        self.process: subprocess.Popen[bytes] | None = None
        self.probe_port = free_port()
        directory.mkdir(parents=True, exist_ok=True)
        declared = {name: cluster for name, cluster in self.clusters.items() if name not in joining}
        for name, cluster in declared.items():
            content = (kubeconfigs or {}).get(name, cluster.kubeconfig)
            path = directory / f"{name}.kubeconfig"
            path.touch(mode=0o600)
            path.write_text(yaml.safe_dump(content))
        document = {
            "apiVersion": "crosscurrent.dev/v1alpha1",
            "kind": "Config",
            "clusters": [
                {"name": name, "kubeconfig": f"./{name}.kubeconfig", "labels": (labels or {}).get(name, {})}
                for name in declared
            ],
            "reconcilers": ["foo"],
            "workers": 2,
            "probe_port": self.probe_port,
            "metrics_port": 0,
            **config,
        }
        self.config = directory / "crosscurrent.yaml"
        self.config.write_text(yaml.safe_dump(document))
        self.log = directory / "up.log"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "crosscurrent", "up", "-f", str(self.config)],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=self._environment,
            )
        if wait:
            until(self.ready, seconds=60, what=lambda: f"not ready:\n{self.tail()}")

    def ready(self) -> bool:
        """Return whether every cluster that can be reached is live and synced."""
        assert self.process is None or self.process.poll() is None, f"up has ended:\n{self.tail()}"
        views = self.views()
        return len(views) == len(self.clusters) and all(
            view.state == "live" and view.types and not view.unsynced for view in views.values()
        )

    def views(self) -> dict[str, ClusterView]:
        """Return what is known of the clusters, by name; nothing while the broker is not there."""

        async def look(log: EventLog) -> list[ClusterView]:
            return await read_clusters(log, tuple(ClusterName(name) for name in self.clusters))

        try:
            return {view.name: view for view in self.read(look)}
        except UserError:
            return {}

    def read(self, doing: Callable[[EventLog], Awaitable[Found]]) -> Found:
        """Do something with its streams, in this process: a command for each look would cost half a second of CPU."""

        async def read() -> Found:
            async with connected(load(self.config)) as log:
                return await doing(log)

        return asyncio.run(read())

    def stop(self) -> int:
        """End it as Ctrl-C does, and return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)
        return self.process.returncode

    def tail(self) -> str:
        """Return the end of its log."""
        return self.log.read_text()[-4000:]

    def cli(
        self, *arguments: str, check: bool = True, timeout: float = 30, config: str = "-f"
    ) -> subprocess.CompletedProcess[str]:
        """Run another command of it; `config` is the option that names its configuration."""
        done = subprocess.run(
            [sys.executable, "-m", "crosscurrent", *arguments, config, str(self.config)],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=self.directory,
            env=self._environment,
        )
        assert not check or done.returncode == 0, done.stderr + done.stdout
        return done

    def children(self, command: str) -> list[int]:
        """Return the pids of its child processes that run a command, e.g. `reconcile` or `watch`."""
        assert self.process is not None
        found, started = [], ""
        for task in Path(f"/proc/{self.process.pid}/task").glob("*/children"):  # each thread has its own
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile, and started none
                started += f" {task.read_text()}"
        for pid in started.split():
            with suppress(FileNotFoundError, ProcessLookupError):
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                if any(command in argument for argument in arguments):
                    found.append(int(pid))
        return found


def namespace(clusters: Sequence[ApiServer], name: str) -> str:
    """Make a namespace everywhere."""
    for cluster in clusters:
        status, answer = cluster.client.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        assert status in (201, 409), answer
    return name


def get(cluster: ApiServer, path: str) -> dict[str, Any] | None:
    """Read one object directly; None only for a proper 404."""
    status, body = cluster.client.request("GET", path)
    if status == 404 and body.get("reason") == "NotFound":
        return None
    assert status == 200, body
    return body


def foo_in(ns: str, name: str = "example-foo", **spec: Any) -> dict[str, Any]:
    """The talk's Foo in another namespace."""
    body: dict[str, Any] = yaml.safe_load((ROOT / "examples/talk/foo.yaml").read_text())
    body["metadata"] |= {"namespace": ns, "name": name}
    body["spec"] |= {"deploymentName": name, **spec}
    return body


def create_foo(cluster: ApiServer, ns: str, name: str = "example-foo", **spec: Any) -> dict[str, Any]:
    status, body = cluster.client.request("POST", FOO.format(namespace=ns), foo_in(ns, name, **spec))
    assert status == 201, body
    return body


def foo_path(ns: str, name: str = "example-foo") -> str:
    return f"{FOO.format(namespace=ns)}/{name}"


def deployment_path(ns: str, name: str = "example-foo") -> str:
    return f"{DEPLOYMENTS.format(namespace=ns)}/{name}"


def deployment(cluster: ApiServer, ns: str, name: str = "example-foo") -> dict[str, Any] | None:
    return get(cluster, deployment_path(ns, name))


def foo_condition(cluster: ApiServer, ns: str, name: str = "example-foo", kind: str = "Ready") -> dict[str, Any]:
    """Return a condition of a Foo, {} while there is none."""
    found = get(cluster, foo_path(ns, name)) or {}
    for condition in found.get("status", {}).get("conditions", []):
        if condition["type"] == kind:
            return dict(condition)
    return {}


def cluster_condition(cluster: ApiServer, ns: str, of: str, name: str = "example-foo") -> dict[str, Any]:
    """Return the Applied condition of one cluster in a Foo's status, {} while there is none."""
    found = get(cluster, foo_path(ns, name)) or {}
    for entry in found.get("status", {}).get("clusters", []):
        if entry["name"] == of:
            return dict(entry["conditions"][0])
    return {}


def patch(cluster: ApiServer, path: str, body: dict[str, Any]) -> dict[str, Any]:
    status, answer = cluster.client.request("PATCH", path, body, content_type=MERGE)
    assert status == 200, answer
    return answer


def settled(system: System, ns: str, name: str = "example-foo", seconds: float = 15.0) -> None:
    """Wait until a Foo in cluster1 says Ready."""
    one = system.clusters["cluster1"]
    until(
        lambda: foo_condition(one, ns, name).get("status") == "True",
        seconds=seconds,
        what=lambda: f"never ready: {system.tail()}",
    )


def follow(
    system: System, ns: str, replicas: int, seconds: float = 15.0, clusters: Sequence[str] = ("cluster2", "cluster3")
) -> None:
    """Change a Foo's replicas and wait until the Deployments in some clusters have them."""
    patch(system.clusters["cluster1"], foo_path(ns), {"spec": {"replicas": replicas}})
    for name in clusters:
        until(
            lambda name=name: (
                (deployment(system.clusters[name], ns) or {"spec": {}})["spec"].get("replicas") == replicas
            ),
            seconds=seconds,
            what=lambda name=name: f"{name} did not follow: {system.tail()}",
        )


def listed(system: System) -> dict[str, dict[str, Any]]:
    """Return what `crosscurrent clusters` shows, by name."""
    return {one["name"]: one for one in json.loads(system.cli("clusters", "-o", "json").stdout)}
