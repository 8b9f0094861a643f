"""Points 2, 3 and 7: fields that are shared, conflicts, adoption, what cannot be changed, status, drift."""

from __future__ import annotations

import pytest

from tests.e2e.federation.objects import CLUSTERS, Scene, clusters, config_map, deployment, seconds_until
from tests.e2e.system import get

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def test_fields_of_other_managers_are_left_alone(scene: Scene) -> None:
    scene.federate("Deployment", deployment(None), clusters("cluster2"))
    service = {"spec": {"ports": [{"port": 80}], "selector": {"app": "nginx"}, "type": "NodePort"}}
    scene.federate("Service", service, clusters("cluster2"))
    scene.settled("Deployment")
    scene.settled("Service")
    before = scene.target("cluster2", "Service") or {}
    scene.change(
        "cluster2", "Deployment", {"spec": {"replicas": 7}}, manager="horizontal-pod-autoscaler", subresource="scale"
    )
    sidecar = {"spec": {"template": {"spec": deployment()["spec"]["template"]["spec"]}}}
    sidecar["spec"]["template"]["spec"]["containers"] = [
        {"name": "nginx", "image": "nginx"},
        {"name": "proxy", "image": "proxy"},
    ]
    scene.change("cluster2", "Deployment", sidecar, manager="injector")

    scene.edit("Deployment", {"template": deployment(None, image="nginx:2")})
    scene.edit("Service", {"template": {**service, "metadata": {"labels": {"new": "yes"}}}})
    scene.until(lambda: images(scene) == {"nginx": "nginx:2", "proxy": "proxy"}, lambda: str(images(scene)))
    scene.until(lambda: (scene.target("cluster2", "Service") or {})["metadata"].get("labels", {}).get("new") == "yes")
    assert (scene.target("cluster2", "Deployment") or {})["spec"]["replicas"] == 7
    after = scene.target("cluster2", "Service") or {}
    assert (after["spec"]["clusterIP"], after["spec"]["ports"]) == (
        before["spec"]["clusterIP"],
        before["spec"]["ports"],
    )


