"""How tables say things to humans: ages, selectors, lists cut short.

In: parts of objects. Out: text, as the real server's printers make it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

UNKNOWN: Final = "<unknown>"
NONE: Final = "<none>"
UNSET: Final = "<unset>"
_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400

Json = dict[str, Any]


def duration(seconds: float) -> str:
    """Return a length of time in two or three significant figures, as `kubectl` shows ages: 5m12s, 3h20m, 4d3h."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 2 * _MINUTE:
        return f"{max(whole, 0)}s"
    for limit, unit, name, rest_unit, rest_name in (
        (10 * _MINUTE, _MINUTE, "m", 1, "s"),
        (3 * _HOUR, _MINUTE, "m", 0, ""),
        (8 * _HOUR, _HOUR, "h", _MINUTE, "m"),
        (2 * _DAY, _HOUR, "h", 0, ""),
        (8 * _DAY, _DAY, "d", _HOUR, "h"),
        (2 * _YEAR, _DAY, "d", 0, ""),
        (8 * _YEAR, _YEAR, "y", _DAY, "d"),
    ):
        if whole < limit:
            rest = whole % unit // rest_unit if rest_unit else 0
            return f"{whole // unit}{name}" + (f"{rest}{rest_name}" if rest else "")
    return f"{whole // _YEAR}y"


def age(timestamp: object, now: float) -> str:
    """Return how long ago an RFC 3339 time was, `<unknown>` for none, `<invalid>` for what is no time."""
    if not timestamp:
        return UNKNOWN
    moment = seconds_of(timestamp)
    return "<invalid>" if moment is None else duration(now - moment)


def seconds_of(timestamp: object) -> float | None:
    """Return an RFC 3339 time as seconds since 1970, None for what is no time."""
    if not isinstance(timestamp, str):
        return None
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def labels(pairs: Mapping[str, str] | None) -> str:
    """Return labels, or a selector that is a map: `a=b,c=d`."""
    return ",".join(f"{key}={value}" for key, value in sorted(pairs.items())) if pairs else NONE


def label_selector(selector: Json | None, *, empty: str = NONE) -> str:
    """Return a LabelSelector: `a=b,c in (d,e)`."""
    if selector is None:
        return empty
    terms = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or ():
        key, values = one.get("key", ""), ",".join(sorted(one.get("values") or ()))
        text = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }.get(one.get("operator", ""))
        if text is None:
            return "<error>"
        terms.append((key, text))
    return ",".join(text for _, text in sorted(terms, key=lambda term: term[0])) or empty


def first_few(texts: Sequence[str], most: int = 3, *, empty: str = UNSET) -> str:
    """Return the first few of some texts, and how many there are more."""
    shown = ",".join(texts[:most])
    if len(texts) > most:
        return f"{shown} + {len(texts) - most} more..."
    return shown or empty


def containers(template: Json | None) -> tuple[str, str]:
    """Return the names and the images of a pod template's containers."""
    found: Iterable[Json] = ((template or {}).get("spec") or {}).get("containers") or ()
    found = list(found)
    return ",".join(one.get("name", "") for one in found), ",".join(one.get("image", "") for one in found)
