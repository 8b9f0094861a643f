"""Creating, replacing and their bookkeeping: names, generation, versions, what is the server's to set, dry runs."""

from __future__ import annotations

import asyncio
import re

import pytest

from tests.contracts.api_server.servers import Place, config_map, deployment


async def test_the_server_fills_in_who_an_object_is(place: Place) -> None:
    body = config_map(
        "a",
        uid="11111111-1111-4111-8111-111111111111",
        creationTimestamp="2001-01-01T00:00:00Z",
        deletionTimestamp="2001-01-01T00:00:00Z",
        selfLink="/x",
    )
    made = await place.session.post(place.maps, body)
    metadata = made.metadata
    assert metadata["namespace"] == place.namespace
    assert re.fullmatch(r"[0-9a-f-]{36}", metadata["uid"])
    assert metadata["uid"] != body["metadata"]["uid"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", metadata["creationTimestamp"])
    assert metadata["creationTimestamp"] != body["metadata"]["creationTimestamp"]
    assert re.fullmatch(r"[1-9]\d*", metadata["resourceVersion"])
    assert not {"deletionTimestamp", "selfLink"} & metadata.keys()


async def test_names_are_generated_and_differ(place: Place) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}}
    names = {(await place.session.post(place.maps, body)).metadata["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(re.fullmatch(r"made-[bcdfghjklmnpqrstvwxz2456789]{5}", name) for name in names)
    long = await place.session.post(place.maps, {**body, "metadata": {"generateName": "x" * 100}})
    assert len(long.metadata["name"]) == 63


async def test_a_given_name_wins_over_a_generated_one(place: Place) -> None:
    made = await place.session.post(place.maps, config_map("given", generateName="made-"))
    assert made.metadata["name"] == "given"
    assert made.metadata["generateName"] == "made-"


async def test_versions_rise_over_all_types_and_namespaces(place: Place) -> None:
    first = await place.make_map()
    other = await place.session.post("/api/v1/namespaces/default/secrets", {"metadata": {"generateName": "s-"}})
    second = await place.make_deployment()
    assert int(first.version) < int(other.version) < int(second.version)


async def test_a_generation_counts_changes_of_the_spec_only(place: Place) -> None:
    made = await place.make_deployment()
    path = f"{place.deployments}/a"
    assert made.metadata["generation"] == 1
    labelled = await place.session.patch(path, {"metadata": {"labels": {"x": "y"}}})
    assert labelled.metadata["generation"] == 1
    scaled = await place.session.patch(path, {"spec": {"replicas": 2}})
    assert scaled.metadata["generation"] == 2
    status = await place.session.patch(f"{path}/status", {"status": {"replicas": 2}})
    assert status.metadata["generation"] == 2
    same = await place.session.patch(path, {"spec": {"replicas": 2}})
    assert (same.metadata["generation"], same.version) == (2, status.version)


async def test_what_has_no_spec_has_no_generation(place: Place) -> None:
    made = await place.make_map()
    changed = await place.session.patch(f"{place.maps}/a", {"data": {"k": "1"}})
    assert "generation" not in made.metadata
    assert "generation" not in changed.metadata


async def test_a_replacement_removes_what_it_lacks(place: Place) -> None:
    await place.make_map(data={"a": "1"}, labels={"x": "y"}, annotations={"n": "1"})
    replaced = await place.session.put(f"{place.maps}/a", config_map("a", {"b": "2"}))
    assert replaced.status == 200
    assert replaced.body["data"] == {"b": "2"}
    assert not {"labels", "annotations"} & replaced.metadata.keys()


async def test_a_replacement_without_a_version_is_unconditional(place: Place) -> None:
    made = await place.make_map()
    await place.session.patch(f"{place.maps}/a", {"data": {"a": "1"}})
    replaced = await place.session.put(f"{place.maps}/a", config_map("a", {"b": "2"}))
    assert replaced.status == 200
    assert replaced.uid == made.uid
    assert replaced.metadata["creationTimestamp"] == made.metadata["creationTimestamp"]


async def test_a_replacement_with_the_same_writes_nothing(place: Place) -> None:
    made = await place.make_map(data={"a": "1"})
    same = await place.session.put(f"{place.maps}/a", made.body)
    assert same.body == made.body


async def test_an_empty_list_in_place_of_an_empty_list_writes_nothing_later_either(place: Place) -> None:
    path = place.path("roles", group="rbac.authorization.k8s.io/v1")
    body = {"kind": "Role", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "a"}, "rules": []}
    made = await place.session.post(path, body, fieldManager="maker")
    await asyncio.sleep(1.1)  # managedFields know whole seconds: nothing less shows whether the time was renewed
    assert (await place.session.patch(f"{path}/a", {"rules": []}, fieldManager="maker")).body == {
        **made.body,
        "rules": None,
    }


async def test_a_replacement_of_another_object_of_that_name_is_a_conflict(place: Place) -> None:
    made = await place.make_map()
    other = await place.session.put(f"{place.maps}/a", config_map("a", uid="1-2-3"))
    assert other.failed() == (409, "Conflict")
    assert f"Precondition failed: UID in precondition: 1-2-3, UID in object meta: {made.uid}" in other.message


async def test_a_dry_run_answers_as_if_and_leaves_nothing(place: Place) -> None:
    before = (await place.session.get(place.maps)).body["items"]
    dry = await place.session.post(place.maps, config_map(), dryRun="All")
    assert dry.status == 201
    assert "resourceVersion" not in dry.metadata
    assert "uid" in dry.metadata
    assert (await place.session.get(place.maps)).body["items"] == before
    made = await place.make_map()
    await place.session.put(f"{place.maps}/a", config_map("a", {"k": "1"}), dryRun="All")
    deleted = await place.session.delete(f"{place.maps}/a", dryRun="All")
    assert deleted.status == 200
    assert (await place.session.get(f"{place.maps}/a")).body == made.body


async def test_defaults_are_filled_in(place: Place) -> None:
    made = await place.make_deployment()
    spec = made.body["spec"]
    assert spec["replicas"] == 1
    assert spec["revisionHistoryLimit"] == 10
    assert spec["progressDeadlineSeconds"] == 600
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    pod = spec["template"]["spec"]
    assert {
        key: pod[key] for key in ("restartPolicy", "dnsPolicy", "schedulerName", "terminationGracePeriodSeconds")
    } == {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
    }
    container = pod["containers"][0]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert container["resources"] == {}


async def test_a_service_gets_an_address_that_it_keeps(place: Place) -> None:
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}
    made = await place.session.post(place.path("services"), body)
    address = made.body["spec"]["clusterIP"]
    assert made.body["spec"]["clusterIPs"] == [address]
    assert made.body["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    replaced = await place.session.put(place.path("services", "a"), body)
    assert replaced.body["spec"]["clusterIP"] == address
    moved = await place.session.patch(place.path("services", "a"), {"spec": {"clusterIP": "None"}})
    assert moved.failed() == (422, "Invalid")
    other = await place.session.post(place.path("services"), {**body, "metadata": {"name": "b"}})
    assert other.body["spec"]["clusterIP"] != address
    headless = {**body, "metadata": {"name": "c"}, "spec": {**body["spec"], "clusterIP": "None"}}  # type: ignore[dict-item]
    assert (await place.session.post(place.path("services"), headless)).body["spec"]["clusterIP"] == "None"


async def test_secrets_take_text_and_keep_bytes(place: Place) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"k": "text"}}
    made = await place.session.post(place.path("secrets"), body)
    assert made.body["data"] == {"k": "dGV4dA=="}
    assert "stringData" not in made.body
    assert made.body["type"] == "Opaque"


