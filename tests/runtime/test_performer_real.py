"""The performer on real API servers: the server's own words and rules, not our idea of them."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from engine.core.ownership import DEPENDENTS_FINALIZER, OwnerReference, owned
from engine.runtime.clock import SystemClock
from engine.runtime.cluster_api import KubernetesApi
from engine.runtime.kubeconfig import Context, resolve
from engine.runtime.performer import Performer
from engine.runtime.ports import ClusterApi, Seen
from engine.sandbox.api_client import MERGE_PATCH
from engine.sandbox.api_servers import ApiServer
from engine.sandbox.identities import Rule
from schemas.actions import (
    Action,
    AddFinalizer,
    Apply,
    Delete,
    Outcome,
    PatchStatus,
    RecordEvent,
    RemoveFinalizer,
    Result,
)
from schemas.names import ClusterId, ClusterName, ObjectRef, Uid

pytestmark = pytest.mark.e2e

GADGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.performer.example.com}
spec:
  group: performer.example.com
  scope: Namespaced
  names: {kind: Gadget, plural: gadgets}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, properties: {size: {type: integer, maximum: 9}, was: {type: string}}}
            status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""
GADGET = "performer.example.com/v1"
numbers = itertools.count(1)


class Fleet:
    """Performer and namespace of one test."""

    def __init__(
        self, servers: tuple[ApiServer, ...], apis: dict[ClusterName, ClusterApi | None], namespace: str
    ) -> None:
        self.servers = {ClusterName(server.name): server for server in servers}
        self.c1, self.c2, self.c3 = self.servers
        self.apis = apis
        self.namespace = namespace
        self.clock = SystemClock()
        self.performer = Performer(apis, self.clock, request_timeout=5.0)

    def ref(
        self, cluster: ClusterName, name: str = "a", resource: str = "gadgets", group: str = "performer.example.com"
    ) -> ObjectRef:
        return ObjectRef(cluster, group, resource, self.namespace, name)

    def apply(self, cluster: ClusterName, name: str = "a", *, owner: str = "owner-1", **options: Any) -> Apply:
        force = options.pop("force", True)
        body = {"spec": {"size": 1, **options}}
        reference = OwnerReference(
            cluster_id=ClusterId("x"), api_version="v1", kind="Foo", name="foo", uid=Uid(owner), controller=True
        )
        return Apply(
            ref=self.ref(cluster, name), api_version=GADGET, kind="Gadget", body=owned(body, reference), force=force
        )

    async def perform(self, *actions: Action, manager: str = "crosscurrent/foo", **options: Any) -> list[Outcome]:
        options.setdefault("deadline", self.clock.monotonic() + 30)
        return list((await self.performer.perform(actions, manager=manager, **options)).outcomes)

    async def admin(self, ref: ObjectRef, method: str = "GET", body: Any = None, **options: Any) -> dict[str, Any]:
        path = f"/apis/{GADGET}/namespaces/{self.namespace}/{ref.resource}/{ref.name}"
        _, answer = await self.servers[ref.cluster].request(method, path, body, **options)
        return answer

    async def made(self, cluster: ClusterName, name: str = "a") -> Outcome:
        action = self.apply(cluster, name)
        [outcome] = await self.perform(action, first_apply={action.ref})
        assert outcome.result is Result.DONE, outcome
        return outcome


@pytest.fixture
async def fleet(real_clusters: tuple[ApiServer, ...]) -> AsyncIterator[Fleet]:
    namespace = f"performer-{next(numbers)}"
    apis: dict[ClusterName, ClusterApi | None] = {}
    for server in real_clusters:
        await server.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        if server is not real_clusters[2]:  # the third cluster does not serve the type
            await server.apply_yaml(GADGETS)
        name = ClusterName(server.name)
        apis[name] = await KubernetesApi.open(name, resolve(server.kubeconfig))
    opened = [api for api in apis.values() if api]
    yield Fleet(real_clusters, apis, namespace)
    for api in opened:
        await api.close()


def seen(outcome: Outcome) -> Mapping[ObjectRef, Seen]:
    return {outcome.ref: Seen(outcome.uid, outcome.version)}


async def test_an_object_is_created_updated_and_left_alone(fleet: Fleet) -> None:
    first = await fleet.made(fleet.c2)
    assert first.fields
    [same] = await fleet.perform(fleet.apply(fleet.c2), expect=seen(first))
    assert (same.result, same.version, same.fields) == (Result.UNCHANGED, first.version, first.fields)
    [changed] = await fleet.perform(fleet.apply(fleet.c2, size=2), expect=seen(first))
    assert (changed.result, changed.fields) == (Result.DONE, first.fields)
    [removed] = await fleet.perform(fleet.apply(fleet.c2, size=2, was="here"), expect=seen(changed))
    assert removed.fields != first.fields


async def test_another_managers_field_is_taken_only_by_force(fleet: Fleet) -> None:
    first = await fleet.made(fleet.c2)
    action = fleet.apply(fleet.c2, size=3, force=False)
    [refused] = await fleet.perform(action, manager="crosscurrent/other", expect=seen(first))
    assert refused.result is Result.CONFLICT
    assert 'conflict with "crosscurrent/foo"' in refused.message
    assert ".spec.size" in refused.message
    [taken] = await fleet.perform(fleet.apply(fleet.c2, size=3), manager="crosscurrent/other", expect=seen(first))
    assert taken.result is Result.DONE


async def test_what_somebody_else_made_is_not_adopted(fleet: Fleet) -> None:
    body = {"apiVersion": GADGET, "kind": "Gadget", "metadata": {"name": "a"}, "spec": {"size": 7}}
    path = f"/apis/{GADGET}/namespaces/{fleet.namespace}/gadgets"
    await fleet.servers[fleet.c2].request("POST", path, body)
    action = fleet.apply(fleet.c2)
    for first in ({action.ref}, ()):
        [outcome] = await fleet.perform(action, first_apply=first)
        assert (outcome.result, outcome.reason) == (Result.CONFLICT, "NotOurs")
    assert (await fleet.admin(action.ref))["spec"] == {"size": 7}


async def test_what_somebody_else_made_is_not_even_added_to(fleet: Fleet) -> None:
    body = {"apiVersion": GADGET, "kind": "Gadget", "metadata": {"name": "a"}, "spec": {"was": "here"}}
    await fleet.servers[fleet.c2].request("POST", f"/apis/{GADGET}/namespaces/{fleet.namespace}/gadgets", body)
    action = fleet.apply(fleet.c2)
    before = await fleet.admin(action.ref)
    [outcome] = await fleet.perform(action)
    assert outcome.reason == "NotOurs"
    assert await fleet.admin(action.ref) == before


async def test_what_the_server_will_not_have_is_refused_in_its_words(fleet: Fleet) -> None:
    invalid, unknown, mistyped = (
        fleet.apply(fleet.c2, "a", size=10),
        fleet.apply(fleet.c2, "b", colour="red"),
        fleet.apply(fleet.c2, "c", size="big"),
    )
    nowhere = Apply(
        ref=ObjectRef(fleet.c2, "", "configmaps", "nowhere", "d"), api_version="v1", kind="ConfigMap", body={}
    )
    unserved = fleet.apply(fleet.c3)
    outcomes = await fleet.perform(invalid, unknown, mistyped, nowhere, unserved)
    assert [outcome.result for outcome in outcomes] == [Result.REFUSED] * 5
    assert [outcome.code for outcome in outcomes] == [422, 500, 500, 404, 404]
    assert "spec.size: Invalid value" in outcomes[0].message
    assert ".spec.colour: field not declared in schema" in outcomes[1].message
    assert ".spec.size" in outcomes[2].message
    assert outcomes[3].message == 'namespaces "nowhere" not found'
    assert "performer.example.com/gadgets is not served in" in outcomes[4].message


async def test_what_is_forbidden_names_verb_and_resource(fleet: Fleet) -> None:
    rules = [Rule(["performer.example.com"], ["gadgets"], ["get", "list", "create"])]
    identity = await asyncio.to_thread(fleet.servers[fleet.c2].grant, "performer-weak", rules)
    weak = await KubernetesApi.open(fleet.c2, resolve(identity.kubeconfig))
    fleet.apis[fleet.c2] = weak
    [outcome] = await fleet.perform(fleet.apply(fleet.c2))
    await weak.close()
    assert (outcome.result, outcome.code, outcome.reason) == (Result.REFUSED, 403, "Forbidden")
    assert 'cannot patch resource "gadgets" in API group "performer.example.com"' in outcome.message


async def test_a_late_worker_does_not_overwrite_its_successor(fleet: Fleet) -> None:
    """The first worker's lease has run out when its request meets the second one's write."""
    first = await fleet.made(fleet.c2)
    [second] = await fleet.perform(fleet.apply(fleet.c2, size=5), expect=seen(first))
    assert second.result is Result.DONE
    late = Performer(fleet.apis, _RunsOut(fleet.clock), request_timeout=5.0)
    performed = await late.perform(
        [fleet.apply(fleet.c2, size=2)],
        manager="crosscurrent/foo",
        deadline=fleet.clock.monotonic() + 30,
        expect=seen(first),
    )
    [outcome] = performed.outcomes
    assert outcome.result is Result.SKIPPED
    assert (await fleet.admin(first.ref))["spec"]["size"] == 5


class _RunsOut:
    """A clock by which the lease ends right after the first request was let through."""

    def __init__(self, real: SystemClock) -> None:
        self._real = real
        self._looks = 0

    def monotonic(self) -> float:
        self._looks += 1
        return self._real.monotonic() + (0 if self._looks <= 2 else 1000)

    def time(self) -> float:
        return self._real.time()

    async def sleep(self, seconds: float) -> None:
        await self._real.sleep(seconds)


async def test_a_busy_object_is_written_and_deleted_all_the_same(fleet: Fleet) -> None:
    outcome = await fleet.made(fleet.c2)
    stop = asyncio.Event()
    writes = 0

    async def meddle() -> None:
        nonlocal writes
        for n in itertools.count():
            if stop.is_set():
                return
            status = {"status": {"n": n}}
            path = f"/apis/{GADGET}/namespaces/{fleet.namespace}/gadgets/a/status"
            await fleet.servers[fleet.c2].request("PATCH", path, status, content_type=MERGE_PATCH)
            writes += 1
            await asyncio.sleep(0.01)  # less than 100 a second (XGC-34)

    meddler = asyncio.create_task(meddle())
    while writes < 3:
        await asyncio.sleep(0.01)
    for size in (2, 3, 4, 5):
        before = outcome
        for _ in range(3):  # eight collisions in a row do happen on a busy machine; the worker then comes again
            [outcome] = await fleet.perform(fleet.apply(fleet.c2, size=size), expect=seen(before))
            if outcome.result is not Result.CONFLICT:
                break
        assert outcome.result is Result.DONE, outcome
    gone = Delete(ref=outcome.ref, api_version=GADGET, kind="Gadget", uid=outcome.uid, owner=Uid("owner-1"))
    [deleted] = await fleet.perform(gone)
    stop.set()
    await meddler
    assert deleted.result is Result.DONE
    assert writes > 3


async def test_a_delete_is_held_to_uid_and_owner(fleet: Fleet) -> None:
    outcome = await fleet.made(fleet.c2)

    def delete(uid: str, owner: str = "owner-1") -> Delete:
        return Delete(ref=outcome.ref, api_version=GADGET, kind="Gadget", uid=Uid(uid), owner=Uid(owner))

    [other] = await fleet.perform(delete("other"))
    [foreign] = await fleet.perform(delete(outcome.uid, "owner-2"))
    assert (other.result, foreign.result) == (Result.UNCHANGED, Result.CONFLICT)
    [done] = await fleet.perform(delete(outcome.uid))
    [again] = await fleet.perform(delete(outcome.uid))
    assert (done.result, again.result) == (Result.DONE, Result.UNCHANGED)


def release(owner: Outcome) -> RemoveFinalizer:
    return RemoveFinalizer(
        ref=owner.ref,
        api_version=GADGET,
        kind="Gadget",
        uid=owner.uid,
        finalizer=DEPENDENTS_FINALIZER,
        dependents=(f"{GADGET}/gadgets",),
    )


def hold(owner: Outcome) -> AddFinalizer:
    return AddFinalizer(ref=owner.ref, api_version=GADGET, kind="Gadget", uid=owner.uid, finalizer=DEPENDENTS_FINALIZER)


async def test_an_owner_is_held_until_no_cluster_holds_a_dependent(fleet: Fleet) -> None:
    owner = await fleet.made(fleet.c1, "owner")
    child = fleet.apply(fleet.c2, "child", owner=owner.uid)
    outcomes = await fleet.perform(hold(owner), child, first_apply={child.ref})
    assert [outcome.result for outcome in outcomes] == [Result.DONE, Result.DONE]
    [still] = await fleet.perform(release(owner))
    assert (still.result, still.reason) == (Result.CONFLICT, "DependentsRemain")
    assert f"dependents remain in {fleet.c2}: gadgets {fleet.namespace}/child" in still.message
    await fleet.admin(owner.ref, "DELETE")
    [late] = await fleet.perform(
        AddFinalizer(ref=owner.ref, api_version=GADGET, kind="Gadget", uid=owner.uid, finalizer="x.example.com/y")
    )
    assert (late.result, late.reason) == (Result.CONFLICT, "Deleting")
    gone = Delete(ref=child.ref, api_version=GADGET, kind="Gadget", uid=outcomes[1].uid)
    outcomes = await fleet.perform(release(owner), gone)
    assert [outcome.result for outcome in outcomes] == [Result.DONE, Result.DONE], (
        "cluster3 does not serve the type at all"
    )
    assert (await fleet.admin(owner.ref))["code"] == 404
    [again] = await fleet.perform(release(owner))
    assert again.result is Result.UNCHANGED


async def test_an_owner_is_held_while_a_cluster_is_silent_or_forbids_to_look(fleet: Fleet) -> None:
    owner = await fleet.made(fleet.c1, "owner")
    await fleet.perform(hold(owner))
    identity = await asyncio.to_thread(
        fleet.servers[fleet.c2].grant, "performer-blind", [Rule([""], ["pods"], ["get"])]
    )
    blind = await KubernetesApi.open(fleet.c2, resolve(identity.kubeconfig))
    whole, fleet.apis[fleet.c2] = fleet.apis[fleet.c2], blind
    [outcome] = await fleet.perform(release(owner))
    await blind.close()
    assert outcome.result is Result.FAILED
    assert f"{fleet.c2} may hold dependents: gadgets.performer.example.com is forbidden" in outcome.message
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        server = f"https://127.0.0.1:{deaf.getsockname()[1]}"
        silent = await KubernetesApi.open(
            fleet.c2, Context(name="deaf", cluster={"server": server}, user={}), connect_timeout=0.3
        )
        fleet.apis[fleet.c2] = silent
        [outcome] = await fleet.perform(release(owner))
        await silent.close()
    assert outcome.result is Result.FAILED
    assert f"{fleet.c2} may hold dependents: " in outcome.message
    fleet.apis[fleet.c2] = whole
    [outcome] = await fleet.perform(release(owner))
    assert outcome.result is Result.DONE


async def test_a_status_and_an_event_are_written(fleet: Fleet) -> None:
    owner = await fleet.made(fleet.c1, "owner")
    status = PatchStatus(ref=owner.ref, api_version=GADGET, kind="Gadget", uid=owner.uid, status={"ready": 1})
    event = RecordEvent(
        ref=owner.ref,
        api_version=GADGET,
        kind="Gadget",
        uid=owner.uid,
        type="Normal",
        reason="Ready",
        message="it is ü",
    )
    outcomes = await fleet.perform(status, event, expect=seen(owner))
    assert [outcome.result for outcome in outcomes] == [Result.DONE, Result.DONE], outcomes
    assert outcomes[0].fields
    outcomes = await fleet.perform(status, event)
    assert [outcome.result for outcome in outcomes] == [Result.UNCHANGED, Result.UNCHANGED]
    assert (await fleet.admin(owner.ref))["status"] == {"ready": 1}
    path = f"/apis/events.k8s.io/v1/namespaces/{fleet.namespace}/events"
    _, events = await fleet.servers[fleet.c1].request("GET", path)
    [recorded] = events["items"]
    assert (recorded["reason"], recorded["note"], recorded["regarding"]["uid"]) == ("Ready", "it is ü", owner.uid)
