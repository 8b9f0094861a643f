"""Deletes: each row was put to kube-apiserver 1.36.3; what is expected is what it answered."""

from __future__ import annotations

from typing import Any

import pytest

from engine.sandbox.simulator.options import AdmissionVerdict, DeleteOptions, ListOptions
from engine.sandbox.simulator.resource_types import ResourceType
from tests.sandbox.simulator.clusters import (
    NO_CONTROLLERS,
    Cluster,
    Json,
    define,
    refusal,
    watch_from_now,
    watched,
)

FINALIZER = "x.io/a"


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(NO_CONTROLLERS)


def delete(
    cluster: Cluster, resource: str, name: str, group: str = "", namespace: str = "default", **options: Any
) -> Json:
    rtype = cluster.type(resource, group)
    return cluster.delete(rtype, namespace if rtype.namespaced else "", name, DeleteOptions(**options)).object


def pod(cluster: Cluster, name: str, *, node: str = "n1", **metadata: Any) -> Json:
    spec = {"containers": [{"name": "c", "image": "i"}], **({"nodeName": node} if node else {})}
    return cluster.make("pods", name, spec=spec, metadata=metadata)


def state(obj: Json) -> Json:
    names = ("deletionTimestamp", "deletionGracePeriodSeconds", "finalizers", "generation")
    return {name: obj["metadata"][name] for name in names if name in obj["metadata"]}


def test_a_delete_answers_with_a_status_that_says_what_is_gone(cluster: Cluster) -> None:
    uid = cluster.make("configmaps", "a")["metadata"]["uid"]
    assert delete(cluster, "configmaps", "a") == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "a", "kind": "configmaps", "uid": uid},
    }
    assert refusal(lambda: delete(cluster, "configmaps", "a")).message == 'configmaps "a" not found'


def test_some_types_answer_with_the_object_as_it_was(cluster: Cluster) -> None:
    cluster.make("serviceaccounts", "a")
    gone = delete(cluster, "serviceaccounts", "a")
    assert gone["kind"] == "ServiceAccount"
    assert gone["metadata"]["resourceVersion"] == str(cluster.store.rv)


@pytest.mark.parametrize(
    ("options", "finalizers"),
    [
        ({"propagation_policy": "Foreground"}, ["foregroundDeletion"]),
        ({"propagation_policy": "Orphan"}, ["orphan"]),
        ({"orphan_dependents": True}, ["orphan"]),
        ({"propagation_policy": "Background"}, None),
        ({"orphan_dependents": False}, None),
        ({}, None),
    ],
)
def test_the_policy_decides_who_must_come_first(cluster: Cluster, options: Json, finalizers: list[str] | None) -> None:
    cluster.make("configmaps", "a", metadata={"generation": 7})
    delete(cluster, "configmaps", "a", **options)
    live = cluster.look("configmaps", "a")
    if finalizers is None:
        assert live is None
        return
    assert live is not None
    assert state(live) == {
        "deletionTimestamp": cluster.state.now(),
        "deletionGracePeriodSeconds": 0,
        "finalizers": finalizers,
        "generation": 8,
    }


@pytest.mark.parametrize(
    ("given", "options", "left"),
    [
        (["orphan"], {"propagation_policy": "Background"}, None),
        (["orphan"], {}, ["orphan"]),
        (["foregroundDeletion", FINALIZER], {}, ["foregroundDeletion", FINALIZER]),
        (["foregroundDeletion"], {"propagation_policy": "Orphan"}, ["orphan"]),
        ([FINALIZER], {"propagation_policy": "Foreground"}, [FINALIZER, "foregroundDeletion"]),
    ],
)
def test_options_beat_finalizers_and_finalizers_beat_the_default(
    cluster: Cluster, given: list[str], options: Json, left: list[str] | None
) -> None:
    cluster.make("configmaps", "a", metadata={"finalizers": given})
    delete(cluster, "configmaps", "a", **options)
    live = cluster.look("configmaps", "a")
    assert (live["metadata"]["finalizers"] if live else None) == left


