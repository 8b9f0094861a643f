"""Namespaces: what one starts with, what deletion empties, and what it refuses meanwhile."""

from __future__ import annotations

import asyncio

from tests.contracts.api_server.servers import Place, config_map

SETTLE_SECONDS = 30.0


async def test_a_namespace_is_active_labelled_and_finalised_by_kubernetes(place: Place) -> None:
    found = await place.session.get(f"/api/v1/namespaces/{place.namespace}")
    assert found.body["status"] == {"phase": "Active"}
    assert found.body["spec"] == {"finalizers": ["kubernetes"]}
    assert found.metadata["labels"] == {"kubernetes.io/metadata.name": place.namespace}


async def test_the_namespaces_that_clients_expect_are_there(place: Place) -> None:
    for name in ("default", "kube-system"):
        assert (await place.session.get(f"/api/v1/namespaces/{name}")).status == 200


async def test_a_namespace_that_goes_takes_its_objects_with_it(place: Place) -> None:
    session = place.session
    await place.make_map()
    await place.make_map("held", finalizers=["example.com/hold"])
    path = f"/api/v1/namespaces/{place.namespace}"
    terminating = await session.delete(path)
    assert terminating.body["status"]["phase"] == "Terminating"
    async with asyncio.timeout(SETTLE_SECONDS):
        while (await session.get(f"{place.maps}/a")).status != 404:
            await asyncio.sleep(0.05)
    refused = await session.post(place.maps, config_map("late"))
    assert refused.failed() == (403, "Forbidden")
    assert refused.message == (
        f'configmaps "late" is forbidden: unable to create new content in namespace {place.namespace} because it is being '
        "terminated"
    )
    assert refused.causes == [
        ("NamespaceTerminating", f"namespace {place.namespace} is being terminated", "metadata.namespace")
    ]
    assert (await session.get(path)).status == 200
    released = await session.patch(f"{place.maps}/held", {"metadata": {"finalizers": None}})
    assert released.status == 200
    async with asyncio.timeout(SETTLE_SECONDS):
        while (await session.get(path)).status != 404:
            await asyncio.sleep(0.1)
    again = await session.post("/api/v1/namespaces", {"metadata": {"name": place.namespace}})
    assert again.status == 201


async def test_what_holds_a_namespace_is_said_in_its_conditions(place: Place) -> None:
    session = place.session
    await place.make_map("held", finalizers=["example.com/hold"])
    path = f"/api/v1/namespaces/{place.namespace}"
    await session.delete(path)
    conditions: dict[str, dict[str, str]] = {}
    async with asyncio.timeout(SETTLE_SECONDS):
        while conditions.get("NamespaceFinalizersRemaining", {}).get("status") != "True":
            await asyncio.sleep(0.05)
            found = await session.get(path)
            conditions = {one["type"]: one for one in found.body["status"].get("conditions", ())}
    assert conditions["NamespaceFinalizersRemaining"]["reason"] == "SomeFinalizersRemain"
    assert conditions["NamespaceFinalizersRemaining"]["message"] == (
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    )
    assert conditions["NamespaceContentRemaining"]["message"] == (
        "Some resources are remaining: configmaps. has 1 resource instances"
    )
    assert conditions["NamespaceDeletionDiscoveryFailure"]["status"] == "False"
    await session.patch(f"{place.maps}/held", {"metadata": {"finalizers": None}})


async def test_some_namespaces_cannot_be_deleted(place: Place) -> None:
    for name in ("default", "kube-system"):
        refused = await place.session.delete(f"/api/v1/namespaces/{name}")
        assert refused.failed() == (403, "Forbidden")
        assert refused.message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'
