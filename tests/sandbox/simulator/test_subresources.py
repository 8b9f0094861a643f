"""Subresources: parts of an object written by themselves, as kube-apiserver 1.36.3 writes them."""

from __future__ import annotations

from typing import Any

import pytest

from engine.sandbox.simulator.options import WriteOptions
from tests.sandbox.simulator.clusters import NO_CONTROLLERS, Cluster, Json, define, definition, refusal, version

DEPLOYMENT: Json = {
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }
}


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(NO_CONTROLLERS)


# Status and other parts


def test_spec_and_status_of_a_custom_resource_are_written_apart() -> None:
    cluster = Cluster()
    define(cluster)
    made = cluster.make("foos", "a", "example.com", spec={"a": "1"}, status={"s": "no"})
    assert "status" not in made
    rtype = cluster.type("foos", "example.com")
    status = WriteOptions(subresource="status")
    patch = {"spec": {"a": "2"}, "status": {"s": "yes"}, "metadata": {"labels": {"x": "y"}}}
    after = cluster.patch(rtype, "default", "a", patch, status).object
    assert (after["spec"], after["status"]) == ({"a": "1"}, {"s": "yes"})
    assert "labels" not in after["metadata"]
    assert after["metadata"]["generation"] == 1
    after = cluster.merge("foos", "a", {"status": {"s": "no"}, "spec": {"a": "3"}}, "example.com")
    assert (after["spec"], after["status"]) == ({"a": "3"}, {"s": "yes"})
    assert after["metadata"]["generation"] == 2
    assert "status" not in cluster.patch(rtype, "default", "a", {"status": None}, status).object
    missing = {"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "b"}, "status": {"s": "x"}}
    error = refusal(
        lambda: cluster.apply(rtype, "default", "b", missing, WriteOptions(subresource="status", field_manager="m"))
    )
    assert error.code == 404, "a status is never created"


def test_without_a_status_subresource_the_status_is_like_any_field() -> None:
    cluster = Cluster()
    define(cluster, definition("foos", "Foo", "example.com", {**version("v1"), "subresources": {}}))
    made = cluster.make("foos", "a", "example.com", status={"s": "1"})
    assert made["status"] == {"s": "1"}
    assert cluster.merge("foos", "a", {"status": {"s": "2"}}, "example.com")["metadata"]["generation"] == 2


def test_the_status_of_a_built_in_type_keeps_the_spec(cluster: Cluster) -> None:
    cluster.make("deployments", "a", "apps", "default", **DEPLOYMENT)
    patch = {
        "spec": {"replicas": 9},
        "status": {"replicas": 1},
        "metadata": {"labels": {"x": "y"}, "annotations": {"x": "y"}},
    }
    options = WriteOptions(subresource="status")
    after = cluster.patch(cluster.type("deployments", "apps"), "default", "a", patch, options).object
    assert after["spec"]["replicas"] == 1
    assert after["status"]["replicas"] == 1
    assert "labels" not in after["metadata"]
    assert after["metadata"]["annotations"] == {"x": "y"}, "only labels are kept, as the real server has it"
    assert after["metadata"]["generation"] == 1


def test_a_pod_is_changed_only_where_its_subresource_allows(cluster: Cluster) -> None:
    cluster.make("pods", "a", spec={"containers": [{"name": "c", "image": "i"}]})
    debug = {"spec": {"ephemeralContainers": [{"name": "d", "image": "i"}]}, "metadata": {"labels": {"x": "y"}}}
    options = WriteOptions(subresource="ephemeralcontainers")
    after = cluster.patch(cluster.type("pods"), "default", "a", debug, options).object
    assert after["spec"]["ephemeralContainers"][0]["name"] == "d"
    assert "labels" not in after["metadata"]
    assert after["metadata"]["generation"] == 2


# Scale


def scale(cluster: Cluster, body: Json, resource: str = "deployments", group: str = "apps", **options: Any) -> Json:
    rtype = cluster.type(resource, group)
    whole = {"metadata": {"name": "a"}, **body}
    return cluster.replace(rtype, "default", "a", whole, WriteOptions(subresource="scale", **options)).object


def owners(obj: Json, field: str) -> list[str]:
    """Return who owns a field of the spec, and by which subresource."""
    return [
        f"{one['manager']} {one.get('subresource', '')}".strip()
        for one in obj["metadata"]["managedFields"]
        if field in one["fieldsV1"].get("f:spec", {})
    ]


@pytest.fixture
def deployment(cluster: Cluster) -> Json:
    return cluster.make("deployments", "a", "apps", "default", **DEPLOYMENT)


def test_a_scale_shows_and_changes_the_number_of_replicas(cluster: Cluster, deployment: Json) -> None:
    after = scale(cluster, {"spec": {"replicas": 3}})
    metadata = cluster.look("deployments", "a", "apps")["metadata"]  # type: ignore[index]
    assert after == {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        },
        "spec": {"replicas": 3},
        "status": {"replicas": 0, "selector": "a=b"},
    }
    assert (deployment["metadata"]["generation"], metadata["generation"]) == (1, 2)


def test_who_scales_owns_the_number_and_is_named_first_without_a_time(cluster: Cluster, deployment: Json) -> None:
    assert owners(deployment, "f:replicas") == ["unknown"]
    scale(cluster, {"spec": {"replicas": 3}}, field_manager="me")
    after = cluster.look("deployments", "a", "apps")
    assert after is not None
    assert owners(after, "f:replicas") == ["me scale"]
    first = after["metadata"]["managedFields"][0]
    assert (first["subresource"], first["apiVersion"], "time" in first) == ("scale", "apps/v1", False)


