"""Clusters join by two `kubectl apply`: one pulls its work, one lends the hub a token; nobody copies a kubeconfig."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from engine.sandbox.api_servers import ApiServer
from engine.sandbox.local_pod import LocalPod
from engine.sandbox.processes import free_port
from tests.clients.kubectl import Kubectl
from tests.e2e.members import AGENT, NAMESPACE, agent_yaml, cluster_join, hub_settings, new_token
from tests.e2e.system import System, create_foo, settled, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


class Joined(NamedTuple):
    """A hub (cluster1), a member that pulls (cluster2), and one that the hub pushes to (cluster3)."""

    system: System
    pods: dict[str, LocalPod]
    tokens: dict[str, str]


@pytest.fixture(scope="module")
def joined(foo_clusters: Sequence[ApiServer], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Joined]:
    hub, pulled, pushed = foo_clusters
    directory = tmp_path_factory.mktemp("hub")
    port = free_port()
    config, authority = hub_settings(directory, port, hub.name)
    tokens = {cluster.name: new_token() for cluster in (pulled, pushed)}
    system = System(directory, foo_clusters, joining=tokens, **config)
    pods = {
        name: LocalPod(system.clusters[name], NAMESPACE, AGENT, directory.parent / f"{name}-pod") for name in tokens
    }
    try:
        system.start(wait=False)
        for name, token in tokens.items():
            mode = "Push" if name == pushed.name else "Pull"
            apply(hub, directory.parent, cluster_join(name, token, mode=mode))
            server = system.clusters[name].url if name == pushed.name else ""
            apply(
                system.clusters[name],
                directory.parent,
                agent_yaml(name, token, port=port, authority=authority, server=server),
            )
            pods[name].start()
        until(system.ready, seconds=60, what=lambda: told(Joined(system, pods, tokens)))
        yield Joined(system, pods, tokens)
    finally:
        for pod in pods.values():
            pod.stop()
        system.stop()


def apply(cluster: ApiServer, directory: Path, text: str) -> None:
    said = Kubectl(cluster.kubeconfig, directory, NAMESPACE)("apply", "-f", "-", text=text)
    assert said.code == 0, said.errors


def told(joined: Joined) -> str:
    logs = [pod.log.read_text()[-3000:] for pod in joined.pods.values() if pod.log.exists()]
    return "\n---\n".join([joined.system.tail(), *logs])


def test_smoke(joined: Joined, ns: str) -> None:
    create_foo(joined.system.clusters["cluster1"], ns)
    settled(joined.system, ns)
    print(told(joined))
