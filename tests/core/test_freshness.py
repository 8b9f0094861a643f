"""A request is never carried out after its sender's time, whatever the clocks say and however long it was under way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.core.freshness import remaining
from schemas.members import Ticket

SECONDS = st.floats(0, 300)


@given(offset=st.floats(-1e6, 1e6), answer=SECONDS, held=SECONDS, request=SECONDS, timeout=st.floats(0.01, 60))
def test_what_is_left_ends_before_the_sender_gives_up(
    offset: float, answer: float, held: float, request: float, timeout: float
) -> None:
    given_at = 1000.0  # by a clock that everybody sees; the agent's differs by `offset`
    sent_at = given_at + answer + held
    received_at = sent_at + request
    rest = remaining(Ticket("run", given_at + offset), held, timeout, run="run", now=received_at + offset)
    assert received_at + rest <= max(sent_at + timeout, received_at) + 1e-6


def test_nothing_is_left_for_the_ticket_of_another_run_or_of_the_future() -> None:
    assert remaining(Ticket("before", 10.0), 0.0, 5.0, run="now", now=10.0) == 0.0
    assert remaining(Ticket("now", 10.0), -1.0, 5.0, run="now", now=10.0) == 0.0
    assert remaining(Ticket("now", 10.0), 0.0, 5.0, run="now", now=2.0) == 5.0


def test_without_delay_all_of_it_is_left() -> None:
    assert remaining(Ticket("run", 10.0), 3.0, 2.0, run="run", now=13.0) == 2.0
    assert remaining(Ticket("run", 10.0), 3.0, 2.0, run="run", now=14.5) == 0.5
    assert remaining(Ticket("run", 10.0), 3.0, 2.0, run="run", now=15.0) == 0.0