def images(scene: Scene) -> dict[str, str]:
    found = (scene.target("cluster2", "Deployment") or {})["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["image"] for one in found}


def test_a_conflict_is_shown_with_the_other_managers_name_where_fields_are_not_taken(scene: Scene) -> None:
    notes = {"crosscurrent.dev/conflicts": "report"}
    scene.federate("ConfigMap", config_map(a="1"), clusters("cluster2", "cluster3"), notes=notes)
    scene.settled("ConfigMap")
    scene.change("cluster2", "ConfigMap", {"data": {"a": "theirs"}}, manager="somebody-else")
    scene.until_condition("ConfigMap", "Applied", "False")
    found = scene.applied_in("ConfigMap", "cluster2")
    assert '"somebody-else"' in found["message"]
    assert ".data.a" in found["message"]
    assert (scene.target("cluster2", "ConfigMap") or {})["data"] == {"a": "theirs"}
    assert scene.applied_in("ConfigMap", "cluster3")["status"] == "True"
    scene.until(lambda: any("somebody-else" in note for note in scene.events().values()))


def test_drift_is_repaired_in_under_a_second(scene: Scene) -> None:
    scene.federate("Deployment", deployment(3), clusters("cluster2", "cluster3"))
    scene.settled("Deployment")
    scene.change("cluster2", "Deployment", {"spec": {"replicas": 9}})
    edited = seconds_until(lambda: (scene.target("cluster2", "Deployment") or {})["spec"]["replicas"] == 3)
    uid = (scene.target("cluster3", "Deployment") or {})["metadata"]["uid"]
    scene.server("cluster3").client.request("DELETE", scene.target_path("Deployment"))
    deleted = seconds_until(
        lambda: (scene.target("cluster3", "Deployment") or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid
    )
    print(f"edited copy repaired in {edited:.3f} s, deleted copy back in {deleted:.3f} s")


@pytest.mark.parametrize("policy", ["adopt", "refuse", "report"])
def test_what_exists_already_is_treated_as_asked(scene: Scene, policy: str) -> None:
    scene.make("cluster2", "ConfigMap", {"data": {"a": "theirs", "b": "2"}})
    notes = {"crosscurrent.dev/adopt": policy}
    scene.federate("ConfigMap", config_map(a="ours"), clusters("cluster2", "cluster3"), notes=notes)
    scene.until(lambda: scene.where("ConfigMap") == ["cluster2", "cluster3"])
    if policy == "adopt":
        scene.settled("ConfigMap")
        assert (scene.target("cluster2", "ConfigMap") or {})["data"] == {"a": "ours", "b": "2"}
        return
    scene.until_condition("ConfigMap", "Applied", "False", "AlreadyExists")
    found = scene.applied_in("ConfigMap", "cluster2")
    assert ('/data/a: "theirs" → "ours"' in found["message"]) is (policy == "report")
    scene.delete("ConfigMap")
    scene.until(lambda: scene.federated("ConfigMap") is None)
    assert (scene.target("cluster2", "ConfigMap") or {})["data"]["a"] == "theirs"
    assert scene.target("cluster3", "ConfigMap") is None


def test_what_kubefed_made_is_taken_over_and_what_it_was_told_to_leave_is_left(scene: Scene) -> None:
    labels = {"metadata": {"labels": {"kubefed.io/managed": "true"}}, "data": {"a": "old"}}
    scene.make("cluster2", "ConfigMap", labels, manager="controller-manager")
    refused = {"metadata": {"labels": {"kubefed.io/managed": "false"}}, "data": {"a": "old"}}
    scene.make("cluster3", "ConfigMap", refused)
    scene.federate("ConfigMap", config_map(a="new"), clusters("cluster2", "cluster3"))
    scene.until(lambda: (scene.target("cluster2", "ConfigMap") or {})["data"] == {"a": "new"})
    scene.until_condition("ConfigMap", "Applied", "False", "ManagedLabelFalse")
    assert (scene.target("cluster3", "ConfigMap") or {})["data"] == {"a": "old"}


def test_two_federated_objects_that_claim_one_target_do_not_fight(scene: Scene) -> None:
    scene.federate("ConfigMap", config_map(a="1"), clusters("cluster2"), name="it")
    scene.settled("ConfigMap")
    notes = {"crosscurrent.dev/target-name": "it", "crosscurrent.dev/adopt": "adopt"}
    scene.federate("ConfigMap", config_map(a="2"), clusters("cluster2", "cluster3"), name="second", notes=notes)
    found = scene.until_condition("ConfigMap", "Applied", "False", "Claimed", name="second")
    assert "FederatedConfigMap" in found["message"]
    assert (scene.target("cluster2", "ConfigMap") or {})["data"] == {"a": "1"}
    assert (scene.target("cluster3", "ConfigMap") or {})["data"] == {"a": "2"}
    assert scene.condition("ConfigMap", "Applied")["status"] == "True"


def test_what_cannot_be_changed_is_made_anew_only_when_asked(scene: Scene) -> None:
    scene.federate("Job", job("first"), clusters("cluster2"))
    scene.settled("Job")
    uid = (scene.target("cluster2", "Job") or {})["metadata"]["uid"]
    scene.edit("Job", {"template": job("second")})
    found = scene.until_condition("Job", "Applied", "False", "Immutable")
    assert "crosscurrent.dev/recreate" in found["message"]
    assert (scene.target("cluster2", "Job") or {})["metadata"]["uid"] == uid

    scene.edit("Job", {}, annotations={"crosscurrent.dev/recreate": "true"})
    scene.settled("Job")
    made = scene.target("cluster2", "Job") or {}
    assert made["metadata"]["uid"] != uid
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "second"


def job(image: str) -> dict[str, object]:
    spec = {"restartPolicy": "Never", "containers": [{"name": "c", "image": image}]}
    return {"spec": {"template": {"spec": spec}}}


def test_the_status_tells_placed_applied_and_ready_apart_and_sums_up(scene: Scene) -> None:
    scene.federate("Deployment", deployment(2), clusters("cluster2", "cluster3"))
    scene.settled("Deployment")
    assert scene.condition("Deployment", "Placed")["message"] == "in cluster2, cluster3"
    found = scene.until_condition("Deployment", "Ready", "False")
    assert "0 of 2 replicas are ready" in found["message"]
    for cluster in ("cluster2", "cluster3"):
        status = {
            "observedGeneration": 1,
            "replicas": 2,
            "readyReplicas": 2,
            "updatedReplicas": 2,
            "availableReplicas": 2,
        }
        scene.change(cluster, "Deployment", {"status": status}, subresource="status")
    scene.until_condition("Deployment", "Ready", "True")

    status = (scene.federated("Deployment") or {})["status"]
    assert (status["replicas"], status["readyReplicas"], status["availableReplicas"]) == (4, 4, 4)
    entry = scene.entry("Deployment", "cluster2")
    assert (entry["state"], entry["readyReplicas"], entry["observedGeneration"]) == ("live", 2, 1)
    assert entry["observedAt"]


def test_a_different_name_in_the_clusters(scene: Scene) -> None:
    scene.federate(
        "ConfigMap", config_map(a="1"), clusters("cluster2"), notes={"crosscurrent.dev/target-name": "other"}
    )
    scene.settled("ConfigMap")
    assert scene.where("ConfigMap", "other") == ["cluster2"]
    scene.edit("ConfigMap", {}, annotations={"crosscurrent.dev/target-name": "third"})
    scene.until(lambda: scene.where("ConfigMap", "third") == ["cluster2"] and scene.where("ConfigMap", "other") == [])


@pytest.mark.parametrize(
    ("change", "where", "says"),
    [
        (
            {"path": "/metadata/name", "value": "x"},
            "Placed",
            "spec.overrides[0].clusterOverrides[0].path: /metadata/name",
        ),
        (
            {"path": "/data/nothing", "value": "x"},
            "Applied",
            "spec.overrides[0].clusterOverrides[0]: replace /data/nothing",
        ),
        ({"op": "add", "path": "/data/a", "value": {"no": "map"}}, "Applied", "data"),
    ],
    ids=["forbidden", "missing", "refused"],
)
def test_a_bad_override_says_what_and_where_and_the_others_proceed(
    scene: Scene, change: dict[str, object], where: str, says: str
) -> None:
    override = {"clusterName": "cluster2", "clusterOverrides": [change]}
    scene.federate("ConfigMap", config_map(a="1"), clusters("cluster2", "cluster3"), overrides=[override])
    found = scene.until_condition("ConfigMap", where, "False")
    assert says in found["message"]
    if where == "Applied":
        scene.until(lambda: scene.where("ConfigMap") == ["cluster3"])
        assert scene.applied_in("ConfigMap", "cluster3")["status"] == "True"
    else:
        assert scene.where("ConfigMap") == []


def test_an_unknown_cluster_is_named_and_the_others_get_theirs(scene: Scene) -> None:
    scene.federate("ConfigMap", config_map(a="1"), clusters("cluster2", "nowhere"))
    found = scene.until_condition("ConfigMap", "Placed", "False", "UnknownCluster")
    assert "nowhere" in found["message"]
    assert "cluster1, cluster2, cluster3" in found["message"]
    scene.until(lambda: scene.where("ConfigMap") == ["cluster2"])


def test_kubectl_sees_columns(scene: Scene) -> None:
    scene.federate("ConfigMap", config_map(a="1"), {"clusterSelector": {}})
    scene.settled("ConfigMap")
    listed = scene.system.cli(
        "get", "federatedconfigmaps.types.kubefed.io", "-n", scene.ns, "--cluster", "cluster1"
    ).stdout
    assert "PLACED" in listed
    assert get(scene.server(CLUSTERS[1]), scene.target_path("ConfigMap")) is not None
