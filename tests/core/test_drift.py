"""An object is written only when it differs, whatever the server adds to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.drift import digest, merged, projection, satisfies

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(JSON)
def test_every_value_satisfies_itself(value: Any) -> None:
    assert satisfies(value, value)


@pytest.mark.parametrize(
    ("live", "wanted", "expected"),
    [
        ({"a": 1, "default": 2}, {"a": 1}, True),
        ({"a": 2}, {"a": 1}, False),
        ({}, {"a": 1}, False),
        ({"c": [{"name": "x", "image": "i", "pull": "Always"}]}, {"c": [{"name": "x", "image": "i"}]}, True),
        ({"c": [{"name": "sidecar"}, {"name": "x", "image": "i"}]}, {"c": [{"name": "x", "image": "i"}]}, True),
        ({"c": [{"name": "x", "image": "j"}]}, {"c": [{"name": "x", "image": "i"}]}, False),
        ({"a": True}, {"a": 1}, False),
        ({"a": 1}, {"a": None}, True),
        ([1, 2], [2], True),
        ("x", {"a": 1}, False),
    ],
)
def test_wanted_values_must_be_there_and_more_may_be(live: Any, wanted: Any, expected: bool) -> None:
    assert satisfies(live, wanted) is expected


def test_a_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_the_projection_holds_only_what_is_wanted() -> None:
    assert projection({"a": {"b": "1", "c": 2}, "d": 3}, {"a": {"b": "1000m"}, "e": 1}) == {"a": {"b": "1"}}


def test_a_merge_patch_is_merged_as_rfc_7396_says() -> None:
    assert merged({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": None, "e": 3}, "d": [2]}) == {
        "a": {"c": 2, "e": 3},
        "d": [2],
    }
