"""The performer on scripted clusters: order, preconditions, proofs, and what becomes of each refusal."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from engine.core.ownership import DEPENDENTS_FINALIZER, OWNER_LABEL, OwnerReference, owned
from engine.runtime.budget import MOST
from engine.runtime.object_writer import NEVER, TRIES
from engine.runtime.performer import Performer
from engine.runtime.ports import ClusterUnreachable, Reply, Seen
from schemas.actions import (
    Action,
    AddFinalizer,
    Apply,
    Create,
    Delete,
    Outcome,
    Patch,
    PatchStatus,
    RecordEvent,
    RemoveFinalizer,
    Result,
)
from schemas.names import ClusterId, ClusterName, ObjectRef, Uid
from tests.fakes import Clock, ScriptedCluster, Sent, status

MANAGER = "crosscurrent/foo"
TYPES = ("apps/v1/deployments",)


def reference(uid: str = "owner-1") -> OwnerReference:
    return OwnerReference(
        cluster_id=ClusterId("id-1"), api_version="v1", kind="Foo", name="foo", uid=Uid(uid), controller=True
    )


def deployment(replicas: int = 1, owner: str | None = "owner-1") -> dict[str, Any]:
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": replicas}}
    return owned(body, reference(owner)) if owner else body


class Fleet:
    """Clusters c1 and c2 and a performer over them."""

    def __init__(self) -> None:
        self.c1, self.c2 = ScriptedCluster("c1"), ScriptedCluster("c2")
        self.apis: dict[ClusterName, ScriptedCluster | None] = {self.c1.name: self.c1, self.c2.name: self.c2}
        self.clock = Clock()
        self.performer = Performer(self.apis, self.clock, request_timeout=2.0)

    async def perform(
        self, *actions: Action, seen: dict[ObjectRef, Any] | None = None, **options: Any
    ) -> list[Outcome]:
        options.setdefault("deadline", self.clock.now + 10)
        expect = {
            ref: Seen(*(body["metadata"].get(key) for key in ("uid", "resourceVersion", "finalizers")))
            for ref, body in (seen or {}).items()
        }
        performed = await self.performer.perform(actions, manager=MANAGER, expect=expect, **options)
        return list(performed.outcomes)

    def stored(self, cluster: ScriptedCluster, name: str = "d", **metadata: Any) -> tuple[ObjectRef, dict[str, Any]]:
        """A Deployment of ours, as a reconciler made it."""
        body = deployment()
        body["metadata"] |= {"name": name, "namespace": "default", **metadata}
        return cluster.ref("deployments", name, group="apps"), cluster.put("apps", "deployments", body)

    def foo(self, **metadata: Any) -> tuple[ObjectRef, dict[str, Any]]:
        body = {"metadata": {"name": "foo", "namespace": "default", **metadata}, "apiVersion": FOO, "kind": "Foo"}
        return self.c1.ref("foos", "foo", group="samplecontroller.k8s.io"), self.c1.put(
            "samplecontroller.k8s.io", "foos", body
        )


FOO = "samplecontroller.k8s.io/v1alpha1"


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def apply(cluster: ScriptedCluster, body: dict[str, Any] | None = None, name: str = "d", **options: Any) -> Apply:
    ref = cluster.ref("deployments", name, group="apps")
    return Apply(ref=ref, api_version="apps/v1", kind="Deployment", body=body or deployment(), **options)


def on_foo(kind: type[Any], uid: str, fleet: Fleet, **fields: Any) -> Any:
    ref = fleet.c1.ref("foos", "foo", group="samplecontroller.k8s.io")
    return kind(ref=ref, api_version=FOO, kind="Foo", uid=Uid(uid), **fields)


def delete(ref: ObjectRef, uid: str, **fields: Any) -> Delete:
    return Delete(ref=ref, api_version="apps/v1", kind="Deployment", uid=Uid(uid), **fields)


def summary(outcomes: list[Outcome]) -> list[tuple[str, Result]]:
    return [(outcome.action, outcome.result) for outcome in outcomes]


# Apply.


async def test_what_is_not_there_is_created_by_one_request_that_could_not_change_anything(fleet: Fleet) -> None:
    action = apply(fleet.c2)
    [outcome] = await fleet.perform(action, first_apply={action.ref})
    stored = fleet.c2.get(action.ref)
    assert stored is not None
    assert outcome.result is Result.DONE
    assert (outcome.uid, outcome.version) == (stored["metadata"]["uid"], stored["metadata"]["resourceVersion"])
    assert outcome.fields
    [sent] = fleet.c2.requests
    assert (sent.method, sent.params["force"], sent.params["fieldManager"]) == ("PATCH", "false", MANAGER)
    assert (sent.body["metadata"]["name"], sent.body["metadata"]["resourceVersion"]) == ("d", NEVER)


async def test_what_is_not_ours_is_never_adopted(fleet: Fleet) -> None:
    action = apply(fleet.c2)
    foreign = {"metadata": {"name": "d", "namespace": "default"}, "spec": {"replicas": 5}}
    stored = fleet.c2.put("apps", "deployments", foreign)
    [outcome] = await fleet.perform(action, first_apply={action.ref})
    assert (outcome.result, outcome.reason) == (Result.CONFLICT, "NotOurs")
    assert "exists already and is not ours" in outcome.message
    assert fleet.c2.get(action.ref) == stored


async def test_what_somebody_creates_in_the_very_moment_is_not_merged_with(fleet: Fleet) -> None:
    action = apply(fleet.c2)
    foreign = {"metadata": {"name": "d", "namespace": "default"}, "spec": {"paused": True}}

    def meddle(_: Sent) -> None:
        fleet.c2.before = None
        fleet.c2.put("apps", "deployments", foreign)

    fleet.c2.before = meddle
    [outcome] = await fleet.perform(action, first_apply={action.ref})
    assert outcome.reason == "NotOurs"
    assert (fleet.c2.get(action.ref) or {})["spec"] == {"paused": True}


async def test_the_same_object_of_another_owner_is_not_ours(fleet: Fleet) -> None:
    fleet.stored(fleet.c2)
    action = apply(fleet.c2, deployment(owner="owner-2"))
    [outcome] = await fleet.perform(action, first_apply={action.ref})
    assert outcome.reason == "NotOurs"


async def test_an_object_that_names_the_same_owner_is_ours_again(fleet: Fleet) -> None:
    ref, _ = fleet.stored(fleet.c2)
    [outcome] = await fleet.perform(apply(fleet.c2, deployment(3)), first_apply={ref})
    assert outcome.result is Result.DONE
    assert [sent.params["force"] for sent in fleet.c2.sent("PATCH")] == ["false", "true"]


async def test_without_an_owner_our_field_manager_is_the_proof(fleet: Fleet) -> None:
    action = apply(fleet.c2, deployment(1, owner=None))
    assert (await fleet.perform(action, first_apply={action.ref}))[0].result is Result.DONE
    changed = apply(fleet.c2, deployment(2, owner=None))
    assert (await fleet.perform(changed, first_apply={action.ref}))[0].result is Result.DONE


async def test_an_update_carries_uid_and_version_and_needs_no_look(fleet: Fleet) -> None:
    ref, live = fleet.stored(fleet.c2)
    [outcome] = await fleet.perform(apply(fleet.c2, deployment(2)), seen={ref: live})
    assert outcome.result is Result.DONE
    [sent] = fleet.c2.requests
    assert sent.body["metadata"]["uid"] == live["metadata"]["uid"]
    assert sent.body["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]


async def test_an_apply_that_changes_nothing_is_unchanged_and_still_tells_fields_and_version(fleet: Fleet) -> None:
    action = apply(fleet.c2)
    [first] = await fleet.perform(action)
    stored = fleet.c2.get(action.ref)
    [again] = await fleet.perform(action, seen={action.ref: stored})
    assert again.result is Result.UNCHANGED
    assert (again.uid, again.version, again.fields) == (first.uid, first.version, first.fields)


async def test_a_busy_object_does_not_starve_an_apply(fleet: Fleet) -> None:
    ref, live = fleet.stored(fleet.c2)
    busy = iter([True, True, False, False])

    def meddle(sent: Sent) -> None:
        if sent.method == "PATCH" and next(busy):
            current = fleet.c2.get(ref)
            assert current is not None
            current["status"] = {"seen": current["metadata"]["resourceVersion"]}
            fleet.c2.put("apps", "deployments", current)

    fleet.c2.before = meddle
    [outcome] = await fleet.perform(apply(fleet.c2, deployment(7)), seen={ref: live})
    assert outcome.result is Result.DONE
    assert [sent.method for sent in fleet.c2.requests] == ["PATCH", "GET", "PATCH", "GET", "PATCH"]


async def test_an_object_that_others_write_without_end_is_a_conflict_in_the_end(fleet: Fleet) -> None:
    ref, live = fleet.stored(fleet.c2)

    def meddle(sent: Sent) -> None:
        if sent.method == "PATCH":
            current = fleet.c2.get(ref)
            assert current is not None
            current["status"] = {"seen": current["metadata"]["resourceVersion"]}
            fleet.c2.put("apps", "deployments", current)

    fleet.c2.before = meddle
    [outcome] = await fleet.perform(apply(fleet.c2, deployment(7)), seen={ref: live})
    assert (outcome.result, outcome.code) == (Result.CONFLICT, 409)
    assert len(fleet.c2.requests) == 1 + 2 * TRIES


async def test_a_worker_that_stalled_between_check_and_send_does_not_overwrite_its_successor(fleet: Fleet) -> None:
    """It holds a version from within its lease; the successor wrote after that; the lease is over, so it stops."""
    ref, live = fleet.stored(fleet.c2)

    def stall(sent: Sent) -> None:
        if sent.method == "PATCH" and fleet.clock.now < 2000:
            fleet.clock.now += 2000
            newer = deployment(9)
            newer["metadata"] |= {"name": "d", "namespace": "default"}
            fleet.c2.put("apps", "deployments", newer)

    fleet.c2.before = stall
    [outcome] = await fleet.perform(apply(fleet.c2, deployment(2)), seen={ref: live})
    assert outcome.result is Result.SKIPPED
    stored = fleet.c2.get(ref)
    assert stored is not None
    assert stored["spec"]["replicas"] == 9


async def test_an_object_that_was_replaced_or_deleted_since_is_a_conflict(fleet: Fleet) -> None:
    ref, live = fleet.stored(fleet.c2)
    fleet.c2.remove(ref)
    [deleted] = await fleet.perform(apply(fleet.c2), seen={ref: live})
    assert (deleted.result, deleted.reason) == (Result.CONFLICT, "Gone")
    fleet.stored(fleet.c2)
    [replaced] = await fleet.perform(apply(fleet.c2), seen={ref: live})
    assert (replaced.result, replaced.reason) == (Result.CONFLICT, "Replaced")


async def test_what_is_being_deleted_is_left_alone(fleet: Fleet) -> None:
    ref, stored = fleet.stored(fleet.c2, finalizers=["x/y"], deletionTimestamp="2026-01-01T00:00:00Z")
    [outcome] = await fleet.perform(apply(fleet.c2), first_apply={ref})
    assert (outcome.result, outcome.reason) == (Result.UNCHANGED, "Deleting")
    assert fleet.c2.get(ref) == stored


@pytest.mark.parametrize(
    ("answer", "result", "reason"),
    [
        (status(400, "BadRequest", "no"), Result.REFUSED, "BadRequest"),
        (status(401, "Unauthorized", "no"), Result.FAILED, "Unauthorized"),
        (status(403, "Forbidden", "no"), Result.REFUSED, "Forbidden"),
        (status(405, "MethodNotAllowed", "no"), Result.REFUSED, "MethodNotAllowed"),
        (status(413, "RequestEntityTooLarge", "no"), Result.REFUSED, "RequestEntityTooLarge"),
        (status(415, "UnsupportedMediaType", "no"), Result.REFUSED, "UnsupportedMediaType"),
        (status(422, "Invalid", "no"), Result.REFUSED, "Invalid"),
        (status(429, "TooManyRequests", "no", retry_after=7), Result.FAILED, "TooManyRequests"),
        (
            status(500, "", "failed to create typed patch object (x): .spec.y: field not declared"),
            Result.REFUSED,
            "Invalid",
        ),
        (status(500, "InternalError", "no"), Result.FAILED, "InternalError"),
        (status(503, "ServiceUnavailable", "no"), Result.FAILED, "ServiceUnavailable"),
        (Reply(403, b"<html>sign in</html>"), Result.FAILED, "NotKubernetes"),
        (Reply(404, b"<html>not found</html>"), Result.FAILED, "NotKubernetes"),
        (Reply(302, b"", {"Location": "https://elsewhere"}), Result.FAILED, "NotKubernetes"),
        (Reply(200, b"<html>welcome</html>"), Result.FAILED, "NotKubernetes"),
        (Reply(200, b"{}"), Result.FAILED, "NotKubernetes"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Reply) else str(value),
)
async def test_what_each_refusal_becomes(fleet: Fleet, answer: Reply, result: Result, reason: str) -> None:
    ref, live = fleet.stored(fleet.c2)
    fleet.c2.before = lambda _: answer
    [outcome] = await fleet.perform(apply(fleet.c2, deployment(2)), seen={ref: live})
    assert (outcome.result, outcome.reason) == (result, reason)
    assert outcome.retry_after == (7 if reason == "TooManyRequests" else 0)


async def test_a_missing_namespace_is_refused_in_the_servers_words(fleet: Fleet) -> None:
    ref = fleet.c2.ref("deployments", "d", "nowhere", "apps")
    [outcome] = await fleet.perform(Apply(ref=ref, api_version="apps/v1", kind="Deployment", body=deployment()))
    assert (outcome.result, outcome.message) == (Result.REFUSED, 'namespaces "nowhere" not found')


async def test_a_type_that_a_cluster_lacks_is_refused_by_name(fleet: Fleet) -> None:
    fleet.c2.served.discard(("samplecontroller.k8s.io", "v1alpha1", "foos"))
    ref = fleet.c2.ref("foos", "foo", group="samplecontroller.k8s.io")
    [outcome] = await fleet.perform(Apply(ref=ref, api_version=FOO, kind="Foo", body={}))
    assert outcome.result is Result.REFUSED
    assert "samplecontroller.k8s.io/foos is not served in c2" in outcome.message


async def test_a_secrets_values_stay_out_of_messages(fleet: Fleet) -> None:
    said = 'Secret "s" is invalid: data[k]: Invalid value: "hunter2": bad'
    cause = {"reason": "FieldValueInvalid", "message": 'Invalid value: "hunter2"', "field": "data[k]"}
    answer = status(422, "Invalid", said, name="s", kind="Secret", causes=[cause])
    fleet.c2.before = lambda sent: answer if sent.method == "PATCH" else None
    ref = fleet.c2.ref("secrets", "s")
    [outcome] = await fleet.perform(Apply(ref=ref, api_version="v1", kind="Secret", body={"data": {"k": "hunter2"}}))
    assert outcome.result is Result.REFUSED
    assert "hunter2" not in outcome.message
    assert "data[k]" in outcome.message


@pytest.mark.parametrize("group", ["types.kubefed.io", "crosscurrent.dev"])
async def test_nor_do_those_of_a_federated_secret_get_into_messages_or_answers(fleet: Fleet, group: str) -> None:
    plural = "federatedsecrets" if group == "types.kubefed.io" else "federatedobjects"
    fleet.c2.served.add((group, "v1", plural))
    metadata = {"name": "it", "namespace": "default", "annotations": {"a": "hunter2"}}
    live = fleet.c2.put(group, plural, {"apiVersion": f"{group}/v1", "kind": "X", "metadata": metadata})
    ref = fleet.c2.ref(plural, "it", group=group)
    held = AddFinalizer(ref=ref, api_version=f"{group}/v1", kind="X", uid=live["metadata"]["uid"], finalizer="x/y")
    performed = await fleet.performer.perform([held], manager=MANAGER, deadline=fleet.clock.now + 10)
    assert performed.outcomes[0].result is Result.DONE
    assert performed.objects == {}

    answer = status(422, "Invalid", 'spec.template.stringData: Invalid value: "hunter2"', name="it")
    fleet.c2.before = lambda sent: answer if sent.method == "PATCH" else None
    told = PatchStatus(ref=ref, api_version=f"{group}/v1", kind="X", uid=live["metadata"]["uid"], status={"a": 1})
    [outcome] = await fleet.perform(told)
    assert outcome.result is Result.REFUSED
    assert "hunter2" not in outcome.message


# Create and Patch.


async def test_what_was_created_already_by_us_is_unchanged_and_by_others_a_conflict(fleet: Fleet) -> None:
    ref = fleet.c2.ref("deployments", "d", group="apps")
    create = Create(ref=ref, api_version="apps/v1", kind="Deployment", body=deployment())
    assert summary(await fleet.perform(create)) == [("Create", Result.DONE)]
    assert summary(await fleet.perform(create)) == [("Create", Result.UNCHANGED)]
    other = Create(ref=ref, api_version="apps/v1", kind="Deployment", body=deployment(owner="owner-2"))
    assert summary(await fleet.perform(other)) == [("Create", Result.CONFLICT)]


async def test_a_patch_is_held_to_the_uid_and_reads_the_version_anew(fleet: Fleet) -> None:
    ref, live = fleet.stored(fleet.c2)
    stale = {"metadata": {**live["metadata"], "resourceVersion": "1"}}
    uid = Uid(live["metadata"]["uid"])
    patch = Patch(ref=ref, api_version="apps/v1", kind="Deployment", uid=uid, patch={"spec": {"replicas": 4}})
    assert summary(await fleet.perform(patch, seen={ref: stale})) == [("Patch", Result.DONE)]
    stored = fleet.c2.get(ref)
    assert stored is not None
    assert stored["spec"]["replicas"] == 4
    other = Patch(ref=ref, api_version="apps/v1", kind="Deployment", uid=Uid("other"), patch={"spec": {"replicas": 5}})
    assert summary(await fleet.perform(other)) == [("Patch", Result.UNCHANGED)]


# Delete.


async def test_a_delete_reads_first_and_carries_uid_and_version(fleet: Fleet) -> None:
    ref, live = fleet.stored(fleet.c2)
    [outcome] = await fleet.perform(delete(ref, live["metadata"]["uid"]))
    assert outcome.result is Result.DONE
    assert [sent.method for sent in fleet.c2.requests] == ["GET", "DELETE"]
    body = fleet.c2.requests[1].body
    assert body["preconditions"] == {
        "uid": live["metadata"]["uid"],
        "resourceVersion": live["metadata"]["resourceVersion"],
    }
    assert body["propagationPolicy"] == "Background"


async def test_what_is_gone_replaced_or_going_is_not_deleted(fleet: Fleet) -> None:
    ref, live = fleet.stored(fleet.c2, finalizers=["x/y"], deletionTimestamp="2026-01-01T00:00:00Z")
    gone = delete(fleet.c2.ref("deployments", "gone", group="apps"), "u")
    outcomes = await fleet.perform(gone, delete(ref, "other-uid"), delete(ref, live["metadata"]["uid"]))
    assert [outcome.result for outcome in outcomes] == [Result.UNCHANGED] * 3
    assert not fleet.c2.sent("DELETE")


async def test_an_object_that_no_longer_refers_to_its_owner_is_kept(fleet: Fleet) -> None:
    ref, live = fleet.stored(fleet.c2)
    [outcome] = await fleet.perform(delete(ref, live["metadata"]["uid"], owner=Uid("owner-2")))
    assert (outcome.result, outcome.reason) == (Result.CONFLICT, "NotOurs")
    assert summary(await fleet.perform(delete(ref, live["metadata"]["uid"], owner=Uid("owner-1")))) == [
        ("Delete", Result.DONE)
    ]


def touch(fleet: Fleet, ref: ObjectRef, **annotations: str) -> None:
    current = fleet.c2.get(ref)
    assert current is not None
    current["metadata"]["annotations"] |= annotations or {"touched": current["metadata"]["resourceVersion"]}
    fleet.c2.put("apps", "deployments", current)


async def test_a_busy_object_is_deleted_by_uid_alone_the_second_time(fleet: Fleet) -> None:
    ref, live = fleet.stored(fleet.c2)
    fleet.c2.before = lambda sent: touch(fleet, ref) if sent.method == "DELETE" else None
    [outcome] = await fleet.perform(delete(ref, live["metadata"]["uid"]))
    assert outcome.result is Result.DONE
    assert fleet.c2.sent("DELETE")[1].body["preconditions"] == {"uid": live["metadata"]["uid"]}


async def test_an_owner_that_appears_before_the_delete_saves_the_object(fleet: Fleet) -> None:
    ref, live = fleet.stored(fleet.c2)
    fleet.c2.before = lambda sent: (
        touch(fleet, ref, **{"crosscurrent.dev/owners": "[]"}) if sent.method == "DELETE" else None
    )
    [outcome] = await fleet.perform(delete(ref, live["metadata"]["uid"]))
    assert (outcome.result, outcome.reason) == (Result.CONFLICT, "Changed")
    assert fleet.c2.get(ref) is not None


async def test_a_404_that_is_not_kubernetes_own_proves_no_absence(fleet: Fleet) -> None:
    ref, live = fleet.stored(fleet.c2)
    fleet.c2.before = lambda _: Reply(404, b"<html>no such backend</html>")
    [outcome] = await fleet.perform(delete(ref, live["metadata"]["uid"]))
    assert outcome.result is Result.FAILED


# Finalizers.


async def test_a_finalizer_is_added_before_anything_else_is_sent(fleet: Fleet) -> None:
    _, foo = fleet.foo()
    add = on_foo(AddFinalizer, foo["metadata"]["uid"], fleet, finalizer=DEPENDENTS_FINALIZER)
    outcomes = await fleet.perform(apply(fleet.c1), add)
    assert summary(outcomes) == [("Apply", Result.DONE), ("AddFinalizer", Result.DONE)]
    assert [sent.path.rpartition("/")[2] for sent in fleet.c1.requests] == ["foo", "foo", "d"]
    assert summary(await fleet.perform(add)) == [("AddFinalizer", Result.UNCHANGED)]


async def test_a_finalizer_is_added_to_what_was_seen_in_one_request_that_keeps_the_others(fleet: Fleet) -> None:
    ref, foo = fleet.foo(finalizers=["x/y"])
    add = on_foo(AddFinalizer, foo["metadata"]["uid"], fleet, finalizer=DEPENDENTS_FINALIZER)
    assert summary(await fleet.perform(add, seen={ref: foo})) == [("AddFinalizer", Result.DONE)]
    assert [sent.method for sent in fleet.c1.requests] == ["PATCH"]
    assert (fleet.c1.get(ref) or {})["metadata"]["finalizers"] == ["x/y", DEPENDENTS_FINALIZER]


async def test_a_finalizer_that_came_since_the_decision_is_kept(fleet: Fleet) -> None:
    ref, foo = fleet.foo(finalizers=["x/y"])
    add = on_foo(AddFinalizer, foo["metadata"]["uid"], fleet, finalizer=DEPENDENTS_FINALIZER)
    fleet.foo(finalizers=["x/y", "x/z"], uid=foo["metadata"]["uid"])
    assert summary(await fleet.perform(add, seen={ref: foo})) == [("AddFinalizer", Result.DONE)]
    assert (fleet.c1.get(ref) or {})["metadata"]["finalizers"] == ["x/y", "x/z", DEPENDENTS_FINALIZER]


async def test_nothing_is_created_for_an_owner_that_cannot_be_held(fleet: Fleet) -> None:
    _, foo = fleet.foo(finalizers=["x/y"], deletionTimestamp="2026-01-01T00:00:00Z")
    add = on_foo(AddFinalizer, foo["metadata"]["uid"], fleet, finalizer=DEPENDENTS_FINALIZER)
    outcomes = await fleet.perform(add, apply(fleet.c2))
    assert summary(outcomes) == [("AddFinalizer", Result.CONFLICT), ("Apply", Result.SKIPPED)]
    assert "it is being deleted" in outcomes[1].message
    assert not fleet.c2.requests


async def test_adding_a_finalizer_to_what_is_gone_is_a_conflict(fleet: Fleet) -> None:
    add = on_foo(AddFinalizer, "gone", fleet, finalizer=DEPENDENTS_FINALIZER)
    outcomes = await fleet.perform(add, apply(fleet.c2))
    assert summary(outcomes) == [("AddFinalizer", Result.CONFLICT), ("Apply", Result.SKIPPED)]


def held(fleet: Fleet) -> RemoveFinalizer:
    """An owner that is being deleted and waits for its dependents."""
    finalizers = [DEPENDENTS_FINALIZER, "x/y"]
    _, foo = fleet.foo(finalizers=finalizers, deletionTimestamp="2026-01-01T00:00:00Z", uid="owner-1")
    action = on_foo(RemoveFinalizer, foo["metadata"]["uid"], fleet, finalizer=DEPENDENTS_FINALIZER, dependents=TYPES)
    assert isinstance(action, RemoveFinalizer)
    return action


async def test_a_finalizer_goes_when_every_cluster_has_answered_that_nothing_is_left(fleet: Fleet) -> None:
    action = held(fleet)
    assert summary(await fleet.perform(action)) == [("RemoveFinalizer", Result.DONE)]
    stored = fleet.c1.get(action.ref)
    assert stored is not None
    assert stored["metadata"]["finalizers"] == ["x/y"]
    for cluster in (fleet.c1, fleet.c2):
        [listed] = [sent for sent in cluster.requests if sent.path == "/apis/apps/v1/deployments"]
        assert listed.params == {"limit": "1", "labelSelector": f"{OWNER_LABEL}=owner-1"}
    assert summary(await fleet.perform(action)) == [("RemoveFinalizer", Result.UNCHANGED)]


async def test_a_finalizer_stays_while_a_dependent_remains_anywhere(fleet: Fleet) -> None:
    action = held(fleet)
    fleet.stored(fleet.c2)
    fleet.c1.before = lambda sent: status(503) if sent.path == "/apis/apps/v1/deployments" else None
    [outcome] = await fleet.perform(action)
    assert (outcome.result, outcome.reason) == (Result.CONFLICT, "DependentsRemain")
    assert outcome.message == "dependents remain in c2: deployments default/d"
    assert not fleet.c1.sent("PATCH")


def no_backend(sent: Sent) -> Reply:
    return Reply(404, b"<html>no such backend</html>")


@pytest.mark.parametrize(
    "trouble",
    [
        lambda _: status(403, "Forbidden", 'deployments.apps is forbidden: User "x" cannot list'),
        lambda _: status(401, "Unauthorized", "Unauthorized"),
        lambda _: status(500, "InternalError", "no"),
        no_backend,
        lambda _: Reply(200, b"{}"),
        lambda _: Reply(200, b'{"kind": "DeploymentList", "items": []}'),
        lambda _: Reply(200, b"<html></html>"),
        lambda sent: Reply(
            200, b'{"kind":"DeploymentList","metadata":{"resourceVersion":"1","continue":"x"},"items":[]}'
        ),
    ],
    ids=["403", "401", "500", "404 of a proxy", "empty object", "no version", "HTML", "endless"],
)
async def test_a_finalizer_stays_while_a_cluster_cannot_tell(fleet: Fleet, trouble: Any) -> None:
    action = held(fleet)
    fleet.c2.before = trouble
    [outcome] = await fleet.perform(action)
    assert (outcome.result, outcome.reason) == (Result.FAILED, "ClusterUnknown")
    assert "c2 may hold dependents" in outcome.message
    assert not fleet.c1.sent("PATCH")


async def test_a_finalizer_stays_while_a_declared_cluster_is_out_of_reach(fleet: Fleet) -> None:
    action = held(fleet)
    fleet.c2.unreachable = True
    [outcome] = await fleet.perform(action)
    assert (outcome.result, outcome.message) == (Result.FAILED, "c2 may hold dependents: c2 is unreachable")
    fleet.apis[fleet.c2.name] = None
    [outcome] = await fleet.perform(action)
    assert (outcome.result, outcome.message) == (Result.FAILED, "c2 may hold dependents: there is no connection to it")


async def test_a_type_that_is_not_served_at_all_holds_no_dependents(fleet: Fleet) -> None:
    action = held(fleet)
    fleet.c2.served = {one for one in fleet.c2.served if one[0] != "apps"}
    assert summary(await fleet.perform(action)) == [("RemoveFinalizer", Result.DONE)]
    assert "/apis" in [sent.path for sent in fleet.c2.requests]


async def test_a_type_that_is_served_in_another_version_is_looked_at_there(fleet: Fleet) -> None:
    action = held(fleet)
    fleet.stored(fleet.c2)
    fleet.c2.served = {(g, "v2" if g == "apps" else v, p) for g, v, p in fleet.c2.served}
    [outcome] = await fleet.perform(action)
    assert outcome.reason == "DependentsRemain"


async def test_a_404_is_no_proof_while_discovery_fails(fleet: Fleet) -> None:
    action = held(fleet)
    fleet.c2.served = {one for one in fleet.c2.served if one[0] != "apps"}
    fleet.c2.before = lambda sent: status(503, "ServiceUnavailable", "busy") if sent.path == "/apis" else None
    [outcome] = await fleet.perform(action)
    assert outcome.result is Result.FAILED


async def test_a_finalizer_stays_when_anything_before_it_failed_but_an_event(fleet: Fleet) -> None:
    action = held(fleet)
    event = on_foo(RecordEvent, "owner-1", fleet, type="Normal", reason="Released", message="bye")
    fleet.c1.before = lambda sent: status(403, "Forbidden", "no") if "/events" in sent.path else None
    assert summary(await fleet.perform(event, action)) == [
        ("RecordEvent", Result.REFUSED),
        ("RemoveFinalizer", Result.DONE),
    ]
    action = held(fleet)
    fleet.c2.before = lambda sent: status(403, "Forbidden", "no") if sent.method != "GET" else None
    ref, live = fleet.stored(fleet.c2)
    assert summary(await fleet.perform(delete(ref, live["metadata"]["uid"]), action)) == [
        ("Delete", Result.REFUSED),
        ("RemoveFinalizer", Result.SKIPPED),
    ]


async def test_a_finalizer_of_a_busy_owner_is_removed_all_the_same(fleet: Fleet) -> None:
    action = held(fleet)
    meddled = []

    def meddle(sent: Sent) -> None:
        if sent.method == "PATCH" and not meddled:
            meddled.append(sent)
            current = fleet.c1.get(action.ref)
            assert current is not None
            current["spec"] = {"changed": True}
            fleet.c1.put("samplecontroller.k8s.io", "foos", current)

    fleet.c1.before = meddle
    assert summary(await fleet.perform(action)) == [("RemoveFinalizer", Result.DONE)]


# Status and Events.


async def test_a_status_is_applied_to_the_subresource_by_our_manager(fleet: Fleet) -> None:
    ref, foo = fleet.foo()
    action = on_foo(PatchStatus, foo["metadata"]["uid"], fleet, status={"ready": 1})
    [outcome] = await fleet.perform(action, seen={ref: foo})
    assert (outcome.result, bool(outcome.fields)) == (Result.DONE, True)
    [sent] = fleet.c1.requests
    assert sent.path.endswith("/foos/foo/status")
    assert sent.params == {"fieldManager": MANAGER, "force": "true"}
    assert sent.body["metadata"]["resourceVersion"] == foo["metadata"]["resourceVersion"]


async def test_a_status_of_what_is_gone_or_replaced_is_nothing_to_do(fleet: Fleet) -> None:
    gone = on_foo(PatchStatus, "u", fleet, status={"ready": 1})
    assert summary(await fleet.perform(gone)) == [("PatchStatus", Result.UNCHANGED)]
    fleet.foo()
    assert summary(await fleet.perform(gone)) == [("PatchStatus", Result.UNCHANGED)]
    assert not fleet.c1.sent("PATCH")


async def test_a_type_without_status_is_refused_in_clear_words(fleet: Fleet) -> None:
    body = fleet.c1.put("", "configmaps", {"metadata": {"name": "m", "namespace": "default"}})
    ref, uid = fleet.c1.ref("configmaps", "m"), Uid(body["metadata"]["uid"])
    action = PatchStatus(ref=ref, api_version="v1", kind="ConfigMap", uid=uid, status={"x": 1})
    [outcome] = await fleet.perform(action, seen={ref: body})
    assert (outcome.result, outcome.reason) == (Result.REFUSED, "NoStatus")
    assert outcome.message == "ConfigMap has no status subresource in c1, or is not served there"


async def test_a_finalizer_and_a_status_of_one_decision_do_not_stumble_over_each_other(fleet: Fleet) -> None:
    ref, foo = fleet.foo()
    uid = foo["metadata"]["uid"]
    add = on_foo(AddFinalizer, uid, fleet, finalizer=DEPENDENTS_FINALIZER)
    outcomes = await fleet.perform(add, on_foo(PatchStatus, uid, fleet, status={"ready": 1}), seen={ref: foo})
    assert [outcome.result for outcome in outcomes] == [Result.DONE, Result.DONE]
    assert [sent.method for sent in fleet.c1.requests] == ["GET", "PATCH", "PATCH"]


async def test_an_event_is_recorded_once(fleet: Fleet) -> None:
    _, foo = fleet.foo()
    event = on_foo(RecordEvent, foo["metadata"]["uid"], fleet, type="Warning", reason="Refused", message="no")
    assert summary(await fleet.perform(event)) == [("RecordEvent", Result.DONE)]
    assert summary(await fleet.perform(event)) == [("RecordEvent", Result.UNCHANGED)]
    body = fleet.c1.sent("POST")[0].body
    assert body["regarding"]["name"] == "foo"
    assert body["note"] == "no"


# Order, lease, clusters.


async def test_a_moved_workload_is_there_before_it_is_taken_away(fleet: Fleet) -> None:
    ref, live = fleet.stored(fleet.c1)
    order: list[str] = []
    fleet.c1.before = lambda sent: order.append(f"c1 {sent.method}")
    fleet.c2.before = lambda sent: order.append(f"c2 {sent.method}")
    outcomes = await fleet.perform(delete(ref, live["metadata"]["uid"]), apply(fleet.c2))
    assert summary(outcomes) == [("Delete", Result.DONE), ("Apply", Result.DONE)]
    assert order == ["c2 PATCH", "c1 GET", "c1 DELETE"]


async def test_objects_are_written_at_the_same_time(fleet: Fleet) -> None:
    fleet.c1.delay = fleet.c2.delay = 0.02
    actions = [apply(cluster, name=f"d{n}") for n in range(20) for cluster in (fleet.c1, fleet.c2)]
    outcomes = await fleet.perform(*actions)
    assert [(outcome.ref, outcome.result) for outcome in outcomes] == [(action.ref, Result.DONE) for action in actions]
    assert fleet.c1.most_in_flight == fleet.c2.most_in_flight == 20


async def test_nothing_is_sent_once_the_rest_of_the_lease_is_shorter_than_a_timeout(fleet: Fleet) -> None:
    [outcome] = await fleet.perform(apply(fleet.c1), deadline=fleet.clock.now + 2.0)
    assert (outcome.result, outcome.message) == (Result.SKIPPED, "the lease ran out")
    assert not fleet.c1.requests


async def test_the_lease_is_looked_at_before_every_request(fleet: Fleet) -> None:
    def slow(sent: Sent) -> None:
        fleet.clock.now += 3

    ref, live = fleet.stored(fleet.c1)
    fleet.c1.before = slow
    [outcome] = await fleet.perform(delete(ref, live["metadata"]["uid"]), deadline=fleet.clock.now + 4.5)
    assert outcome.result is Result.SKIPPED
    assert [sent.method for sent in fleet.c1.requests] == ["GET"]
    assert fleet.c1.get(ref) == live


async def test_a_request_that_is_not_answered_in_time_has_failed(fleet: Fleet) -> None:
    fleet.performer = Performer(fleet.apis, fleet.clock, request_timeout=0.02)
    fleet.c2.delay = 5
    outcomes = await fleet.perform(apply(fleet.c1), apply(fleet.c2))
    assert [(outcome.result, outcome.code) for outcome in outcomes] == [(Result.DONE, 200), (Result.FAILED, 0)]
    assert outcomes[1].reason == "Unreachable"


async def test_an_unreachable_cluster_fails_its_own_actions_only(fleet: Fleet) -> None:
    fleet.c2.unreachable = True
    outcomes = await fleet.perform(apply(fleet.c2), apply(fleet.c1))
    assert [outcome.result for outcome in outcomes] == [Result.FAILED, Result.DONE]
    fleet.apis[fleet.c2.name] = None
    [unconnected] = await fleet.perform(apply(fleet.c2))
    assert (unconnected.result, unconnected.message) == (Result.FAILED, "there is no connection to c2")
    del fleet.apis[fleet.c2.name]
    [undeclared] = await fleet.perform(apply(fleet.c2))
    assert undeclared.message == "there is no connection to c2: it is not declared"


async def test_a_cluster_whose_slots_are_taken_holds_nobody_else_up(fleet: Fleet) -> None:
    fleet.c2.delay = 0.5
    slow = [asyncio.create_task(fleet.perform(apply(fleet.c2, name=f"s{n}"))) for n in range(MOST + 36)]
    await asyncio.sleep(0.05)
    async with asyncio.timeout(0.2):
        assert summary(await fleet.perform(apply(fleet.c1))) == [("Apply", Result.DONE)]
    assert fleet.c2.most_in_flight == MOST
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    assert fleet.c2.in_flight == 0
    fleet.c2.delay = 0
    assert summary(await fleet.perform(apply(fleet.c2))) == [("Apply", Result.DONE)]


@pytest.mark.parametrize(("code", "reason"), [(429, "TooManyRequests"), (504, "Timeout")])
async def test_a_busy_cluster_is_asked_less_and_then_more_again(fleet: Fleet, code: int, reason: str) -> None:
    budget = fleet.performer.budget(fleet.c2.name)
    fleet.c2.before = lambda _: status(code, reason, "slow down", retry_after=1)
    await fleet.perform(*(apply(fleet.c2, name=f"d{n}") for n in range(30)))
    assert budget.limit == MOST // 2, "thirty answers to requests of one moment are one cut"
    fleet.clock.now += 2
    await fleet.perform(apply(fleet.c2))
    assert budget.limit == MOST // 4
    fleet.c2.before = None
    for n in range(40):
        await fleet.perform(apply(fleet.c2, name=f"e{n}"))
    assert MOST // 4 < budget.limit < MOST // 2


@pytest.mark.parametrize("sent", [True, False])
async def test_a_cluster_that_does_not_answer_in_time_is_asked_less_and_one_that_cannot_be_reached_is_not(
    fleet: Fleet, *, sent: bool
) -> None:
    def late(_: Sent) -> Reply:
        raise ClusterUnreachable("no answer within 2 s", sent=sent)

    budget = fleet.performer.budget(fleet.c2.name)
    fleet.c2.before = late
    [outcome] = await fleet.perform(apply(fleet.c2))
    assert outcome.reason == "Unreachable"
    assert budget.limit == (MOST // 2 if sent else MOST)


async def test_waiting_for_a_slot_ends_with_the_lease(fleet: Fleet) -> None:
    budget = fleet.performer.budget(fleet.c2.name)
    while budget.limit > 1:
        fleet.clock.now += 2
        budget.learn(429, fleet.clock.now)
    await budget.take()
    [outcome] = await fleet.perform(apply(fleet.c2), deadline=fleet.clock.now + 2.05)
    assert outcome.result is Result.SKIPPED
    assert "while waiting for one of 1 slots of c2" in outcome.message
    budget.give_back()
    assert summary(await fleet.perform(apply(fleet.c2), deadline=math.inf)) == [("Apply", Result.DONE)]


async def test_no_actions_have_no_outcomes(fleet: Fleet) -> None:
    assert await fleet.perform() == []
