"""Real clusters: what they start as, and that every fault they can be made to have is the real one."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.sandbox.api_client import MERGE_PATCH, ApiClient, ApplyFailed, Unanswered
from engine.sandbox.api_servers import ApiServer
from engine.sandbox.fleet import start_clusters
from engine.sandbox.identities import Rule
from engine.sandbox.processes import accepts_connections

pytestmark = pytest.mark.e2e

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"

WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.sandbox.example.com}
spec:
  group: sandbox.example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
---
apiVersion: sandbox.example.com/v1
kind: Widget
metadata: {name: one}
spec: {size: 3}
"""


@pytest.fixture(scope="module")
def cluster(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A cluster to break, with an audit log and controllers."""
    directory = tmp_path_factory.mktemp("broken")
    with ApiServer("broken", directory, assets=assets, controllers=True, audit=True) as one:
        yield one
    for data in (one.layout.etcd_data, *directory.glob("snapshot-*")):
        shutil.rmtree(data)


def config_map(name: str, **metadata: object) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}


def version_of(cluster: ApiServer) -> int:
    return int(cluster.client.request("GET", CONFIG_MAPS)[1]["metadata"]["resourceVersion"])


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds


def status_as(cluster: ApiServer, kubeconfig: dict[str, Any], directory: Path) -> int:
    """Return what a bearer of this kubeconfig's client certificate gets for a list."""
    user = kubeconfig["users"][0]["user"]
    (directory / "crt").write_bytes(b64decode(user["client-certificate-data"]))
    (directory / "key").write_bytes(b64decode(user["client-key-data"]))
    authority = b64decode(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    context.load_cert_chain(directory / "crt", directory / "key")
    client = ApiClient(cluster.layout.api_port, context)
    try:
        return client.request("GET", CONFIG_MAPS)[0]
    finally:
        client.close()


async def test_three_clusters_are_three_identities(real_clusters: tuple[ApiServer, ...]) -> None:
    assert [cluster.name for cluster in real_clusters] == ["cluster1", "cluster2", "cluster3"]
    assert len({cluster.identity for cluster in real_clusters}) == 3
    for cluster in real_clusters:
        status, namespace = await cluster.request("GET", "/api/v1/namespaces/kube-system")
        assert (status, namespace["metadata"]["uid"]) == (200, cluster.identity)


def test_one_kubeconfig_has_a_context_for_each_cluster(real_clusters: tuple[ApiServer, ...]) -> None:
    path = real_clusters[0].layout.directory.parent / "kubeconfig"
    merged = yaml.safe_load(path.read_text())
    assert path.stat().st_mode & 0o077 == 0
    assert merged["current-context"] == "cluster1"
    servers = {entry["name"]: entry["cluster"]["server"] for entry in merged["clusters"]}
    found = {entry["name"]: servers[entry["context"]["cluster"]] for entry in merged["contexts"]}
    assert found == {cluster.name: cluster.url for cluster in real_clusters}
    assert len({entry["name"] for entry in merged["users"]}) == 3


async def test_yaml_with_a_definition_and_an_object_of_it_is_applied_in_one_go(
    real_clusters: tuple[ApiServer, ...],
) -> None:
    _, widget = await real_clusters[2].apply_yaml(WIDGETS)
    assert widget["metadata"]["namespace"] == "default"
    path = "/apis/sandbox.example.com/v1/namespaces/default/widgets/one"
    assert (await real_clusters[2].request("GET", path))[1]["spec"] == {"size": 3}


async def test_a_document_that_is_refused_is_named(real_clusters: tuple[ApiServer, ...]) -> None:
    with pytest.raises(ApplyFailed, match=r"ConfigMap UPPER: 422 .*Invalid value"):
        await real_clusters[2].apply_yaml(yaml.safe_dump(config_map("UPPER")))
    with pytest.raises(ApplyFailed, match=r"Gadget one: .* not serve example\.com/v1 Gadget"):
        await real_clusters[2].apply_yaml("{apiVersion: example.com/v1, kind: Gadget, metadata: {name: one}}")


def test_a_restricted_identity_gets_403_that_names_verb_and_resource(real_clusters: tuple[ApiServer, ...]) -> None:
    cluster = real_clusters[2]
    reader = cluster.grant("reader", [Rule([""], ["configmaps"], ["list"])])
    client = cluster.client_of(reader)
    assert client.request("GET", CONFIG_MAPS)[0] == 200
    status, answer = client.request("POST", CONFIG_MAPS, config_map("not-mine"))
    assert status == 403
    assert f'User "{reader.user}" cannot create resource "configmaps"' in answer["message"]

    cluster.grant("reader", [Rule([""], ["configmaps"], ["create"])])  # the same token, other rights
    assert client.request("GET", CONFIG_MAPS)[0] == 403
    assert client.request("POST", CONFIG_MAPS, config_map("mine-now"))[0] == 201
    client.close()


def test_a_revoked_identity_gets_401(real_clusters: tuple[ApiServer, ...]) -> None:
    cluster = real_clusters[2]
    leaver = cluster.grant("leaver", [Rule([""], ["configmaps"], ["list"])])
    client = cluster.client_of(leaver)  # a token that has been used is remembered for ten seconds: not here
    cluster.revoke(leaver)
    assert client.request("GET", CONFIG_MAPS)[0] == 401
    client.close()


def test_an_expired_certificate_gets_401_and_an_unknown_user_403(
    real_clusters: tuple[ApiServer, ...], tmp_path: Path
) -> None:
    cluster = real_clusters[2]
    admins = ("system:masters",)
    assert status_as(cluster, cluster.certificate_kubeconfig("eve", groups=admins), tmp_path) == 200
    assert status_as(cluster, cluster.certificate_kubeconfig("eve"), tmp_path) == 403
    expired = cluster.certificate_kubeconfig("eve", groups=admins, lifetime=timedelta(days=-1))
    assert status_as(cluster, expired, tmp_path) == 401


def test_etcd_is_closed_to_the_clusters_own_users(cluster: ApiServer) -> None:
    context = ssl.create_default_context(cafile=cluster.layout.file("etcd-ca.crt"))
    context.load_cert_chain(cluster.layout.file("admin.crt"), cluster.layout.file("admin.key"))
    etcd = HTTPSConnection("127.0.0.1", cluster.layout.etcd_port, timeout=5, context=context)

    def ask() -> None:
        etcd.request("GET", "/version")  # TLS 1.3: the server's refusal comes after the client's handshake,
        etcd.getresponse()  # and so meets the one or the other

    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask()
    etcd.close()


@pytest.mark.parametrize("victims", [["api_server"], ["etcd"], ["etcd", "api_server"]], ids="+".join)
def test_what_was_written_survives_kill_9(cluster: ApiServer, victims: list[str]) -> None:
    name = f"kept-{'-'.join(victims).replace('_', '')}"
    identity, url = cluster.identity, cluster.url
    assert cluster.client.request("POST", CONFIG_MAPS, config_map(name))[0] == 201
    for victim in victims:
        getattr(cluster, victim).kill()
    if "api_server" in victims:
        with pytest.raises(Unanswered, match="no answer"):
            cluster.client.request("GET", CONFIG_MAPS)
    cluster.start()
    assert wait_until(lambda: cluster.client.request("GET", f"{CONFIG_MAPS}/{name}")[0] == 200)
    assert (cluster.identity, cluster.url) == (identity, url)


async def test_a_paused_api_server_hangs_and_goes_on(cluster: ApiServer) -> None:
    cluster.api_server.pause()
    assert accepts_connections(cluster.layout.api_port)
    with pytest.raises(Unanswered, match="timed out"):
        await cluster.request("GET", CONFIG_MAPS, timeout=0.3)
    cluster.api_server.resume()
    assert (await cluster.request("GET", CONFIG_MAPS))[0] == 200


def test_an_api_server_with_open_watches_stops_in_order_within_seconds(cluster: ApiServer) -> None:
    connection = cluster.client._connection(30)
    connection.request("GET", f"{CONFIG_MAPS}?watch=1")
    response = connection.getresponse()
    started = time.monotonic()
    cluster.api_server.stop()
    assert time.monotonic() - started < 8
    response.read()
    connection.close()
    cluster.start()


def test_a_restored_etcd_goes_back_to_an_older_resource_version(cluster: ApiServer) -> None:
    cluster.client.request("POST", CONFIG_MAPS, config_map("before"))
    identity, then = cluster.identity, version_of(cluster)
    snapshot = cluster.snapshot("last-week")
    for number in range(20):
        assert cluster.client.request("POST", CONFIG_MAPS, config_map(f"since-{number}"))[0] == 201
    later = version_of(cluster)

    cluster.restore(snapshot)

    assert cluster.identity == identity
    names = {item["metadata"]["name"] for item in cluster.client.request("GET", CONFIG_MAPS)[1]["items"]}
    assert "before" in names
    assert not any(name.startswith("since") for name in names)
    assert then <= version_of(cluster) < later + 20  # starting writes a few leases itself
    assert cluster.client.request("POST", CONFIG_MAPS, config_map("after"))[0] == 201


def test_the_audit_log_names_user_verb_and_object(cluster: ApiServer) -> None:
    cluster.client.request("POST", CONFIG_MAPS, config_map("audited"))
    events = [json.loads(line) for line in cluster.audit_log.read_text().splitlines()]
    about = [event for event in events if event.get("objectRef", {}).get("resource") == "configmaps"]
    found = [event for event in about if event["verb"] != "watch"]  # those of controllers end when they like
    assert (found[-1]["user"]["username"], found[-1]["verb"]) == ("sandbox-admin", "create")


def test_controllers_collect_garbage_and_finish_namespaces(cluster: ApiServer) -> None:
    owner = cluster.client.request("POST", CONFIG_MAPS, config_map("owner"))[1]["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    cluster.client.request("POST", CONFIG_MAPS, config_map("owned", ownerReferences=[reference]))
    cluster.client.request("POST", "/api/v1/namespaces", {"metadata": {"name": "passing"}})
    cluster.client.request("DELETE", f"{CONFIG_MAPS}/owner")
    cluster.client.request("DELETE", "/api/v1/namespaces/passing")
    for path in (f"{CONFIG_MAPS}/owned", "/api/v1/namespaces/passing"):
        assert wait_until(lambda path=path: cluster.client.request("GET", path)[0] == 404), path  # type: ignore[misc]


async def test_cancelling_a_start_leaves_no_process(assets: Path, tmp_path: Path) -> None:
    fleets = []

    async def run() -> None:
        async with start_clusters(1, tmp_path, assets=assets) as fleet:
            fleets.append(fleet)

    task = asyncio.create_task(run())
    while not list(tmp_path.glob("cluster1/kube-apiserver.log")):
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not fleets
    log = tmp_path / "cluster1" / "kube-apiserver.log"
    size = log.stat().st_size
    await asyncio.sleep(0.3)
    assert log.stat().st_size == size


async def test_a_merge_patch_changes_what_it_says(real_clusters: tuple[ApiServer, ...]) -> None:
    await real_clusters[0].apply_yaml(yaml.safe_dump(config_map("patched", namespace="default")))
    status, answer = await real_clusters[0].request(
        "PATCH", f"{CONFIG_MAPS}/patched", {"data": {"a": "1"}}, content_type=MERGE_PATCH
    )
    assert (status, answer["data"]) == (200, {"a": "1"})
