"""Times as Go reads and Kubernetes writes them: RFC 3339 in UTC, in whole seconds or with microseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.sandbox.simulator.go_text import quoted

_LAYOUT = "2006-01-02T15:04:05Z07:00"
_MICRO_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
_MICROSECONDS = re.compile(r"\.\d{6}(?!\d)")
_UP_TO_SECONDS = 19
"""Characters of a time before its fraction."""
_TEXT = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:[.,](\d+))?(?:Z|([+-])(\d{2}):(\d{2}))", re.ASCII
)
_UTC_SECONDS = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ", re.ASCII)
_PARTS = (
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
    ("05", r"\d{2}(?:[.,]\d+)?"),
    ("Z07:00", r"Z|[+-]\d{2}:\d{2}"),
)


class GoTimeError(ValueError):
    """Raised for a text that is no time; the message is Go's."""


def rfc3339(text: Any) -> str:
    """Return a time as metav1.Time stores it.

    Raises:
        GoTimeError: when it is none.

    """
    if isinstance(text, str) and _UTC_SECONDS.fullmatch(text):
        return text
    return _parsed(text).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(text: Any) -> str:
    """Return a time as metav1.MicroTime stores it.

    Raises:
        GoTimeError: when it is none.

    """
    moment = _parsed(text)
    rest = text[_UP_TO_SECONDS:]
    if not _MICROSECONDS.match(rest):
        cannot = f"cannot parse {quoted(rest)} as {quoted('.000000')}"
        raise GoTimeError(f"parsing time {quoted(text)} as {quoted(_MICRO_LAYOUT)}: {cannot}")
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _parsed(text: Any) -> datetime:
    if not isinstance(text, str):
        raise GoTimeError("a time is a text")
    match = _TEXT.fullmatch(text)
    if match is None:
        raise GoTimeError(_complaint(text))
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    for name, value, limit in (
        ("month", month, 12),
        ("hour", hour, 23),
        ("minute", minute, 59),
        ("second", second, 59),
    ):
        if value > limit or (name == "month" and value == 0):
            raise GoTimeError(f"parsing time {quoted(text)}: {name} out of range")
    try:
        moment = datetime(year, month, day, hour, minute, second, int((match[7] or "0")[:6].ljust(6, "0")), tzinfo=UTC)
    except ValueError:
        raise GoTimeError(f"parsing time {quoted(text)}: day out of range") from None
    if match[8]:
        offset = timedelta(hours=int(match[9]), minutes=int(match[10]))
        moment += offset if match[8] == "-" else -offset
    return moment


def _complaint(text: str) -> str:
    """Return Go's message: the first part of the layout that the text does not have."""
    rest = text
    for layout, pattern in _PARTS:
        match = re.match(pattern, rest)
        if match is None:
            cannot = f"cannot parse {quoted(rest)} as {quoted(layout)}"
            return f"parsing time {quoted(text)} as {quoted(_LAYOUT)}: {cannot}"
        rest = rest[match.end() :]
    return f"parsing time {quoted(text)}: extra text: {quoted(rest)}"
