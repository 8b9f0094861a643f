"""Object bytes: managedFields out, hashes kept, limits held."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.objects import (
    MAX_DEPTH,
    MAX_OBJECT_BYTES,
    ObjectRefused,
    fields_hash,
    fields_hashes,
    strip,
)

TEXT = st.text(max_size=8) | st.sampled_from(["metadata", "managedFields", '"', "\\", '{"', "}", "é", "\u2028"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def managed(manager: str, fields: Any, operation: str = "Apply", **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields, **more}


@given(st.dictionaries(TEXT, JSON, max_size=4), st.dictionaries(TEXT, JSON, max_size=4), st.booleans(), st.booleans())
def test_stripping_removes_exactly_metadata_managed_fields(
    top: dict[str, Any], metadata: dict[str, Any], has: bool, ascii_only: bool
) -> None:
    metadata = {**metadata, "name": "x"}
    metadata.pop("managedFields", None)
    whole = {**top, "metadata": {**metadata, **({"managedFields": [managed("m", {})]} if has else {})}}
    stripped = strip(json.dumps(whole, ensure_ascii=ascii_only).encode())
    assert json.loads(stripped.data) == {**top, "metadata": metadata}


def test_values_are_spliced_through_byte_for_byte() -> None:
    raw = b'{"metadata":{"managedFields":[],"name":"x"},"spec": {"n":1.0e+2, "big":123456789012345678901234567890}}'
    assert strip(raw).data == b'{"metadata":{"name":"x"},"spec":{"n":1.0e+2, "big":123456789012345678901234567890}}'


def test_an_object_without_managed_fields_is_not_touched() -> None:
    raw = b' {"metadata" : {"name":"x"},\n"a":"managedFields" } '
    assert strip(raw).data == raw


def test_a_nested_managed_fields_stays() -> None:
    raw = b'{"metadata":{"name":"x"},"spec":{"metadata":{"managedFields":[1]}}}'
    assert strip(raw).data == raw


def test_our_managers_leave_a_hash_and_no_other_does() -> None:
    entries = [
        managed("crosscurrent/foo", {"f:spec": {"f:a": {}}}),
        managed("crosscurrent/foo", {"f:status": {}}, subresource="status"),
        managed("crosscurrent/bar", {"f:x": {}}, operation="Update"),
        managed("kubectl", {"f:y": {}}),
    ]
    raw = json.dumps({"metadata": {"name": "x", "managedFields": entries}}).encode()
    spec, status = fields_hash(b'{"f:spec":{"f:a":{}}}'), fields_hash(b'{"f:status":{}}')
    assert strip(raw).managers == f"crosscurrent/foo={spec} crosscurrent/foo:status={status}"
    assert fields_hashes(entries) == {"crosscurrent/foo": spec, "crosscurrent/foo:status": status}
    assert len(spec) == 16


@pytest.mark.parametrize(
    "manager",
    ["crosscurrent/a crosscurrent/foo=0123456789abcdef", "crosscurrent/a=b", 'crosscurrent/"', "crosscurrent/"],
)
def test_a_manager_that_could_pass_for_another_is_none(manager: str) -> None:
    assert fields_hashes([managed(manager, {})]) == {}


@given(st.dictionaries(TEXT, JSON, max_size=5), st.randoms())
def test_a_fields_hash_does_not_depend_on_the_order_of_keys(fields: dict[str, Any], random: Any) -> None:
    shuffled = list(fields.items())
    random.shuffle(shuffled)
    spaced = json.dumps(dict(shuffled), indent=1).encode()
    assert fields_hash(json.dumps(fields).encode()) == fields_hash(spaced)
    assert fields_hashes([managed("crosscurrent/x", dict(shuffled))])["crosscurrent/x"] == fields_hash(spaced)


def test_different_fields_have_different_hashes() -> None:
    assert fields_hash(b'{"f:a":{}}') != fields_hash(b'{"f:a":{"f:b":{}}}')


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, MAX_DEPTH + 2, 200, 900])
@pytest.mark.parametrize(("start", "end"), [(b"[", b"]"), (b'{"a":', b"}"), (b'{"}]":[', b"]}")])
def test_objects_nested_too_deep_are_refused_and_no_others(depth: int, start: bytes, end: bytes) -> None:
    per = 2 if b"[" in start and b"{" in start else 1
    times = depth // per - 1
    raw = b'{"metadata":{"name":"x"},"spec":' + start * times + b'"[[[{{{\\"[["' + end * times + b"}"
    if times * per + 1 > MAX_DEPTH:
        with pytest.raises(ObjectRefused, match="nested deeper"):
            strip(raw)
    else:
        assert strip(raw).data == raw


@given(JSON)
def test_the_depth_check_never_refuses_what_is_flat(value: Any) -> None:
    raw = json.dumps({"metadata": {"name": "x"}, "spec": [value, ["{["] * 200, [{}] * 200]}).encode()
    assert strip(raw).data == raw


def test_objects_too_large_are_refused_before_they_are_parsed() -> None:
    with pytest.raises(ObjectRefused, match="bytes are more than"):
        strip(b"x" * (MAX_OBJECT_BYTES + 1))


@pytest.mark.parametrize("raw", [b'{"managedFields":1}', b'[{"managedFields":1}]', b'{"metadata":"managedFields"'])
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(ObjectRefused):
        strip(raw)


def test_raw_values_are_accepted_as_they_come_from_the_decoder() -> None:
    raw = msgspec.json.decode(b'[{"metadata":{"name":"x","managedFields":[]}}]', type=list[msgspec.Raw])[0]
    assert strip(raw).data == b'{"metadata":{"name":"x"}}'
