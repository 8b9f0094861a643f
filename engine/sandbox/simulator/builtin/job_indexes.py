"""Indexes of a Job's pods as texts, such as `1,3-5,7`.

In: a text and the number of completions. Out: how many they are, or which two texts share; the messages are the real
server's.
"""

from __future__ import annotations

import re

from engine.sandbox.simulator.go_text import quoted

_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)


def index_count(indexes: str, completions: int) -> int:
    """Return how many indexes a text names.

    Raises:
        ValueError: when it is not right.

    """
    total, last = 0, None
    for interval in indexes.split(",") if indexes else ():
        first, end = _interval(interval, completions)
        if last is not None and last >= first:
            raise ValueError(f"non-increasing order, previous: {last}, current: {first}")
        total += end - first + 1
        last = end
    return total


def overlap(completed: str, failed: str, completions: int) -> int | None:
    """Return the first index that is in both texts; None: there is none. Intervals that are not right do not count."""
    ones, others = _intervals(completed, completions), _intervals(failed, completions)
    shared = [max(a, c) for a, b in ones for c, d in others if a <= d and c <= b]
    return min(shared, default=None)


def _intervals(indexes: str, completions: int) -> list[tuple[int, int]]:
    found = []
    for interval in indexes.split(",") if indexes else ():
        try:
            found.append(_interval(interval, completions))
        except ValueError:
            continue
    return found


def _interval(interval: str, completions: int) -> tuple[int, int]:
    limits = interval.split("-")
    if len(limits) > 2:
        rule = "violates the requirement that an index interval can have at most two parts separated by '-'"
        raise ValueError(f"the fragment {quoted(interval)} {rule}")
    first, *rest = (_index(limit, completions) for limit in limits)
    if not rest:
        return first, first
    if first >= rest[0]:
        raise ValueError(f"non-increasing order, previous: {first}, current: {rest[0]}")
    return first, rest[0]


def _index(text: str, completions: int) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"cannot convert string to integer for index: {quoted(text)}")
    if int(text) >= completions:
        raise ValueError(f"too large index: {quoted(text)}")
    return int(text)
