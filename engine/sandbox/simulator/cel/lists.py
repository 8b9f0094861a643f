"""Functions of lists, and of lists as sets.

In: values. Out: a value, or a `CelError` with the message of `cel-go`. `sortBy` is a macro.
"""

from __future__ import annotations

from functools import cmp_to_key, reduce
from itertools import pairwise
from typing import Any

from engine.sandbox.simulator.cel.operators import add
from engine.sandbox.simulator.cel.values import CelError, Table, compare, equal, no_overload

_LONGEST_RANGE = 1_000_000


def checked(value: Any) -> list[Any]:
    """Return a list.

    Raises:
        CelError: when the value is none.

    """
    if not isinstance(value, list):
        raise no_overload()
    return value


def _is_sorted(value: Any) -> bool:
    items = checked(value)
    return all(compare(left, right) <= 0 for left, right in pairwise(items))


def _sum(value: Any) -> Any:
    items = checked(value)
    if items and isinstance(items[0], str | bytes | list):
        raise no_overload()
    return reduce(add, items) if items else 0


def _extreme(value: Any, sign: int, name: str) -> Any:
    items = checked(value)
    if not items:
        raise CelError(f"{name} called on empty list")
    return reduce(lambda one, other: other if compare(other, one) == sign else one, items)


def index_of(items: list[Any], wanted: Any) -> int:
    """Return where an item is first; -1: nowhere."""
    return next((index for index, one in enumerate(items) if equal(one, wanted)), -1)


def last_index_of(items: list[Any], wanted: Any) -> int:
    """Return where an item is last; -1: nowhere."""
    found = index_of(items[::-1], wanted)
    return -1 if found < 0 else len(items) - 1 - found


def _distinct(value: Any) -> list[Any]:
    result: list[Any] = []
    for one in checked(value):
        if index_of(result, one) < 0:
            result.append(one)
    return result


def _range(count: Any) -> list[int]:
    if type(count) is not int:
        raise no_overload()
    if count > _LONGEST_RANGE:
        raise CelError("operation cancelled: actual cost limit exceeded")
    return list(range(count))


def _slice(value: Any, start: Any, end: Any) -> list[Any]:
    items = checked(value)
    if type(start) is not int or type(end) is not int:
        raise no_overload()
    if start < 0 or end < 0:
        raise CelError(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise CelError(f"cannot slice({start}, {end}), start index must be less than or equal to end index")
    if end > len(items):
        raise CelError(f"cannot slice({start}, {end}), list is length {len(items)}")
    return items[start:end]


def _flattened(value: Any, depth: Any = 1) -> list[Any]:
    if type(depth) is not int:
        raise no_overload()
    if depth < 0:
        raise CelError("level must be non-negative")
    result: list[Any] = []
    for one in checked(value):
        if isinstance(one, list) and depth > 0:
            result += _flattened(one, depth - 1)
        else:
            result.append(one)
    return result


def _sorted(value: Any) -> list[Any]:
    return sorted(checked(value), key=cmp_to_key(compare))


def _contains(whole: Any, part: Any) -> bool:
    items = checked(whole)
    return all(index_of(items, one) >= 0 for one in checked(part))


def _intersects(left: Any, right: Any) -> bool:
    items = checked(left)
    return any(index_of(items, one) >= 0 for one in checked(right))


GLOBAL: Table = {
    "lists.range": (_range, 1, 1),
    "sets.contains": (_contains, 2, 2),
    "sets.equivalent": (lambda left, right: _contains(left, right) and _contains(right, left), 2, 2),
    "sets.intersects": (_intersects, 2, 2),
}

METHODS: Table = {
    "isSorted": (_is_sorted, 1, 1),
    "sum": (_sum, 1, 1),
    "min": (lambda value: _extreme(value, -1, "min"), 1, 1),
    "max": (lambda value: _extreme(value, 1, "max"), 1, 1),
    "distinct": (_distinct, 1, 1),
    "slice": (_slice, 3, 3),
    "flatten": (_flattened, 1, 2),
    "sort": (_sorted, 1, 1),
    "reverse": (lambda value: checked(value)[::-1], 1, 1),
}