def test_a_second_delete_may_change_the_policy_but_not_the_time(cluster: Cluster) -> None:
    cluster.make("configmaps", "a", metadata={"finalizers": [FINALIZER]})
    first = delete(cluster, "configmaps", "a")
    cluster.time.now += 50
    second = delete(cluster, "configmaps", "a", propagation_policy="Foreground")
    assert second["metadata"]["finalizers"] == [FINALIZER, "foregroundDeletion"]
    assert second["metadata"]["deletionTimestamp"] == first["metadata"]["deletionTimestamp"]
    assert delete(cluster, "configmaps", "a", propagation_policy="Foreground") == second, "nothing changed"


def test_no_finalizer_is_added_to_what_is_being_deleted(cluster: Cluster) -> None:
    cluster.make("configmaps", "a", metadata={"finalizers": [FINALIZER]})
    delete(cluster, "configmaps", "a")
    error = refusal(lambda: cluster.merge("configmaps", "a", {"metadata": {"finalizers": [FINALIZER, "x.io/b"]}}))
    why = "no new finalizers can be added if the object is being deleted, found new finalizers"
    assert error.message == f'ConfigMap "a" is invalid: metadata.finalizers: Forbidden: {why} []string{{"x.io/b"}}'
    assert error.details is not None
    assert len(error.details["causes"]) == 2, "the real server finds it twice"


def test_the_last_finalizer_taken_away_ends_the_object(cluster: Cluster) -> None:
    cluster.make("configmaps", "a", metadata={"finalizers": [FINALIZER]})
    marked = delete(cluster, "configmaps", "a")
    subscription = watch_from_now(cluster, "configmaps")
    answer = cluster.merge("configmaps", "a", {"metadata": {"finalizers": None, "labels": {"z": "1"}}})
    assert cluster.look("configmaps", "a") is None
    assert answer["metadata"]["labels"] == {"z": "1"}
    assert answer["metadata"]["resourceVersion"] == marked["metadata"]["resourceVersion"]
    (event,) = subscription.take()
    assert event.type == "DELETED"
    assert event.object["metadata"]["finalizers"] == [FINALIZER], "the last state that was stored"
    assert event.object["metadata"]["resourceVersion"] == str(cluster.store.rv)


def test_a_deletion_cannot_be_taken_back(cluster: Cluster) -> None:
    cluster.make("configmaps", "a", metadata={"finalizers": [FINALIZER]})
    before = delete(cluster, "configmaps", "a")["metadata"]
    patch = {"metadata": {"deletionTimestamp": None, "deletionGracePeriodSeconds": None, "labels": {"a": "b"}}}
    after = cluster.merge("configmaps", "a", patch)["metadata"]
    assert after["deletionTimestamp"] == before["deletionTimestamp"]
    assert after["deletionGracePeriodSeconds"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"uid": "abc"},
            (
                "the UID in the precondition (abc) does not match the UID in record ({uid}). "
                "The object might have been deleted and then recreated"
            ),
        ),
        (
            {"resource_version": "1"},
            (
                "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record ({rv}). "
                "The object might have been modified"
            ),
        ),
    ],
)
def test_preconditions_protect(cluster: Cluster, options: Json, message: str) -> None:
    metadata = cluster.make("configmaps", "a")["metadata"]
    error = refusal(lambda: delete(cluster, "configmaps", "a", **options))
    why = message.format(uid=metadata["uid"], rv=metadata["resourceVersion"])
    assert (error.code, error.message) == (409, f'Operation cannot be fulfilled on ConfigMap "a": {why}')
    assert error.details == {"name": "a", "kind": "ConfigMap"}
    assert cluster.look("configmaps", "a")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"orphan_dependents": True, "propagation_policy": "Orphan"},
            'Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set',
        ),
        (
            {"propagation_policy": "Nope"},
            'Unsupported value: "Nope": supported values: "Foreground", "Background", "Orphan", "nil"',
        ),
    ],
)
def test_contradictory_options_are_refused(cluster: Cluster, options: Json, message: str) -> None:
    cluster.make("configmaps", "a")
    error = refusal(lambda: delete(cluster, "configmaps", "a", **options))
    expected = f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: {message}'
    assert (error.code, error.message) == (422, expected)


