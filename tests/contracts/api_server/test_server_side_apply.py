"""Server-side apply: who owns a field, what a conflict says, what goes when it is no longer applied."""

from __future__ import annotations

from typing import Any

from engine.runtime.object_writer import NEVER
from tests.api_session import STRATEGIC_PATCH, Answer, Json
from tests.contracts.api_server.servers import Place, config_map, deployment


async def apply_map(place: Place, data: Json | None, manager: str, name: str = "a", **options: Any) -> Answer:
    return await place.session.apply(f"{place.maps}/{name}", config_map(name, data), manager, **options)


def owners(answer: Answer) -> dict[tuple[str, str], Any]:
    """(manager, operation) -> the fields that it owns."""
    return {(one["manager"], one["operation"]): one["fieldsV1"] for one in answer.metadata["managedFields"]}


def data_fields(*keys: str) -> Json:
    return {"f:data": {f"f:{key}": {} for key in keys}}


async def test_applying_creates_what_is_not_there(place: Place) -> None:
    made = await apply_map(place, {"k": "1"}, "one")
    assert made.status == 201
    (entry,) = made.metadata["managedFields"]
    assert {key: value for key, value in entry.items() if key != "time"} == {
        "manager": "one",
        "operation": "Apply",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": data_fields("k"),
    }


async def test_a_resource_version_that_no_object_has_lets_an_apply_only_create(place: Place) -> None:
    address, applied = f"{place.maps}/a", config_map("a", {"k": "1"})
    applied["metadata"]["resourceVersion"] = NEVER
    made = await place.session.apply(address, applied, "one")
    assert made.status == 201
    for manager in ("one", "two"):
        again = await place.session.apply(address, {**applied, "data": {"other": "2"}}, manager, force=True)
        assert again.failed() == (409, "Conflict")
        assert again.causes == []
    assert (await place.session.get(address)).body == made.body


async def test_applying_the_same_again_writes_nothing(place: Place) -> None:
    made = await apply_map(place, {"k": "1"}, "one")
    again = await apply_map(place, {"k": "1"}, "one")
    assert (again.status, again.body) == (200, made.body)


async def test_a_field_that_is_no_longer_applied_goes_unless_another_applies_it(place: Place) -> None:
    await apply_map(place, {"a": "1", "b": "2", "c": "3"}, "one")
    await apply_map(place, {"b": "2"}, "two")
    answer = await apply_map(place, {"a": "1"}, "one")
    assert answer.body["data"] == {"a": "1", "b": "2"}
    assert owners(answer) == {("one", "Apply"): data_fields("a"), ("two", "Apply"): data_fields("b")}


async def test_another_managers_field_is_a_conflict_that_names_it(place: Place) -> None:
    await apply_map(place, {"a": "1", "b": "2"}, "one")
    conflict = await apply_map(place, {"a": "2", "b": "3"}, "two")
    assert conflict.failed() == (409, "Conflict")
    assert conflict.message == 'Apply failed with 2 conflicts: conflicts with "one":\n- .data.a\n- .data.b'
    assert conflict.causes == [
        ("FieldManagerConflict", 'conflict with "one"', ".data.a"),
        ("FieldManagerConflict", 'conflict with "one"', ".data.b"),
    ]
    single = await apply_map(place, {"a": "2"}, "two")
    assert single.message == 'Apply failed with 1 conflict: conflict with "one": .data.a'


async def test_a_conflict_with_an_update_says_its_version(place: Place) -> None:
    await place.make_map(data={"a": "1"})
    conflict = await apply_map(place, {"a": "2"}, "one")
    assert conflict.causes == [("FieldManagerConflict", 'conflict with "maker" using v1', ".data.a")]


async def test_force_takes_the_field_over(place: Place) -> None:
    await apply_map(place, {"a": "1", "b": "2"}, "one")
    taken = await apply_map(place, {"a": "9"}, "two", force=True)
    assert taken.body["data"] == {"a": "9", "b": "2"}
    assert owners(taken) == {("one", "Apply"): data_fields("b"), ("two", "Apply"): data_fields("a")}
    back = await apply_map(place, {"b": "2"}, "one")
    assert back.body["data"] == {"a": "9", "b": "2"}


async def test_agreeing_on_a_value_shares_the_field(place: Place) -> None:
    await apply_map(place, {"a": "1"}, "one")
    shared = await apply_map(place, {"a": "1"}, "two")
    assert shared.status == 200
    assert set(owners(shared)) == {("one", "Apply"), ("two", "Apply")}
    left = await apply_map(place, {}, "one")
    assert left.body["data"] == {"a": "1"}
    assert owners(left)["two", "Apply"] == data_fields("a")


async def test_an_update_takes_what_it_changes_from_an_applier(place: Place) -> None:
    await apply_map(place, {"a": "1", "b": "2"}, "one")
    updated = await place.session.patch(f"{place.maps}/a", {"data": {"a": "9", "c": "3"}}, fieldManager="editor")
    assert owners(updated) == {("one", "Apply"): data_fields("b"), ("editor", "Update"): data_fields("a", "c")}


