from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest
import yaml

from engine.sandbox.clusters import SandboxCluster
from engine.sandbox.fleet import Fleet
from engine.sandbox.identities import Rule
from engine.sandbox.processes import PortTaken
from engine.sandbox.simulator.api_server import SimulatedApiServer
from engine.sandbox.simulator.controllers import Controllers
from engine.sandbox.simulator.fleet import SimulatedFleet, simulated_clusters

MAPS = "/api/v1/namespaces/default/configmaps"
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.fleet.example.com}
spec:
  group: fleet.example.com
  names: {plural: things, singular: thing, kind: Thing, listKind: ThingList}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: fleet.example.com/v1
kind: Thing
metadata: {name: a, namespace: default}
"""


def test_a_simulated_fleet_has_the_shape_of_a_real_one() -> None:
    for simulated, real in ((SimulatedApiServer, SandboxCluster), (SimulatedFleet, Fleet)):
        public = {name for name in dir(real) if not name.startswith("_")}
        assert public <= set(dir(simulated))


def test_each_cluster_has_a_context_an_identity_and_a_port_of_its_own(fleet: SimulatedFleet) -> None:
    kubeconfig = yaml.safe_load(fleet.kubeconfig_path.read_text())
    assert [context["name"] for context in kubeconfig["contexts"]] == ["cluster1", "cluster2"]
    assert fleet.kubeconfig_path.stat().st_mode & 0o777 == 0o600
    assert len({one.identity for one in fleet}) == len({one.url for one in fleet}) == len(fleet) == 2


async def test_yaml_is_applied_definitions_first(fleet: SimulatedFleet) -> None:
    made = await fleet["cluster2"].apply_yaml(CRD)
    assert [one["kind"] for one in made] == ["CustomResourceDefinition", "Thing"]
    status, _ = await fleet["cluster2"].request("GET", "/apis/fleet.example.com/v1/namespaces/default/things/a")
    assert status == 200


def test_an_identity_may_do_what_it_is_granted_until_it_is_revoked(fleet: SimulatedFleet) -> None:
    cluster = fleet["cluster2"]
    reader = cluster.grant("reader", [Rule([""], ["configmaps"], ["get", "list"])])
    client = cluster.client_of(reader)
    assert client.request("GET", MAPS)[0] == 200
    assert client.request("POST", MAPS, {"metadata": {"name": "a"}})[0] == 403
    cluster.grant("reader", [Rule([""], ["secrets"], ["get"])])
    assert client.request("GET", MAPS)[0] == 403
    cluster.revoke(reader)
    assert client.request("GET", MAPS)[0] == 401
    client.close()


def test_a_fleet_that_persists_comes_back_with_objects_credentials_and_versions(tmp_path: Path) -> None:
    with SimulatedFleet(tmp_path, names=["one"], persist=True) as first:
        cluster = first["one"]
        made = cluster.client.request("POST", MAPS, {"metadata": {"name": "a"}})[1]
        cluster.client.apply_yaml(CRD)
        kubeconfig, identity = cluster.kubeconfig, cluster.identity
        port = int(cluster.url.rpartition(":")[2])
    with SimulatedFleet(tmp_path, names=["one"], persist=True, port=port) as second:
        cluster = second["one"]
        assert cluster.client.request("GET", f"{MAPS}/a")[1] == made
        assert cluster.client.request("GET", "/apis/fleet.example.com/v1/things")[1]["items"]
        assert (cluster.identity, cluster.kubeconfig) == (identity, kubeconfig)
        later = cluster.client.request("POST", MAPS, {"metadata": {"name": "b"}})[1]
    assert int(later["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


def test_a_fleet_that_does_not_persist_leaves_no_objects_behind(tmp_path: Path) -> None:
    for _ in range(2):
        with SimulatedFleet(tmp_path, names=["one"]) as fleet:
            assert fleet["one"].client.request("POST", MAPS, {"metadata": {"name": "a"}})[0] == 201


def test_the_same_seed_makes_the_same_cluster(tmp_path: Path) -> None:
    identities = []
    for number in range(2):
        with SimulatedFleet(tmp_path / str(number), count=2, seed=5) as fleet:
            identities.append([one.identity for one in fleet])
    assert identities[0] == identities[1]
    assert identities[0][0] != identities[0][1]


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        fleet = SimulatedFleet(tmp_path, names=["one"], port=port)
        with pytest.raises(PortTaken, match=str(port)):
            fleet.start()
        fleet.close()


def test_a_certificate_holds_the_names_that_it_is_asked_to(tmp_path: Path) -> None:
    with SimulatedFleet(tmp_path, names=["one"], hosts=["one.example"]) as fleet:
        assert fleet["one"].url.startswith("https://one.example:")
        assert fleet.kubeconfig["clusters"][0]["cluster"]["server"].startswith("https://one.example:")
        assert fleet["one"].client.request("GET", "/version")[0] == 200  # by its address


async def test_a_fleet_ends_with_its_block_and_leaves_no_thread(tmp_path: Path) -> None:
    def threads() -> int:
        return [thread.name for thread in threading.enumerate()].count("simulated clusters")

    before = threads()
    async with simulated_clusters(tmp_path, count=2) as fleet:
        assert all(one.running for one in fleet)
        assert threads() == before + 1
    assert not any(one.running for one in fleet)
    assert threads() == before


def test_workloads_run_when_they_are_switched_on(tmp_path: Path) -> None:
    deployment = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: a, image: nginx}]}}
"""
    controllers = Controllers(workloads=True, service_accounts=True, pod_start_seconds=0.0)
    with SimulatedFleet(tmp_path, names=["one"], controllers=controllers) as fleet:
        client = fleet["one"].client
        client.apply_yaml(deployment)
        deadline = time.monotonic() + 20
        ready = None
        while ready != 2 and time.monotonic() < deadline:
            _, found = client.request("GET", "/apis/apps/v1/namespaces/default/deployments/web")
            ready = found["status"].get("readyReplicas")
        assert ready == 2
