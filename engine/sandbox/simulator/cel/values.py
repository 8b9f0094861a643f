"""Values of the Common Expression Language that JSON does not have, equality, order, and types.

In and out: values. JSON's values are Python's own: None, bool, int, float, str, list, dict; further kinds are bytes,
`datetime` (timestamps), `timedelta` (durations) and the classes here and in `kubernetes`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

LOWEST, HIGHEST = -(2**63), 2**63 - 1


class CelError(Exception):
    """Raised when an expression cannot be evaluated; the message is that of `cel-go`."""


def no_overload() -> CelError:
    """Return the error for operands that no function takes."""
    return CelError("no such overload")


class Unsigned(int):
    """An unsigned integer."""


@dataclass(frozen=True, slots=True)
class CelType:
    """A type as a value: what `type(x)` returns."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Optional:
    """A value that may not be there.

    Attributes:
        value: it.
        is_there: whether there is one.

    """

    value: Any = None
    is_there: bool = False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Optional) or self.is_there != other.is_there:
            return False
        return not self.is_there or equal(self.value, other.value)

    __hash__ = None  # type: ignore[assignment]


NONE = Optional()


def of(value: Any) -> Optional:
    """Return an optional value that is there."""
    return Optional(value, is_there=True)


def is_number(value: Any) -> bool:
    """Return whether a value is an int, uint or double."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def equal(left: Any, right: Any) -> bool:
    """Return whether two values are equal; values of different types are not, numbers aside."""
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict):
        if not isinstance(right, dict) or len(left) != len(right):
            return False
        return all(key in right and equal(value, right[key]) for key, value in left.items())
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if is_number(left):
        return is_number(right) and left == right
    return type(left) is type(right) and bool(left == right)


def compare(left: Any, right: Any) -> int:
    """Return -1, 0 or 1.

    Raises:
        CelError: when the values have no order.

    """
    comparable = is_number(left) and is_number(right)
    if not comparable:
        kinds = (str, bytes, bool, datetime, timedelta)
        comparable = type(left) is type(right) and isinstance(left, kinds)
    if not comparable:
        raise no_overload()
    return int(left > right) - int(left < right)


def integer(value: int) -> int:
    """Return an int that fits.

    Raises:
        CelError: when it does not.

    """
    if not LOWEST <= value <= HIGHEST:
        raise CelError("integer overflow")
    return value


def unsigned(value: int) -> Unsigned:
    """Return a uint that fits.

    Raises:
        CelError: when it does not.

    """
    if not 0 <= value < 2**64:
        raise CelError("unsigned integer overflow")
    return Unsigned(value)


_NAMES: dict[type, str] = {
    type(None): "null_type",
    bool: "bool",
    int: "int",
    Unsigned: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    dict: "map",
    datetime: "google.protobuf.Timestamp",
    timedelta: "google.protobuf.Duration",
    CelType: "type",
    Optional: "optional_type",
}


def type_of(value: Any) -> CelType:
    """Return a value's type."""
    known = _NAMES.get(type(value))
    return CelType(known if known is not None else str(getattr(value, "type_name", "dyn")))


Table = dict[str, tuple[Callable[..., Any], int, int]]
"""Functions by name, with the least and the most number of arguments, a target included."""
