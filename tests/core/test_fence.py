"""One performer per key; a late one is fenced; nobody decides on rows older than those of a decision made."""

from __future__ import annotations

import msgspec

from engine.core.fence import Verdict, is_held, judge, merged_inputs
from schemas.decisions import Entry, EntryState

OPEN = Entry(
    state=EntryState.OPEN, worker="w", reconciler="foo", code="c", now=0.0, lease=4.0, incarnation="i", inputs={"a": 5}
)
CLOSED = msgspec.structs.replace(OPEN, state=EntryState.CLOSED)


def test_a_key_without_history_is_free() -> None:
    assert judge(None, inputs={}, incarnation="i", waited=0) is Verdict.GO


def test_an_open_entry_holds_the_key_until_this_waiter_has_seen_it_for_the_lease() -> None:
    assert judge(OPEN, inputs={"a": 5}, incarnation="i", waited=3.9) is Verdict.WAIT
    assert judge(OPEN, inputs={"a": 5}, incarnation="i", waited=4.0) is Verdict.GO


def test_whether_a_key_is_held_can_be_told_before_anything_else_is_read() -> None:
    assert is_held(OPEN, waited=3.9)
    assert not is_held(OPEN, waited=4.0)
    assert not is_held(CLOSED, waited=0)
    assert not is_held(None, waited=0)


def test_older_rows_than_those_of_the_last_decision_are_not_decided_on() -> None:
    assert judge(CLOSED, inputs={"a": 4}, incarnation="i", waited=0) is Verdict.STALE
    assert judge(OPEN, inputs={"a": 4}, incarnation="i", waited=9) is Verdict.STALE
    assert judge(CLOSED, inputs={"a": 0}, incarnation="i", waited=0) is Verdict.STALE
    assert judge(CLOSED, inputs={"a": 6, "b": 1}, incarnation="i", waited=0) is Verdict.GO


def test_sequences_of_another_life_of_state_are_not_compared() -> None:
    assert judge(CLOSED, inputs={"a": 1}, incarnation="j", waited=0) is Verdict.GO
    assert merged_inputs(CLOSED, {"b": 1}, "j") == {"b": 1}


def test_a_row_that_left_the_view_still_may_not_go_backwards_when_it_comes_back() -> None:
    assert merged_inputs(CLOSED, {"b": 1, "c": 0}, "i") == {"a": 5, "b": 1}