async def test_list_items_are_owned_by_their_keys(place: Place) -> None:
    body = deployment()
    body["spec"]["template"]["spec"]["containers"] = [
        {"name": "main", "image": "nginx:1", "ports": [{"containerPort": 80}]},
        {"name": "side", "image": "busybox:1"},
    ]
    await place.session.apply(f"{place.deployments}/a", body, "one")
    body["spec"]["template"]["spec"]["containers"] = [{"name": "extra", "image": "nginx:2"}]
    both = await place.session.apply(f"{place.deployments}/a", body, "two")
    names = [one["name"] for one in both.body["spec"]["template"]["spec"]["containers"]]
    assert sorted(names) == ["extra", "main", "side"]
    spec = owners(both)["one", "Apply"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert spec == {
        'k:{"name":"main"}': {
            ".": {},
            "f:image": {},
            "f:name": {},
            "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
        },
        'k:{"name":"side"}': {".": {}, "f:image": {}, "f:name": {}},
    }
    body["spec"]["template"]["spec"]["containers"] = [{"name": "main", "image": "nginx:1"}]
    fewer = await place.session.apply(f"{place.deployments}/a", body, "one")
    containers = {one["name"]: one for one in fewer.body["spec"]["template"]["spec"]["containers"]}
    assert set(containers) == {"main", "extra"}
    assert "ports" not in containers["main"]


async def test_a_selector_is_owned_whole(place: Place) -> None:
    made = await place.session.apply(f"{place.deployments}/a", deployment(), "one")
    assert owners(made)["one", "Apply"]["f:spec"]["f:selector"] == {}


async def test_defaults_belong_to_nobody_until_they_are_changed(place: Place) -> None:
    made = await place.session.apply(f"{place.deployments}/a", deployment(), "one")
    assert made.body["spec"]["replicas"] == 1
    assert "f:replicas" not in owners(made)["one", "Apply"]["f:spec"]
    scaled = await place.session.apply(f"{place.deployments}/a", deployment(replicas=3), "two")
    assert scaled.body["spec"]["replicas"] == 3
    given_up = await place.session.apply(f"{place.deployments}/a", deployment(), "two")
    assert given_up.body["spec"]["replicas"] == 1


async def test_the_status_has_owners_of_its_own(place: Place) -> None:
    await place.session.apply(f"{place.deployments}/a", deployment(), "one")
    status = {**deployment(), "status": {"replicas": 2}}
    del status["spec"]
    answer = await place.session.apply(f"{place.deployments}/a/status", status, "controller")
    assert answer.status == 200
    entry = next(one for one in answer.metadata["managedFields"] if one["manager"] == "controller")
    assert (entry["subresource"], entry["fieldsV1"]) == ("status", {"f:status": {"f:replicas": {}}})
    assert answer.body["spec"]["replicas"] == 1


async def test_an_object_may_be_applied_at_a_version_only_while_it_is_at_it(place: Place) -> None:
    made = await apply_map(place, {"a": "1"}, "one")
    body = config_map("a", {"a": "2"}, resourceVersion=made.version)
    assert (await place.session.apply(f"{place.maps}/a", body, "one")).status == 200
    stale = await place.session.apply(f"{place.maps}/a", {**body, "data": {"a": "3"}}, "one")
    assert stale.failed() == (409, "Conflict")
    absent = await place.session.apply(f"{place.maps}/b", config_map("b", uid=made.uid), "one")
    assert absent.failed() == (409, "Conflict")


async def test_managed_fields_are_not_applied(place: Place) -> None:
    body = config_map("a", {}, managedFields=[{"manager": "x"}])
    refused = await place.session.apply(f"{place.maps}/a", body, "one")
    assert refused.failed() == (400, "BadRequest")
    assert refused.message == "metadata.managedFields must be nil"


async def test_a_body_without_a_type_cannot_be_applied(place: Place) -> None:
    refused = await place.session.apply(f"{place.maps}/a", {"metadata": {"name": "a"}}, "one")
    assert refused.failed() == (400, "BadRequest")
    assert refused.message == "invalid object type: /, Kind="


async def test_a_field_that_the_type_does_not_have_cannot_be_applied(place: Place) -> None:
    refused = await place.session.apply(f"{place.maps}/a", {**config_map(), "dat": {}}, "one")
    assert refused.status == 500
    assert refused.message == (
        "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .dat: field not declared in schema"
    )


async def test_a_dry_run_conflicts_and_writes_nothing(place: Place) -> None:
    made = await apply_map(place, {"a": "1"}, "one")
    assert (await apply_map(place, {"a": "2"}, "two", dryRun="All")).failed() == (409, "Conflict")
    forced = await apply_map(place, {"a": "2"}, "two", dryRun="All", force=True)
    assert forced.body["data"] == {"a": "2"}
    assert (await place.session.get(f"{place.maps}/a")).body == made.body
    unmade = await apply_map(place, {"a": "2"}, "two", name="b", dryRun="All")
    assert (unmade.status, "uid" in unmade.metadata) == (201, True)
    assert (await place.session.get(f"{place.maps}/b")).status == 404


async def test_managed_fields_may_be_dropped(place: Place) -> None:
    await apply_map(place, {"a": "1"}, "one")
    cleared = await place.session.patch(f"{place.maps}/a", {"metadata": {"managedFields": [{}]}})
    assert "managedFields" not in cleared.metadata
    claimed = await apply_map(place, {"a": "2"}, "two")
    assert claimed.failed() == (409, "Conflict")
    assert claimed.causes == [("FieldManagerConflict", 'conflict with "before-first-apply" using v1', ".data.a")]


async def test_a_strategic_merge_patch_is_an_update(place: Place) -> None:
    await apply_map(place, {"a": "1"}, "one")
    updated = await place.session.patch(f"{place.maps}/a", {"data": {"a": "2"}}, STRATEGIC_PATCH, fieldManager="editor")
    assert owners(updated) == {("editor", "Update"): data_fields("a")}


async def test_a_manager_is_named_after_the_user_agent_if_it_is_not_named(place: Place) -> None:
    made = await place.session.post(
        place.maps, config_map("a", {"a": "1"}), headers={"User-Agent": "kubectl/v1.37.1 (linux)"}
    )
    assert set(owners(made)) == {("kubectl", "Update")}
