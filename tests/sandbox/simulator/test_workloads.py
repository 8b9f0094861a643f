"""Toy workload controllers in virtual time: what they make, in which order, and what their statuses say."""

from __future__ import annotations

from typing import Any

import pytest

from engine.sandbox.simulator.controllers import Controllers
from engine.sandbox.simulator.options import DeleteOptions
from tests.sandbox.simulator.clusters import Cluster, Json

LABELS = {"app": "web"}


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(Controllers(workloads=True, pod_start_seconds=2.0, pod_stop_seconds=3.0, job_seconds=5.0))


def template(**spec: Any) -> Json:
    return {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def make(cluster: Cluster, resource: str, group: str = "apps", **spec: Any) -> Json:
    """Create a workload `a`, and take its first steps."""
    whole = {"selector": {"matchLabels": LABELS}, "template": template(), **spec}
    made = cluster.make(resource, "a", group, "default", spec=whole)
    cluster.settle()
    return made


def found(cluster: Cluster, resource: str, group: str = "apps", name: str = "a") -> Json:
    obj = cluster.look(resource, name, group)
    assert obj is not None
    return obj


def status(cluster: Cluster, resource: str, group: str = "apps", *names: str) -> Json:
    whole: Json = found(cluster, resource, group)["status"]
    return {name: whole[name] for name in names if name in whole}


def conditions(obj: Json) -> dict[str, str]:
    return {one["type"]: f"{one['status']} {one['reason']}" for one in obj["status"].get("conditions", ())}


def phases(cluster: Cluster) -> dict[str, str]:
    return {
        one.name: "Terminating" if "deletionTimestamp" in one.object["metadata"] else one.object["status"]["phase"]
        for one in cluster.objects("", "pods")
    }


def delete(cluster: Cluster, resource: str, name: str = "a", group: str = "apps", policy: str | None = None) -> None:
    cluster.delete(cluster.type(resource, group), "default", name, DeleteOptions(propagation_policy=policy))
    cluster.settle()


def test_a_pod_gets_a_node_starts_and_ends(cluster: Cluster) -> None:
    cluster.make("pods", "a", spec=template()["spec"])
    cluster.settle()
    assert found(cluster, "pods", "")["spec"]["nodeName"] == "simulated-node"
    cluster.pass_time(1.9)
    assert phases(cluster) == {"a": "Pending"}
    cluster.pass_time(0.1)
    running = found(cluster, "pods", "")["status"]
    assert (running["phase"], running["podIP"]) == ("Running", "10.0.0.2")
    assert {one["type"]: one["status"] for one in running["conditions"]}["Ready"] == "True"
    assert running["containerStatuses"][0]["ready"]
    delete(cluster, "pods", group="")
    cluster.pass_time(2.9)
    assert phases(cluster) == {"a": "Terminating"}
    cluster.pass_time(0.1)
    assert phases(cluster) == {}


def test_a_pod_with_gates_is_not_scheduled(cluster: Cluster) -> None:
    cluster.make("pods", "a", spec=template(schedulingGates=[{"name": "x.io/wait"}])["spec"])
    cluster.pass_time(60)
    assert phases(cluster) == {"a": "Pending"}
    cluster.merge("pods", "a", {"spec": {"schedulingGates": None}})
    cluster.pass_time(60)
    assert phases(cluster) == {"a": "Running"}


def test_a_replica_set_keeps_its_number_of_pods(cluster: Cluster) -> None:
    made = make(cluster, "replicasets", replicas=3)
    assert status(cluster, "replicasets", "apps", "replicas", "readyReplicas") == {"replicas": 3}
    cluster.pass_time(2)
    assert status(cluster, "replicasets", "apps", "readyReplicas", "observedGeneration") == {
        "readyReplicas": 3,
        "observedGeneration": 1,
    }
    names = sorted(phases(cluster))
    owner = found(cluster, "pods", "", names[0])["metadata"]["ownerReferences"]
    assert owner == [
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": "a",
            "uid": made["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    delete(cluster, "pods", names[0], "")
    cluster.pass_time(5)
    assert len(phases(cluster)) == 3
    assert names[0] not in phases(cluster)
    cluster.merge("replicasets", "a", {"spec": {"replicas": 1}}, "apps")
    cluster.pass_time(5)
    assert list(phases(cluster).values()) == ["Running"]


def test_pods_that_are_not_ready_go_first(cluster: Cluster) -> None:
    make(cluster, "replicasets", replicas=1)
    cluster.pass_time(2)
    ready = list(phases(cluster))
    cluster.merge("replicasets", "a", {"spec": {"replicas": 3}}, "apps")
    cluster.settle()
    cluster.merge("replicasets", "a", {"spec": {"replicas": 1}}, "apps")
    cluster.pass_time(5)
    assert list(phases(cluster)) == ready


def test_a_deployment_rolls_out_a_new_template(cluster: Cluster) -> None:
    make(cluster, "deployments", replicas=2)
    assert conditions(found(cluster, "deployments")) == {
        "Available": "False MinimumReplicasUnavailable",
        "Progressing": "True ReplicaSetUpdated",
    }
    cluster.pass_time(2)
    first = cluster.names("replicasets", "apps")
    deployment = found(cluster, "deployments")
    assert deployment["metadata"]["annotations"] == {"deployment.kubernetes.io/revision": "1"}
    assert deployment["status"] == {
        "observedGeneration": 1,
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
        "conditions": deployment["status"]["conditions"],
    }
    assert conditions(deployment) == {
        "Available": "True MinimumReplicasAvailable",
        "Progressing": "True NewReplicaSetAvailable",
    }
    cluster.merge("deployments", "a", {"spec": {"template": {"metadata": {"labels": {"new": "yes"}}}}}, "apps")
    cluster.settle()
    assert len(phases(cluster)) == 4, "the old pods stay until the new ones are ready"
    assert status(cluster, "deployments", "apps", "availableReplicas", "unavailableReplicas") == {
        "availableReplicas": 2,
        "unavailableReplicas": 2,
    }
    cluster.pass_time(10)
    sets = {one.name: one.object["spec"]["replicas"] for one in cluster.objects("apps", "replicasets")}
    assert sorted(sets.values()) == [0, 2]
    assert sets[first[0]] == 0
    assert list(phases(cluster).values()) == ["Running", "Running"]
    assert found(cluster, "deployments")["metadata"]["annotations"] == {"deployment.kubernetes.io/revision": "2"}


def test_a_deployment_that_recreates_waits_for_its_old_pods(cluster: Cluster) -> None:
    make(cluster, "deployments", replicas=1, strategy={"type": "Recreate"})
    cluster.pass_time(2)
    old = list(phases(cluster))
    cluster.merge("deployments", "a", {"spec": {"template": {"metadata": {"labels": {"new": "yes"}}}}}, "apps")
    cluster.settle()
    assert phases(cluster)[old[0]] == "Terminating"
    cluster.pass_time(10)
    assert list(phases(cluster).values()) == ["Running"]
    assert list(phases(cluster)) != old


def test_a_paused_deployment_does_not_roll_out(cluster: Cluster) -> None:
    make(cluster, "deployments", replicas=1, paused=True)
    cluster.pass_time(60)
    assert cluster.names("replicasets", "apps") == []


def test_old_replica_sets_go_beyond_the_history_limit(cluster: Cluster) -> None:
    make(cluster, "deployments", replicas=1, revisionHistoryLimit=1)
    for number in range(4):
        cluster.pass_time(10)
        patch = {"spec": {"template": {"metadata": {"labels": {"number": str(number)}}}}}
        cluster.merge("deployments", "a", patch, "apps")
    cluster.pass_time(10)
    revisions = {
        one.object["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
        for one in cluster.objects("apps", "replicasets")
    }
    assert revisions == {"4", "5"}


def test_a_deleted_deployment_takes_everything_along(cluster: Cluster) -> None:
    make(cluster, "deployments", replicas=2)
    cluster.pass_time(2)
    delete(cluster, "deployments", policy="Foreground")
    assert found(cluster, "deployments")["metadata"]["finalizers"] == ["foregroundDeletion"]
    cluster.pass_time(10)
    assert (cluster.names("deployments", "apps"), cluster.names("replicasets", "apps"), phases(cluster)) == ([], [], {})


def test_a_stateful_set_makes_one_pod_after_the_other(cluster: Cluster) -> None:
    make(cluster, "statefulsets", replicas=3, serviceName="s")
    seen = []
    for _ in range(3):
        seen.append(list(phases(cluster)))
        cluster.pass_time(2)
    assert seen == [["a-0"], ["a-0", "a-1"], ["a-0", "a-1", "a-2"]]
    assert status(cluster, "statefulsets", "apps", "replicas", "readyReplicas", "updatedReplicas") == {
        "replicas": 3,
        "readyReplicas": 3,
        "updatedReplicas": 3,
    }
    labels = found(cluster, "pods", "", "a-2")["metadata"]["labels"]
    assert labels["apps.kubernetes.io/pod-index"] == "2"
    cluster.merge("statefulsets", "a", {"spec": {"replicas": 1}}, "apps")
    cluster.settle()
    assert phases(cluster) == {"a-0": "Running", "a-1": "Running", "a-2": "Terminating"}
    cluster.pass_time(10)
    assert list(phases(cluster)) == ["a-0"]


def test_a_stateful_set_in_parallel_does_not_wait(cluster: Cluster) -> None:
    make(cluster, "statefulsets", replicas=3, serviceName="s", podManagementPolicy="Parallel")
    assert list(phases(cluster)) == ["a-0", "a-1", "a-2"]


def test_a_stateful_set_replaces_pods_from_the_highest(cluster: Cluster) -> None:
    make(cluster, "statefulsets", replicas=2, serviceName="s")
    cluster.pass_time(10)
    before = {name: found(cluster, "pods", "", name)["metadata"]["uid"] for name in phases(cluster)}
    cluster.merge("statefulsets", "a", {"spec": {"template": {"metadata": {"labels": {"new": "yes"}}}}}, "apps")
    cluster.settle()
    assert phases(cluster) == {"a-0": "Running", "a-1": "Terminating"}
    cluster.pass_time(20)
    after = {name: found(cluster, "pods", "", name)["metadata"]["uid"] for name in phases(cluster)}
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())
    whole = found(cluster, "statefulsets")["status"]
    assert whole["currentRevision"] == whole["updateRevision"]


def test_a_daemon_set_has_a_pod_on_every_node_that_it_wants(cluster: Cluster) -> None:
    make(cluster, "daemonsets", template=template(nodeSelector={"disk": "ssd"}))
    assert phases(cluster) == {}
    cluster.make("nodes", "n1", metadata={"labels": {"disk": "ssd"}})
    cluster.make("nodes", "n2")
    cluster.pass_time(2)
    assert [one.object["spec"]["nodeName"] for one in cluster.objects("", "pods")] == ["n1"]
    assert status(cluster, "daemonsets", "apps", "desiredNumberScheduled", "numberReady", "numberUnavailable") == {
        "desiredNumberScheduled": 1,
        "numberReady": 1,
    }
    cluster.merge("nodes", "n2", {"metadata": {"labels": {"disk": "ssd"}}})
    cluster.merge("nodes", "n1", {"metadata": {"labels": {"disk": None}}})
    cluster.pass_time(10)
    assert [one.object["spec"]["nodeName"] for one in cluster.objects("", "pods")] == ["n2"]


def job(cluster: Cluster, command: str = "true", **spec: Any) -> None:
    containers = [{"name": "c", "image": "i", "command": ["sh", "-c", command]}]
    body = {"template": {"spec": {"containers": containers, "restartPolicy": "Never"}}, **spec}
    cluster.make("jobs", "a", "batch", "default", spec=body)
    cluster.settle()


def test_a_job_is_complete_when_enough_pods_have_ended_well(cluster: Cluster) -> None:
    job(cluster, completions=3, parallelism=2)
    assert status(cluster, "jobs", "batch", "active") == {"active": 2}
    cluster.pass_time(7)
    assert status(cluster, "jobs", "batch", "active", "succeeded") == {"active": 1, "succeeded": 2}
    cluster.pass_time(7)
    ended = found(cluster, "jobs", "batch")
    assert conditions(ended) == {"SuccessCriteriaMet": "True CompletionsReached", "Complete": "True CompletionsReached"}
    assert ended["status"]["succeeded"] == 3
    assert ended["status"]["completionTime"]
    assert set(phases(cluster).values()) == {"Succeeded"}


def test_a_job_gives_up_when_too_many_pods_have_failed(cluster: Cluster) -> None:
    job(cluster, "exit 1", backoffLimit=1)
    cluster.pass_time(60)
    ended = found(cluster, "jobs", "batch")
    assert conditions(ended) == {"FailureTarget": "True BackoffLimitExceeded", "Failed": "True BackoffLimitExceeded"}
    assert ended["status"]["failed"] == 2
    assert set(phases(cluster).values()) == {"Failed"}


def test_a_suspended_job_makes_no_pods(cluster: Cluster) -> None:
    job(cluster, suspend=True)
    cluster.pass_time(60)
    assert phases(cluster) == {}
    cluster.merge("jobs", "a", {"spec": {"suspend": False}}, "batch")
    cluster.pass_time(60)
    assert set(phases(cluster).values()) == {"Succeeded"}


def test_nothing_is_left_to_do_when_all_is_well(cluster: Cluster) -> None:
    make(cluster, "deployments", replicas=2)
    cluster.pass_time(60)
    assert cluster.next_due() is None
    version = cluster.store.rv
    cluster.pass_time(86400)
    assert cluster.store.rv == version


def test_after_a_restore_controllers_go_on_from_the_past(cluster: Cluster) -> None:
    make(cluster, "deployments", replicas=2)
    past = cluster.snapshot()
    cluster.pass_time(10)
    delete(cluster, "deployments")
    cluster.restore(past)
    cluster.pass_time(10)
    assert list(phases(cluster).values()) == ["Running", "Running"]
    assert status(cluster, "deployments", "apps", "availableReplicas") == {"availableReplicas": 2}
