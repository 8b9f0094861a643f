"""compose.yaml brought up as a user does it, and looked at from outside: by the engine, and by the clusters' own answers."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from engine.runtime.kubeconfig import parse, resolve
from engine.sandbox.processes import free_port
from engine.sandbox.remote_cluster import RemoteCluster
from tests.compose.base_images import ROOT
from tests.compose.engine import Engine, run

CLUSTERS = ("cluster1", "cluster2", "cluster3")
KUBECONFIG = "/var/lib/crosscurrent/kubeconfigs/{}/kubeconfig"
T = TypeVar("T")


def until(condition: Callable[[], T], *, seconds: float = 60.0, what: Callable[[], str] = lambda: "") -> T:
    """Poll until a condition returns something true, and return that."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(what() or "it did not come true in time")


class Project:
    """One compose project of this repository's compose.yaml, on ports of its own.

    Args:
        engine: where it runs.
        name: of the project, and so part of every container's name.
        directory: for the file of overrides.

    Attributes:
        environment: variables of every command, with those that compose.yaml reads.

    """

    def __init__(self, engine: Engine, name: str, directory: Path) -> None:
        self.engine = engine
        self.name = name
        self.nats_port = free_port()
        self.cluster_ports = {cluster: free_port() for cluster in CLUSTERS}
        files = [ROOT / "compose.yaml", *([self._overrides(directory)] if engine.own else [])]
        self.environment = {
            **engine.environment,
            "COMPOSE_FILE": os.pathsep.join(str(path) for path in files),
            "COMPOSE_PROJECT_NAME": name,
            "CROSSCURRENT_NATS_PORT": str(self.nats_port),
            **{f"CROSSCURRENT_{cluster.upper()}_PORT": str(port) for cluster, port in self.cluster_ports.items()},
        }

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run compose and return what it printed on stdout."""
        return run(["docker", "compose", *arguments], self.environment, check=check, cwd=ROOT)

    def containers(self, service: str, *, stopped: bool = False) -> list[str]:
        """Return the ids of a service's containers."""
        labels = (f"com.docker.compose.project={self.name}", f"com.docker.compose.service={service}")
        filters = [part for label in labels for part in ("--filter", f"label={label}")]
        every = ["--all"] if stopped else []
        return self.engine.docker("ps", "--quiet", "--no-trunc", *every, *filters).split()

    def container(self, service: str) -> str:
        """Return the id of a service's only container, running or not."""
        (found,) = self.containers(service, stopped=True)
        return found

    def execute(self, container: str, *command: str, check: bool = True) -> str:
        """Run a command in a running container and return what it printed."""
        return self.engine.docker("exec", container, *command, check=check)

    def state(self, container: str) -> dict[str, Any]:
        """Return the engine's `State` of a container."""
        return dict(self.engine.inspect(container)["State"])

    def healthy(self, services: Sequence[str]) -> bool:
        """Return whether every container of these services runs and is healthy."""
        states = [self.state(one) for service in services for one in self.containers(service, stopped=True)]
        return bool(states) and all(one["Running"] and one["Health"]["Status"] == "healthy" for one in states)

    def wait_healthy(self, services: Sequence[str]) -> None:
        """Wait until every container of these services is healthy."""
        until(lambda: self.healthy(services), what=self.report)

    def kubeconfig(self, cluster: str) -> str:
        """Return the kubeconfig of a demo cluster, for use inside the project."""
        return self.execute(self.container(cluster), "cat", KUBECONFIG.format(cluster))

    def cluster(self, name: str) -> RemoteCluster:
        """Return a demo cluster as its administrator on this machine sees it: at its published port."""
        document = parse(self.kubeconfig(name).encode(), source=f"kubeconfig of {name}", directory=None)
        for entry in document["clusters"]:
            entry["cluster"]["server"] = f"https://127.0.0.1:{self.cluster_ports[name]}"
        return RemoteCluster(name, resolve(document))

    def token(self) -> str:
        """Return the broker's token, the way that README.md says."""
        return self.execute(self.container("nats"), "cat", "/broker/token").strip()

    def report(self) -> str:
        """Return what a failure needs: the containers and the end of their logs."""
        listing = self.compose("ps", "--all", check=False) or self.compose("ps", check=False)
        return f"{listing}\n{self.compose('logs', '--tail', '15', check=False)}"

    def left(self) -> dict[str, list[str]]:
        """Return what the engine still has of this project, by kind."""
        label = f"label=com.docker.compose.project={self.name}"
        found = {
            kind: self.engine.docker(*listing, "--quiet", "--filter", label).split()
            for kind, listing in (
                ("container", ["ps", "--all"]),
                ("volume", ["volume", "ls"]),
                ("network", ["network", "ls"]),
            )
        }
        return {kind: ids for kind, ids in found.items() if ids}

    def _overrides(self, directory: Path) -> Path:
        """Write what an engine without a default bridge needs: builds that use the machine's network."""
        services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
        built = {
            name: {"build": {"context": str(ROOT), "network": "host"}}
            for name, one in services.items()
            if "build" in one
        }
        path = directory / "overrides.yaml"
        path.write_text(json.dumps({"services": built}))
        return path
