"""Times as Go reads and Kubernetes writes them: RFC 3339 in UTC, in whole seconds or with microseconds.

In: what a client sent. Out: the one form in which it is stored, or Go's complaint about it. The rules are those of
Go's `time.Parse`, which looks at a text part by part of a layout and takes more than RFC 3339 does: hours of one digit,
commas, offsets of a whole day, years 0 and 10000.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.sandbox.simulator.go_text import quoted

_LAYOUT = "2006-01-02T15:04:05Z07:00"
_MICRO_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
_UTC_SECONDS = re.compile(
    r"(?!000)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ", re.ASCII
)
"""What most clients send: read as it is written."""

_Parts = Sequence[tuple[str, re.Pattern[str]]]


def _parts(*parts: tuple[str, str]) -> _Parts:
    return [(layout, re.compile(pattern, re.ASCII)) for layout, pattern in parts]


_UP_TO_MINUTES = (
    ("2006", r"\d{4}"),
    ("-", "-"),
    ("01", r"\d{2}"),
    ("-", "-"),
    ("02", r"\d{2}"),
    ("T", "T"),
    ("15", r"\d{1,2}"),
    (":", ":"),
    ("04", r"\d{2}"),
    (":", ":"),
)
_ZONE = ("Z07:00", r"Z|[+-]\d{2}:\d{2}")
_IN_SECONDS = _parts(*_UP_TO_MINUTES, ("05", r"\d{2}(?:[.,]\d+)?"), _ZONE)
_IN_MICROSECONDS = _parts(*_UP_TO_MINUTES, ("05", r"\d{2}"), (".000000", r"[.,]\d{6}"), _ZONE)

_RANGES = {"01": ("month", 1, 12), "15": ("hour", 0, 23), "04": ("minute", 0, 59), "05": ("second", 0, 59)}
_OFFSET_HOURS, _OFFSET_MINUTES = 24, 60
"""The most that an offset may say; each of them is one too many for a clock."""

_CALENDAR_YEARS = 400
"""After so many years the calendar is the same."""

_ZERO = "0001-01-01T00:00:00"
"""Go's time of nothing, which is written as null."""


class GoTimeError(ValueError):
    """Raised for a text that is no time; the message is Go's."""


def rfc3339(text: Any) -> str | None:
    """Return a time as metav1.Time stores it.

    Raises:
        GoTimeError: when it is none.

    """
    if isinstance(text, str) and _UTC_SECONDS.fullmatch(text):
        return text
    seconds, _ = _parsed(text, _LAYOUT, _IN_SECONDS)
    return None if seconds == _ZERO else f"{seconds}Z"


def rfc3339_micro(text: Any) -> str | None:
    """Return a time as metav1.MicroTime stores it.

    Raises:
        GoTimeError: when it is none.

    """
    seconds, fraction = _parsed(text, _MICRO_LAYOUT, _IN_MICROSECONDS)
    return None if seconds == _ZERO and not int(fraction) else f"{seconds}.{fraction}Z"


def _parsed(text: Any, layout: str, parts: _Parts) -> tuple[str, str]:
    """Return the time in UTC without its zone, and its microseconds."""
    if not isinstance(text, str):
        raise GoTimeError("a time is a text")
    found, rest = {}, text
    for part, pattern in parts:
        match = pattern.match(rest)
        if match is None:
            cannot = f"cannot parse {quoted(rest)} as {quoted(part)}"
            raise GoTimeError(f"parsing time {quoted(text)} as {quoted(layout)}: {cannot}")
        found[part], rest = match[0], rest[match.end() :]
        if problem := _range_problem(part, match[0]):
            raise GoTimeError(f"parsing time {quoted(text)}: {problem} out of range")
    if rest:
        raise GoTimeError(f"parsing time {quoted(text)}: extra text: {quoted(rest)}")
    year = int(found["2006"])
    calendar = 2000 + year % _CALENDAR_YEARS  # datetime knows neither year 0 nor 10000
    try:
        day = datetime(calendar, int(found["01"]), int(found["02"]), tzinfo=UTC)
    except ValueError:
        raise GoTimeError(f"parsing time {quoted(text)}: day out of range") from None
    hours, minutes = _offset(found["Z07:00"])
    clock = timedelta(hours=int(found["15"]) - hours, minutes=int(found["04"]) - minutes, seconds=int(found["05"][:2]))
    moment = day + clock
    return f"{year + moment.year - calendar:04}-{moment:%m-%dT%H:%M:%S}", found.get(".000000", "")[1:]


def _range_problem(part: str, value: str) -> str:
    """Return which part of a time cannot be; empty: it can."""
    if part in _RANGES:
        name, least, most = _RANGES[part]
        return "" if least <= int(value[:2]) <= most else name
    if part == "Z07:00" and value != "Z":
        if int(value[1:3]) > _OFFSET_HOURS:
            return "time zone offset hour"
        if int(value[4:]) > _OFFSET_MINUTES:
            return "time zone offset minute"
    return ""


def _offset(zone: str) -> tuple[int, int]:
    """Return hours and minutes that a zone is before UTC."""
    if zone == "Z":
        return 0, 0
    sign = -1 if zone[0] == "-" else 1
    return sign * int(zone[1:3]), sign * int(zone[4:])
