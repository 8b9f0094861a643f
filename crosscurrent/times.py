"""Points in time as users write them: `10m` ago, or RFC 3339."""

from __future__ import annotations

import re

from crosscurrent.errors import UsageError
from crosscurrent.output import parse_time

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def moment(text: str, now: float, option: str = "--since") -> float:
    """Return the seconds since the epoch that `10m`, `1h30m` (ago) or `2026-11-23T10:00:00Z` mean.

    Args:
        text: what the user wrote.
        now: wall time.
        option: what it was written behind, for the message.

    Raises:
        UsageError: when it is neither.

    """
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return now - sum(float(number) * _UNITS[unit] for number, unit in parts)
    seconds = parse_time(text)
    if seconds is None:
        raise UsageError(f"{option} {text!r}: neither a length of time such as 10m nor RFC 3339 (2026-11-23T10:00:00Z)")
    return seconds
