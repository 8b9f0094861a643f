"""Schedules of CronJobs: whether one can be parsed, and if not, what the real server says.

In: a text. Out: a problem or None. The grammar and the messages are those of `github.com/robfig/cron` v3, standard parser.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from engine.sandbox.simulator.formats import is_go_duration
from engine.sandbox.simulator.go_text import quoted

_DESCRIPTORS = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
_EVERY = "@every "
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True, slots=True)
class _Bounds:
    least: int
    most: int
    names: Mapping[str, int] = field(default_factory=dict)


_FIELDS = (
    _Bounds(0, 59),
    _Bounds(0, 23),
    _Bounds(1, 31),
    _Bounds(1, 12, {name: index for index, name in enumerate(_MONTHS, 1)}),
    _Bounds(0, 6, {name: index for index, name in enumerate(_DAYS)}),
)


class _Unparsed(ValueError):
    """Raised for a schedule that is none; the message says why."""


def schedule_problem(schedule: str) -> str | None:
    """Return why a schedule cannot be parsed; None: it can."""
    if not schedule:
        return "empty spec string"
    if schedule.startswith(("TZ=", "CRON_TZ=")):
        zone, _, schedule = schedule.partition("=")[2].partition(" ")
        if not is_time_zone(zone):
            return f"provided bad location {zone}: unknown time zone {zone}"
        schedule = schedule.strip()
    if schedule.startswith("@"):
        return _descriptor_problem(schedule)
    parts = schedule.split()
    if len(parts) != len(_FIELDS):
        return f"expected exactly {len(_FIELDS)} fields, found {len(parts)}: [{' '.join(parts)}]"
    try:
        for part, bounds in zip(parts, _FIELDS, strict=True):
            for one in part.split(","):
                if one:
                    _check_range(one, bounds)
    except _Unparsed as error:
        return str(error)
    return None


def is_time_zone(name: str) -> bool:
    """Return whether the database of time zones has a name."""
    if name in {"", "UTC", "Local"}:
        return True
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # no such name, no path, or a file that is not there
        return False
    return True


def _descriptor_problem(descriptor: str) -> str | None:
    if descriptor in _DESCRIPTORS:
        return None
    if not descriptor.startswith(_EVERY):
        return f"unrecognized descriptor: {descriptor}"
    duration = descriptor.removeprefix(_EVERY)
    if is_go_duration(duration):
        return None
    return f"failed to parse duration {descriptor}: time: invalid duration {quoted(duration)}"


def _check_range(expression: str, bounds: _Bounds) -> None:
    """Check a number, a range, or either with a step.

    Raises:
        _Unparsed: when it is none.

    """
    span, *steps = expression.split("/")
    low, *highs = span.split("-")
    if low in {"*", "?"}:
        start, end = bounds.least, bounds.most
    else:
        start = _number(low, bounds.names)
        if len(highs) > 1:
            raise _Unparsed(f"too many hyphens: {expression}")
        end = _number(highs[0], bounds.names) if highs else start
    step = 1
    if len(steps) > 1:
        raise _Unparsed(f"too many slashes: {expression}")
    if steps:
        step = _number(steps[0], {})
        if not highs:
            end = bounds.most
    if start < bounds.least:
        raise _Unparsed(f"beginning of range ({start}) below minimum ({bounds.least}): {expression}")
    if end > bounds.most:
        raise _Unparsed(f"end of range ({end}) above maximum ({bounds.most}): {expression}")
    if start > end:
        raise _Unparsed(f"beginning of range ({start}) beyond end of range ({end}): {expression}")
    if step == 0:
        raise _Unparsed(f"step of range should be a positive number: {expression}")


def _number(text: str, names: Mapping[str, int]) -> int:
    named = names.get(text.lower())
    if named is not None:
        return named
    if not _INTEGER.fullmatch(text):
        raise _Unparsed(f"failed to parse int from {text}: strconv.Atoi: parsing {quoted(text)}: invalid syntax")
    value = int(text)
    if value < 0:
        raise _Unparsed(f"negative number ({value}) not allowed: {text}")
    return value
