"""Secrets redacted: hashes in the place of values, and nothing published that is not understood."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.objects import ObjectRefused
from engine.core.redaction import Redactor
from schemas.federation_forms import APPLIED

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
KEY = b"0123456789abcdef"


def a_secret(**more: Any) -> bytes:
    metadata = {
        "name": "s",
        "annotations": {LAST_APPLIED: '{"data":{"password":"aHVudGVyMg=="}}', "kept": "yes"},
        "managedFields": [{"manager": "crosscurrent/x", "operation": "Apply", "fieldsV1": {"f:data": {}}}],
    }
    body = {"kind": "Secret", "metadata": metadata, "data": {"password": "aHVudGVyMg==", "empty": ""}, **more}
    return json.dumps(body).encode()


def test_a_secrets_values_become_hashes_and_everything_else_stays() -> None:
    stripped = Redactor(KEY).strip(a_secret(stringData={"password": "hunter2"}, type="Opaque"))
    body = json.loads(stripped.data)
    assert b"hunter2" not in stripped.data
    assert b"aHVudGVyMg" not in stripped.data
    assert body["data"]["password"] == body["stringData"]["password"] == Redactor(KEY).hash(b"hunter2")
    assert body["data"]["password"].endswith(":8")
    assert body["data"]["empty"].endswith(":0")
    assert body["metadata"]["annotations"]["kept"] == "yes"
    assert body["metadata"]["annotations"][LAST_APPLIED].startswith("hmac:")
    assert body["type"] == "Opaque"
    assert "managedFields" not in body["metadata"]
    assert stripped.managers.startswith("crosscurrent/x=")


@pytest.mark.parametrize("note", sorted(APPLIED))
def test_what_anybody_keeps_of_what_they_applied_is_hashed(note: str) -> None:
    metadata = {"name": "s", "annotations": {note: "hunter2"}}
    assert b"hunter2" not in Redactor(KEY).strip(json.dumps({"metadata": metadata}).encode()).data


def test_hashes_depend_on_the_key() -> None:
    assert Redactor(KEY).hash(b"x") != Redactor(KEY[::-1]).hash(b"x")
    with pytest.raises(ValueError, match="at least 16"):
        Redactor(b"short")


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.binary(min_size=6, max_size=40), min_size=1, max_size=4))
def test_no_value_of_any_secret_survives(values: dict[str, bytes]) -> None:
    import base64

    data = {key: base64.b64encode(value).decode() for key, value in values.items()}
    out = Redactor(KEY).strip(json.dumps({"metadata": {"name": "s"}, "data": data}).encode()).data
    for text in data.values():
        assert text.rstrip("=").encode() not in out


@pytest.mark.parametrize("data", [{"a": 1}, {"a": {"b": "c"}}, ["x"], "text"])
def test_a_secret_that_is_not_understood_is_refused_without_saying_what_it_holds(data: Any) -> None:
    with pytest.raises(ObjectRefused) as caught:
        Redactor(KEY).strip(a_secret(data=data))
    assert str(caught.value) == "not understood as a Secret"


@pytest.mark.parametrize("data", [None, {}])
def test_a_secret_without_values_passes(data: Any) -> None:
    assert json.loads(Redactor(KEY).strip(a_secret(data=data)).data)["data"] == {}
