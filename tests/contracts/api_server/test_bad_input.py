"""Requests that are wrong, each with the status, reason, message and causes that clients get for it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api_session import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from tests.contracts.api_server.bad_requests import BAD, Bad
from tests.contracts.api_server.servers import Place, config_map, deployment


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_a_request_is_refused_as_the_real_server_does(place: Place, bad: Bad) -> None:
    answer = await place.session.request(
        bad.method, place.maps + bad.path, bad.body, content_type=bad.content_type, accept=bad.accept, **bad.query
    )
    assert answer.failed() == (bad.status, bad.reason)
    assert answer.message == bad.message


async def test_an_invalid_object_is_refused_with_a_cause_for_every_fault(place: Place) -> None:
    body = deployment("a", replicas=-1, strategy={"type": "Never"})
    body["spec"]["template"]["spec"]["containers"].append({"name": "Main", "imagePullPolicy": "Sometimes"})
    answer = await place.session.post(place.deployments, body)
    assert answer.failed() == (422, "Invalid")
    assert answer.details["group"] == "apps"
    assert answer.details["kind"] == "Deployment"
    assert answer.details["name"] == "a"
    assert [(reason, path) for reason, _, path in answer.causes] == [
        ("FieldValueInvalid", "spec.replicas"),
        ("FieldValueInvalid", "spec.template.spec.containers[1].name"),
        ("FieldValueRequired", "spec.template.spec.containers[1].image"),
        ("FieldValueNotSupported", "spec.template.spec.containers[1].imagePullPolicy"),
        ("FieldValueNotSupported", "spec.strategy"),
    ]


async def test_a_type_that_is_not_served_is_told_apart_from_an_object_that_is_not_there(place: Place) -> None:
    unserved = await place.session.get(place.path("nothings"))
    assert (unserved.failed(), unserved.details) == ((404, "NotFound"), {})
    group = await place.session.get("/apis/nothing.example.com/v1/nothings")
    assert (group.status, group.body) == (404, "404 page not found\n")
    missing = await place.session.get(f"{place.maps}/nothing")
    assert (missing.failed(), missing.details) == ((404, "NotFound"), {"name": "nothing", "kind": "configmaps"})
    deployment_missing = await place.session.get(f"{place.deployments}/nothing")
    assert deployment_missing.message == 'deployments.apps "nothing" not found'
    assert deployment_missing.details == {"name": "nothing", "group": "apps", "kind": "deployments"}


async def test_a_namespace_that_is_not_there_holds_nothing_and_takes_nothing(place: Place) -> None:
    nowhere = place.maps.replace(place.namespace, "nowhere")
    refused = await place.session.post(nowhere, config_map())
    assert refused.failed() == (404, "NotFound")
    assert refused.message == 'namespaces "nowhere" not found'
    assert (await place.session.get(nowhere)).body["items"] == []


async def test_unknown_fields_are_warned_of_unless_that_is_not_wanted(place: Place) -> None:
    text = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"dat":{},"data":{"a":"1","a":"2"}}'
    warned = await place.session.post(place.maps, text, fieldValidation="Warn", dryRun="All")
    assert warned.status == 201
    assert warned.warnings == ('299 - "unknown field \\"dat\\""', '299 - "duplicate field \\"data.a\\""')
    assert warned.body["data"] == {"a": "2"}
    default = await place.session.post(place.maps, text, dryRun="All")
    assert default.warnings == warned.warnings
    ignored = await place.session.post(place.maps, text, fieldValidation="Ignore", dryRun="All")
    assert (ignored.status, ignored.warnings) == (201, ())


async def test_unknown_fields_of_a_patch_are_found_too(place: Place) -> None:
    await place.make_deployment()
    path = f"{place.deployments}/a"
    patch = {"spec": {"replica": 2}}
    for content_type in (MERGE_PATCH, STRATEGIC_PATCH):
        refused = await place.session.patch(path, patch, content_type, fieldValidation="Strict")
        assert refused.failed() == (422, "Invalid"), content_type
        assert 'strict decoding error: unknown field "spec.replica"' in refused.message
        warned = await place.session.patch(path, patch, content_type)
        assert warned.warnings == ('299 - "unknown field \\"spec.replica\\""',)


async def test_a_body_over_the_limit_is_refused(place: Place) -> None:
    answer = await place.session.post(place.maps, config_map(data={"a": "x" * (3 * 2**20)}))
    assert answer.failed() == (413, "RequestEntityTooLarge")
    assert answer.message == "Request entity too large: limit is 3145728"


async def test_an_object_over_its_own_limit_is_invalid(place: Place) -> None:
    answer = await place.session.post(place.maps, config_map(data={"a": "x" * (2**20 + 1)}))
    assert answer.failed() == (422, "Invalid")
    assert answer.causes == [("FieldValueTooLong", "Too long: may not be more than 1048576 bytes", "[]")]


async def test_an_object_that_storage_cannot_hold_is_refused(place: Place) -> None:
    body = deployment()
    body["metadata"]["annotations"] = {"a": "x" * (200 * 1024)}
    body["spec"]["template"]["metadata"]["annotations"] = {"b": "x" * (200 * 1024)}
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["args"] = ["x" * 100_000] * 14
    answer = await place.session.post(place.deployments, body)
    assert answer.failed() == (500, "")
    assert answer.message == "etcdserver: request is too large"


async def test_a_create_of_what_exists_is_told_so(place: Place) -> None:
    await place.make_map()
    again = await place.session.post(place.maps, config_map())
    assert again.failed() == (409, "AlreadyExists")
    assert again.message == 'configmaps "a" already exists'
    assert again.details == {"name": "a", "kind": "configmaps"}


async def test_a_stale_version_is_a_conflict(place: Place) -> None:
    first = await place.make_map()
    await place.session.patch(f"{place.maps}/a", {"data": {"a": "1"}})
    stale = await place.session.put(f"{place.maps}/a", {**first.body, "data": {"a": "2"}})
    assert stale.failed() == (409, "Conflict")
    assert stale.message == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the '
        "latest version and try again"
    )
    patched = await place.session.patch(f"{place.maps}/a", {"metadata": {"resourceVersion": first.version}})
    assert patched.failed() == (409, "Conflict")


async def test_a_list_of_the_future_is_asked_for_again_later(place: Place) -> None:
    answer = await place.session.get(place.maps, resourceVersion="99999999")
    assert answer.failed() == (504, "Timeout")
    assert answer.message.startswith("Timeout: Too large resource version: 99999999, current: ")
    assert answer.causes == [("ResourceVersionTooLarge", "Too large resource version", "")]
    assert answer.details["retryAfterSeconds"] == 1


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ([{"op": "remove", "path": "/data/none"}], "the server rejected our request due to an error in our request"),
        (
            [{"op": "test", "path": "/metadata/name", "value": "b"}],
            "the server rejected our request due to an error in our request",
        ),
        (
            [{"op": "replace", "path": "/metadata/name", "value": "b"}],
            "the name of the object (b) does not match the name on the URL (a)",
        ),
    ],
    ids=["remove nothing", "test fails", "rename"],
)
async def test_a_json_patch_that_does_not_fit_is_refused(place: Place, patch: Any, message: str) -> None:
    await place.make_map()
    answer = await place.session.patch(f"{place.maps}/a", patch, JSON_PATCH)
    assert answer.status in {400, 422}
    assert answer.message == message
