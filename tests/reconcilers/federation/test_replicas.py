"""Replica scheduling: sums hold, bounds hold, nothing moves without need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcilers.federation.replicas import Preference, Running, schedule

NAMES = ("a", "b", "c", "d")


def prefs(**given: tuple[int, int | None, int]) -> dict[str, Preference]:
    return {name: Preference(minimum=low, maximum=high, weight=weight) for name, (low, high, weight) in given.items()}


@st.composite
def preferences(draw: st.DrawFn) -> dict[str, Preference]:
    found = {}
    for name in NAMES[: draw(st.integers(1, 4))]:
        low = draw(st.integers(0, 8))
        high = draw(st.none() | st.integers(0, 30))
        found[name] = Preference(minimum=low, maximum=high, weight=draw(st.integers(0, 5)))
    return found


@st.composite
def situations(draw: st.DrawFn) -> tuple[dict[str, Preference], dict[str, Running]]:
    wished = draw(preferences())
    running = {
        name: Running(replicas=draw(st.integers(0, 30)), capacity=draw(st.none() | st.integers(0, 30)))
        for name in wished
    }
    return wished, running


def test_weights_share_the_total_and_minima_are_clamps() -> None:
    assert schedule(10, prefs(a=(2, None, 2), b=(4, None, 3))).replicas == {"a": 4, "b": 6}
    assert schedule(9, prefs(a=(0, None, 1), b=(0, None, 2))).replicas == {"a": 3, "b": 6}


@pytest.mark.parametrize(("total", "expected"), [(0, (0, 0)), (3, (0, 3)), (6, (2, 4)), (7, (3, 4))])
def test_where_there_is_little_the_heavier_is_served_first(total: int, expected: tuple[int, int]) -> None:
    found = schedule(total, prefs(a=(2, None, 2), b=(4, None, 3))).replicas
    assert (found["a"], found["b"]) == expected


def test_a_maximum_sends_the_rest_elsewhere_and_what_fits_nowhere_is_told() -> None:
    assert schedule(10, prefs(a=(0, 2, 1), b=(0, None, 1))).replicas == {"a": 2, "b": 8}
    plan = schedule(10, prefs(a=(0, 2, 1), b=(0, 3, 1)))
    assert (plan.replicas, plan.unplaced) == ({"a": 2, "b": 3}, 5)


def test_no_weight_gets_no_more_than_its_minimum() -> None:
    assert schedule(10, prefs(a=(1, None, 0), b=(0, None, 1))).replicas == {"a": 1, "b": 9}


def test_without_rebalance_what_runs_stays_and_with_it_the_weights_hold() -> None:
    wished = prefs(a=(0, None, 1), b=(0, None, 1))
    running = {"a": Running(replicas=8), "b": Running(replicas=2)}
    assert schedule(10, wished, running).replicas == {"a": 8, "b": 2}
    assert schedule(11, wished, running).replicas == {"a": 8, "b": 3}
    assert schedule(9, wished, running).replicas == {"a": 7, "b": 2}
    assert schedule(10, wished, running, rebalance=True).replicas == {"a": 5, "b": 5}


def test_what_cannot_be_shared_evenly_stays_where_it_is() -> None:
    wished = prefs(a=(0, None, 1), b=(0, None, 1), c=(0, None, 1))
    for lucky in "abc":
        running = {name: Running(replicas=4 if name == lucky else 3) for name in "abc"}
        found = schedule(10, wished, running, rebalance=True).replicas
        assert found == {name: one.replicas for name, one in running.items()}


def test_what_a_cluster_cannot_schedule_runs_elsewhere_while_it_goes_on_asking() -> None:
    wished = prefs(a=(0, None, 1), b=(0, None, 1))
    running = {"a": Running(replicas=5, capacity=2), "b": Running(replicas=5)}
    plan = schedule(10, wished, running)
    assert plan.replicas == {"a": 5, "b": 8}
    assert plan.pending == {"a": 3}
    assert schedule(10, wished, {"a": Running(replicas=5), "b": Running(replicas=8)}, rebalance=True).replicas == {
        "a": 5,
        "b": 5,
    }


def test_what_nobody_can_schedule_waits_and_is_not_lost() -> None:
    running = {"a": Running(replicas=5, capacity=2), "b": Running(replicas=5, capacity=1)}
    plan = schedule(10, prefs(a=(0, None, 1), b=(0, None, 1)), running)
    assert plan.replicas == {"a": 5, "b": 5}
    assert sum(plan.replicas.values()) - sum(plan.pending.values()) == 3


@given(st.integers(0, 60), situations(), st.booleans())
def test_sums_and_bounds_hold(
    total: int, situation: tuple[dict[str, Preference], dict[str, Running]], rebalance: bool
) -> None:
    wished, running = situation
    plan = schedule(total, wished, running, rebalance=rebalance)
    placed = {name: plan.replicas[name] - plan.pending.get(name, 0) for name in wished}

    assert sum(placed.values()) <= total
    assert plan.unplaced <= total - sum(placed.values())
    for name, one in wished.items():
        assert 0 <= placed[name] <= plan.replicas[name]
        assert one.maximum is None or plan.replicas[name] <= one.maximum
        capacity = running[name].capacity
        assert capacity is None or placed[name] <= capacity
    if any(one.weight and one.maximum is None and running[name].capacity is None for name, one in wished.items()):
        assert sum(placed.values()) == total
        assert plan.unplaced == 0


@given(st.integers(0, 60), preferences(), st.lists(st.integers(0, 30), min_size=4, max_size=4))
def test_without_rebalance_moves_are_minimal(total: int, wished: dict[str, Preference], replicas: list[int]) -> None:
    now = {name: replicas[index] for index, name in enumerate(wished)}
    found = schedule(total, wished, {name: Running(replicas=count) for name, count in now.items()}).replicas
    if not any(now.values()):
        return
    within = all(
        one.minimum <= now[name] and (one.maximum is None or now[name] <= one.maximum) and one.weight
        for name, one in wished.items()
    )
    if within and sum(one.minimum for one in wished.values()) <= total:
        moved = sum(abs(found[name] - now[name]) for name in wished)
        assert moved == abs(sum(found.values()) - sum(now.values()))


@given(st.integers(0, 60), preferences())
def test_a_second_look_moves_nothing(total: int, wished: dict[str, Preference]) -> None:
    first = schedule(total, wished, rebalance=True).replicas
    running = {name: Running(replicas=count) for name, count in first.items()}
    assert schedule(total, wished, running, rebalance=True).replicas == first
    assert schedule(total, wished, running).replicas == first


@given(st.integers(0, 60), st.lists(st.integers(1, 5), min_size=2, max_size=4))
def test_without_bounds_everyone_is_within_one_of_its_share(total: int, weights: list[int]) -> None:
    wished = {NAMES[index]: Preference(weight=weight) for index, weight in enumerate(weights)}
    found = schedule(total, wished).replicas
    assert sum(found.values()) == total
    for name, one in wished.items():
        assert abs(found[name] - total * one.weight / sum(weights)) < 1