async def test_what_is_immutable_stays(place: Place) -> None:
    await place.make_deployment()
    body = deployment()
    body["spec"]["selector"]["matchLabels"] = body["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    refused = await place.session.put(f"{place.deployments}/a", body)
    assert refused.failed() == (422, "Invalid")
    assert [(reason, path) for reason, _, path in refused.causes] == [("FieldValueInvalid", "spec.selector")]
    assert refused.message.endswith("field is immutable")
    fixed = {**config_map("fixed", {"a": "1"}), "immutable": True}
    await place.session.post(place.maps, fixed)
    changed = await place.session.patch(f"{place.maps}/fixed", {"data": {"a": "2"}})
    assert changed.causes == [("FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set", "data")]


@pytest.mark.parametrize(("kind", "field"), [("ConfigMap", "binaryData"), ("Secret", "data")])
async def test_an_empty_map_of_bytes_is_not_the_same_as_none(place: Place, kind: str, field: str) -> None:
    collection = place.path(f"{kind.lower()}s")
    body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}, "immutable": True, field: {}}
    made = await place.session.post(collection, body)
    assert made.status == 201
    assert field not in made.body
    assert "f:" + field not in made.metadata["managedFields"][0]["fieldsV1"]
    refused = await place.session.patch(f"{collection}/a", {field: {}})
    assert refused.failed() == (422, "Invalid")
    assert refused.causes == [
        ("FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set", field),
    ]


async def test_an_empty_map_of_text_is_the_same_as_none(place: Place) -> None:
    made = await place.session.post(place.maps, {**config_map(), "immutable": True})
    assert (await place.session.patch(f"{place.maps}/a", {"data": {}})).body == made.body


async def test_an_answer_has_an_audit_id_and_is_not_to_be_cached(place: Place) -> None:
    first, second = await place.session.get(place.maps), await place.session.get(place.maps)
    assert first.headers["Audit-Id"] != second.headers["Audit-Id"]
    assert first.headers["Cache-Control"] == "no-cache, private"
