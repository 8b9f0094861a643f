"""A real cluster without nodes: an etcd, a kube-apiserver and, if wanted, a kube-controller-manager of its own.

It can do what clusters do to an engine: crash, hang, come back, lose a week, forbid, and let credentials expire.
The binaries come from `engine.sandbox.assets`. Everything blocks, except the methods that are `async`, which run the
blocking ones in a thread.
"""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from engine.sandbox import identities
from engine.sandbox.api_client import ApiClient, Json, Unanswered
from engine.sandbox.certificates import CertificateAuthority, signing_key
from engine.sandbox.clusters import SandboxCluster
from engine.sandbox.control_plane import (
    AUDIT_POLICY,
    DEFAULT_CONTROLLERS,
    SERVER_ENVIRONMENT,
    Layout,
    api_server_arguments,
    controller_arguments,
    etcd_arguments,
)
from engine.sandbox.identities import Identity
from engine.sandbox.private_file import write_private
from engine.sandbox.processes import ChildProcess, accepts_connections, free_port

START_TIMEOUT_SECONDS = 120.0
"""Per process. kube-apiserver needs 4 s of one idle core; several at once on a busy CI machine have taken ten times that."""

_READY_TIMEOUT_SECONDS = 5.0

IDENTITY_NAMESPACE = "kube-system"
_WANTED_NAMESPACES = (IDENTITY_NAMESPACE, "default")


