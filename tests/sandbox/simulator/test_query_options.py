from __future__ import annotations

from typing import Any

import pytest

from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.options import ADMINISTRATOR, WriteOptions
from engine.sandbox.simulator.query_options import (
    delete_options_of_body,
    delete_options_of_query,
    list_options,
    watch_options,
    watch_seconds,
    write_options,
)
from engine.sandbox.simulator.request_info import parse_query


def written(text: str, kind: str = "CreateOptions", *, is_apply: bool = False) -> WriteOptions:
    return write_options(
        kind, parse_query(text), user=ADMINISTRATOR, user_agent="kubectl/v1", subresource="", is_apply=is_apply
    )


def test_a_write_without_parameters_warns_of_unknown_fields() -> None:
    options = written("")
    assert (options.dry_run, options.force, options.field_validation, options.manager) == (
        False,
        False,
        "Warn",
        "kubectl",
    )


def test_a_write_takes_its_options_from_the_query() -> None:
    options = written("dryRun=All&fieldManager=me&fieldValidation=Strict&force=true", "PatchOptions", is_apply=True)
    assert (options.dry_run, options.force, options.field_validation, options.manager) == (True, True, "Strict", "me")


@pytest.mark.parametrize(
    ("text", "kind", "is_apply", "message"),
    [
        ("dryRun=x", "CreateOptions", False, 'dryRun: Unsupported value: ["x"]: supported values: "All"'),
        (f"fieldManager={'a' * 129}", "UpdateOptions", False, "fieldManager: Too long: may not be more than 128 bytes"),
        ("fieldManager=a%0A", "CreateOptions", False, "should only contain printable characters"),
        ("fieldValidation=x", "CreateOptions", False, 'supported values: "", "Ignore", "Strict", "Warn"'),
        ("force=true", "PatchOptions", False, "force: Forbidden: may not be specified for non-apply patch"),
        ("", "PatchOptions", True, "fieldManager: Required value: is required for apply patch"),
    ],
)
def test_what_a_write_may_not_ask_for_is_invalid(text: str, kind: str, is_apply: bool, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        written(text, kind, is_apply=is_apply)
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    assert caught.value.message.startswith(f'{kind}.meta.k8s.io "" is invalid: ')
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limit=abc", 'strconv.ParseInt: parsing "abc": invalid syntax'),
        ("limit=1_0", 'strconv.ParseInt: parsing "1_0": invalid syntax'),
        ("limit=9223372036854775808", 'strconv.ParseInt: parsing "9223372036854775808": value out of range'),
        ("timeoutSeconds=x", 'strconv.ParseInt: parsing "x": invalid syntax'),
    ],
)
def test_a_number_that_is_none_is_a_bad_request(text: str, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        list_options(parse_query(text))
    assert (caught.value.code, caught.value.message) == (400, message)


def test_a_list_takes_its_options_from_the_query() -> None:
    options = list_options(parse_query("limit=5&continue=abc&labelSelector=a%3Db&fieldSelector=metadata.name%3Dx"))
    assert (options.limit, options.continue_token, options.label_selector) == (5, "abc", "a=b")
    assert options.field_selector == "metadata.name=x"


def test_a_watch_tells_a_missing_boolean_from_a_false_one() -> None:
    assert watch_options(parse_query("")).send_initial_events is None
    assert watch_options(parse_query("sendInitialEvents=false")).send_initial_events is False
    assert watch_options(parse_query("sendInitialEvents=true&allowWatchBookmarks=1")).allow_bookmarks
    assert watch_seconds(parse_query("timeoutSeconds=7")) == 7
    assert watch_seconds(parse_query("timeoutSeconds=0")) is None


def test_deletes_take_their_options_from_query_or_body() -> None:
    query = delete_options_of_query(
        parse_query("propagationPolicy=Foreground&gracePeriodSeconds=3&dryRun=All"), user=ADMINISTRATOR
    )
    body = delete_options_of_body(
        {"kind": "DeleteOptions", "preconditions": {"uid": "u", "resourceVersion": "3"}, "orphanDependents": True},
        user=ADMINISTRATOR,
    )
    assert (query.propagation_policy, query.grace_period_seconds, query.dry_run) == ("Foreground", 3, True)
    assert (body.uid, body.resource_version, body.orphan_dependents, body.dry_run) == ("u", "3", True, False)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"propagationPolicy": "Zork"}, 422, 'supported values: "Foreground", "Background", "Orphan", "nil"'),
        ({"propagationPolicy": "Orphan", "orphanDependents": True}, 422, "cannot be both set"),
        ({"kind": "ConfigMap", "apiVersion": "v1"}, 400, 'no kind "ConfigMap" is registered for version "v1"'),
        ({"dryRun": "All"}, 400, "DeleteOptions.dryRun"),
        ([], 400, "no object"),
    ],
)
def test_delete_options_that_are_none_are_refused(body: Any, code: int, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        delete_options_of_body(body, user=ADMINISTRATOR)
    assert caught.value.code == code
    assert message in caught.value.message
