"""Points 4 and 5: replicas that move, and how copies go."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.federation.objects import CLUSTERS, Scene, clusters, config_map, deployment
from tests.e2e.system import get, patch

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
PREFERENCES = "/apis/scheduling.kubefed.io/v1alpha1/namespaces/{ns}/replicaschedulingpreferences"


def prefer(scene: Scene, total: int, wished: dict[str, Any], **spec: Any) -> None:
    body = {
        "apiVersion": "scheduling.kubefed.io/v1alpha1",
        "kind": "ReplicaSchedulingPreference",
        "metadata": {"name": "it", "namespace": scene.ns},
        "spec": {"targetKind": "FederatedDeployment", "totalReplicas": total, "clusters": wished, **spec},
    }
    status, answer = scene.hub.client.request("POST", PREFERENCES.format(ns=scene.ns), body)
    assert status == 201, answer


def replicas(scene: Scene) -> dict[str, int]:
    found = {name: scene.target(name, "Deployment") for name in CLUSTERS}
    return {name: body["spec"]["replicas"] for name, body in found.items() if body is not None}


def test_replicas_are_shared_by_weight_and_overflow_from_where_they_cannot_run(scene: Scene) -> None:
    wished = {"cluster1": {"minReplicas": 2, "weight": 2}, "cluster2": {"minReplicas": 4, "weight": 3}}
    prefer(scene, 10, wished)
    scene.federate("Deployment", deployment(1), clusters("cluster3"))
    scene.until(lambda: replicas(scene) == {"cluster1": 4, "cluster2": 6}, lambda: str(replicas(scene)))
    scene.settled("Deployment")
    assert "cluster1 4, cluster2 6" in scene.condition("Deployment", "Placed")["message"]

    stuck = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "no room"}
    status = {"observedGeneration": 1, "replicas": 6, "readyReplicas": 1, "conditions": [stuck]}
    scene.change("cluster2", "Deployment", {"status": status}, subresource="status")
    scene.until(lambda: replicas(scene) == {"cluster1": 9, "cluster2": 6}, lambda: str(replicas(scene)))
    patch(scene.hub, f"{PREFERENCES.format(ns=scene.ns)}/it", {"spec": {"totalReplicas": 12}})
    scene.until(lambda: replicas(scene)["cluster1"] == 11, lambda: str(replicas(scene)))


def test_a_deselected_clusters_copy_goes_after_the_new_one_is_ready(scene: Scene) -> None:
    notes = {"crosscurrent.dev/remove-when": "ready"}
    scene.federate("Deployment", deployment(1), clusters("cluster2"), notes=notes)
    scene.settled("Deployment")
    scene.edit("Deployment", {"placement": clusters("cluster3")})
    scene.until(lambda: scene.target("cluster3", "Deployment"))
    scene.until_condition("Deployment", "Applied", "False", "WaitingForRemoval")
    assert scene.target("cluster2", "Deployment") is not None
    status = {"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}
    scene.change("cluster3", "Deployment", {"status": status}, subresource="status")
    scene.until(lambda: scene.where("Deployment") == ["cluster3"])
    scene.settled("Deployment")
    assert "Deselected" in scene.events()


def test_a_copy_that_its_new_cluster_refuses_keeps_the_old_one(scene: Scene) -> None:
    override = {
        "clusterName": "cluster3",
        "clusterOverrides": [{"op": "add", "path": "/data/a", "value": {"no": "map"}}],
    }
    scene.federate("ConfigMap", config_map(a="1"), clusters("cluster2"), overrides=[override])
    scene.settled("ConfigMap")
    scene.edit("ConfigMap", {"placement": clusters("cluster3")})
    scene.until(lambda: scene.applied_in("ConfigMap", "cluster3").get("status") == "False")
    assert scene.where("ConfigMap") == ["cluster2"]
    scene.edit("ConfigMap", {"overrides": []})
    scene.until(lambda: scene.where("ConfigMap") == ["cluster3"])


def test_the_copies_are_gone_before_the_federated_object_is(scene: Scene) -> None:
    scene.federate("ConfigMap", config_map(a="1"), {"clusterSelector": {}})
    scene.settled("ConfigMap")
    scene.delete("ConfigMap")
    scene.until(lambda: scene.federated("ConfigMap") is None)
    assert scene.where("ConfigMap") == []


def test_orphaned_copies_stay_and_belong_to_nobody(scene: Scene) -> None:
    scene.federate("ConfigMap", config_map(a="1"), {"clusterSelector": {}}, notes={"kubefed.io/orphan": "true"})
    scene.settled("ConfigMap")
    scene.delete("ConfigMap")
    scene.until(lambda: scene.federated("ConfigMap") is None)
    for cluster in CLUSTERS:
        kept = scene.target(cluster, "ConfigMap") or {}
        assert kept["data"] == {"a": "1"}
        assert "crosscurrent.dev/owners" not in kept["metadata"].get("annotations", {})
        assert "crosscurrent.dev/owner-uid" not in kept["metadata"].get("labels", {})


def test_delete_options_are_passed_on(scene: Scene) -> None:
    notes = {"kubefed.io/deleteoption": '{"propagationPolicy": "Foreground"}'}
    scene.federate("Deployment", deployment(1), clusters("cluster2"), notes=notes)
    scene.settled("Deployment")
    scene.delete("Deployment")
    # No controller-manager runs here that would finish a foreground deletion, so its mark can be seen.
    going = scene.until(
        lambda: (scene.target("cluster2", "Deployment") or {"metadata": {}})["metadata"].get("deletionTimestamp")
    )
    assert going
    assert (scene.target("cluster2", "Deployment") or {})["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert scene.federated("Deployment") is not None
    patch(scene.server("cluster2"), scene.target_path("Deployment"), {"metadata": {"finalizers": None}})
    scene.until(lambda: scene.federated("Deployment") is None)


def test_delete_options_that_cannot_be_read_delete_nothing(scene: Scene) -> None:
    scene.federate("ConfigMap", config_map(a="1"), clusters("cluster2"))
    scene.settled("ConfigMap")
    scene.edit("ConfigMap", {}, annotations={"kubefed.io/deleteoption": "{"})
    scene.delete("ConfigMap")
    found = scene.until_condition("ConfigMap", "Placed", "False", "Invalid")
    assert "kubefed.io/deleteoption" in found["message"]
    assert scene.where("ConfigMap") == ["cluster2"]
    scene.edit("ConfigMap", {}, annotations={"kubefed.io/deleteoption": None})
    scene.until(lambda: scene.federated("ConfigMap") is None)


def test_what_kubefed_left_behind_on_a_federated_object_is_cleared(scene: Scene) -> None:
    scene.federate("ConfigMap", config_map(a="1"), clusters("cluster2"))
    scene.settled("ConfigMap")
    held = (scene.federated("ConfigMap") or {})["metadata"]["finalizers"]
    scene.edit("ConfigMap", {}, finalizers=[*held, "kubefed.io/sync-controller"])
    scene.delete("ConfigMap")
    scene.until(lambda: scene.federated("ConfigMap") is None)
    assert scene.where("ConfigMap") == []


def test_clusters_join_leave_and_are_labelled_as_kubefed_clusters(scene: Scene) -> None:
    path = "/apis/core.kubefed.io/v1beta1/namespaces/default/kubefedclusters"
    scene.federate("ConfigMap", config_map(a="1"), {"clusterSelector": {"matchLabels": {"tier": "gold"}}})
    scene.until_condition("ConfigMap", "Placed", "True", "NothingSelected")
    try:
        for name, labels in (("cluster2", {"tier": "gold"}), ("cluster3", {})):
            body = {"metadata": {"name": name, "labels": labels}, "spec": {"apiEndpoint": "https://unused"}}
            body |= {"apiVersion": "core.kubefed.io/v1beta1", "kind": "KubeFedCluster"}
            assert scene.hub.client.request("POST", path, body)[0] == 201
        scene.until(lambda: scene.where("ConfigMap") == ["cluster2"])
        patch(scene.hub, f"{path}/cluster3", {"metadata": {"labels": {"tier": "gold"}}})
        scene.until(lambda: scene.where("ConfigMap") == ["cluster2", "cluster3"])
        scene.hub.client.request("DELETE", f"{path}/cluster2")
        scene.until(lambda: scene.where("ConfigMap") == ["cluster3"])
    finally:
        for name in CLUSTERS:
            scene.hub.client.request("DELETE", f"{path}/{name}")
    assert get(scene.hub, f"{path}/cluster3") is None
