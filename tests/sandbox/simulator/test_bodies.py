from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sandbox.simulator.bodies import Body, Undecodable, decode_json, decode_yaml, go_type, unrecognized

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_any_json_is_decoded_and_has_no_duplicates(value: object) -> None:
    assert decode_json(json.dumps(value).encode(), find_duplicates=True) == Body(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":1,"a":2}', ("a",)),
        ('{"a":{"b":1 ,"b" : 2}}', ("a.b",)),
        ('{"l":[{"x":1},{"x":1,"x":2}],"l2":1,"l2":1}', ("l[1].x", "l2")),
        ('{"a":"\\":","b":"c"}', ()),
        ('{"a" :1}', ()),
    ],
)
def test_fields_given_twice_are_found_wherever_they_are(text: str, expected: tuple[str, ...]) -> None:
    body = decode_json(text.encode(), find_duplicates=True)
    assert body.duplicates == expected
    assert body.value == json.loads(text)


def test_duplicates_are_not_looked_for_when_nobody_wants_them() -> None:
    assert decode_json(b'{"a":1,"a":2}', find_duplicates=False) == Body({"a": 2})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"a":', "unexpected end of JSON input"),
        ("", "unexpected end of JSON input"),
        ('{"a":b}', "invalid character 'b' looking for beginning of value"),
        ("{} x", "invalid character 'x' after top-level value"),
        ("{1:2}", "invalid character '1' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        ('"\\x"', "invalid character 'x' in string escape code"),
        ("{\"a\":'b'}", "invalid character '\\'' looking for beginning of value"),
    ],
)
def test_what_is_no_json_is_told_as_go_does(text: str, complaint: str) -> None:
    with pytest.raises(Undecodable) as caught:
        decode_json(text.encode(), find_duplicates=True)
    assert str(caught.value) == complaint


def test_invalid_utf8_becomes_the_replacement_character() -> None:
    assert decode_json(b'{"a":"\xff"}', find_duplicates=True).value == {"a": "�"}


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(Undecodable, match="exceeded max depth"):
        decode_json(b"[" * 100_000 + b"]" * 100_000, find_duplicates=True)


def test_yaml_is_what_its_json_would_be() -> None:
    text = b"a: 2024-01-02\nb: yes\n1: x\ntrue: y\nlist: [1, 2.5, null]\n"
    assert decode_yaml(text).value == {"a": "2024-01-02", "b": True, "1": "x", "true": "y", "list": [1, 2.5, None]}


def test_yaml_keys_given_twice_are_found() -> None:
    body = decode_yaml(b"a: 1\nb:\n  c: 1\n  c: 2\n")
    assert body.value == {"a": 1, "b": {"c": 2}}
    assert body.duplicates == ('line 4: key "c" already set in map',)


@pytest.mark.parametrize("text", [b"a: [\n", b"!!python/object/apply:os.system [ls]", b"a: 'b"])
def test_what_is_no_plain_yaml_is_refused(text: bytes) -> None:
    with pytest.raises(Undecodable, match=r"^yaml: "):
        decode_yaml(text)


@pytest.mark.parametrize(
    ("data", "ending"),
    [(b"", "(<empty>)"), (b'{"a":', '({"a":)'), (b"[]", "(5b5d)"), (b"{" + b"x" * 40, "({" + "x" * 29 + " ...)")],
)
def test_an_unrecognized_body_is_quoted_in_part(data: bytes, ending: str) -> None:
    error = unrecognized(data, "ConfigMap", Undecodable("why"), is_yaml=False)
    assert error.code == 400
    assert error.message.startswith("the object provided is unrecognized (must be of type ConfigMap): ")
    assert error.message.endswith(ending)


def test_go_has_its_own_names_for_types() -> None:
    assert [go_type(one) for one in (True, "", [], {}, None, 1, 1.5)] == [
        "bool",
        "string",
        "array",
        "object",
        "null",
        "number",
        "number",
    ]
