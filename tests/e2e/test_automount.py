"""The automount webhook as its users run it: the talk's Deployment on a real API server, and on the simulator, calling it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.sandbox.api_client import MERGE_PATCH
from engine.sandbox.api_servers import ApiServer
from engine.sandbox.clusters import SandboxCluster
from engine.sandbox.processes import free_port
from engine.sandbox.simulator.fleet import SimulatedFleet
from tests.e2e.system import ROOT, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

NAMES = ("foo-controller-remote-cluster1", "foo-controller-remote-cluster2")
PODS = "/api/v1/namespaces/{}/pods"
IMPORTS = "/apis/multicluster.admiralty.io/v1alpha1/namespaces/{}/serviceaccountimports"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
CONFIGURATION = "service-account-import-admission-controller"


@pytest.fixture(scope="module", params=["simulated", "real"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxCluster]:
    """A cluster whose Deployments get pods."""
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "simulated":
        with SimulatedFleet(directory, count=1) as fleet:
            yield next(iter(fleet))
        return
    assets = request.getfixturevalue("assets")
    controllers = ("deployment-controller", "replicaset-controller")
    with ApiServer("cluster1", directory / "cluster1", assets=assets, controllers=controllers) as server:
        yield server
    shutil.rmtree(server.layout.etcd_data)


class Webhook:
    """`crosscurrent webhook` for one cluster, called by URL on loopback."""

    def __init__(self, cluster: SandboxCluster, directory: Path) -> None:
        self.cluster, self.port, self.log = cluster, free_port(), directory / "webhook.log"
        (directory / "kubeconfig").write_text(yaml.safe_dump(cluster.kubeconfig))
        config = {"apiVersion": "crosscurrent.dev/v1alpha1", "kind": "Config"}
        config |= {"clusters": [{"name": "here", "kubeconfig": "./kubeconfig"}]}
        self.config = directory / "crosscurrent.yaml"
        self.config.write_text(yaml.safe_dump(config))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it has published another authority."""
        before = self.bundle()
        arguments = ["webhook", "here", "--port", str(self.port), "--name", "127.0.0.1", "-f", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "crosscurrent", *arguments], stdout=log, stderr=log)
        until(lambda: self.bundle() != before, seconds=60, what=self.log.read_text)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    def bundle(self) -> bytes:
        _, found = self.cluster.client.request("GET", f"{WEBHOOKS}/{CONFIGURATION}")
        return b64decode(found["webhooks"][0]["clientConfig"].get("caBundle") or "")


