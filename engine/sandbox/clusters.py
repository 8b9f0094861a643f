"""What clusters of the sandbox have in common, real or simulated: one administrator's client, identities, life as a fleet.

`api_servers` runs real ones, `simulator.fleet` simulated ones; whoever uses a cluster takes either.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

import yaml

from engine.sandbox import identities
from engine.sandbox.api_client import REQUEST_TIMEOUT_SECONDS, ApiClient, Json
from engine.sandbox.certificates import A_YEAR, CertificateAuthority
from engine.sandbox.identities import Identity, Rule
from engine.sandbox.private_file import write_private

KUBECONFIG_NAME = "kubeconfig"


class Killable(Protocol):
    """Something that serves until it is killed, and can be paused: a process, or what stands for one."""

    @property
    def running(self) -> bool:
        """Whether it is there (a paused one is)."""

    def start(self) -> None:
        """Start it and return once it serves."""

    def kill(self) -> None:
        """End it at once."""

    def pause(self) -> None:
        """Stop it in its tracks: connections stay open and nothing answers."""

    def resume(self) -> None:
        """Let it go on."""


class ReachableCluster(ABC):
    """A cluster that answers its administrator, whoever runs it.

    Args:
        name: what it is called here.

    Attributes:
        name: as given.
        identity: UID of the namespace kube-system, once known: which cluster this is, whatever it is called.

    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.identity = ""

    @property
    @abstractmethod
    def client(self) -> ApiClient:
        """A client that is the administrator."""

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        timeout: float = REQUEST_TIMEOUT_SECONDS,
    ) -> tuple[int, Json]:
        """Send one request as administrator; see `ApiClient.request`."""
        return await asyncio.to_thread(
            self.client.request, method, path, body, content_type=content_type, timeout=timeout
        )

    async def apply_yaml(self, source: str | Path) -> list[Json]:
        """Apply YAML as administrator; see `ApiClient.apply_yaml`."""
        return await asyncio.to_thread(self.client.apply_yaml, source)

    async def wait_for_crd(self, name: str, timeout: float = REQUEST_TIMEOUT_SECONDS) -> None:
        """Return once a definition is served; see `ApiClient.wait_for_crd`."""
        await asyncio.to_thread(self.client.wait_for_crd, name, timeout)


class SandboxCluster(ReachableCluster):
    """One cluster. As a context manager it is started, and killed at the end; what it holds stays.

    Args:
        name: of the cluster and of its kubeconfig context.

    Attributes:
        name: as given.
        identity: UID of the namespace kube-system, once started: which cluster this is, whatever it is called.

    """

    def __init__(self, name: str, authority: CertificateAuthority) -> None:
        super().__init__(name)
        self._authority = authority

    @property
    @abstractmethod
    def url(self) -> str:
        """URL of the API server."""

    @property
    @abstractmethod
    def api_server(self) -> Killable:
        """What answers requests, to be killed, paused, resumed and started singly."""

    @property
    @abstractmethod
    def kubeconfig(self) -> Json:
        """The administrator's kubeconfig; one context, named like the cluster."""

    @property
    @abstractmethod
    def kubeconfig_path(self) -> Path:
        """File of `kubeconfig`."""

    @abstractmethod
    def start(self) -> None:
        """Start what is not running, on the same port and data as before, and return when the cluster is ready."""

    @abstractmethod
    def stop(self) -> None:
        """End in order."""

    @abstractmethod
    def kill(self) -> None:
        """End as a crash would."""

    @abstractmethod
    def client_of(self, identity: Identity) -> ApiClient:
        """Return a client that is this identity; close it."""

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def grant(self, name: str, rules: Sequence[Rule]) -> Identity:
        """Make (or change) a ServiceAccount that may do exactly what the rules say, and return it once they are in force.

        Granting again to the same name changes its rights, also of tokens given out before.
        """
        token = identities.grant(self.client, name, rules)
        return Identity(name, identities.kubeconfig(self.name, self.url, self._authority.pem, token=token), token)

    def revoke(self, identity: Identity) -> None:
        """Delete an identity's ServiceAccount and return once its token gets 401: up to ten seconds."""
        bearer = self.client_of(identity)
        try:
            identities.revoke(self.client, bearer, identity.name)
        finally:
            bearer.close()

    def certificate_kubeconfig(self, user: str, *, groups: Sequence[str] = (), lifetime: timedelta = A_YEAR) -> Json:
        """Return a kubeconfig with a client certificate that expires after `lifetime` (negative: it has expired)."""
        pair = self._authority.issue(user, organizations=groups, lifetime=lifetime)
        return identities.kubeconfig(self.name, self.url, self._authority.pem, pair=pair)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


Cluster = TypeVar("Cluster", bound=SandboxCluster)


class SandboxFleet(Generic[Cluster]):
    """Clusters by name, in order. As a context manager they are started, and killed at the end; what they hold stays.

    Args:
        directory: for the merged kubeconfig; made with mode 0700.
        clusters: by name.

    Attributes:
        clusters: as given.
        kubeconfig_path: the merged kubeconfig: one context per cluster, named like it, as administrator.

    """

    def __init__(self, directory: Path, clusters: Mapping[str, Cluster]) -> None:
        self.clusters = dict(clusters)
        self.kubeconfig_path = directory.absolute() / KUBECONFIG_NAME
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Cluster:
        return self.clusters[name]

    def __iter__(self) -> Iterator[Cluster]:
        return iter(self.clusters.values())

    def __len__(self) -> int:
        return len(self.clusters)

    def start(self) -> None:
        """Start what is not running, in parallel, and return when every cluster is ready.

        Raises:
            SandboxError: when one cannot be started; the others go on running.

        """
        with self._lock:
            self._each(lambda cluster: cluster.start())
            write_private(self.kubeconfig_path, yaml.safe_dump(self.kubeconfig).encode())

    @property
    def kubeconfig(self) -> Json:
        """The merged kubeconfig."""
        return identities.merged([one.kubeconfig for one in self])

    def kill(self) -> None:
        """End everything at once. What the clusters hold stays, for another `start`."""
        self._each(lambda cluster: cluster.kill())  # before the lock: a `start` under way elsewhere fails now
        with self._lock:
            self._each(lambda cluster: cluster.kill())

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _each(self, action: Callable[[Cluster], None]) -> None:
        with ThreadPoolExecutor(max_workers=max(1, len(self.clusters)), thread_name_prefix="fleet") as pool:
            for done in [pool.submit(action, cluster) for cluster in self]:
                done.result()


def cluster_names(count: int, names: Sequence[str]) -> Sequence[str]:
    """Return the names of a fleet: those given, or cluster1, cluster2 and so on."""
    return names or [f"cluster{number}" for number in range(1, count + 1)]
