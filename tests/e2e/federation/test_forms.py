"""Point 1: every form of federated object, placement, overrides and FederatedNamespaces, on real API servers."""

from __future__ import annotations

import pytest

from tests.e2e.federation.objects import CLUSTERS, GENERIC, OLD_GROUP, Scene, clusters, config_map, deployment
from tests.e2e.system import ROOT, get, namespace

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def test_the_talks_example_verbatim_has_3_replicas_in_one_cluster_and_5_in_the_other(scene: Scene) -> None:
    namespace(scene.servers, "test-namespace")
    scene.hub.client.apply_yaml(ROOT / "examples/talk/federated-deployment.yaml")
    scene.ns = "test-namespace"
    scene.settled("Deployment", "test-deployment", OLD_GROUP)

    found = {name: scene.target(name, "Deployment", "test-deployment") for name in CLUSTERS}
    assert [found[name]["spec"]["replicas"] for name in ("cluster1", "cluster2")] == [3, 5]  # type: ignore[index]
    assert found["cluster3"] is None
    assert found["cluster1"]["metadata"]["labels"]["app"] == "nginx"  # type: ignore[index]
    scene.delete("Deployment", "test-deployment", OLD_GROUP)
    scene.until(lambda: scene.where("Deployment", "test-deployment") == [])
