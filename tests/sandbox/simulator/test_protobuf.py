"""Protobuf bodies, held to samples of a real kube-apiserver: the same object in JSON and in protobuf."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sandbox.simulator import protobuf
from tests.api_session import ApiSession

SAMPLES = json.loads(Path(__file__).with_name("protobuf_samples.json").read_text())
PROTOBUF = "application/vnd.kubernetes.protobuf"


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(child) for key, child in value.items() if child is not None}
    return [without_nulls(child) for child in value] if isinstance(value, list) else value


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["object"]["kind"])
def test_protobuf_is_what_the_real_servers_json_says(sample: dict[str, Any]) -> None:
    decoded = protobuf.decode(base64.b64decode(sample["protobuf"]))
    assert decoded == without_nulls(sample["object"])


def test_options_of_a_delete_are_understood() -> None:
    options = b"\x08\x05" + b"\x12\x05" + b"\x0a\x03uid" + b"\x22\x0aBackground" + b"\x2a\x03All"
    envelope = b"\x0a\x13" + b"\x0a\x02v1" + b"\x12\x0dDeleteOptions" + b"\x12" + bytes([len(options)]) + options
    assert protobuf.decode(b"k8s\0" + envelope) == {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "gracePeriodSeconds": 5,
        "preconditions": {"uid": "uid"},
        "propagationPolicy": "Background",
        "dryRun": ["All"],
    }


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b'{"kind":"ConfigMap"}', "expected prefix k8s"),
        (b"k8s\0", 'no kind "" is registered'),
        (b"k8s\0\x0a\x0a\x0a\x02v1\x12\x04Zork", 'no kind "Zork" is registered for version "v1"'),
        (b"k8s\0\x0a\xff", "proto: "),
        (b"k8s\0\x0f", "illegal wire type 7"),
    ],
)
def test_what_cannot_be_decoded_is_told(body: bytes, complaint: str) -> None:
    with pytest.raises(protobuf.UnknownMessage, match=complaint):
        protobuf.decode(body)


@given(st.sampled_from(SAMPLES), st.data())
def test_damaged_protobuf_never_breaks_the_decoder(sample: dict[str, Any], data: st.DataObject) -> None:
    body = bytearray(base64.b64decode(sample["protobuf"]))
    for _ in range(data.draw(st.integers(1, 5))):
        body[data.draw(st.integers(4, len(body) - 1))] = data.draw(st.integers(0, 255))
    with suppress(protobuf.UnknownMessage):
        assert isinstance(protobuf.decode(bytes(body)), dict)


async def test_a_server_takes_protobuf_and_answers_in_json(session: ApiSession, maps: str) -> None:
    metadata = b"\x0a\x03" + b"\x0a\x01a"
    data = b"\x12\x06" + b"\x0a\x01k" + b"\x12\x01v"
    raw = metadata + data
    body = b"k8s\0" + b"\x0a\x0f" + b"\x0a\x02v1" + b"\x12\x09ConfigMap" + b"\x12" + bytes([len(raw)]) + raw
    made = await session.post(maps, body, content_type=PROTOBUF, accept=f"{PROTOBUF},application/json")
    assert (made.status, made.body["data"]) == (201, {"k": "v"})


async def test_a_kind_that_is_not_known_in_protobuf_is_refused(session: ApiSession, maps: str) -> None:
    refused = await session.post(maps, b"k8s\0\x0a\x0a\x0a\x02v1\x12\x04Zork", content_type=PROTOBUF)
    assert refused.failed() == (415, "UnsupportedMediaType")
