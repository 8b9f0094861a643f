"""Functions of the language itself: sizes, conversions, dates, and the tables of all functions by name.

In: values. Out: a value, or a `CelError` with the message of `cel-go`. Functions of texts are in `texts`, those that
Kubernetes adds in `kubernetes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engine.sandbox.simulator.cel import kubernetes, lists, texts
from engine.sandbox.simulator.cel.values import (
    NONE,
    CelError,
    Optional,
    Table,
    Unsigned,
    integer,
    no_overload,
    of,
    type_of,
    unsigned,
)

_Int = TypeVar("_Int", bound=int)

_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_NANOSECONDS = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_TIMESTAMP = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d+))?(Z|[+-]\d{2}:\d{2})", re.ASCII)
_OFFSET = re.compile(r"([+-]?)(\d{2}):(\d{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Function:
    """A function, and how many arguments it takes, a target included."""

    run: Callable[..., Any]
    least: int
    most: int


def negated(value: Any) -> bool:
    """Return `!value`."""
    if not isinstance(value, bool):
        raise no_overload()
    return not value


def opposite(value: Any) -> Any:
    """Return `-value`."""
    if isinstance(value, float | timedelta):
        return -value
    if type(value) is int:
        return integer(-value)
    raise no_overload()


def size(value: Any) -> int:
    """Return how many characters, bytes, items or entries there are."""
    if isinstance(value, str | bytes | list | dict):
        return len(value)
    raise no_overload()


# Conversions


def duration(text: Any) -> timedelta:
    """Return a duration such as `1h30m`."""
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str):
        raise no_overload()
    body, total, at = text.lstrip("+-"), 0.0, 0
    for match in _DURATION_PART.finditer(body):
        if match.start() != at:
            break
        total += float(match[1]) * _NANOSECONDS[match[2]]
        at = match.end()
    if (at != len(body) or not body) and body != "0":
        raise CelError(f'time: invalid duration "{text}"')
    result = timedelta(microseconds=total / 1000)
    return -result if text.startswith("-") else result


def timestamp(value: Any) -> datetime:
    """Return a moment such as `2024-01-01T00:00:00Z`, or one of seconds since 1970."""
    if isinstance(value, datetime):
        return value
    if type(value) is int:
        return datetime.fromtimestamp(value, UTC)
    if not isinstance(value, str):
        raise no_overload()
    match = _TIMESTAMP.fullmatch(value)
    try:
        if match is None:
            raise ValueError
        zone = "+00:00" if match[3] == "Z" else match[3]
        return datetime.fromisoformat(f"{match[1]}.{(match[2] or '0')[:6].ljust(6, '0')}{zone}")
    except ValueError:
        raise CelError(f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00": cannot parse') from None


def to_int(value: Any) -> int:
    """Return `int(value)`."""
    if isinstance(value, str):
        try:
            return integer(int(value))
        except ValueError:
            raise CelError(f'strconv.ParseInt: parsing "{value}": invalid syntax') from None
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise no_overload()
    return _whole(value, integer)


def to_uint(value: Any) -> Unsigned:
    """Return `uint(value)`."""
    if isinstance(value, str):
        try:
            return unsigned(int(value))
        except ValueError:
            raise CelError(f'strconv.ParseUint: parsing "{value}": invalid syntax') from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise no_overload()
    return _whole(value, unsigned)


def _whole(value: float, check: Callable[[int], _Int]) -> _Int:
    try:
        return check(int(value))
    except (OverflowError, ValueError):  # infinity, or not a number
        raise CelError("integer overflow") from None


def to_double(value: Any) -> float:
    """Return `double(value)`."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise CelError(f'strconv.ParseFloat: parsing "{value}": invalid syntax') from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise no_overload()
    return float(value)


