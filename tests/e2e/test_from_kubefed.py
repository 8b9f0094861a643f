"""docs/from-kubefed.md, command by command, on real API servers that hold what kubefed 0.10 leaves in them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.sandbox.api_client import APPLY
from engine.sandbox.api_servers import ApiServer
from tests.e2e.federation.objects import deployment, install
from tests.e2e.system import ROOT, deployment_path, get, namespace, until
from tests.readme import Terminal, blocks, missing

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
PAGE = list(blocks((ROOT / "docs/from-kubefed.md").read_text()))
CONTROLLER = deployment_path("kube-federation-system", "kubefed-controller-manager")
FEDERATED = "/apis/types.kubefed.io/v1beta1/namespaces/shop/federated"


@pytest.fixture
def kubefed(real_clusters: Sequence[ApiServer]) -> Iterator[list[ApiServer]]:
    """A host cluster and a member as kubefed left them."""
    host, member = real_clusters[:2]
    install(host)
    namespace([host, member], "shop")
    namespace([host], "kube-federation-system")
    clusters = [{"name": "cluster1"}, {"name": "cluster2"}]
    placement = {"clusterSelector": {"matchLabels": {"shop": "yes"}}}
    override = {"clusterName": "cluster2", "clusterOverrides": [{"path": "/spec/replicas", "value": 5}]}
    apply(host, CONTROLLER, "apps/v1", "Deployment", deployment(1))
    registered = "/apis/core.kubefed.io/v1beta1/namespaces/kube-federation-system/kubefedclusters"
    for name in ("cluster1", "cluster2"):
        body = {"metadata": {"labels": {"shop": "yes"}}, "spec": {"apiEndpoint": "https://unused"}}
        apply(host, f"{registered}/{name}", "core.kubefed.io/v1beta1", "KubeFedCluster", body)
    kept = {"metadata": {"finalizers": ["kubefed.io/sync-controller"]}}
    group = "types.kubefed.io/v1beta1"
    apply(
        host,
        f"{FEDERATED}namespaces/shop",
        group,
        "FederatedNamespace",
        {**kept, "spec": {"placement": {"clusters": clusters}}},
    )
    spec = {"template": deployment(3), "placement": placement, "overrides": [override]}
    apply(host, f"{FEDERATED}deployments/web", group, "FederatedDeployment", {**kept, "spec": spec})
    for cluster, replicas in ((host, 3), (member, 5)):
        managed = {"metadata": {"labels": {"kubefed.io/managed": "true"}, "annotations": {"theirs": "kept"}}}
        apply(cluster, deployment_path("shop", "web"), "apps/v1", "Deployment", {**managed, **deployment(replicas)})
    yield [host, member]
    for name in ("cluster1", "cluster2"):  # other tests' clusters are not registered
        host.client.request("DELETE", f"{registered}/{name}")


def apply(cluster: ApiServer, path: str, version: str, kind: str, body: dict[str, Any]) -> None:
    metadata = {**body.get("metadata", {}), "name": path.rpartition("/")[2]}
    whole = {**body, "apiVersion": version, "kind": kind, "metadata": metadata}
    status, answer = cluster.client.request(
        "PATCH", f"{path}?fieldManager=controller-manager", whole, content_type=APPLY
    )
    assert status in (200, 201), answer


@pytest.fixture
def terminal(kubefed: list[ApiServer], tmp_path: Path) -> Iterator[Terminal]:
    """A shell of the administrator's, in the directory of a checkout."""
    tools, work = tmp_path / "tools", tmp_path / "work"
    tools.mkdir()
    shutil.copytree(ROOT / "deploy/crds", work / "deploy/crds")
    script = tools / "crosscurrent"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m crosscurrent "$@"\n')
    script.chmod(0o755)
    (tools / "kubectl").symlink_to(Path(sys.executable).parent / "kubectl")
    merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "clusters": [], "contexts": [], "users": []}
    for cluster in kubefed:
        for part in ("clusters", "contexts", "users"):
            merged[part] += cluster.kubeconfig[part]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(yaml.safe_dump(merged))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CROSSCURRENT_")}
    environment |= {"PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "KUBECONFIG": str(kubeconfig)}
    environment |= {"CROSSCURRENT_PROBE_PORT": "0", "CROSSCURRENT_METRICS_PORT": "0"}
    with Terminal(work, environment, tmp_path) as shell:
        yield shell


def test_the_page_moves_a_user_of_kubefed_and_makes_nothing_anew(kubefed: list[ApiServer], terminal: Terminal) -> None:
    path = deployment_path("shop", "web")
    before = [uid(cluster, path) for cluster in kubefed]
    for block in PAGE:
        if block.verb == "writes":
            (terminal.directory / block.what).write_text(block.text)
            continue
        *commands, last = block.commands()
        for command in commands if block.verb == "stays" else [*commands, last]:
            code, text = terminal.run(command.text)
            assert code == 0, f"$ {command.text}\n{text}"
            assert not missing(command.output, text), f"$ {command.text}\n{text}"
        if block.verb == "stays":
            terminal.stay(last.text, block.what)

    host, member = kubefed
    assert (get(host, CONTROLLER) or {})["spec"]["replicas"] == 0
    assert [uid(cluster, path) for cluster in kubefed] == before
    assert (get(member, path) or {})["metadata"]["annotations"]["theirs"] == "kept"
    host.client.request("DELETE", f"{FEDERATED}deployments/web")
    until(lambda: get(host, f"{FEDERATED}deployments/web") is None, seconds=30)
    assert get(member, path) is None
    terminal.interrupt_all()


def uid(cluster: ApiServer, path: str) -> str:
    return str((get(cluster, path) or {})["metadata"]["uid"])


def test_every_block_of_the_page_is_executed() -> None:
    assert {block.verb for block in PAGE} <= {"run", "writes", "stays"}
    assert all(block.language == "console" or block.verb == "writes" for block in PAGE)
