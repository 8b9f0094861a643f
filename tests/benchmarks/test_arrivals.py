from __future__ import annotations

from benchmarks.arrivals import Change, Event, latencies, lost, match


def change(foo: str, value: int, acked: float) -> Change:
    return Change(foo, value, acked - 0.02, acked - 0.01, acked)


def test_a_change_arrives_when_its_value_is_shown() -> None:
    events = [
        Event("b", 1.5, "MODIFIED", "f", 0),
        Event("b", 2.0, "MODIFIED", "f", 7),
        Event("b", 3.0, "MODIFIED", "f", 7),
    ]
    [arrival] = match([change("f", 7, 1.9)], events, ["b"])
    assert latencies([arrival]) == [100.00000000000009]
    assert not arrival.superseded


def test_a_later_value_counts_for_those_before_it() -> None:
    changes = [change("f", 7, 1.0), change("f", 8, 1.1)]
    first, second = match(changes, [Event("b", 1.2, "MODIFIED", "f", 8)], ["b"])
    assert first.superseded
    assert not second.superseded


def test_what_never_arrives_is_lost_and_each_watch_counts() -> None:
    events = [Event("b", 1.2, "ADDED", "f", 7), Event("c", 1.3, "DELETED", "f", 7)]
    arrivals = match([change("f", 7, 1.0), change("g", 9, 1.0)], events, ["b", "c"])
    assert lost(arrivals) == 3


def test_a_negative_latency_is_kept() -> None:
    # The child may be seen before the client has read the answer to its own request.
    [arrival] = match([change("f", 7, 1.0)], [Event("b", 0.995, "MODIFIED", "f", 7)], ["b"])
    assert arrival.latency is not None
    assert arrival.latency < 0
