"""A cluster that does not answer: unknown since when, and blocking nobody but itself."""

from __future__ import annotations

import pytest

from tests.e2e.federation.objects import Scene, clusters, config_map

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def test_a_dead_cluster_is_unknown_since_when_and_blocks_only_itself(scene: Scene) -> None:
    scene.federate("ConfigMap", config_map(a="1"), {"clusterSelector": {}})
    scene.federate("ConfigMap", config_map(a="1"), clusters("cluster2", "cluster3"), name="doomed")
    scene.federate("ConfigMap", config_map(a="1"), clusters("cluster3"), name="moving")
    for name in ("it", "doomed", "moving"):
        scene.settled("ConfigMap", name)
    three = scene.server("cluster3")
    three.api_server.kill()
    try:
        scene.until_condition("ConfigMap", "Applied", "Unknown")
        entry = scene.entry("ConfigMap", "cluster3")
        assert (entry["state"], entry["conditions"][0]["status"]) == ("suspect", "Unknown")
        assert entry["unknownSince"]
        assert "observedAt" not in entry
        scene.edit("ConfigMap", {"template": config_map(a="2")})
        scene.until(lambda: (scene.target("cluster2", "ConfigMap") or {})["data"] == {"a": "2"})

        scene.edit("ConfigMap", {"placement": clusters("cluster1")}, "moving")
        scene.until(lambda: scene.target("cluster1", "ConfigMap", "moving"))
        scene.until_condition("ConfigMap", "Applied", "False", "WaitingForRemoval", name="moving")
        scene.delete("ConfigMap", "doomed")
        scene.until(lambda: scene.target("cluster2", "ConfigMap", "doomed") is None)
        scene.until(lambda: "cluster3" in scene.condition("ConfigMap", "Ready", "doomed").get("message", ""))
        assert scene.federated("ConfigMap", "doomed") is not None
        scene.until(lambda: scene.entry("ConfigMap", "cluster3", "doomed").get("unknownSince"))
    finally:
        three.start()
    scene.settled("ConfigMap")
    scene.until(lambda: scene.federated("ConfigMap", "doomed") is None, seconds=30)
    scene.until(lambda: scene.where("ConfigMap", "moving") == ["cluster1"], seconds=30)
    assert scene.where("ConfigMap", "doomed") == []
    assert (scene.target("cluster3", "ConfigMap") or {})["data"] == {"a": "2"}
