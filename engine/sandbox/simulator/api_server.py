"""One simulated cluster as the sandbox sees it: what `engine.sandbox.api_servers.ApiServer` is for a real one.

In: calls from any thread, which block until done. Out: a cluster at a port of its own, with kubeconfigs, that can
crash, hang, come back, lose its past, go back to an older state, and turn out to be another cluster. Everything it
holds outlives `kill`; with `persist` it outlives the process too.
"""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import yaml

from engine.sandbox import identities
from engine.sandbox.api_client import ApiClient, Json
from engine.sandbox.certificates import CertificateAuthority, KeyPair, signing_key
from engine.sandbox.clusters import SandboxCluster
from engine.sandbox.identities import Identity
from engine.sandbox.private_file import write_private
from engine.sandbox.processes import free_port
from engine.sandbox.simulator.access import Access
from engine.sandbox.simulator.bootstrap import make_roles
from engine.sandbox.simulator.cluster import SimulatedCluster
from engine.sandbox.simulator.controllers import Controllers
from engine.sandbox.simulator.escalation import Escalation
from engine.sandbox.simulator.faults import FaultRule, Faults
from engine.sandbox.simulator.gate import Gate
from engine.sandbox.simulator.http_server import ApiHandler
from engine.sandbox.simulator.identity import Authenticator, TokenSigner
from engine.sandbox.simulator.listener import Listener, server_context
from engine.sandbox.simulator.loop_thread import LoopThread
from engine.sandbox.simulator.options import ADMINISTRATOR
from engine.sandbox.simulator.store import StoreSnapshot, object_key
from engine.sandbox.simulator.webhooks import Webhooks

LOOPBACK: Final = "127.0.0.1"
ADMIN_KUBECONFIG: Final = "admin.kubeconfig"
_OBJECTS: Final = "objects"