def test_a_dry_run_deletes_nothing(cluster: Cluster) -> None:
    cluster.make("configmaps", "a")
    rv = cluster.store.rv
    assert delete(cluster, "configmaps", "a", dry_run=True)["status"] == "Success"
    assert delete(cluster, "configmaps", "a", dry_run=True, propagation_policy="Foreground")["metadata"]["finalizers"]
    assert cluster.store.rv == rv


# Pods have grace


def test_a_pod_without_a_node_goes_at_once_in_two_steps(cluster: Cluster) -> None:
    made = pod(cluster, "a", node="")
    subscription = watch_from_now(cluster, "pods")
    gone = delete(cluster, "pods", "a")
    assert state(gone) == {
        "deletionTimestamp": cluster.state.now(),
        "deletionGracePeriodSeconds": 0,
        "generation": 2,
    }
    rv = int(made["metadata"]["resourceVersion"])
    assert watched(subscription) == [("MODIFIED", "a", str(rv + 1)), ("DELETED", "a", str(rv + 2))]


def test_a_pod_on_a_node_has_its_grace_which_can_only_get_shorter(cluster: Cluster) -> None:
    pod(cluster, "a")
    assert state(delete(cluster, "pods", "a")) == {
        "deletionTimestamp": "2023-11-14T22:13:50Z",
        "deletionGracePeriodSeconds": 30,
        "generation": 2,
    }
    rv = cluster.store.rv
    assert state(delete(cluster, "pods", "a", grace_period_seconds=40))["deletionGracePeriodSeconds"] == 30
    assert cluster.store.rv == rv
    assert state(delete(cluster, "pods", "a", grace_period_seconds=5)) == {
        "deletionTimestamp": "2023-11-14T22:13:25Z",
        "deletionGracePeriodSeconds": 5,
        "generation": 2,
    }
    assert state(delete(cluster, "pods", "a"))["deletionGracePeriodSeconds"] == 5
    delete(cluster, "pods", "a", grace_period_seconds=0)
    assert cluster.look("pods", "a") is None


@pytest.mark.parametrize(
    ("seconds", "grace", "expected"),
    [(20, 25, ("2023-11-14T22:13:45Z", 25)), (20, 5, ("2023-11-14T22:13:40Z", 1)), (20, 0, None)],
)
def test_a_shorter_grace_counts_from_the_first_delete_and_never_ends_in_the_past(
    cluster: Cluster, seconds: float, grace: int, expected: tuple[str, int] | None
) -> None:
    pod(cluster, "a")
    delete(cluster, "pods", "a")
    cluster.time.now += seconds
    delete(cluster, "pods", "a", grace_period_seconds=grace)
    live = cluster.look("pods", "a")
    if expected is None:
        assert live is None
        return
    assert live is not None
    found = live["metadata"]
    assert (found["deletionTimestamp"], found["deletionGracePeriodSeconds"]) == expected


@pytest.mark.parametrize(("given", "seconds"), [(-1, 1), (0, None), (3, 3), (None, 30)])
def test_the_grace_that_is_asked_for(cluster: Cluster, given: int | None, seconds: int | None) -> None:
    pod(cluster, "a")
    delete(cluster, "pods", "a", grace_period_seconds=given)
    live = cluster.look("pods", "a")
    assert (live["metadata"]["deletionGracePeriodSeconds"] if live else None) == seconds


def test_a_pod_that_has_ended_has_no_grace(cluster: Cluster) -> None:
    made = pod(cluster, "a")
    found = cluster.store.get(("", "pods"), "default/a")
    assert found is not None
    cluster.store.put(found.rtype, found.key, {**made, "status": {"phase": "Succeeded"}})
    delete(cluster, "pods", "a")
    assert cluster.look("pods", "a") is None


