"""A fleet of real clusters with `crosscurrent up` on them, for the benchmarks that need the whole system.

Everything is as users run it: an embedded broker that syncs always, a watcher process per cluster, worker processes, all
children of `up`. The engine has an identity of its own in every cluster, so that the audit log tells its requests apart.
"""

from __future__ import annotations

import http.client
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import yaml

from benchmarks.procfs import Usage, Window
from benchmarks.roles import Role
from crosscurrent.state_directory import ADDRESS_FILE
from engine.sandbox.api_servers import ApiServer
from engine.sandbox.assets import ensure_assets
from engine.sandbox.identities import Rule
from engine.sandbox.processes import ChildProcess, free_port

ROOT = Path(__file__).resolve().parent.parent
FOOS = "/apis/samplecontroller.k8s.io/v1alpha1/namespaces/default/foos"
ALL_FOOS = "/apis/samplecontroller.k8s.io/v1alpha1/foos"
ALL_DEPLOYMENTS = "/apis/apps/v1/deployments"
ENGINE = "crosscurrent"
FSYNC = "always"
_RULES = (Rule(("*",), ("*",), ("*",)),)
_UP_SECONDS = 120.0

Json = dict[str, Any]


class NotInTime(Exception):
    """Raised when the fleet does not come to where it should be."""


class Fleet:
    """Clusters c1, c2, ... and the engine. A context manager.

    Args:
        directory: for everything; made.
        clusters: how many.
        workers: worker processes.
        audit: keep audit logs.
        say: takes a line about what is going on.
        config: further keys of the configuration, or other values of those that it has.

    """

    def __init__(
        self,
        directory: Path,
        *,
        clusters: int,
        workers: int,
        say: Callable[[str], None],
        audit: bool = False,
        config: Json | None = None,
    ) -> None:
        directory.mkdir(parents=True)
        self._config = config or {}
        self.directory = directory
        self._say = say
        self._workers = workers
        assets = ensure_assets(say)
        names = [f"c{number}" for number in range(1, clusters + 1)]
        self.servers = {name: ApiServer(name, directory / name, assets=assets, audit=audit) for name in names}
        self.users: dict[str, str] = {}
        """The engine's user name in each cluster's audit log."""
        self._probe_port = free_port()
        self.up = ChildProcess(
            "crosscurrent up",
            (sys.executable, "-m", "crosscurrent", "up", "-f", str(directory / "crosscurrent.yaml")),
            directory / "up.log",
            ready=self._ready,
            start_timeout=_UP_SECONDS,
            environment={"PYTHONPATH": str(ROOT)},
        )

    def __enter__(self) -> Self:
        self._say(f"starting {len(self.servers)} real clusters")
        try:
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda server: server.start(), self.servers.values()))
            for server in self.servers.values():
                for path in sorted((ROOT / "deploy/crds").glob("*.yaml")):
                    server.client.apply_yaml(path)
            self._configure()
            self._say("starting crosscurrent up")
            self.up.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.up.running:
            self.up.stop()
        for server in self.servers.values():
            server.kill()

    def access(self, cluster: str) -> Json:
        """Return how a role reaches a cluster, as administrator."""
        layout = self.servers[cluster].layout
        return {
            "url": self.servers[cluster].url,
            "ca": layout.file("ca.crt"),
            "certificate": layout.file("admin.crt"),
            "key": layout.file("admin.key"),
        }

    def broker_file(self) -> str:
        """Return the file with the broker's address and credential."""
        return str(self.directory / "state" / ADDRESS_FILE)

    def children(self) -> dict[str, list[int]]:
        """Return the pids of `up`'s children by what they are: `nats-server`, `watch c1`, `reconcile`."""
        found: dict[str, list[int]] = {}
        threads = Path(f"/proc/{self.up.pid}/task").iterdir()
        for pid in (pid for thread in threads for pid in (thread / "children").read_text().split()):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            if "nats-server" in Path(words[0]).name:
                found.setdefault("nats-server", []).append(int(pid))
            elif "watch" in words:
                found.setdefault(f"watch {words[words.index('watch') + 1]}", []).append(int(pid))
            elif "reconcile" in words:
                found.setdefault("reconcile", []).append(int(pid))
        return found

    def window(self, roles: Iterable[Role] = ()) -> Window:
        """Begin to measure every process of the fleet, and of the benchmark's own roles."""
        pids = {"up": self.up.pid}
        for kind, found in self.children().items():
            pids |= {f"{kind} #{number}" if len(found) > 1 else kind: pid for number, pid in enumerate(found, 1)}
        for name, server in self.servers.items():
            pids |= {f"kube-apiserver {name}": server.api_server.pid, f"etcd {name}": server.etcd.pid}
        return Window(pids | {f"({role.name})": role.pid for role in roles})

    def create_foos(self, names: Sequence[str], cluster: str = "c1") -> None:
        """Create Foos of no replicas."""
        client = self.servers[cluster].client
        for name in names:
            body = {
                "apiVersion": "samplecontroller.k8s.io/v1alpha1",
                "kind": "Foo",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"deploymentName": name, "replicas": 0},
            }
            status, answer = client.request("POST", FOOS, body)
            if status != 201:
                raise NotInTime(f"creating {name}: {status} {answer.get('message')}")

    def wait_children(self, names: Sequence[str], timeout: float = 120.0) -> None:
        """Wait until every Foo has its Deployment in every other cluster, and its status says so."""
        wanted = set(names)
        others = [server for name, server in self.servers.items() if name != "c1"]

        def converged() -> bool:
            for server in others:
                items = server.client.request("GET", ALL_DEPLOYMENTS)[1].get("items", ())
                if not wanted <= {item["metadata"]["name"] for item in items}:
                    return False
            foos = self.servers["c1"].client.request("GET", ALL_FOOS)[1].get("items", ())
            return all(len(foo.get("status", {}).get("clusters", ())) == len(others) for foo in foos)

        self.until(converged, timeout, "the Foos have no children")

    def until(self, condition: Callable[[], bool], timeout: float, what: str, *, every: float = 0.2) -> None:
        """Poll until a condition holds, `every` so many seconds.

        Raises:
            NotInTime: when it does not in time.

        """
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise NotInTime(f"{what} after {timeout:g} s{self.up.log_tail(40)}")
            time.sleep(every)

    def _configure(self) -> None:
        clusters = []
        for name, server in self.servers.items():
            identity = server.grant(ENGINE, _RULES)
            self.users[name] = identity.user
            path = self.directory / f"{name}.kubeconfig"
            path.touch(mode=0o600)
            path.write_text(yaml.safe_dump(identity.kubeconfig))
            clusters.append({"name": name, "kubeconfig": f"./{path.name}"})
        document = {
            "apiVersion": "crosscurrent.dev/v1alpha1",
            "kind": "Config",
            "nats": {"sync": FSYNC},
            "clusters": clusters,
            "reconcilers": ["foo"],
            "workers": self._workers,
            "state_directory": "./state",
            "probe_port": self._probe_port,
            "metrics_port": 0,
        } | self._config
        (self.directory / "crosscurrent.yaml").write_text(yaml.safe_dump(document))

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._probe_port, timeout=2.0)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def shares(usage: dict[str, Usage]) -> str:
    """Return who used how much of a core, the busiest first."""
    ordered = sorted(usage.items(), key=lambda item: -item[1].share)
    total = sum(one.share for one in usage.values())
    cores = os.cpu_count() or 1
    listed = ", ".join(f"{name} {one.share:.1%}" for name, one in ordered if one.share >= 0.001)
    return f"CPU (of one core): {listed}; together {total:.0%} of {cores * 100} %"