def test_a_scale_without_a_number_is_none_and_owned_by_nobody(cluster: Cluster, deployment: Json) -> None:
    assert deployment["spec"]["replicas"] == 1
    assert scale(cluster, {"spec": {}})["spec"] == {}
    after = cluster.look("deployments", "a", "apps")
    assert after is not None
    assert after["spec"]["replicas"] == 0
    assert owners(after, "f:replicas") == []


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (
            {"spec": {"replicas": -1}},
            422,
            ('Scale.autoscaling "a" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'),
        ),
        (
            {"metadata": {"name": "b"}, "spec": {"replicas": 3}},
            400,
            "the name of the object (b) does not match the name on the URL (a)",
        ),
        (
            {"metadata": {"name": "a", "resourceVersion": "1"}, "spec": {"replicas": 3}},
            409,
            (
                'Operation cannot be fulfilled on deployments.apps "a": the object has been modified; '
                "please apply your changes to the latest version and try again"
            ),
        ),
        (
            {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 3}},
            400,
            (
                'Deployment in version "v1" cannot be handled as a Scale: '
                "converting (v1.Deployment) to (autoscaling.Scale): unknown conversion"
            ),
        ),
    ],
)
def test_a_scale_that_cannot_be_is_refused(
    cluster: Cluster, deployment: Json, body: Json, code: int, message: str
) -> None:
    error = refusal(lambda: scale(cluster, body))
    assert (error.code, error.message) == (code, message)
    assert cluster.look("deployments", "a", "apps") == deployment


def test_a_scale_is_patched_and_applied(cluster: Cluster, deployment: Json) -> None:
    rtype, options = cluster.type("deployments", "apps"), WriteOptions(subresource="scale", field_manager="me")
    patched = cluster.patch(rtype, "default", "a", {"spec": {"replicas": 4}}, options).object
    assert patched["spec"] == {"replicas": 4}
    config = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 7}}
    assert refusal(lambda: cluster.apply(rtype, "default", "a", config, options)).code == 409
    forced = WriteOptions(subresource="scale", field_manager="me", force=True)
    assert cluster.apply(rtype, "default", "a", config, forced).object["spec"] == {"replicas": 7}
    assert deployment["spec"]["replicas"] == 1


def test_a_custom_resource_scales_where_its_paths_say() -> None:
    cluster = Cluster()
    define(cluster)
    rtype = cluster.type("foos", "example.com")
    cluster.make("foos", "a", "example.com", spec={"a": "x"})
    options = WriteOptions(subresource="scale")
    patched = cluster.patch(rtype, "default", "a", {"spec": {"replicas": 2}}, options).object
    assert patched["spec"] == {"replicas": 2}
    after = cluster.look("foos", "a", "example.com")
    assert after is not None
    assert after["spec"] == {"a": "x", "replicas": 2}
    assert owners(after, "f:replicas") == [], "the real server attributes nothing here"
    config = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 7}}
    assert refusal(lambda: cluster.apply(rtype, "default", "a", config, options)).code == 500


# Binding and eviction


def pod(cluster: Cluster, name: str = "a", **spec: Any) -> Json:
    containers = [{"name": "c", "image": "i"}]
    return cluster.make("pods", name, metadata={"labels": {"a": "b"}}, spec={"containers": containers, **spec})


def post(cluster: Cluster, subresource: str, name: str, **body: Any) -> Json:
    rtype = cluster.type("pods")
    return cluster.create(rtype, "default", name, body, WriteOptions(subresource=subresource)).object


def test_a_pod_is_bound_to_one_node_once(cluster: Cluster) -> None:
    pod(cluster)
    done = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    assert post(cluster, "binding", "a", target={"name": "n1"}) == done
    after = cluster.look("pods", "a")
    assert after is not None
    assert after["spec"]["nodeName"] == "n1"
    scheduled = [one for one in after["status"]["conditions"] if one["type"] == "PodScheduled"]
    assert [one["status"] for one in scheduled] == ["True"]
    error = refusal(lambda: post(cluster, "binding", "a", target={"name": "n2"}))
    message = 'Operation cannot be fulfilled on pods/binding "a": pod a is already assigned to node "n1"'
    assert (error.code, error.message) == (409, message)


def test_an_evicted_pod_is_deleted_with_its_grace_period(cluster: Cluster) -> None:
    pod(cluster, nodeName="n1")
    post(cluster, "eviction", "a")
    after = cluster.look("pods", "a")
    assert after is not None
    assert after["metadata"]["deletionGracePeriodSeconds"] == 30
    assert refusal(lambda: post(cluster, "eviction", "b")).message == 'pods "b" not found'


def test_a_budget_says_how_many_running_pods_may_be_evicted(cluster: Cluster) -> None:
    for name in ("a", "b"):
        pod(cluster, name, nodeName="n1")
        cluster.patch(
            cluster.type("pods"), "default", name, {"status": {"phase": "Running"}}, WriteOptions(subresource="status")
        )
    budgets = cluster.type("poddisruptionbudgets", "policy")
    selector = {"matchLabels": {"a": "b"}}
    cluster.make("poddisruptionbudgets", "x", "policy", spec={"minAvailable": 1, "selector": selector})
    allowed = {"status": {"disruptionsAllowed": 1}}
    cluster.patch(budgets, "default", "x", allowed, WriteOptions(subresource="status"))
    post(cluster, "eviction", "a")
    error = refusal(lambda: post(cluster, "eviction", "b"))
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    assert (error.code, error.message) == (429, message)
    cluster.make("poddisruptionbudgets", "y", "policy", spec={"minAvailable": 1, "selector": selector})
    assert refusal(lambda: post(cluster, "eviction", "b")).code == 500
