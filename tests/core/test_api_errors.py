"""Refusals of API servers, as they come: what they prove and what becomes of the action."""

from __future__ import annotations

import msgspec
import pytest

from engine.core.api_errors import MAX_MESSAGE_CHARACTERS, read_status, result_of, unreachable
from schemas.actions import Result


def body(reason: str = "", message: str = "", **details: object) -> bytes:
    return msgspec.json.encode({"kind": "Status", "reason": reason, "message": message, "details": details})


NOT_FOUND = body("NotFound", 'configmaps "a" not found', name="a", kind="configmaps")


def test_only_a_status_about_the_very_object_proves_its_absence() -> None:
    assert read_status(404, NOT_FOUND).absent("a", "configmaps")
    assert not read_status(404, NOT_FOUND).absent("a", "secrets")
    assert not read_status(410, NOT_FOUND).absent("a", "configmaps")
    namespace = body("NotFound", 'namespaces "a" not found', name="a", kind="namespaces")
    assert not read_status(404, namespace).absent("a", "configmaps")
    for foreign in (
        b"",
        b"<html>404</html>",
        b"{}",
        b"[]",
        b"null",
        b'{"kind":"Status"',
        b'{"kind": 5}',
        b"[" * 100_000,
    ):
        status = read_status(404, foreign)
        assert not status.absent("a", "configmaps")
        assert not status.authentic
        assert result_of(status) is Result.FAILED


def test_a_type_that_is_not_served_is_recognised_in_both_of_the_servers_ways() -> None:
    known_group = read_status(404, body("NotFound", "the server could not find the requested resource"))
    unknown_group = read_status(404, b"404 page not found\n")
    for status in (known_group, unknown_group):
        assert status.unserved
        assert result_of(status) is Result.REFUSED


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [("7", 0, 7), ("7", 30, 30), (None, 3, 3), ("-1", 0, 0), ("soon", 0, 0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0, 0)],
)
def test_the_longer_of_both_waits_is_obeyed(header: str | None, details: int, seconds: float) -> None:
    assert read_status(429, body("TooManyRequests", retryAfterSeconds=details), header).retry_after == seconds


def test_a_status_without_details_reason_or_message_is_one_all_the_same() -> None:
    status = read_status(500, b'{"kind":"Status","reason":null,"message":null,"details":null}')
    assert (status.authentic, result_of(status)) == (True, Result.FAILED)


def test_a_field_conflict_is_not_a_stale_version() -> None:
    conflict = read_status(409, body("Conflict", causes=[{"reason": "FieldManagerConflict", "field": ".spec"}]))
    stale = read_status(409, body("Conflict", "the object has been modified", name="a"))
    assert (conflict.field_conflict, conflict.stale) == (True, False)
    assert (stale.field_conflict, stale.stale) == (False, True)
    uid = read_status(422, body("Invalid", causes=[{"field": "metadata.uid"}]))
    assert (uid.stale, result_of(uid)) == (True, Result.CONFLICT)


def test_a_long_message_is_cut() -> None:
    assert len(read_status(422, body("Invalid", "x" * 100_000)).message) == MAX_MESSAGE_CHARACTERS
    assert len(unreachable("x" * 100_000).message) == MAX_MESSAGE_CHARACTERS
    assert len(read_status(502, b"x" * 100_000).message) < 300


@pytest.mark.parametrize("code", [400, 403, 422, 500])
def test_what_is_said_of_a_secret_holds_no_values(code: int) -> None:
    cause = {"reason": "FieldValueInvalid", "message": "hunter2 is too weak", "field": "data[password]"}
    status = read_status(code, body("Invalid", "hunter2 is too weak", causes=[cause]), secret=True)
    assert "hunter2" not in str(status)
    assert status.message == "Invalid: data[password] (details hidden: it may hold a Secret)"


@pytest.mark.parametrize("code", [401, 404, 409, 429, 503])
@pytest.mark.parametrize(
    "by", ['admission webhook "x" denied the request', "ValidatingAdmissionPolicy 'x' denied request"]
)
def test_whoever_denies_a_secret_is_not_quoted_whatever_the_code(code: int, by: str) -> None:
    status = read_status(code, body("Denied", f"{by}: hunter2 is too weak"), secret=True)
    assert "hunter2" not in str(status)


def test_that_a_field_of_a_secret_can_never_be_changed_is_said() -> None:
    cause = {"message": "Forbidden: field is immutable when `immutable` is set", "field": "data"}
    status = read_status(422, body("Invalid", "hunter2", causes=[cause]), secret=True)
    assert status.message == "Invalid: data, field is immutable (details hidden: it may hold a Secret)"


def test_what_is_said_before_a_secret_was_looked_at_stays() -> None:
    message = 'secrets "s" is forbidden: User "x" cannot patch resource "secrets"'
    assert read_status(403, body("Forbidden", message), secret=True).message == message
    typed = read_status(500, body("", "failed to create typed patch object: .data.k: got hunter2"), secret=True)
    assert result_of(typed) is Result.REFUSED
    assert "hunter2" not in typed.message
