"""What every `ClusterApi` does, and what an API server answers: the fake is held to the real one (habit 19)."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from engine.core.api_errors import Status, result_of
from engine.core.live_object import Metadata
from engine.runtime import api_calls
from engine.runtime.api_calls import Written
from engine.runtime.kubeconfig import resolve
from engine.runtime.ports import ClusterApi, ClusterUnreachable, Reply
from schemas.actions import Result
from schemas.names import ClusterName, Resource, ResourceVersion, Uid
from tests.fakes import ScriptedCluster

MAPS = Resource("", "v1", "configmaps")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
T = 10.0
numbers = itertools.count(1)


def head(answer: Written | Status) -> Any:
    """The metadata of what was written, or the refusal."""
    return answer.metadata if isinstance(answer, Written) else answer


class Place:
    """A namespace of its own in some cluster."""

    def __init__(self, api: ClusterApi, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    def body(self, name: str = "a", metadata: dict[str, Any] | None = None, **data: str) -> dict[str, Any]:
        meta = {"name": name, "namespace": self.namespace, **(metadata or {})}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}

    async def apply(self, body: dict[str, Any], manager: str = "crosscurrent/foo", *, force: bool = True) -> Any:
        return head(await api_calls.apply(self.api, MAPS, body, manager=manager, force=force, timeout=T))

    async def get(self, name: str = "a") -> Any:
        return await api_calls.get(self.api, MAPS, self.namespace, name, timeout=T)

    async def data(self, name: str = "a") -> Any:
        found = await api_calls.get_object(self.api, MAPS, self.namespace, name, timeout=T)
        return found["data"] if isinstance(found, dict) else found

    async def patch(self, body: dict[str, Any], name: str = "a") -> Any:
        return head(await api_calls.patch(self.api, MAPS, self.namespace, name, body, manager="m", timeout=T))

    async def delete(self, uid: str, version: str | None, name: str = "a") -> Any:
        given = None if version is None else ResourceVersion(version)
        return await api_calls.delete(
            self.api, MAPS, self.namespace, name, uid=Uid(uid), version=given, propagation="Background", timeout=T
        )


@pytest.fixture(params=["fake", pytest.param("real", marks=[pytest.mark.e2e, pytest.mark.clusters])])
async def api(request: pytest.FixtureRequest) -> AsyncIterator[ClusterApi]:
    if request.param == "fake":
        yield ScriptedCluster()
        return
    from engine.runtime.cluster_api import KubernetesApi

    server = request.getfixturevalue("real_clusters")[0]
    opened = await KubernetesApi.open(ClusterName("cluster1"), resolve(server.kubeconfig))
    yield opened
    await opened.close()


@pytest.fixture
async def place(api: ClusterApi) -> Place:
    name = f"contract-{next(numbers)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    made = await api_calls.create(api, Resource("", "v1", "namespaces"), body, manager="m", timeout=T)
    assert isinstance(made, Written)
    return Place(api, name)


async def test_a_cluster_says_its_version_and_who_it_is(api: ClusterApi) -> None:
    version = await api_calls.server_version(api, timeout=T)
    assert not isinstance(version, Status)
    assert version.git_version.startswith("v1.")
    identity = await api_calls.identity(api, timeout=T)
    assert isinstance(identity, str)
    assert identity == await api_calls.identity(api, timeout=T)


async def test_only_a_status_that_names_the_object_proves_its_absence(place: Place) -> None:
    missing = await place.get("nothing")
    assert missing.absent("nothing", "configmaps")
    assert not missing.absent("other", "configmaps")
    assert not missing.unserved


@pytest.mark.parametrize(
    "resource", [Resource("apps", "v1", "nopes"), Resource("nope.example.com", "v1", "nopes")], ids=str
)
async def test_a_type_that_is_not_served_says_nothing_about_its_objects(place: Place, resource: Resource) -> None:
    got = await api_calls.get(place.api, resource, place.namespace, "a", timeout=T)
    listed = await api_calls.list_page(place.api, resource, timeout=T)
    for answer in (got, listed):
        assert isinstance(answer, Status)
        assert answer.unserved
        assert not answer.absent("a", resource.plural)
        assert result_of(answer) is Result.REFUSED
    assert await api_calls.serves(place.api, resource, timeout=T) == []


async def test_discovery_finds_a_type_whatever_version_is_asked_for(api: ClusterApi) -> None:
    assert await api_calls.serves(api, Resource("apps", "v7", "deployments"), timeout=T) == [DEPLOYMENTS]
    assert await api_calls.serves(api, MAPS, timeout=T) == [MAPS]
    assert await api_calls.serves(api, Resource("", "v1", "nopes"), timeout=T) == []


async def test_applying_the_same_again_changes_nothing(place: Place) -> None:
    first = await place.apply(place.body(k="1"))
    again = await place.apply(place.body(k="1"))
    assert first.uid
    assert (again.uid, again.resource_version) == (first.uid, first.resource_version)
    assert again.fields_hash("crosscurrent/foo") == first.fields_hash("crosscurrent/foo") != ""
    changed = await place.apply(place.body(k="2"))
    assert changed.resource_version != first.resource_version
    assert changed.fields_hash("crosscurrent/foo") == first.fields_hash("crosscurrent/foo")


async def test_a_field_that_is_no_longer_applied_goes(place: Place) -> None:
    first = await place.apply(place.body(k="1", gone="1"))
    second = await place.apply(place.body(k="1"))
    assert await place.data() == {"k": "1"}
    assert second.fields_hash("crosscurrent/foo") != first.fields_hash("crosscurrent/foo")


async def test_without_force_another_managers_field_is_a_conflict_that_names_it(place: Place) -> None:
    await place.apply(place.body(k="1"), "other")
    refused = await place.apply(place.body(k="2"), force=False)
    assert refused.field_conflict
    assert not refused.stale
    assert [(cause.message, cause.field) for cause in refused.causes] == [('conflict with "other"', ".data.k")]
    assert result_of(refused) is Result.CONFLICT
    taken = await place.apply(place.body(k="2"), force=True)
    assert await place.data() == {"k": "2"}
    assert taken.fields_hash("crosscurrent/foo")


async def test_agreeing_managers_share_a_field(place: Place) -> None:
    await place.apply(place.body(k="1"), "other")
    assert isinstance(await place.apply(place.body(k="1"), force=False), Metadata)


async def test_preconditions_of_apply(place: Place) -> None:
    made = await place.apply(place.body(k="1"))
    right = {"uid": made.uid, "resourceVersion": made.resource_version}
    wrong_uid = await place.apply(place.body(metadata={"uid": "x"}, k="2"))
    assert (wrong_uid.code, wrong_uid.stale, result_of(wrong_uid)) == (422, True, Result.CONFLICT)
    wrong_version = await place.apply(place.body(metadata=right | {"resourceVersion": "1"}, k="2"))
    assert (wrong_version.code, wrong_version.stale) == (409, True)
    absent = await place.apply(place.body("b", metadata=right, k="2"))
    assert (absent.code, absent.stale) == (409, True)
    ignored = await place.apply(place.body("c", metadata={"resourceVersion": "7"}, k="2"))
    assert isinstance(ignored, Metadata), "a resourceVersion alone does not keep an object from being created"
    assert isinstance(await place.apply(place.body(metadata=right, k="2")), Metadata)


async def test_a_missing_namespace_is_named_and_is_not_the_object(place: Place) -> None:
    body = {**place.body(), "metadata": {"name": "nowhere", "namespace": "nowhere"}}
    for answer in (
        await place.apply(body),
        await api_calls.create(place.api, MAPS, body, manager="m", timeout=T),
    ):
        assert isinstance(answer, Status)
        assert (answer.code, answer.name, answer.kind) == (404, "nowhere", "namespaces")
        assert not answer.absent("nowhere", "configmaps")
        assert result_of(answer) is Result.REFUSED


async def test_a_merge_patch_is_held_to_uid_and_version(place: Place) -> None:
    made = await place.apply(place.body(k="1"))
    for wrong in ({"uid": "x"}, {"uid": made.uid, "resourceVersion": "1"}):
        assert (await place.patch({"metadata": wrong, "data": {"k": "2"}})).stale
    meta = {"uid": made.uid, "resourceVersion": made.resource_version}
    assert isinstance(await place.patch({"metadata": meta, "data": {"k": None, "n": "1"}}), Metadata)
    assert await place.data() == {"n": "1"}


async def test_what_exists_cannot_be_created(place: Place) -> None:
    made = await api_calls.create(place.api, MAPS, place.body(k="1"), manager="m", timeout=T)
    assert isinstance(made, Written)
    again = await api_calls.create(place.api, MAPS, place.body(k="2"), manager="m", timeout=T)
    assert isinstance(again, Status)
    assert (again.code, again.reason) == (409, "AlreadyExists")


async def test_a_delete_is_held_to_uid_and_version(place: Place) -> None:
    made = await place.apply(place.body(k="1"))
    assert (await place.delete("other", None)).stale
    assert (await place.delete(made.uid, "1")).stale
    assert await place.delete(made.uid, made.resource_version) is None
    assert (await place.get()).absent("a", "configmaps")
    assert (await place.delete(made.uid, None)).absent("a", "configmaps")


async def test_a_finalizer_keeps_an_object_until_it_is_removed(place: Place) -> None:
    made = await place.apply(place.body(k="1"))
    held = await place.patch({"metadata": {"uid": made.uid, "finalizers": ["crosscurrent.dev/dependents"]}})
    assert held.finalizers == ["crosscurrent.dev/dependents"]
    assert await place.delete(made.uid, None) is None
    assert (await place.get()).deleting
    more = {"metadata": {"uid": made.uid, "finalizers": ["crosscurrent.dev/dependents", "x.example.com/y"]}}
    assert (await place.patch(more)).code == 422, "no finalizer can be added once deletion was asked for (G18)"
    assert isinstance(await place.patch({"metadata": {"uid": made.uid, "finalizers": []}}), Metadata)
    assert (await place.get()).absent("a", "configmaps")


async def test_a_list_is_filtered_by_label_and_comes_in_pages(place: Place) -> None:
    for name in "abc":
        await place.apply(place.body(name, metadata={"labels": {"owner": "x" if name != "b" else "y"}}))
    first = await api_calls.list_page(place.api, MAPS, place.namespace, timeout=T, label_selector="owner=x", limit=1)
    assert not isinstance(first, Status)
    assert [item.metadata.name for item in first.objects] == ["a"]
    resume = first.metadata.continue_
    rest = await api_calls.list_page(
        place.api, MAPS, place.namespace, timeout=T, label_selector="owner=x", limit=1, resume=resume
    )
    assert not isinstance(rest, Status)
    assert [item.metadata.name for item in rest.objects] == ["c"]
    assert not rest.metadata.continue_
    none = await api_calls.list_page(place.api, MAPS, timeout=T, label_selector="owner=nobody", limit=1)
    assert not isinstance(none, Status)
    assert none.objects == []
    assert none.metadata.resource_version
    assert none.kind.endswith("List")


async def test_status_is_applied_apart_from_the_rest(place: Place) -> None:
    labels = {"app": "a"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    named = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": place.namespace}}
    body = {**named, "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}}
    call: Any = {"manager": "crosscurrent/foo", "force": True, "timeout": T}
    made = head(await api_calls.apply(place.api, DEPLOYMENTS, body, **call))
    assert isinstance(made, Metadata), made
    status = {**named, "status": {"replicas": 3}}
    written = head(await api_calls.apply(place.api, DEPLOYMENTS, status, subresource="status", **call))
    assert isinstance(written, Metadata), written
    assert written.fields_hash("crosscurrent/foo") == made.fields_hash("crosscurrent/foo")
    assert written.fields_hash("crosscurrent/foo", "status")
    found = await api_calls.get_object(place.api, DEPLOYMENTS, place.namespace, "a", timeout=T)
    assert isinstance(found, dict)
    assert (found["spec"]["replicas"], found["status"]["replicas"]) == (1, 3)


async def test_a_type_without_status_says_so(place: Place) -> None:
    await place.apply(place.body())
    body = {**place.body(), "status": {}}
    answer = await api_calls.apply(place.api, MAPS, body, manager="m", force=True, timeout=T, subresource="status")
    assert isinstance(answer, Status)
    assert answer.unserved


async def test_a_watch_answers_first_and_then_gives_whole_lines(place: Place) -> None:
    made = await place.apply(place.body(k="1"))
    path = api_calls.collection_path(MAPS, place.namespace)
    params = {"watch": "true", "resourceVersion": str(int(made.resource_version) - 1)}
    seen: list[tuple[str, str]] = []
    async with aclosing(place.api.stream(path, params=params, idle_timeout=T)) as stream:  # type: ignore[type-var]
        first = await anext(stream)
        assert isinstance(first, Reply)
        assert first.status == 200
        await place.apply(place.body(k="2"))
        await place.delete(made.uid, None)
        async for lines in stream:
            assert isinstance(lines, list)
            for line in lines:
                event = msgspec.json.decode(line)
                seen.append((event["type"], event["object"]["data"]["k"]))
            if seen[-1][0] == "DELETED":
                break
    assert seen[-2:] == [("MODIFIED", "2"), ("DELETED", "2")]


async def test_a_write_is_answered_with_what_a_watch_then_shows(place: Place) -> None:
    """Foresight rests on this (`engine.core.foresight`): to the byte, but for the order of keys."""
    made = await place.apply(place.body("before"))
    path = api_calls.collection_path(MAPS, place.namespace)
    params = {"watch": "true", "resourceVersion": made.resource_version}
    call: Any = {"manager": "crosscurrent/foo", "timeout": T}
    answers = [await api_calls.apply(place.api, MAPS, place.body(k="1"), force=True, **call)]
    answers.append(await api_calls.patch(place.api, MAPS, place.namespace, "a", {"data": {"n": "2"}}, **call))
    answers.append(await api_calls.create(place.api, MAPS, place.body("b"), **call))
    shown: list[Any] = []
    async with aclosing(place.api.stream(path, params=params, idle_timeout=T)) as stream:  # type: ignore[type-var]
        assert isinstance(await anext(stream), Reply)
        while len(shown) < len(answers):
            lines = await anext(stream)
            assert isinstance(lines, list)
            shown += [msgspec.json.decode(line)["object"] for line in lines]
    assert [msgspec.json.decode(answer.body) for answer in answers if isinstance(answer, Written)] == shown


async def test_a_written_secret_is_answered_without_its_values(place: Place) -> None:
    body = {**place.body("s"), "kind": "Secret", "data": {"k": "aHVudGVyMg=="}}
    made = await api_calls.create(place.api, Resource("", "v1", "secrets"), body, manager="m", timeout=T)
    assert isinstance(made, Written)
    assert made.metadata.uid
    assert made.body == b""


async def test_a_watch_of_what_is_not_served_is_answered_with_the_refusal(api: ClusterApi) -> None:
    stream = api.stream("/apis/apps/v1/nopes", params={"watch": "true"}, idle_timeout=T)
    items = [item async for item in stream]
    assert [item.status for item in items if isinstance(item, Reply)] == [404]
    assert len(items) == 1


async def test_a_silent_watch_is_a_lost_cluster(place: Place) -> None:
    path = api_calls.collection_path(MAPS, place.namespace)
    stream = place.api.stream(path, params={"watch": "true"}, idle_timeout=0.2)
    assert isinstance(await anext(stream), Reply)
    with pytest.raises(ClusterUnreachable, match="nothing arrived"):
        await anext(stream)


async def test_a_closed_api_is_unreachable(api: ClusterApi) -> None:
    await api.close()
    with pytest.raises(ClusterUnreachable):
        await api.request("GET", "/version", timeout=T)
    with pytest.raises(ClusterUnreachable):
        await anext(api.stream("/api/v1/configmaps", params={"watch": "true"}, idle_timeout=T))