def test_a_pods_finalizer_outlives_its_grace(cluster: Cluster) -> None:
    pod(cluster, "a", finalizers=[FINALIZER])
    delete(cluster, "pods", "a", grace_period_seconds=10)
    cluster.merge("pods", "a", {"metadata": {"finalizers": None}})
    assert cluster.look("pods", "a"), "its grace period is not over"
    delete(cluster, "pods", "a", grace_period_seconds=0)
    assert cluster.look("pods", "a") is None
    pod(cluster, "b", finalizers=[FINALIZER])
    delete(cluster, "pods", "b", grace_period_seconds=0)
    assert cluster.look("pods", "b")
    cluster.merge("pods", "b", {"metadata": {"finalizers": None}})
    assert cluster.look("pods", "b") is None


# Many at once


def test_a_collection_is_deleted_as_a_list_shows_it(cluster: Cluster) -> None:
    for number in range(4):
        finalizers = [FINALIZER] if number == 1 else []
        cluster.make("configmaps", f"a{number}", metadata={"labels": {"c": str(number // 3)}, "finalizers": finalizers})
    rtype = cluster.type("configmaps")
    answer = cluster.delete_collection(rtype, "default", selection=ListOptions(label_selector="c=0", limit=1))
    assert [one.name for one in answer.items] == ["a0"]
    assert answer.continue_token
    answer = cluster.delete_collection(rtype, "default", selection=ListOptions(label_selector="c=0"))
    assert [one.name for one in answer.items] == ["a1", "a2"]
    assert "deletionTimestamp" not in answer.items[0].object["metadata"], "as they were before"
    assert cluster.names("configmaps", namespace="default") == ["a1", "a3"]
    error = refusal(lambda: cluster.delete_collection(rtype, "default", DeleteOptions(uid="x")))
    assert error.code == 409


# Custom resources, definitions and namespaces


def test_a_custom_resource_that_is_marked_gets_a_new_generation() -> None:
    cluster = Cluster()
    define(cluster)
    cluster.make("foos", "a", "example.com", metadata={"finalizers": [FINALIZER]})
    assert delete(cluster, "foos", "a", "example.com")["metadata"]["generation"] == 2


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_some_namespaces_are_immortal(cluster: Cluster, name: str) -> None:
    error = refusal(lambda: delete(cluster, "namespaces", name))
    assert (error.code, error.message) == (403, f'namespaces "{name}" is forbidden: this namespace may not be deleted')


def test_preconditions_of_namespaces_speak_in_their_own_way(cluster: Cluster) -> None:
    uid = cluster.make("namespaces", "a")["metadata"]["uid"]
    error = refusal(lambda: delete(cluster, "namespaces", "a", uid="x"))
    why = f"Precondition failed: UID in precondition: x, UID in object meta: {uid}"
    assert error.message == f'Operation cannot be fulfilled on namespaces "a": {why}'


# Webhooks


class Webhooks:
    def concerns(self, operation: str, rtype: ResourceType, subresource: str) -> bool:
        return operation == "DELETE"


def test_a_delete_asks_webhooks_with_what_would_go(cluster: Cluster) -> None:
    made = cluster.make("configmaps", "a")
    cluster.admission = Webhooks()
    steps = cluster.steps.delete(
        cluster.type("configmaps"),
        "default",
        "a",
        DeleteOptions(propagation_policy="Background", uid=made["metadata"]["uid"]),
    )
    question = next(steps)
    assert (question.operation, question.object, question.old_object) == ("DELETE", None, made)
    assert question.options["propagationPolicy"] == "Background"
    assert question.options["preconditions"] == {"uid": made["metadata"]["uid"]}
    assert steps.send(AdmissionVerdict()).phase == "validating"
    assert cluster.look("configmaps", "a")
    with pytest.raises(StopIteration):
        steps.send(AdmissionVerdict())
    assert cluster.look("configmaps", "a") is None
