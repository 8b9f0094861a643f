"""Back-off, jitter and epochs as values."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from engine.core.backoff import (
    CAP_SECONDS,
    FIRST_SECONDS,
    HEALTHY_SECONDS,
    MAX_RETRY_AFTER_SECONDS,
    Backoff,
    draw,
    failed,
    succeeded,
)
from engine.core.epoch import Standing, recognised, restored
from schemas.names import ClusterId


def waits(count: int, jitter: float) -> list[float]:
    backoff, found = Backoff(), []
    for _ in range(count):
        backoff, seconds = failed(backoff, 0.0, jitter)
        found.append(seconds)
    return found


@given(st.floats(0, 1, exclude_max=True))
def test_waits_double_from_the_first_to_the_cap_whatever_the_jitter(jitter: float) -> None:
    found = waits(50, jitter)
    assert FIRST_SECONDS <= found[0] <= 2 * FIRST_SECONDS
    assert all(later >= earlier for earlier, later in pairwise(found))
    assert CAP_SECONDS / 2 <= found[-1] <= CAP_SECONDS


def test_a_lower_cap_is_kept_through_success_and_failure() -> None:
    backoff = succeeded(failed(Backoff(9, cap=2.0), 0.0, 0.0)[0], 1.0)
    assert failed(backoff, 2.0, 0.0)[1] == 1.0
    assert failed(succeeded(backoff, 1.0 + HEALTHY_SECONDS), 2.0 + HEALTHY_SECONDS, 0.0)[0].cap == 2.0


def test_a_failure_soon_after_a_success_goes_on_where_it_was() -> None:
    backoff, _ = failed(Backoff(5), 0.0, 0.0)
    backoff = succeeded(backoff, 10.0)
    backoff, seconds = failed(backoff, 10.0 + HEALTHY_SECONDS - 1, 0.0)
    assert (backoff.failures, seconds) == (7, CAP_SECONDS / 2)


def test_two_healthy_minutes_forget_everything() -> None:
    backoff = succeeded(Backoff(9), 10.0)
    assert succeeded(backoff, 10.0 + HEALTHY_SECONDS).failures == 0
    assert failed(backoff, 10.0 + HEALTHY_SECONDS, 0.0) == (Backoff(1), FIRST_SECONDS)


def test_a_servers_wish_is_granted_at_least_but_not_for_ever() -> None:
    assert failed(Backoff(), 0.0, 0.0, 20.0)[1] == 20.0
    assert failed(Backoff(30), 0.0, 0.0, 2.0)[1] == CAP_SECONDS / 2
    assert failed(Backoff(), 0.0, 0.0, 1e9)[1] == MAX_RETRY_AFTER_SECONDS


@given(st.integers(), st.integers(0))
def test_jitter_is_a_function_of_seed_and_count(seed: int, count: int) -> None:
    assert draw(seed, count) == draw(seed, count)
    assert 0.0 <= draw(seed, count) < 1.0


def test_jitter_is_spread_evenly() -> None:
    numbers = sorted(draw(7, count) for count in range(2000))
    assert all(abs(number - index / 2000) < 0.05 for index, number in enumerate(numbers))


A, B = ClusterId("a"), ClusterId("b")


def test_a_first_answer_begins_an_epoch_at_the_time() -> None:
    assert recognised(Standing(), A, 1234.5) == Standing(A, 1234)


def test_the_same_cluster_keeps_its_epoch() -> None:
    assert recognised(Standing(A, 7), A, 9999.0) == Standing(A, 7)


@given(st.integers(1, 10**10), st.floats(0, 10**10))
def test_epochs_only_rise(epoch: int, now: float) -> None:
    assert recognised(Standing(A, epoch), B, now) == Standing(B, max(epoch + 1, int(now)))
    assert restored(Standing(A, epoch), now) == Standing(A, max(epoch + 1, int(now)))
