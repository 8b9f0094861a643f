"""Operators of two values: arithmetic, comparison, membership.

In: two values. Out: a value, or a `CelError` with the message of `cel-go`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from engine.sandbox.simulator.cel.values import (
    CelError,
    Unsigned,
    compare,
    equal,
    integer,
    no_overload,
    unsigned,
)

_SEQUENCES = {str, bytes, list}


def _kind(left: Any, right: Any) -> type:
    """Return the type of two numbers; arithmetic takes no two different ones."""
    if type(left) is type(right) and type(left) in {int, Unsigned, float}:
        return type(left)
    raise no_overload()


def add(left: Any, right: Any) -> Any:
    """Return `left + right`: of numbers, texts, lists, and moments."""
    if type(left) is type(right) and type(left) in _SEQUENCES:
        return left + right
    if isinstance(left, timedelta) and isinstance(right, timedelta | datetime):
        return left + right
    if isinstance(left, datetime) and isinstance(right, timedelta):
        return left + right
    kind = _kind(left, right)
    if kind is Unsigned:
        return unsigned(int(left) + int(right))
    return left + right if kind is float else integer(left + right)


def subtract(left: Any, right: Any) -> Any:
    """Return `left - right`: of numbers and moments."""
    if isinstance(left, timedelta | datetime) and isinstance(right, timedelta):
        return left - right
    if isinstance(left, datetime) and isinstance(right, datetime):
        return left - right
    kind = _kind(left, right)
    if kind is Unsigned:
        return unsigned(int(left) - int(right))
    return left - right if kind is float else integer(left - right)


def multiply(left: Any, right: Any) -> Any:
    """Return `left * right`."""
    kind = _kind(left, right)
    if kind is Unsigned:
        return unsigned(int(left) * int(right))
    return left * right if kind is float else integer(left * right)


def divide(left: Any, right: Any) -> Any:
    """Return `left / right`; whole numbers are cut towards zero."""
    kind = _kind(left, right)
    if kind is float:
        if right == 0:
            return (
                math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left) * math.copysign(1, right)
            )
        return left / right
    if right == 0:
        raise CelError("division by zero")
    quotient = abs(int(left)) // abs(int(right))
    if kind is Unsigned:
        return Unsigned(quotient)
    return integer(quotient if (left < 0) == (right < 0) else -quotient)


def modulo(left: Any, right: Any) -> Any:
    """Return `left % right`, with the sign of the left."""
    kind = _kind(left, right)
    if kind is float:
        raise no_overload()
    if right == 0:
        raise CelError("modulus by zero")
    rest = abs(int(left)) % abs(int(right))
    return Unsigned(rest) if kind is Unsigned else (rest if left >= 0 else -rest)


def contains(item: Any, within: Any) -> bool:
    """Return `item in within`."""
    if isinstance(within, list):
        return any(equal(item, one) for one in within)
    if isinstance(within, dict):
        return not isinstance(item, list | dict) and item in within
    raise no_overload()


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": equal,
    "!=": lambda left, right: not equal(left, right),
    "<": lambda left, right: compare(left, right) < 0,
    "<=": lambda left, right: compare(left, right) <= 0,
    ">": lambda left, right: compare(left, right) > 0,
    ">=": lambda left, right: compare(left, right) >= 0,
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "%": modulo,
    "in": contains,
}
