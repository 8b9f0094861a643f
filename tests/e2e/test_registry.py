"""Clusters that come, change their credentials and go, by Secrets of a hub, on real API servers; and the rights for that."""

from __future__ import annotations

import json
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.core.roles import roles
from engine.sandbox import identities
from engine.sandbox.api_servers import ApiServer
from engine.sandbox.certificates import CertificateAuthority
from engine.sandbox.identities import Rule
from reconcilers.foo import foo
from schemas.config import ImportsConfig, RegistryConfig, SecretClustersConfig
from schemas.names import ClusterName
from tests.clients.kubectl import Kubectl
from tests.e2e.system import System, create_foo, deployment, foo_path, listed, namespace, patch, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

FLEET = "crosscurrent-fleet"
GOLDEN = Path(__file__).parent / "golden"
REGISTRY = RegistryConfig(secrets=(SecretClustersConfig(cluster=ClusterName("cluster1"), namespace=FLEET),))


@pytest.fixture(scope="module")
def system(foo_clusters: Sequence[ApiServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """An engine that is told of cluster1 only, with exactly the rights of `crosscurrent roles` there."""
    namespace(foo_clusters, "crosscurrent")
    namespace(foo_clusters, FLEET)
    hub = foo_clusters[0]
    registry = {"secrets": [{"cluster": "cluster1", "namespace": FLEET}], "allow_addresses": ["127.0.0.0/8"]}
    directory = tmp_path_factory.mktemp("registry")
    credentials = {hub.name: engine_in(hub, REGISTRY)}
    with System(directory, [hub], kubeconfigs=credentials, registry=registry) as running:
        yield running
        for cluster in foo_clusters:
            hub.client.request("DELETE", f"/api/v1/namespaces/{FLEET}/secrets/{cluster.name}")


def engine_in(cluster: ApiServer, registry: RegistryConfig) -> dict[str, Any]:
    """Make the engine's identity in a cluster and return its kubeconfig."""
    metadata = {"name": "registry", "namespace": "crosscurrent"}
    cluster.client.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    name = ClusterName(cluster.name)
    for body in roles(name, [foo], ImportsConfig(), registry=registry, account=("crosscurrent", "registry")):
        body["metadata"]["name"] += "-of-registry-tests"
        if "roleRef" in body:
            body["roleRef"]["name"] += "-of-registry-tests"
        cluster.client.apply(body)
    return fresh_token(cluster)


def fresh_token(cluster: ApiServer) -> dict[str, Any]:
    path = "/api/v1/namespaces/crosscurrent/serviceaccounts/registry/token"
    _, answer = cluster.client.request("POST", path, {"spec": {}})
    authority = (cluster.layout.directory / "ca.crt").read_bytes()
    return identities.kubeconfig(cluster.name, cluster.url, authority, token=answer["status"]["token"])


def secret(name: str, content: dict[str, Any] | bytes) -> dict[str, Any]:
    raw = content if isinstance(content, bytes) else yaml.safe_dump(content).encode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": FLEET,
            "labels": {"sigs.k8s.io/multicluster-runtime-kubeconfig": "true"},
        },
        "data": {"kubeconfig": b64encode(raw).decode()},
    }