class SimulatedApiServer(SandboxCluster):
    """One simulated cluster. As a context manager it is started, and killed at the end; what it holds stays.

    Args:
        name: of the cluster and of its kubeconfig context.
        directory: for keys, kubeconfig and, with `persist`, objects; made with mode 0700.
        thread: the loop that serves it.
        persist: keep objects in the directory, and go on with what is there.
        port: to listen at; 0: any that is free.
        bind: address to listen at.
        hosts: further names and addresses that its certificate holds; the first one is what kubeconfigs say.
        seed: makes uids, generated names and faults repeatable; None: random.
        controllers: what runs in the cluster; None: what `SimulatedCluster` runs by itself.
        version: of Kubernetes.

    Attributes:
        faults: what goes wrong. Change it through `set_faults`.

    """

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        thread: LoopThread,
        persist: bool = False,
        port: int = 0,
        bind: str = LOOPBACK,
        hosts: Sequence[str] = (),
        seed: int | None = None,
        controllers: Controllers | None = None,
        version: str = "v1.36.3",
    ) -> None:
        self._directory = directory.absolute()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        super().__init__(name, _authority(name, self._directory, persist=persist))
        self._thread = thread
        self._port = port or free_port()
        self._bind = bind
        self._hosts = hosts
        self._token = _kept(
            self._directory / "admin.token", lambda: secrets.token_urlsafe(24).encode(), persist
        ).decode()
        self._server_files()
        self.faults = thread.call(lambda: Faults(seed=seed))
        self._cluster = thread.call(
            lambda: SimulatedCluster(
                name,
                clock=self._clock,
                seed=seed,
                data_dir=self._directory / _OBJECTS if persist else None,
                version=version,
                controllers=controllers,
            )
        )
        thread.call(lambda: make_roles(self._cluster))
        self._shown = self._cluster
        self._listener = self._make_listener(self._shown)
        self._client = self._make_client(self._token)
        self.identity = self._cluster.identity
        write_private(self.kubeconfig_path, yaml.safe_dump(self.kubeconfig).encode())

    @property
    def url(self) -> str:
        """URL of the API server, as kubeconfigs say it."""
        host = self._hosts[0] if self._hosts else LOOPBACK
        return f"https://{host}:{self._port}"

    @property
    def client(self) -> ApiClient:
        """A client that is the administrator."""
        return self._client

    @property
    def cluster(self) -> SimulatedCluster:
        """The cluster itself; touch it in the loop's thread only, through `in_loop`."""
        return self._cluster

    @property
    def api_server(self) -> SimulatedApiServer:
        """What answers requests: of a simulated cluster that is all there is."""
        return self

    @property
    def kubeconfig(self) -> Json:
        """The administrator's kubeconfig, with a token; one context, named like the cluster."""
        return identities.kubeconfig(self.name, self.url, self._authority.pem, token=self._token)

    @property
    def kubeconfig_path(self) -> Path:
        """File of `kubeconfig`."""
        return self._directory / ADMIN_KUBECONFIG

    @property
    def running(self) -> bool:
        """Whether it listens (a paused one does)."""
        return self._listener.open

    @property
    def shown_identity(self) -> str:
        """The identity that clients are told now: another cluster's while it poses as that."""
        return self._shown.identity

    @property
    def open_watches(self) -> int:
        """How many watches are open."""
        return self._listener.handler.watches.count

    def start(self) -> None:
        """Listen, at the same port and with the same data as before.

        Raises:
            PortTaken: when another process holds the port.

        """
        self._thread.run(self._listener.start)

    def stop(self) -> None:
        """Stop listening, and let requests under way finish."""
        self._thread.run(self._listener.stop)
        self._client.close()

    def kill(self) -> None:
        """Refuse connections and cut those there are, as a crash would."""
        self._thread.run(self._listener.kill)
        self._client.close()

    def close(self) -> None:
        """Kill it for good, and flush what it keeps on disk."""
        self.kill()
        self._thread.call(self._cluster.close)

    def pause(self) -> None:
        """Answer nothing any more: connections stay open, new ones are taken."""
        self._thread.call(self.faults.pause)

    def resume(self) -> None:
        """Go on."""
        self._thread.call(self.faults.resume)

    def set_faults(self, *rules: FaultRule) -> None:
        """Let these faults happen from now on, in place of those before; none: all is well."""
        self._thread.call(lambda: self.faults.set_rules(rules))

    def skew_clock(self, seconds: float) -> None:
        """Set how far the cluster's clock is ahead of ours."""
        self._thread.call(lambda: setattr(self.faults, "clock_skew", seconds))

    def cut_watches(self) -> int:
        """Break off every watch under way, and return how many there were."""
        return self._thread.call(self._listener.handler.watches.cut)

    def compact(self) -> None:
        """Forget the past: watches from and pages of earlier versions get 410."""
        self._thread.call(self._cluster.compact)

    def snapshot(self) -> StoreSnapshot:
        """Return everything stored now, for `restore`."""
        return self._thread.call(self._cluster.snapshot)

    def restore(self, snapshot: StoreSnapshot) -> None:
        """Go back to a snapshot, as an operator does with etcd: resourceVersions run backwards, and watches end."""

        def restored() -> None:
            self._cluster.restore(snapshot)
            self._listener.handler.watches.cut()

        self._thread.call(restored)

    def pose_as(self, other: SimulatedApiServer | None) -> None:
        """Answer with another cluster's objects and identity, at our address and with our credentials; None: no longer."""
        running = self.running
        self.kill()
        self._shown = self._cluster if other is None else other.cluster
        self._listener = self._make_listener(self._shown)
        if running:
            self.start()

    def client_of(self, identity: Identity) -> ApiClient:
        """Return a client that is this identity; close it."""
        return self._make_client(identity.token)

    def _clock(self) -> float:
        return time.time() + self.faults.clock_skew

    def _make_client(self, token: str) -> ApiClient:
        context = ssl.create_default_context(cadata=self._authority.pem.decode())
        return ApiClient(self._port, context, token=token)

    def _make_listener(self, cluster: SimulatedCluster) -> Listener:
        def account_uid(namespace: str, name: str) -> str:
            found = cluster.store.get(("", "serviceaccounts"), object_key(namespace, name))
            return str(found.object["metadata"]["uid"]) if found else ""

        authenticator = Authenticator({self._token: ADMINISTRATOR}, self._signer, account_uid, self._clock)
        access = Access(cluster.store)
        gate = Gate(Escalation(access), Webhooks(cluster))
        if cluster is self._cluster:
            cluster.admission = gate
        handler = ApiHandler(cluster, authenticator, access, self.faults, gate, self._clock)
        context = server_context(
            self._directory / "server.crt", self._directory / "server.key", self._directory / "ca.crt"
        )
        driven = cluster if cluster is self._cluster else None
        return Listener(handler, driven, context, self._bind, self._port, on_close=gate.close)

    def _server_files(self) -> None:
        names = dict.fromkeys(["127.0.0.1", "localhost", *self._hosts])
        self._authority.issue("kube-apiserver", hosts=tuple(names)).write(self._directory, "server")
        (self._directory / "ca.crt").write_bytes(self._authority.pem)
        key = _kept(self._directory / "service-account.key", signing_key, persist=True)
        self._signer = TokenSigner(key)


def _authority(name: str, directory: Path, *, persist: bool) -> CertificateAuthority:
    """Return the authority kept in a directory, or a new one."""
    certificate, key = directory / "ca.crt", directory / "ca.key"
    if persist and certificate.exists() and key.exists():
        return CertificateAuthority(name, KeyPair(certificate.read_bytes(), key.read_bytes()))
    made = CertificateAuthority(f"{name}-ca")
    if persist:
        made.pair.write(directory, "ca")
    return made


def _kept(path: Path, make: Callable[[], bytes], persist: bool) -> bytes:
    """Return what a file holds, or what `make` makes, which then is kept."""
    if persist and path.exists():
        return path.read_bytes()
    made = make()
    if persist:
        write_private(path, made)
    return made
