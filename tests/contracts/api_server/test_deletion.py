"""Deletion: finalizers, preconditions, grace, propagation policies and what the garbage collector does then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.api_session import Answer
from tests.contracts.api_server.servers import Place, config_map, owner_reference

SETTLE_SECONDS = 20.0
"""The real garbage collector learns of objects by watching, and waits half a second here and there."""


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SETTLE_SECONDS):
        while not await condition():
            await asyncio.sleep(0.05)


async def is_gone(place: Place, name: str) -> bool:
    return (await place.session.get(f"{place.maps}/{name}")).status == 404


async def family(place: Place, *, block: bool = False) -> tuple[Answer, Answer]:
    """An owner "a" and its dependent "b"."""
    owner = await place.make_map("a")
    dependent = await place.make_map("b", ownerReferences=[owner_reference(owner, block=block)])
    return owner, dependent


async def test_a_deletion_is_answered_with_what_was_deleted(place: Place) -> None:
    made = await place.make_map()
    answer = await place.session.delete(f"{place.maps}/a")
    assert answer.status == 200
    assert answer.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "a", "kind": "configmaps", "uid": made.uid},
    }
    assert (await place.session.delete(f"{place.maps}/a")).failed() == (404, "NotFound")


async def test_a_finalizer_holds_an_object_until_it_is_removed(place: Place) -> None:
    made = await place.make_map(finalizers=["example.com/hold"])
    path = f"{place.maps}/a"
    deleting = await place.session.delete(path)
    assert (deleting.status, deleting.body["kind"]) == (200, "ConfigMap")
    assert deleting.metadata["deletionGracePeriodSeconds"] == 0
    again = await place.session.delete(path)
    assert again.metadata["deletionTimestamp"] == deleting.metadata["deletionTimestamp"]
    assert again.version == deleting.version
    changed = await place.session.patch(path, {"data": {"still": "here"}})
    assert changed.status == 200
    added = await place.session.patch(path, {"metadata": {"finalizers": ["example.com/hold", "example.com/late"]}})
    assert added.failed() == (422, "Invalid")
    assert added.message == (
        'ConfigMap "a" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being '
        'deleted, found new finalizers []string{"example.com/late"}'
    )
    async with place.session.watch(place.maps, resourceVersion=changed.version) as stream:
        last = await place.session.patch(path, {"metadata": {"finalizers": None}})
        (event,) = await stream.take(1)
    assert last.status == 200
    assert (event["type"], event["object"]["metadata"]["uid"]) == ("DELETED", made.uid)
    assert (await place.session.get(path)).status == 404


async def test_a_name_of_what_is_being_deleted_is_taken(place: Place) -> None:
    await place.make_map(finalizers=["example.com/hold"])
    await place.session.delete(f"{place.maps}/a")
    assert (await place.session.post(place.maps, config_map())).failed() == (409, "AlreadyExists")
    await place.session.patch(f"{place.maps}/a", {"metadata": {"finalizers": None}})
    assert (await place.session.post(place.maps, config_map())).status == 201


async def test_a_deletion_begun_raises_the_generation_of_what_has_one(place: Place) -> None:
    await place.make_deployment()
    await place.session.patch(f"{place.deployments}/a", {"metadata": {"finalizers": ["example.com/hold"]}})
    deleting = await place.session.delete(f"{place.deployments}/a", propagationPolicy="Background")
    assert deleting.metadata["generation"] == 2
    await place.session.patch(f"{place.deployments}/a", {"metadata": {"finalizers": None}})


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
async def test_a_precondition_that_fails_deletes_nothing(place: Place, field: str) -> None:
    made = await place.make_map()
    refused = await place.session.delete(f"{place.maps}/a", {"preconditions": {field: "1"}})
    assert refused.failed() == (409, "Conflict")
    shown, hint = (
        ("UID", "The object might have been deleted and then recreated")
        if field == "uid"
        else ("ResourceVersion", "The object might have been modified")
    )
    assert refused.message == (
        f'Operation cannot be fulfilled on ConfigMap "a": the {shown} in the precondition (1) does not match the {shown} in '
        f"record ({made.metadata[field]}). {hint}"
    )
    holds = await place.session.delete(f"{place.maps}/a", {"preconditions": {field: made.metadata[field]}})
    assert holds.status == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"propagationPolicy": "Sideways"},
            'propagationPolicy: Unsupported value: "Sideways": supported values: "Foreground", "Background", "Orphan", "nil"',
        ),
        (
            {"propagationPolicy": "Orphan", "orphanDependents": True},
            'propagationPolicy: Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set',
        ),
    ],
    ids=["no such policy", "two policies"],
)
async def test_options_that_make_no_sense_delete_nothing(place: Place, options: dict[str, Any], message: str) -> None:
    await place.make_map()
    refused = await place.session.delete(f"{place.maps}/a", options)
    assert refused.failed() == (422, "Invalid")
    assert refused.message == f'DeleteOptions.meta.k8s.io "" is invalid: {message}'


async def test_a_collection_is_deleted_as_far_as_it_is_selected(place: Place) -> None:
    for name, labels in (("a", {"app": "x"}), ("b", {"app": "y"}), ("c", {"app": "x"})):
        await place.make_map(name, labels=labels)
    deleted = await place.session.delete(place.maps, labelSelector="app=x")
    assert (deleted.body["kind"], deleted.names) == ("ConfigMapList", ["a", "c"])
    assert (await place.session.get(place.maps, fieldSelector="metadata.name!=kube-root-ca.crt")).names == ["b"]


async def test_a_pod_on_a_node_has_its_time_to_end(place: Place) -> None:
    pods = place.path("pods")
    spec = {"nodeName": "n1", "containers": [{"name": "main", "image": "nginx"}], "terminationGracePeriodSeconds": 7}
    for name in ("a", "b"):
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        assert (await place.session.post(pods, body)).status == 201
    ending = await place.session.delete(f"{pods}/a")
    assert ending.metadata["deletionGracePeriodSeconds"] == 7
    assert (await place.session.get(f"{pods}/a")).status == 200
    sooner = await place.session.delete(f"{pods}/a", gracePeriodSeconds=3)
    assert sooner.metadata["deletionGracePeriodSeconds"] == 3
    await place.session.delete(f"{pods}/a", gracePeriodSeconds=0)
    assert (await place.session.get(f"{pods}/a")).status == 404
    nowhere = {key: value for key, value in spec.items() if key != "nodeName"}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "c"}, "spec": nowhere}
    await place.session.post(pods, body)
    await place.session.delete(f"{pods}/c")
    assert (await place.session.get(f"{pods}/c")).status == 404
    await place.session.delete(f"{pods}/b", gracePeriodSeconds=0)


async def test_background_deletion_takes_the_owner_at_once_and_the_dependents_after(place: Place) -> None:
    await family(place)
    await place.session.delete(f"{place.maps}/a", propagationPolicy="Background")
    assert await is_gone(place, "a")
    await until(lambda: is_gone(place, "b"))


async def test_orphaning_leaves_the_dependents_without_the_reference(place: Place) -> None:
    await family(place)
    deleting = await place.session.delete(f"{place.maps}/a", propagationPolicy="Orphan")
    assert deleting.metadata["finalizers"] == ["orphan"]
    await until(lambda: is_gone(place, "a"))
    left = await place.session.get(f"{place.maps}/b")
    assert left.status == 200
    assert "ownerReferences" not in left.metadata


async def test_foreground_deletion_waits_for_dependents_that_block(place: Place) -> None:
    await family(place, block=True)
    await place.session.patch(f"{place.maps}/b", {"metadata": {"finalizers": ["example.com/hold"]}})
    deleting = await place.session.delete(f"{place.maps}/a", propagationPolicy="Foreground")
    assert deleting.metadata["finalizers"] == ["foregroundDeletion"]

    async def dependent_is_going() -> bool:
        return "deletionTimestamp" in (await place.session.get(f"{place.maps}/b")).metadata

    await until(dependent_is_going)
    assert not await is_gone(place, "a")
    await place.session.patch(f"{place.maps}/b", {"metadata": {"finalizers": None}})
    await until(lambda: is_gone(place, "a"))
    assert await is_gone(place, "b")


@pytest.mark.parametrize(("policy", "waited"), [("Background", False), ("Orphan", True), ("Foreground", True)], ids=str)
async def test_the_last_state_that_a_watch_shows_tells_whether_an_object_waited_to_go(
    place: Place, policy: str, *, waited: bool
) -> None:
    """`engine.core.cascade.went_at_once` and its callers depend on it."""
    await family(place)
    start = (await place.session.get(place.maps)).version
    async with place.session.watch(place.maps, resourceVersion=start, fieldSelector="metadata.name=a") as stream:
        await place.session.delete(f"{place.maps}/a", propagationPolicy=policy)
        shown = await stream.take(2 if waited else 1)
    assert [event["type"] for event in shown] == (["MODIFIED", "DELETED"] if waited else ["DELETED"])
    assert ("deletionTimestamp" in shown[-1]["object"]["metadata"]) is waited


async def test_a_dependent_of_what_never_was_is_collected(place: Place) -> None:
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "never",
        "uid": "55555555-5555-4555-8555-555555555555",
    }
    await place.make_map("b", ownerReferences=[reference])
    await until(lambda: is_gone(place, "b"))


async def test_a_dependent_of_two_owners_outlives_the_first(place: Place) -> None:
    first, second = await place.make_map("a"), await place.make_map("c")
    await place.make_map("b", ownerReferences=[owner_reference(first), owner_reference(second)])
    await place.session.delete(f"{place.maps}/a", propagationPolicy="Background")

    async def one_reference() -> bool:
        references = (await place.session.get(f"{place.maps}/b")).metadata["ownerReferences"]
        return [one["name"] for one in references] == ["c"]

    await until(one_reference)
    await place.session.delete(f"{place.maps}/c", propagationPolicy="Background")
    await until(lambda: is_gone(place, "b"))


async def test_deletion_goes_down_the_generations(place: Place) -> None:
    _, child = await family(place)
    await place.make_map("c", ownerReferences=[owner_reference(child)])
    await place.session.delete(f"{place.maps}/a", propagationPolicy="Background")
    for name in "bc":
        await until(lambda name=name: is_gone(place, name))  # type: ignore[misc]


async def test_an_owner_by_the_right_name_and_another_uid_is_no_owner(place: Place) -> None:
    owner = await place.make_map("a")
    wrong = {**owner_reference(owner), "uid": "66666666-6666-4666-8666-666666666666"}
    await place.make_map("b", ownerReferences=[wrong])
    await until(lambda: is_gone(place, "b"))
    assert not await is_gone(place, "a")