class ApiServer(SandboxCluster):
    """One cluster. As a context manager it is started, and killed at the end; its directory stays.

    The processes are there to be killed, paused, resumed and started singly: `etcd`, `api_server`, `controllers`.

    Args:
        name: of the cluster and of its kubeconfig context.
        directory: for data, keys and logs; made with mode 0700.
        assets: directory of the binaries.
        controllers: run kube-controller-manager: True: garbage collection and namespaces; or names as `--controllers` takes.
        audit: keep an audit log, see `audit_log`.
        fsync: let etcd sync its files. Without, data survives any kill, but not a power cut.
        api_server_flags: further arguments of kube-apiserver, such as `--watch-cache=false`.

    """

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        assets: Path,
        controllers: bool | Sequence[str] = False,
        audit: bool = False,
        fsync: bool = False,
        api_server_flags: Sequence[str] = (),
    ) -> None:
        super().__init__(name, CertificateAuthority(f"{name}-ca"))
        self.layout = Layout(directory.absolute(), free_port(), free_port(), free_port(), free_port())
        self._audit = audit
        self._admin = self._authority.issue("sandbox-admin", organizations=("system:masters",))
        self._prepare_directory()
        self._admin_client = self._client()
        self.etcd = self._process(assets / "etcd", etcd_arguments(self.layout, fsync=fsync), self._etcd_listens)
        arguments = api_server_arguments(self.layout, audit=audit, extra=api_server_flags)
        self._api_server = self._process(assets / "kube-apiserver", arguments, self._api_server_is_ready)
        self.controllers: ChildProcess | None = None
        if controllers:
            wanted = DEFAULT_CONTROLLERS if controllers is True else controllers
            arguments = controller_arguments(self.layout, wanted)
            self.controllers = self._process(assets / "kube-controller-manager", arguments, self._controllers_listen)

    @property
    def url(self) -> str:
        """URL of the API server."""
        return f"https://127.0.0.1:{self.layout.api_port}"

    @property
    def client(self) -> ApiClient:
        """A client that is the administrator."""
        return self._admin_client

    @property
    def api_server(self) -> ChildProcess:
        """The process of kube-apiserver."""
        return self._api_server

    @property
    def audit_log(self) -> Path:
        """The audit log, one JSON object a line, written before each request is answered; only with `audit`."""
        return self.layout.audit_log

    @property
    def kubeconfig(self) -> Json:
        """The administrator's kubeconfig, with a client certificate; one context, named like the cluster."""
        return identities.kubeconfig(self.name, self.url, self._authority.pem, pair=self._admin)

    @property
    def kubeconfig_path(self) -> Path:
        """File of `kubeconfig`."""
        return self.layout.directory / "admin.kubeconfig"

    @property
    def resident_bytes(self) -> int:
        """Resident memory of the running processes; Linux only."""
        return sum(process.resident_bytes for process in self._processes() if process.running)

    def start(self) -> None:
        """Start what is not running, on the same ports and data as before, and return when the cluster is ready.

        Ready is: /readyz says so (which includes the bootstrap RBAC), and kube-system and default exist.

        Raises:
            ProcessFailed: when a process ends early or is not ready in time.

        """
        for process in self._processes():
            if not process.running:
                process.start()

    def stop(self) -> None:
        """End every process in order."""
        for process in reversed(self._processes()):
            process.stop()
        self.client.close()

    def kill(self) -> None:
        """End every process as a crash would (SIGKILL)."""
        for process in reversed(self._processes()):
            process.kill()
        self.client.close()

    def snapshot(self, name: str) -> Path:
        """Copy etcd's data as it is now and return the copy, for `restore`. The cluster hangs for the moment it takes."""
        copy = self.layout.directory / f"snapshot-{name}"
        if not self.etcd.running:
            return shutil.copytree(self.layout.etcd_data, copy)
        self.etcd.pause()  # what a paused process has written is what a killed one leaves, and etcd recovers from that
        try:
            shutil.copytree(self.layout.etcd_data, copy)
        finally:
            self.etcd.resume()
        return copy

    def restore(self, snapshot: Path) -> None:
        """Go back to a snapshot, as an operator does: everything stops, etcd's data is replaced, everything starts."""
        self.stop()
        shutil.rmtree(self.layout.etcd_data)
        shutil.copytree(snapshot, self.layout.etcd_data)
        self.start()

    def client_of(self, identity: Identity) -> ApiClient:
        """Return a client that is this identity; close it."""
        return self._client(token=identity.token)

    def _processes(self) -> tuple[ChildProcess, ...]:
        return tuple(process for process in (self.etcd, self.api_server, self.controllers) if process is not None)

    def _process(self, program: Path, arguments: Sequence[str], ready: Callable[[], bool]) -> ChildProcess:
        return ChildProcess(
            f"{program.name} of {self.name}",
            (str(program), *arguments),
            self.layout.directory / f"{program.name}.log",
            ready=ready,
            start_timeout=START_TIMEOUT_SECONDS,
            environment=SERVER_ENVIRONMENT,
        )

    def _prepare_directory(self) -> None:
        directory = self.layout.directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        (directory / "ca.crt").write_bytes(self._authority.pem)
        self._admin.write(directory, "admin")
        self._authority.issue("kube-apiserver", hosts=("127.0.0.1", "localhost")).write(directory, "server")
        etcd_authority = CertificateAuthority(f"{self.name}-etcd-ca")
        (directory / "etcd-ca.crt").write_bytes(etcd_authority.pem)
        etcd_authority.issue("etcd", hosts=("127.0.0.1",)).write(directory, "etcd")
        write_private(directory / "service-account.key", signing_key())
        write_private(self.kubeconfig_path, yaml.safe_dump(self.kubeconfig).encode())
        (directory / "audit-policy.yaml").write_text(AUDIT_POLICY, encoding="utf-8")

    def _client(self, *, token: str = "") -> ApiClient:
        context = ssl.create_default_context(cadata=self._authority.pem.decode())
        if not token:
            context.load_cert_chain(self.layout.file("admin.crt"), self.layout.file("admin.key"))
        return ApiClient(self.layout.api_port, context, token=token)

    def _etcd_listens(self) -> bool:
        return accepts_connections(self.layout.etcd_port)

    def _controllers_listen(self) -> bool:
        return accepts_connections(self.layout.controllers_port)

    def _api_server_is_ready(self) -> bool:
        try:
            if self.client.request("GET", "/readyz", timeout=_READY_TIMEOUT_SECONDS)[0] != 200:
                return False
            for name in _WANTED_NAMESPACES:
                status, namespace = self.client.request(
                    "GET", f"/api/v1/namespaces/{name}", timeout=_READY_TIMEOUT_SECONDS
                )
                if status != 200:
                    return False
                if name == IDENTITY_NAMESPACE:
                    self.identity = namespace["metadata"]["uid"]
        except Unanswered:
            return False
        return True
