"""The cap on deletes in one cluster."""

from __future__ import annotations

from engine.runtime.rate_cap import RateCap
from tests.fakes import Clock


async def turns(cap: RateCap, clock: Clock, count: int) -> list[float]:
    """Return after how many seconds each of so many turns came."""
    began, found = clock.monotonic(), []
    for _ in range(count):
        assert await cap.turn(began + 1000.0)
        found.append(round(clock.monotonic() - began, 6))
    return found


async def test_a_seconds_worth_goes_at_once_and_then_one_after_the_other_at_the_rate() -> None:
    clock = Clock()
    assert await turns(RateCap(4.0, clock), clock, 9) == [0.0] * 5 + [0.25, 0.5, 0.75, 1.0]


async def test_after_a_rest_no_more_goes_at_once_than_before() -> None:
    clock = Clock()
    cap = RateCap(4.0, clock)
    await turns(cap, clock, 5)
    await clock.sleep(3600.0)
    assert await turns(cap, clock, 6) == [0.0] * 5 + [0.25]


async def test_a_turn_that_would_come_too_late_is_refused_at_once_and_costs_nobody_anything() -> None:
    clock = Clock()
    cap = RateCap(4.0, clock)
    await turns(cap, clock, 5)
    assert not await cap.turn(clock.monotonic() + 0.2)
    assert await turns(cap, clock, 1) == [0.25]
