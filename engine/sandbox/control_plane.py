"""Command lines of one sandbox cluster's etcd, kube-apiserver and kube-controller-manager. Values only, nothing runs here.

Settings differ from production's where that saves start time, memory or idle CPU without changing what a client can see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SERVICE_ACCOUNT_ISSUER = "https://kubernetes.default.svc"

DEFAULT_CONTROLLERS = ("garbage-collector-controller", "namespace-controller")
"""What cross-cluster ownership meets in a real cluster: native garbage collection, and namespaces that go away."""

SERVER_ENVIRONMENT = {"GOGC": "200"}
"""Half as many garbage collections: an API server holds some 100 MB of definitions that never change. A write costs it and
etcd 9 % less CPU (of 5 ms), for 110 MB more memory each."""

AUDIT_POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""


@dataclass(frozen=True)
class Layout:
    """Where one cluster keeps its files, and its ports on 127.0.0.1."""

    directory: Path
    api_port: int
    etcd_port: int
    peer_port: int
    controllers_port: int

    @property
    def etcd_data(self) -> Path:
        """Data directory of etcd."""
        return self.directory / "etcd"

    @property
    def audit_log(self) -> Path:
        """The audit log, one JSON object a line."""
        return self.directory / "audit.jsonl"

    def file(self, name: str) -> str:
        """Return the path of a file of the cluster's directory, as an argument."""
        return str(self.directory / name)


def etcd_arguments(layout: Layout, *, fsync: bool) -> list[str]:
    """Return etcd's arguments.

    Every port wants a client certificate, because there are Secrets behind it, and of an authority of its own, because any
    certificate that opens etcd goes around RBAC.

    Args:
        layout: files and ports.
        fsync: False: survives kill -9 of etcd, not of the machine, and is several times faster on slow disks.

    """
    client, peer = f"https://127.0.0.1:{layout.etcd_port}", f"https://127.0.0.1:{layout.peer_port}"
    arguments = {
        "name": "default",
        "data-dir": str(layout.etcd_data),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        # The one member elects itself after an election timeout: a second by default, most of etcd's start.
        "heartbeat-interval": "50",
        "election-timeout": "250",
        "log-level": "warn",
    }
    for prefix in ("", "peer-"):
        arguments |= {
            f"{prefix}client-cert-auth": "true",
            f"{prefix}trusted-ca-file": layout.file("etcd-ca.crt"),
            f"{prefix}cert-file": layout.file("etcd.crt"),
            f"{prefix}key-file": layout.file("etcd.key"),
        }
    return [*_flags(arguments), *([] if fsync else ["--unsafe-no-fsync"])]


def api_server_arguments(layout: Layout, *, audit: bool, extra: Sequence[str]) -> list[str]:
    """Return kube-apiserver's arguments.

    Args:
        layout: files and ports.
        audit: log every answered request, without bodies.
        extra: further arguments; the last of two that contradict wins.

    """
    arguments = {
        "etcd-servers": f"https://127.0.0.1:{layout.etcd_port}",
        "etcd-cafile": layout.file("etcd-ca.crt"),
        "etcd-certfile": layout.file("etcd.crt"),
        "etcd-keyfile": layout.file("etcd.key"),
        "bind-address": "127.0.0.1",
        "advertise-address": "127.0.0.1",
        "secure-port": str(layout.api_port),
        "tls-cert-file": layout.file("server.crt"),
        "tls-private-key-file": layout.file("server.key"),
        "client-ca-file": layout.file("ca.crt"),
        "authorization-mode": "RBAC",
        "service-account-issuer": SERVICE_ACCOUNT_ISSUER,
        "service-account-key-file": layout.file("service-account.key"),
        "service-account-signing-key-file": layout.file("service-account.key"),
        "service-cluster-ip-range": "10.0.0.0/16",
        # It wants each namespace's default ServiceAccount, which a controller makes that usually is not there.
        "disable-admission-plugins": "ServiceAccount",
        "allow-privileged": "true",
        "endpoint-reconciler-type": "none",  # there is no kubernetes Service to keep up to date, nor a lease to wait for
        # Without it SIGTERM waits for whoever holds a watch open, for a minute; with it watches end at once.
        "shutdown-watch-termination-grace-period": "1s",
        "profiling": "false",
    }
    if audit:
        arguments |= {"audit-policy-file": layout.file("audit-policy.yaml"), "audit-log-path": str(layout.audit_log)}
    return [*_flags(arguments), *extra]


def controller_arguments(layout: Layout, controllers: Sequence[str]) -> list[str]:
    """Return kube-controller-manager's arguments.

    Args:
        layout: files and ports.
        controllers: names as `--controllers` takes them.

    """
    arguments = {
        "kubeconfig": layout.file("admin.kubeconfig"),
        "controllers": ",".join(controllers),
        "leader-elect": "false",
        "bind-address": "127.0.0.1",
        "secure-port": str(layout.controllers_port),
        "tls-cert-file": layout.file("server.crt"),
        "tls-private-key-file": layout.file("server.key"),
        "service-account-private-key-file": layout.file("service-account.key"),
        "root-ca-file": layout.file("ca.crt"),
        # Deleting a namespace is some 60 requests, and the default of 20 a second is meant for clusters with other users.
        "kube-api-qps": "200",
        "kube-api-burst": "300",
    }
    return _flags(arguments)


def _flags(arguments: dict[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in arguments.items()]
