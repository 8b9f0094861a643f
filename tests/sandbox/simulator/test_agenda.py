"""The queue of what controllers have to do: order, repetition and retries."""

from __future__ import annotations

import itertools

import pytest

from engine.sandbox.simulator.agenda import FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS, Agenda
from engine.sandbox.simulator.errors import ApiError
from tests.sandbox.simulator.clusters import START, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def agenda(clock: Clock) -> Agenda:
    return Agenda(clock)


def test_keys_are_looked_at_when_they_are_due_and_in_order(agenda: Agenda, clock: Clock) -> None:
    seen: list[str] = []
    agenda.add(seen.append, "late", 2.0)
    agenda.add(seen.append, "first", 1.0)
    agenda.add(seen.append, "second", 1.0)
    assert (agenda.run(10), seen, agenda.next_due()) == (False, [], START + 1)
    clock.now += 1
    assert (agenda.run(10), seen) == (False, ["first", "second"])
    clock.now += 5
    agenda.run(10)
    assert (seen, agenda.next_due()) == (["first", "second", "late"], None)


def test_a_key_is_looked_at_once_at_the_earliest_time_asked_for(agenda: Agenda, clock: Clock) -> None:
    seen: list[str] = []
    for delay in (5.0, 1.0, 3.0):
        agenda.add(seen.append, "a", delay)
    clock.now += 10
    agenda.run(10)
    assert seen == ["a"]
    assert agenda.next_due() is None


def test_the_same_key_of_two_controllers_is_two(agenda: Agenda) -> None:
    one: list[str] = []
    other: list[str] = []
    agenda.add(one.append, "a")
    agenda.add(other.append, "a")
    agenda.run(10)
    assert (one, other) == (["a"], ["a"])


def test_a_reconcile_may_ask_to_look_again(agenda: Agenda, clock: Clock) -> None:
    seen: list[float] = []

    def look(_: str) -> float | None:
        seen.append(clock.now - START)
        return 5.0 if len(seen) < 3 else None

    agenda.add(look, "a")
    while (due := agenda.next_due()) is not None:
        clock.now = due
        agenda.run(10)
    assert seen == [0.0, 5.0, 10.0]


def test_what_is_refused_is_tried_again_at_growing_distances(agenda: Agenda, clock: Clock) -> None:
    times: list[float] = []
    refusals = 25

    def refuse(_: str) -> None:
        times.append(clock.now)
        if len(times) <= refusals:
            raise ApiError(500, "InternalError", "no")

    agenda.add(refuse, "a")
    while (due := agenda.next_due()) is not None:
        clock.now = due
        agenda.run(10)
    waits = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert waits[:4] == pytest.approx([FIRST_RETRY_SECONDS * 2**number for number in range(4)], abs=1e-6)
    assert waits[-1] == LAST_RETRY_SECONDS
    times.clear()
    refusals = 1
    agenda.add(refuse, "a")
    while (due := agenda.next_due()) is not None:
        clock.now = due
        agenda.run(10)
    assert times[1] - times[0] == pytest.approx(FIRST_RETRY_SECONDS, abs=1e-6), "a success is a new start"


def test_a_run_is_limited_and_says_whether_more_is_due(agenda: Agenda) -> None:
    seen: list[int] = []
    for number in range(5):
        agenda.add(seen.append, number)
    assert agenda.run(3)
    assert seen == [0, 1, 2]
    assert not agenda.run(3)


def test_what_a_look_asks_for_at_once_is_done_in_the_same_run(agenda: Agenda) -> None:
    seen: list[str] = []

    def look(key: str) -> None:
        seen.append(key)
        if key == "a":
            agenda.add(look, "b")

    agenda.add(look, "a")
    agenda.run(10)
    assert seen == ["a", "b"]


def test_whoever_sleeps_is_told_when_something_is_due_earlier(agenda: Agenda) -> None:
    told: list[float | None] = []
    agenda.on_earlier = lambda: told.append(agenda.next_due())
    seen: list[str] = []
    agenda.add(seen.append, "a", 5.0)
    agenda.add(seen.append, "b", 7.0)
    agenda.add(seen.append, "a", 6.0)
    agenda.add(seen.append, "c", 1.0)
    assert told == [START + 5, START + 1]


def test_nothing_is_left_after_clear(agenda: Agenda, clock: Clock) -> None:
    seen: list[str] = []
    agenda.add(seen.append, "a")
    agenda.clear()
    clock.now += 10
    assert (agenda.run(10), seen, agenda.next_due()) == (False, [], None)