def test_a_cluster_comes_gets_other_credentials_and_goes_while_everything_runs(
    system: System, foo_clusters: Sequence[ApiServer], ns: str
) -> None:
    hub, member, _ = foo_clusters

    def state() -> tuple[str, str]:
        found = listed(system).get("cluster2", {})
        return found.get("state", ""), found.get("reason", "")

    def follows(replicas: int) -> None:
        patch(hub, foo_path(ns), {"spec": {"replicas": replicas}})
        until(
            lambda: ((deployment(member, ns) or {}).get("spec") or {}).get("replicas") == replicas,
            what=lambda: f"{state()} {system.tail()}",
        )

    create_foo(hub, ns)
    children = {pid for kind in ("watch", "reconcile") for pid in system.children(kind)}
    # It comes: one object applied, and nothing is started again.
    hub.client.apply(secret("cluster2", engine_in(member, RegistryConfig())))
    until(lambda: state() == ("live", ""), what=system.tail)
    until(lambda: deployment(member, ns), what=system.tail)

    # Garbage: the last good credential works on, and the condition says what cannot be read, and where.
    hub.client.apply(secret("cluster2", b"clusters: ["))
    until(lambda: state() == ("live", "RegistryProblem"), what=system.tail)
    said = listed(system)["cluster2"]["message"]
    assert said.startswith(f"get secrets {FLEET}/cluster2 in cluster1: `kubeconfig` is not YAML")
    follows(2)

    # Another identity of a server with another authority; the old identity is taken away 5 s later, and nobody notices.
    rules = [Rule(["*"], ["*"], ["*"])]
    other = member.grant(f"other-{ns}", rules)
    with another_authority(member) as authority:
        rotated_to = identities.kubeconfig(member.name, member.url, authority, token=other.token)
        hub.client.apply(secret("cluster2", rotated_to))
        rotated = time.monotonic()
        until(lambda: state() == ("live", ""), what=system.tail)
        time.sleep(max(0.0, rotated + 5 - time.monotonic()))
        member.client.request("DELETE", "/api/v1/namespaces/crosscurrent/serviceaccounts/registry")
        follows(3)
        assert children <= {pid for kind in ("watch", "reconcile") for pid in system.children(kind)}

        # It goes: what it holds stays, and the Foo in the hub can go without it.
        hub.client.request("DELETE", f"/api/v1/namespaces/{FLEET}/secrets/cluster2")
        until(lambda: state() == ("suspect", "Disengaged"), what=system.tail)
        kept = deployment(member, ns)
        assert kept is not None
        patch(hub, foo_path(ns), {"spec": {"replicas": 4}})
        until(lambda: len(system.children("watch")) == 1, seconds=30, what=system.tail)
        assert deployment(member, ns) == kept

        # And comes back.
        hub.client.apply(secret("cluster2", rotated_to))
        until(lambda: state() == ("live", ""), what=system.tail)
        until(lambda: (deployment(member, ns) or {})["spec"]["replicas"] == 4, what=system.tail)
        # SEC-24: what was read from Secrets is in memory only.
        kept_files = [path.read_bytes() for path in system.directory.rglob("*") if path.is_file()]
        assert not any(other.token.encode() in content for content in kept_files)


@contextmanager
def another_authority(cluster: ApiServer) -> Iterator[bytes]:
    """Have an API server show a certificate of another authority, and return that; it reads its files again by itself.

    Connections that are open stay so, ours among them; new ones are refused by whoever trusts the former authority.
    """
    files = [cluster.layout.directory / name for name in ("server.crt", "server.key")]
    before = [file.read_bytes() for file in files]
    authority = CertificateAuthority("present")
    authority.issue("kube-apiserver", hosts=("127.0.0.1", "localhost")).write(cluster.layout.directory, "server")
    try:
        until(lambda: is_trusted(cluster, authority.pem), what="the API server shows its former certificate")
        yield authority.pem
    finally:
        for file, content in zip(files, before, strict=True):
            file.write_bytes(content)
        former = (cluster.layout.directory / "ca.crt").read_bytes()
        until(lambda: is_trusted(cluster, former), what="the API server does not show its former certificate again")


def is_trusted(cluster: ApiServer, authority: bytes) -> bool:
    """Return whether a new connection to an API server is verified by an authority."""
    context = ssl.create_default_context(cadata=authority.decode())
    try:
        with (
            socket.create_connection(("127.0.0.1", cluster.layout.api_port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1"),
        ):
            return True
    except ssl.SSLCertVerificationError:
        return False


def test_in_a_hub_the_engine_may_do_what_the_golden_file_says_and_no_more(system: System, tmp_path: Path) -> None:
    kubectl = Kubectl(yaml.safe_load((system.directory / "cluster1.kubeconfig").read_text()), tmp_path, FLEET)
    said = kubectl("auth", "can-i", "--list", "--no-headers")
    assert said.code == 0, said.errors
    lines = sorted(" ".join(line.split()) for line in said.output.splitlines())
    assert lines == (GOLDEN / "can-i-hub.txt").read_text().splitlines()
    printed = list(yaml.safe_load_all(system.cli("roles", "cluster1").stdout))
    needed = roles(
        ClusterName("cluster1"), [foo], ImportsConfig(), registry=REGISTRY, account=("crosscurrent", "crosscurrent")
    )
    assert json.loads(json.dumps(printed)) == needed
