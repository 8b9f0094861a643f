"""Namespaces on their way out, and what every namespace has, as with kube-controller-manager 1.36.3."""

from __future__ import annotations

import pytest

from engine.sandbox.simulator.controllers import Controllers
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.options import DeleteOptions, WriteOptions
from tests.sandbox.simulator.clusters import (
    NO_CONTROLLERS,
    Cluster,
    Json,
    define,
    refusal,
    watch_from_now,
    watched,
)

HELD = "x.io/held"


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    cluster.make("namespaces", "n")
    return cluster


def delete(cluster: Cluster, name: str = "n", policy: str | None = None) -> Json:
    options = DeleteOptions(propagation_policy=policy)
    return cluster.delete(cluster.type("namespaces"), "", name, options).object


def conditions(cluster: Cluster) -> dict[str, str]:
    """Return conditions that are not as they should be, with their messages."""
    found = cluster.look("namespaces", "n")
    assert found is not None
    return {
        one["type"]: f"{one['reason']}: {one['message']}"
        for one in found["status"]["conditions"]
        if one["status"] == "True"
    }


def test_a_new_namespace_is_active_and_has_its_name_as_a_label(cluster: Cluster) -> None:
    found = cluster.look("namespaces", "n")
    assert found is not None
    assert (found["spec"], found["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})
    assert found["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}


def test_a_deleted_namespace_is_emptied_and_goes(cluster: Cluster) -> None:
    cluster.make("configmaps", "a", namespace="n")
    cluster.make("configmaps", "a")
    define(cluster)
    cluster.make("foos", "a", "example.com", "n")
    answer = delete(cluster)
    assert (answer["status"], "deletionTimestamp" in answer["metadata"]) == ({"phase": "Terminating"}, True)
    cluster.settle()
    assert cluster.look("namespaces", "n") is None
    assert (cluster.names("configmaps"), cluster.names("foos", "example.com")) == (["a"], [])


def test_what_waits_for_its_finalizers_keeps_the_namespace(cluster: Cluster) -> None:
    for name in ("a", "b"):
        cluster.make("configmaps", name, namespace="n", metadata={"finalizers": [HELD]})
    cluster.make("secrets", "s", namespace="n", metadata={"finalizers": [HELD, "x.io/other"]})
    delete(cluster)
    cluster.settle()
    remain = "configmaps. has 2 resource instances, secrets. has 1 resource instances"
    finalizers = f"{HELD} in 3 resource instances, x.io/other in 1 resource instances"
    assert conditions(cluster) == {
        "NamespaceContentRemaining": f"SomeResourcesRemain: Some resources are remaining: {remain}",
        "NamespaceFinalizersRemaining": (
            f"SomeFinalizersRemain: Some content in the namespace has finalizers remaining: {finalizers}"
        ),
    }
    for resource, name in (("configmaps", "a"), ("configmaps", "b"), ("secrets", "s")):
        cluster.merge(resource, name, {"metadata": {"finalizers": None}}, namespace="n")
    cluster.settle()
    assert cluster.look("namespaces", "n") is None


def test_conditions_come_in_order_and_with_words_when_all_is_well(cluster: Cluster) -> None:
    cluster.make("configmaps", "a", namespace="n", metadata={"finalizers": [HELD]})
    delete(cluster)
    cluster.settle()
    found = cluster.look("namespaces", "n")
    assert found is not None
    assert [(one["type"], one["status"], one["reason"]) for one in found["status"]["conditions"]] == [
        ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered"),
        ("NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions"),
        ("NamespaceDeletionContentFailure", "False", "ContentDeleted"),
        ("NamespaceContentRemaining", "True", "SomeResourcesRemain"),
        ("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain"),
    ]


def test_pods_go_before_all_else(cluster: Cluster) -> None:
    containers = [{"name": "c", "image": "i"}]
    cluster.make("pods", "p", namespace="n", spec={"containers": containers, "nodeName": "n1"})
    cluster.make("configmaps", "a", namespace="n")
    delete(cluster)
    cluster.settle()
    pod = cluster.look("pods", "p", namespace="n")
    assert pod is not None
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
    assert cluster.names("configmaps", namespace="n") == ["a"]
    assert conditions(cluster) == {}
    cluster.delete(cluster.type("pods"), "n", "p", DeleteOptions(grace_period_seconds=0))
    cluster.settle()
    assert cluster.look("namespaces", "n") is None


def test_nothing_is_created_in_a_namespace_on_its_way_out(cluster: Cluster) -> None:
    cluster.make("configmaps", "held", namespace="n", metadata={"finalizers": [HELD]})
    delete(cluster)
    error = refusal(lambda: cluster.make("configmaps", "a", namespace="n"))
    text = "unable to create new content in namespace n because it is being terminated"
    assert (error.code, error.reason) == (403, "Forbidden")
    assert error.message == f'configmaps "a" is forbidden: {text}'
    assert error.details is not None
    assert error.details["causes"] == [
        {
            "reason": "NamespaceTerminating",
            "message": "namespace n is being terminated",
            "field": "metadata.namespace",
        }
    ]
    cluster.merge("configmaps", "held", {"data": {"a": "1"}}, namespace="n")


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_some_namespaces_cannot_be_deleted(cluster: Cluster, name: str) -> None:
    error = refusal(lambda: delete(cluster, name))
    assert (error.code, error.message) == (
        403,
        f'namespaces "{name}" is forbidden: this namespace may not be deleted',
    )


def test_a_namespace_goes_when_both_kinds_of_finalizers_are_gone() -> None:
    cluster = Cluster(NO_CONTROLLERS)
    made = cluster.make("namespaces", "n", metadata={"finalizers": [HELD]})
    delete(cluster)
    finalize = WriteOptions(subresource="finalize")
    body = {**made, "metadata": {"name": "n", "finalizers": [HELD]}, "spec": {"finalizers": []}}
    after = cluster.replace(cluster.type("namespaces"), "", "n", body, finalize).object
    assert (after["spec"], after["metadata"]["finalizers"]) == ({}, [HELD])
    cluster.merge("namespaces", "n", {"metadata": {"finalizers": None}})
    assert cluster.look("namespaces", "n") is None


def test_the_controller_waits_as_long_as_it_is_told() -> None:
    cluster = Cluster(Controllers(namespace_seconds=5.0))
    cluster.make("namespaces", "n")
    delete(cluster)
    cluster.pass_time(4.9)
    assert cluster.look("namespaces", "n") is not None
    cluster.pass_time(0.1)
    assert cluster.look("namespaces", "n") is None


def test_a_restart_goes_on_with_namespaces_on_their_way_out(cluster: Cluster) -> None:
    idle = Cluster(NO_CONTROLLERS)
    idle.make("namespaces", "n")
    idle.make("configmaps", "a", namespace="n")
    delete(idle)
    cluster.restore(idle.snapshot())
    cluster.settle()
    assert cluster.look("namespaces", "n") is None


def test_what_a_refused_delete_leaves_is_told_and_tried_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.make("configmaps", "a", namespace="n")
    refuse = ApiError(500, "InternalError", "no")

    def refused(*_: object) -> None:
        raise refuse

    monkeypatch.setattr(cluster, "delete_collection", refused)
    delete(cluster)
    cluster.settle()
    assert conditions(cluster)["NamespaceDeletionContentFailure"].endswith("1 remaining: no")
    monkeypatch.undo()
    cluster.pass_time(5)
    assert cluster.look("namespaces", "n") is None


# What every namespace has


@pytest.fixture
def furnished() -> Cluster:
    cluster = Cluster(Controllers(service_accounts=True))
    cluster.state.root_ca = "certificate"
    cluster.make("namespaces", "n")
    cluster.settle()
    return cluster


def test_a_namespace_gets_its_service_account_and_the_certificate(furnished: Cluster) -> None:
    assert furnished.names("serviceaccounts", namespace="n") == ["default"]
    found = furnished.look("configmaps", "kube-root-ca.crt", namespace="n")
    assert found is not None
    assert found["data"] == {"ca.crt": "certificate"}
    assert furnished.names("serviceaccounts", namespace="kube-system") == ["default"]


def test_they_come_back_when_they_are_deleted(furnished: Cluster) -> None:
    watch = watch_from_now(furnished, "serviceaccounts")
    furnished.delete(furnished.type("serviceaccounts"), "n", "default")
    furnished.delete(furnished.type("configmaps"), "n", "kube-root-ca.crt")
    furnished.settle()
    assert [kind for kind, *_ in watched(watch)] == ["DELETED", "ADDED"]
    assert furnished.names("configmaps", namespace="n") == ["kube-root-ca.crt"]


def test_they_do_not_come_back_in_a_namespace_that_ends(furnished: Cluster) -> None:
    delete(furnished)
    furnished.pass_time(60)
    assert furnished.look("namespaces", "n") is None
    assert furnished.names("serviceaccounts", namespace="n") == []