def to_bool(value: Any) -> bool:
    """Return `bool(value)`."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise no_overload()
    if value in {"1", "t", "T", "TRUE", "true", "True"}:
        return True
    if value in {"0", "f", "F", "FALSE", "false", "False"}:
        return False
    raise CelError(f'strconv.ParseBool: parsing "{value}": invalid syntax')


def to_bytes(value: Any) -> bytes:
    """Return `bytes(value)`."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise no_overload()


# Parts of moments


def _zone(name: str) -> tzinfo:
    match = _OFFSET.fullmatch(name)
    if match is not None:
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        return timezone(-offset if match[1] == "-" else offset)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CelError(f"unknown time zone {name}") from None


def _part(
    of_moment: Callable[[datetime], int], of_duration: Callable[[timedelta], int] | None = None
) -> tuple[Callable[..., int], int, int]:
    def run(value: Any, zone: str = "") -> int:
        if isinstance(value, timedelta) and of_duration is not None and not zone:
            return of_duration(value)
        if not isinstance(value, datetime):
            raise no_overload()
        return of_moment(value.astimezone(_zone(zone) if zone else UTC))

    return run, 1, 2


def _cut(value: timedelta, unit: timedelta) -> int:
    return int(value / unit)


def _milliseconds(value: timedelta) -> int:
    return int(abs(value) / timedelta(milliseconds=1)) % 1000 * (-1 if value < timedelta() else 1)


# Optional values


def _value(found: Any) -> Any:
    if not isinstance(found, Optional):
        raise no_overload()
    if not found.is_there:
        raise CelError("optional.none() dereference")
    return found.value


def _has_value(found: Any) -> bool:
    if not isinstance(found, Optional):
        raise no_overload()
    return found.is_there


def _of_non_zero(value: Any) -> Optional:
    return NONE if value is None or value in (False, 0, "", b"", [], {}) else of(value)


_GLOBAL: Table = {
    "-_": (opposite, 1, 1),
    "size": (size, 1, 1),
    "type": (type_of, 1, 1),
    "dyn": (lambda value: value, 1, 1),
    "int": (to_int, 1, 1),
    "uint": (to_uint, 1, 1),
    "double": (to_double, 1, 1),
    "bool": (to_bool, 1, 1),
    "bytes": (to_bytes, 1, 1),
    "string": (texts.to_string, 1, 1),
    "duration": (duration, 1, 1),
    "timestamp": (timestamp, 1, 1),
    "matches": (texts.matches, 2, 2),
    "optional.of": (of, 1, 1),
    "optional.none": (lambda: NONE, 0, 0),
    "optional.ofNonZeroValue": (_of_non_zero, 1, 1),
}

_METHODS: Table = {
    "size": (size, 1, 1),
    "hasValue": (_has_value, 1, 1),
    "value": (_value, 1, 1),
    "getFullYear": _part(lambda moment: moment.year),
    "getMonth": _part(lambda moment: moment.month - 1),
    "getDayOfYear": _part(lambda moment: moment.timetuple().tm_yday - 1),
    "getDayOfMonth": _part(lambda moment: moment.day - 1),
    "getDate": _part(lambda moment: moment.day),
    "getDayOfWeek": _part(lambda moment: (moment.weekday() + 1) % 7),
    "getHours": _part(lambda moment: moment.hour, lambda span: _cut(span, timedelta(hours=1))),
    "getMinutes": _part(lambda moment: moment.minute, lambda span: _cut(span, timedelta(minutes=1))),
    "getSeconds": _part(lambda moment: moment.second, lambda span: _cut(span, timedelta(seconds=1))),
    "getMilliseconds": _part(lambda moment: moment.microsecond // 1000, _milliseconds),
}


def _table(*tables: Table) -> dict[str, Function]:
    return {name: Function(*entry) for table in tables for name, entry in table.items()}


GLOBAL = _table(_GLOBAL, lists.GLOBAL, texts.GLOBAL, kubernetes.GLOBAL)
"""Functions by name, with a namespace if they have one."""

METHODS = _table(_METHODS, lists.METHODS, texts.METHODS, kubernetes.METHODS)
"""Functions that are called on a value, by name."""
