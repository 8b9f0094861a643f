"""Lines and pages: whatever comes, it is understood or called unreadable, never anything else."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.core.list_watch import step
from engine.core.objects import ObjectRefused, strip
from engine.core.watch_states import Course, Lines, Listed, Paging, Snapshot, Streaming, Watching
from engine.core.watch_wire import (
    Unreadable,
    decode_head,
    decode_line,
    decode_page,
    decode_status,
    shallow,
)

GOOD = b'{"type":"ADDED","object":{"kind":"Foo","metadata":{"name":"a","uid":"u","resourceVersion":"5"}}}'
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good line with bytes changed, cut or repeated."""
    line = bytearray(GOOD)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(line) - 1))
        line[at : at + draw(st.integers(0, 6))] = draw(st.binary(max_size=6))
        line = line or bytearray(b"x")
    return bytes(line[: draw(st.integers(0, len(line)))])


@given(st.binary(max_size=40) | damaged() | JSON.map(lambda value: json.dumps(value).encode()))
@example(b"\xef\xbb\xbf" + GOOD)
@example(GOOD.replace(b'"u"', b'"\\ud800"'))
@example(GOOD.replace(b'"5"', b'"5","uid":"other"'))
@example(GOOD.replace(b'"u"', b"1" * 400))
@example(GOOD.replace(b"}}}", b',"n":' + b"9" * 400 + b"}}}"))
@example(GOOD.replace(b'"a"', b'"a\x00"'))
def test_no_line_breaks_the_machine(line: bytes) -> None:
    course = Course(1, "run", "Foo")
    for state in (Watching(course, 0.0), Streaming(course, Snapshot("s"), 0.0)):
        after, _ = step(state, Lines(1.0, [line]), {})
        assert after.course.version in ("", "5") or after.course.version.isprintable()


@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_page_breaks_the_machine(body: bytes) -> None:
    step(Paging(Course(1, "run"), Snapshot("s")), Listed(1.0, body), {})


@given(st.binary(max_size=300))
def test_every_refusal_can_be_read(body: bytes) -> None:
    assert decode_status(body, 502).code in (502, decode_status(body).code)


def test_a_refusals_words_and_causes_are_kept() -> None:
    body = {
        "code": 504,
        "reason": "Timeout",
        "message": "m",
        "details": {"causes": [{"reason": "ResourceVersionTooLarge"}]},
    }
    status = decode_status(json.dumps(body).encode(), 1)
    assert (status.code, status.reason, status.message, status.too_large) == (504, "Timeout", "m", True)


def test_identity_comes_from_the_objects_own_metadata() -> None:
    metadata = b'"ownerReferences":[{"uid":"evil"}],"name":"a","uid":"good","resourceVersion":"1"'
    text = b'{"type":"ADDED","object":{"spec":{"metadata":{"uid":"evil"}},"metadata":{%b}}}' % metadata
    meta = decode_head(decode_line(text).object)
    assert (meta.name, meta.uid) == ("a", "good")


def test_items_of_a_list_get_the_lists_kind() -> None:
    item = {"metadata": {"name": "a", "uid": "u", "resourceVersion": "1"}}
    body = {"kind": "FooList", "apiVersion": "g/v1", "metadata": {"resourceVersion": "2"}, "items": [item]}
    page = decode_page(json.dumps(body).encode())
    assert msgspec.json.decode(page.items[0].object or b"") == {"kind": "Foo", "apiVersion": "g/v1", **item}


@pytest.mark.parametrize("kind", ["", "Table", "Foo", "Status"])
def test_what_is_no_list_is_unreadable(kind: str) -> None:
    with pytest.raises(Unreadable):
        decode_page(json.dumps({"kind": kind, "metadata": {"resourceVersion": "1"}, "items": []}).encode())


def test_the_message_of_an_unreadable_line_holds_nothing_of_it() -> None:
    with pytest.raises(Unreadable) as caught:
        decode_line(b'{"type":"ADDED","object":{"data":{"password":"hunter2"}')
    assert "hunter2" not in str(caught.value)


@given(JSON)
def test_shallow_text_is_cut_only_below_the_limit(value: Any) -> None:
    assert json.loads(shallow(json.dumps(value).encode())) == value
    whole = json.dumps([[[value]]]).encode()
    nested = isinstance(value, list | dict)
    assert json.loads(shallow(whole, 3)) == [[[None if nested else value]]]


@pytest.mark.parametrize("depth", [1_000, 9_999])
def test_an_object_of_any_depth_is_still_known_by_name_and_then_refused(depth: int) -> None:
    deep = b'{"}":[' * (depth // 2) + b"]}" * (depth // 2)
    line = GOOD.replace(b'"5"}', b'"5"},"spec":' + deep)
    event = decode_line(line)
    assert decode_head(event.object).name == "a"
    with pytest.raises(ObjectRefused, match="nested deeper"):
        strip(event.object)
    page = b'{"kind":"FooList","metadata":{"resourceVersion":"9"},"items":[%b]}' % line[25:-1]
    assert decode_page(page).items[0].name == "a"
