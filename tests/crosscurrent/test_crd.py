"""The Foo's definition on a real API server: the talk's Foo passes, nonsense does not, and our status fits."""

from __future__ import annotations

from typing import Any

import pytest

from crosscurrent.talk import shipped
from engine.sandbox.api_client import APPLY
from engine.sandbox.api_servers import ApiServer

CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/foos.samplecontroller.k8s.io"
FOOS = "/apis/samplecontroller.k8s.io/v1alpha1/namespaces/crd/foos"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture
def cluster(real_clusters: tuple[ApiServer, ...]) -> ApiServer:
    server = real_clusters[0]
    server.client.apply_yaml(shipped("deploy/crds") / "foos.samplecontroller.k8s.io.yaml")
    server.client.request("POST", "/api/v1/namespaces", {"metadata": {"name": "crd"}})
    return server


def foo(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "samplecontroller.k8s.io/v1alpha1",
        "kind": "Foo",
        "metadata": {"name": name, "namespace": "crd"},
        "spec": spec,
    }


def test_the_definition_is_structural_and_established(cluster: ApiServer) -> None:
    _, crd = cluster.client.request("GET", CRD)
    conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert "NonStructuralSchema" not in conditions


@pytest.mark.parametrize(
    "spec", [{}, {"deploymentName": ""}, {"deploymentName": "a", "replicas": -1}, {"deploymentName": 1}]
)
def test_nonsense_is_refused(cluster: ApiServer, spec: dict[str, Any]) -> None:
    assert cluster.client.request("POST", FOOS, foo("bad", **spec))[0] == 422


def test_a_name_that_is_no_dns_name_is_left_to_the_reconciler(cluster: ApiServer) -> None:
    assert cluster.client.request("POST", FOOS, foo("odd", deploymentName="Not DNS!"))[0] in (201, 409)


def test_the_status_that_the_reconciler_writes_is_kept_whole(cluster: ApiServer) -> None:
    cluster.client.apply(foo("good", deploymentName="good", replicas=1))
    condition = {
        "type": "Ready",
        "status": "Unknown",
        "reason": "X",
        "message": "",
        "lastTransitionTime": "2026-11-23T10:00:00Z",
    }
    entry = {"name": "b", "state": "live", "replicas": 1, "availableReplicas": 0, "conditions": [condition]}
    status = {"observedGeneration": 1, "conditions": [condition], "clusters": [entry]}
    document = {**foo("good"), "status": status}
    del document["spec"]
    path = f"{FOOS}/good/status?fieldManager=crosscurrent/foo"
    code, answer = cluster.client.request("PATCH", path, document, content_type=APPLY)
    assert code == 200, answer
    assert answer["status"] == status
