"""Sealed values: opened only where they were sealed for, always the same, and never readable."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.redaction import Redactor
from engine.core.sealing import NotSealed, Place, Sealer
from schemas.federation_forms import SEALED
from schemas.names import ClusterId

KEY = b"0123456789abcdef"
HOME = Place(ClusterId("id-1"), "", "secrets", "default", "s")


@given(st.binary(max_size=200))
def test_what_was_sealed_is_opened_at_its_place(value: bytes) -> None:
    sealed = Sealer(KEY).seal(value, HOME)
    assert Sealer(KEY).open(sealed, HOME) == value
    assert sealed == Sealer(KEY).seal(value, HOME)


@pytest.mark.parametrize(
    "other",
    [
        {"identity": ClusterId("id-2")},
        {"namespace": "other"},
        {"name": "t"},
        {"group": "types.kubefed.io", "resource": "federatedsecrets"},
        {"group": "crosscurrent.dev", "resource": "federatedobjects"},
        {"group": "types.kubefed.io"},
    ],
)
def test_a_sealed_value_cannot_be_opened_as_another_objects(other: dict[str, str]) -> None:
    place = HOME._replace(**other)  # type: ignore[arg-type]
    for sealed_at, opened_at in ((HOME, place), (place, HOME)):
        with pytest.raises(NotSealed, match="elsewhere"):
            Sealer(KEY).open(Sealer(KEY).seal(b"hunter2", sealed_at), opened_at)


def test_what_was_recorded_of_secrets_before_places_had_types_can_still_be_opened() -> None:
    assert Sealer(KEY).open("sealed:4sPigH3W2n1jAuubgdqWI7hrxpBC7+6k", HOME) == b"hunter2"


@pytest.mark.parametrize("text", ["hmac:0011:8", "aHVudGVyMg==", "sealed:", "sealed:AAAA", "sealed:no base64", None, 7])
def test_what_was_not_sealed_is_refused(text: object) -> None:
    with pytest.raises(NotSealed):
        Sealer(KEY).open(text, HOME)


def test_another_key_opens_nothing() -> None:
    with pytest.raises(NotSealed):
        Sealer(KEY[::-1]).open(Sealer(KEY).seal(b"x", HOME), HOME)


@given(st.binary(min_size=1, max_size=100), st.binary(min_size=1, max_size=100))
def test_the_length_tells_no_more_than_its_class(one: bytes, other: bytes) -> None:
    lengths = {len(Sealer(KEY).seal(value, HOME)) for value in (one, other)}
    same = (len(one)).bit_length() == (len(other)).bit_length()
    assert not same or len(lengths) == 1


def test_a_redactor_that_seals_leaves_what_can_be_opened_and_nothing_else() -> None:
    body = {"metadata": {"name": "s", "namespace": "default"}, "data": {"password": b64encode(b"hunter2").decode()}}
    stripped = Redactor(KEY, sealed_for=ClusterId("id-1")).strip(json.dumps(body).encode()).data
    sealed = json.loads(stripped)["data"]["password"]
    assert sealed.startswith(SEALED)
    assert b"aHVudGVyMg" not in stripped
    assert Sealer(KEY).open(sealed, HOME) == b"hunter2"