@pytest.fixture(scope="module")
def webhook(cluster: SandboxCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    path = ROOT / "deploy/crds/serviceaccountimports.multicluster.admiralty.io.yaml"
    cluster.client.apply_yaml(path)
    cluster.client.wait_for_crd("serviceaccountimports.multicluster.admiralty.io")
    namespace, _ = yaml.safe_load_all((ROOT / "examples/talk/automount.yaml").read_text())
    cluster.client.apply(namespace)
    running = Webhook(cluster, tmp_path_factory.mktemp("webhook"))
    configuration = next(iter(yaml.safe_load_all((ROOT / "deploy/automount.yaml").read_text())))
    configuration["webhooks"][0]["clientConfig"] = {"url": f"https://127.0.0.1:{running.port}/mutate-pods"}
    cluster.client.apply(configuration)
    running.start()
    yield running
    running.stop()


def an_import(cluster: SandboxCluster, name: str, secret: str = "") -> None:
    """Make an import, and what the engine would write into its status."""
    spec = {"clusterName": "cluster1", "namespace": "foo", "name": "foo-controller-remote"}
    metadata = {"name": name, "namespace": "foo"}
    kind = {"apiVersion": "multicluster.admiralty.io/v1alpha1", "kind": "ServiceAccountImport"}
    cluster.client.apply({**kind, "metadata": metadata, "spec": spec})
    if secret:
        path = f"{IMPORTS.format('foo')}/{name}/status"
        body = {"status": {"secrets": [{"name": secret}]}}
        status, answer = cluster.client.request("PATCH", path, body, content_type=MERGE_PATCH)
        assert status == 200, answer


def a_pod(name: str, imports: str | None) -> dict[str, Any]:
    annotations = {} if imports is None else {"multicluster.admiralty.io/service-account-import.name": imports}
    container = {"name": "c", "image": "c"}
    spec = {"initContainers": [{**container, "name": "i"}], "containers": [container]}
    return {"metadata": {"name": name, "annotations": annotations}, "spec": spec}


def created(cluster: SandboxCluster, pod: dict[str, Any], namespace: str = "foo") -> tuple[int, dict[str, Any]]:
    return cluster.client.request("POST", PODS.format(namespace), pod, timeout=20)


def test_the_talks_deployment_gets_pods_with_both_imports(cluster: SandboxCluster, webhook: Webhook) -> None:
    for name in NAMES:
        an_import(cluster, name, f"{name}-token-6456p")
    _, deployment = yaml.safe_load_all((ROOT / "examples/talk/automount.yaml").read_text())
    if isinstance(cluster, ApiServer):
        cluster.client.apply(deployment)
    else:  # the simulator's own controllers write past its webhooks
        pod = {**deployment["spec"]["template"], "apiVersion": "v1", "kind": "Pod"}
        status, answer = created(cluster, {**pod, "metadata": {**pod["metadata"], "name": "foo-controller"}})
        assert status == 201, answer

    def pods() -> list[dict[str, Any]]:
        return list(cluster.client.request("GET", PODS.format("foo"))[1]["items"])

    until(pods, seconds=30, what=webhook.log.read_text)
    spec = pods()[0]["spec"]
    mounts = {one["mountPath"]: one["name"] for one in spec["containers"][0]["volumeMounts"]}
    secrets = {one["name"]: one["secret"]["secretName"] for one in spec["volumes"] if "secret" in one}
    for name in NAMES:
        assert secrets[mounts[f"/var/run/secrets/admiralty.io/serviceaccountimports/{name}"]] == f"{name}-token-6456p"
    (env,) = spec["containers"][0]["env"]
    assert env["value"].split(":") == [
        f"/var/run/secrets/admiralty.io/serviceaccountimports/{name}/kubeconfig" for name in NAMES
    ]


def test_init_containers_get_them_too(cluster: SandboxCluster, webhook: Webhook) -> None:
    an_import(cluster, "init", "init-token-abc12")
    status, pod = created(cluster, a_pod("init", "init"))
    assert status == 201, pod
    for section in ("initContainers", "containers"):
        assert pod["spec"][section][0]["env"][0]["name"] == "KUBECONFIG"


def test_a_pod_whose_import_has_no_secret_is_denied_with_the_reason(cluster: SandboxCluster, webhook: Webhook) -> None:
    status, answer = created(cluster, a_pod("denied", "no-such-import"))
    assert status == 422, answer
    assert (
        "ServiceAccountImport foo/no-such-import has no Secret to mount: there is no such import" in answer["message"]
    )


def test_pods_that_ask_for_nothing_are_created_while_the_webhook_is_away_and_it_comes_back_with_new_certificates(
    cluster: SandboxCluster, webhook: Webhook
) -> None:
    an_import(cluster, "back", "back-token-abc12")
    webhook.stop()
    try:
        assert created(cluster, a_pod("plain", None))[0] == 201
        elsewhere = created(cluster, a_pod("elsewhere", "back"), "default")
        assert elsewhere[0] == 201, elsewhere
        status, answer = created(cluster, a_pod("waits", "back"))
        assert status == 500, answer
        assert "failed calling webhook" in answer["message"]
        before = webhook.bundle()
    finally:
        webhook.start()
    assert before in webhook.bundle()
    until(lambda: created(cluster, a_pod("waits", "back"))[0] == 201, seconds=30, what=webhook.log.read_text)
