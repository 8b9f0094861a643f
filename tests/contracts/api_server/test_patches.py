"""The patch types that change what is there: JSON patch, merge patch and strategic merge patch."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api_session import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, Answer, Json
from tests.contracts.api_server.servers import Place


@pytest.fixture
async def deployed(place: Place) -> Place:
    """A Deployment "a" with two containers and a variable."""
    containers = [
        {"name": "main", "image": "nginx:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        {"name": "side", "image": "busybox:1"},
    ]
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": containers}}
    await place.make_deployment(template=template)
    return place


async def patched(place: Place, containers: Any, **more: Any) -> list[Json]:
    """Return the containers after a strategic merge patch of them."""
    body = {"spec": {"template": {"spec": {"containers": containers, **more}}}}
    answer = await place.session.patch(f"{place.deployments}/a", body, STRATEGIC_PATCH)
    assert answer.status == 200, answer
    return list(answer.body["spec"]["template"]["spec"]["containers"])


def outline(containers: list[Json]) -> list[tuple[str, str]]:
    return [(one["name"], one["image"]) for one in containers]


async def data_after(place: Place, patch: Any, content_type: str) -> Any:
    answer = await place.session.patch(f"{place.maps}/a", patch, content_type)
    assert answer.status == 200, answer
    return answer.body.get("data")


async def test_a_merge_patch_sets_changes_and_removes(place: Place) -> None:
    await place.make_map(data={"a": "1", "b": "2"})
    assert await data_after(place, {"data": {"a": "9", "b": None, "c": "3"}}, MERGE_PATCH) == {"a": "9", "c": "3"}
    assert await data_after(place, {"data": None}, MERGE_PATCH) is None


async def test_a_merge_patch_replaces_lists_whole(deployed: Place) -> None:
    body = {"spec": {"template": {"spec": {"containers": [{"name": "only", "image": "nginx:2"}]}}}}
    answer = await deployed.session.patch(f"{deployed.deployments}/a", body)
    assert outline(answer.body["spec"]["template"]["spec"]["containers"]) == [("only", "nginx:2")]


async def test_a_json_patch_is_done_step_by_step_or_not_at_all(place: Place) -> None:
    await place.make_map(data={"a": "1", "b": "2"})
    steps = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "replace", "path": "/data/a", "value": "9"},
        {"op": "remove", "path": "/data/b"},
        {"op": "add", "path": "/data/c~1d", "value": "3"},
        {"op": "copy", "from": "/data/a", "path": "/data/e"},
        {"op": "move", "from": "/data/a", "path": "/data/f"},
    ]
    refused = await place.session.patch(f"{place.maps}/a", steps, JSON_PATCH)
    assert refused.failed() == (422, "Invalid")  # a slash in a key
    assert (await place.session.get(f"{place.maps}/a")).body["data"] == {"a": "1", "b": "2"}
    steps[3]["path"] = "/data/c.d"
    assert await data_after(place, steps, JSON_PATCH) == {"c.d": "3", "e": "9", "f": "9"}


async def test_a_strategic_merge_patch_merges_lists_by_key(deployed: Place) -> None:
    containers = await patched(deployed, [{"name": "side", "image": "busybox:2"}, {"name": "new", "image": "nginx:3"}])
    assert outline(containers) == [("main", "nginx:1"), ("side", "busybox:2"), ("new", "nginx:3")]
    inner = await patched(deployed, [{"name": "main", "env": [{"name": "B", "value": "9"}]}])
    main = next(one for one in inner if one["name"] == "main")
    assert main["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "9"}]


async def test_a_strategic_merge_patch_deletes_an_item_by_directive(deployed: Place) -> None:
    assert outline(await patched(deployed, [{"name": "side", "$patch": "delete"}])) == [("main", "nginx:1")]


async def test_a_strategic_merge_patch_replaces_by_directive(deployed: Place) -> None:
    containers = await patched(deployed, [{"name": "only", "image": "nginx:9"}, {"$patch": "replace"}])
    assert outline(containers) == [("only", "nginx:9")]
    answer = await deployed.session.patch(
        f"{deployed.deployments}/a",
        {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
        STRATEGIC_PATCH,
    )
    assert answer.body["spec"]["strategy"] == {"type": "Recreate"}


async def test_a_strategic_merge_patch_sets_the_order_of_a_list(deployed: Place) -> None:
    order = {"$setElementOrder/containers": [{"name": "side"}, {"name": "main"}]}
    containers = await patched(deployed, [{"name": "main", "image": "nginx:2"}], **order)
    assert outline(containers) == [("side", "busybox:1"), ("main", "nginx:2")]


async def test_a_strategic_merge_patch_deletes_from_a_list_of_strings(place: Place) -> None:
    await place.make_map(finalizers=["example.com/one", "example.com/two"])
    body = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/one"]}}
    answer = await place.session.patch(f"{place.maps}/a", body, STRATEGIC_PATCH)
    assert answer.metadata["finalizers"] == ["example.com/two"]
    more = await place.session.patch(
        f"{place.maps}/a", {"metadata": {"finalizers": ["example.com/three"]}}, STRATEGIC_PATCH
    )
    assert more.metadata["finalizers"] == ["example.com/three", "example.com/two"]
    await place.session.patch(f"{place.maps}/a", {"metadata": {"finalizers": None}})


@pytest.mark.parametrize(
    ("content_type", "patch"),
    [
        (MERGE_PATCH, {"data": {"a": "1"}}),
        (STRATEGIC_PATCH, {"data": {"a": "1"}}),
        (JSON_PATCH, [{"op": "replace", "path": "/data/a", "value": "1"}]),
    ],
    ids=["merge", "strategic", "json"],
)
async def test_a_patch_that_changes_nothing_writes_nothing(place: Place, content_type: str, patch: Any) -> None:
    made = await place.make_map(data={"a": "1"})
    answer = await place.session.patch(f"{place.maps}/a", patch, content_type, fieldManager="another")
    assert answer.body == made.body


async def test_what_a_patch_may_not_change_stays(place: Place) -> None:
    made = await place.make_map()
    body = {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z", "generation": 9, "selfLink": "/x"}}
    answer = await place.session.patch(f"{place.maps}/a", body)
    assert answer.body == made.body
    other_uid = await place.session.patch(f"{place.maps}/a", {"metadata": {"uid": "1-2-3"}})
    assert other_uid.failed() == (422, "Invalid")
    assert other_uid.message == 'ConfigMap "a" is invalid: metadata.uid: Invalid value: "1-2-3": field is immutable'


async def test_a_patch_of_a_dry_run_is_answered_and_not_written(place: Place) -> None:
    made = await place.make_map()
    answer = await place.session.patch(f"{place.maps}/a", {"data": {"a": "1"}}, dryRun="All")
    assert answer.body["data"] == {"a": "1"}
    assert (await place.session.get(f"{place.maps}/a")).body == made.body


async def test_a_patch_may_ask_that_the_object_is_as_it_was(place: Place) -> None:
    made = await place.make_map()
    body = {"metadata": {"resourceVersion": made.version}, "data": {"a": "1"}}
    first: Answer = await place.session.patch(f"{place.maps}/a", body)
    assert first.status == 200
    again = await place.session.patch(f"{place.maps}/a", {**body, "data": {"a": "2"}})
    assert again.failed() == (409, "Conflict")
