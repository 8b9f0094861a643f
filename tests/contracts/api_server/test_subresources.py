"""The status and scale of an object, and who may change what through them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api_session import Answer
from tests.contracts.api_server.servers import Json, Place, deployment


async def test_a_status_is_written_through_its_subresource_alone(place: Place) -> None:
    body = {**deployment(), "status": {"replicas": 9}}
    made = await place.session.post(place.deployments, body)
    assert made.body["status"] == {}
    path = f"{place.deployments}/a"
    ignored = await place.session.patch(path, {"status": {"replicas": 9}})
    assert ignored.body == made.body
    written = await place.session.patch(f"{path}/status", {"status": {"replicas": 9}, "spec": {"replicas": 5}})
    assert written.body["status"] == {"replicas": 9}
    assert written.body["spec"] == made.body["spec"]


async def test_a_status_is_replaced_whole(place: Place) -> None:
    made = await place.make_deployment()
    await place.session.patch(f"{place.deployments}/a/status", {"status": {"replicas": 2, "readyReplicas": 1}})
    current = await place.session.get(f"{place.deployments}/a/status")
    assert current.body["status"] == {"replicas": 2, "readyReplicas": 1}
    replaced = await place.session.put(f"{place.deployments}/a/status", {**current.body, "status": {"replicas": 3}})
    assert replaced.body["status"] == {"replicas": 3}
    stale = await place.session.put(f"{place.deployments}/a/status", {**made.body, "status": {}})
    assert stale.failed() == (409, "Conflict")


async def test_labels_are_not_changed_through_a_deployments_status(place: Place) -> None:
    await place.make_deployment()
    body = {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}, "status": {"replicas": 1}}
    answer = await place.session.patch(f"{place.deployments}/a/status", body)
    assert "labels" not in answer.metadata
    assert answer.metadata["annotations"] == {"c": "d"}


async def test_what_has_no_status_has_no_such_subresource(place: Place) -> None:
    await place.make_map()
    assert (await place.session.get(f"{place.maps}/a/status")).failed() == (404, "NotFound")


async def test_a_scale_is_a_view_of_the_replicas(place: Place) -> None:
    made = await place.make_deployment(replicas=2)
    scale = await place.session.get(f"{place.deployments}/a/scale")
    assert (scale.body["kind"], scale.body["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale.body["spec"] == {"replicas": 2}
    assert scale.body["status"] == {"replicas": 0, "selector": "app=a"}
    assert (scale.uid, scale.version) == (made.uid, made.version)


async def test_scaling_changes_the_object_and_its_generation(place: Place) -> None:
    await place.make_deployment()
    path = f"{place.deployments}/a"
    patched = await place.session.patch(f"{path}/scale", {"spec": {"replicas": 4}}, fieldManager="scaler")
    assert patched.body["spec"] == {"replicas": 4}
    current = await place.session.get(path)
    assert (current.body["spec"]["replicas"], current.metadata["generation"]) == (4, 2)
    entry = next(one for one in current.metadata["managedFields"] if one["manager"] == "scaler")
    assert entry["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    assert entry["subresource"] == "scale"


async def test_a_scale_is_replaced_at_its_version(place: Place) -> None:
    await place.make_deployment()
    path = f"{place.deployments}/a/scale"
    scale = await place.session.get(path)
    first = await place.session.put(path, {**scale.body, "spec": {"replicas": 3}})
    assert first.body["spec"] == {"replicas": 3}
    assert (await place.session.put(path, {**scale.body, "spec": {"replicas": 4}})).failed() == (409, "Conflict")
    negative = await place.session.patch(path, {"spec": {"replicas": -1}})
    assert negative.failed() == (422, "Invalid")
    assert negative.causes[0][2] == "spec.replicas"


async def test_a_scale_can_be_applied(place: Place) -> None:
    await place.make_deployment()
    applied = await place.session.apply(f"{place.deployments}/a/scale", scale(6), force="true")
    assert applied.body["spec"] == {"replicas": 6}


@pytest.mark.parametrize("manager", ["before-first-apply", "maker"])
async def test_a_number_of_replicas_belongs_to_who_gave_it_first(place: Place, manager: str) -> None:
    path = f"{place.deployments}/a"
    if manager == "maker":
        await place.make_deployment()
    else:
        await place.session.apply(path, deployment())
    refused = await place.session.apply(f"{path}/scale", scale(3), manager="scaler")
    who = f'"{manager}" with subresource "scale"' if manager == "before-first-apply" else f'"{manager}"'
    assert refused.failed() == (409, "Conflict")
    assert refused.causes == [
        ("FieldManagerConflict", f"conflict with {who} using autoscaling/v1", ".spec.replicas"),
    ]
    await place.session.apply(f"{path}/scale", scale(1), manager="scaler")
    assert await owners_of_replicas(place) == {manager, "scaler"}
    await place.session.apply(f"{path}/scale", scale(3), manager="scaler", force="true")
    assert await owners_of_replicas(place) == {"scaler"}


async def owners_of_replicas(place: Place) -> set[str]:
    found = await place.session.get(f"{place.deployments}/a")
    entries = found.metadata["managedFields"]
    return {one["manager"] for one in entries if "f:replicas" in one["fieldsV1"].get("f:spec", {})}


def scale(replicas: int) -> Json:
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "a"},
        "spec": {"replicas": replicas},
    }


@pytest.mark.parametrize("subresource", ["status", "ephemeralcontainers", "resize"])
async def test_a_pods_deletion_is_not_written_by_others(place: Place, subresource: str) -> None:
    container = {"name": "main", "image": "nginx"}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [container]}}
    made = await place.session.post(place.path("pods"), body)
    path = f"{place.path('pods', 'a')}/{subresource}"

    async def put(**metadata: Any) -> Answer:
        return await place.session.put(path, {**made.body, "metadata": {**made.metadata, **metadata}}, dryRun="All")

    ignored = await put(deletionTimestamp="2020-01-01T00:00:00Z")
    assert ignored.status == 200
    assert "deletionTimestamp" not in ignored.metadata
    refused = await put(deletionGracePeriodSeconds=0)
    assert refused.failed() == (422, "Invalid")
    assert {field for *_, field in refused.causes} == {"metadata.deletionGracePeriodSeconds"}
