"""Functions of texts.

In: values. Out: a value, or a `CelError` with the message of `cel-go`. Regular expressions are Python's; those that only Go
has are refused.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from engine.sandbox.simulator.cel import lists
from engine.sandbox.simulator.cel.values import CelError, CelType, Table, is_number, no_overload

_DIRECTIVE = re.compile(r"%(?:\.(\d+))?(.)", re.DOTALL)
_SUPERSCRIPT = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")


def checked(value: Any) -> str:
    """Return a text.

    Raises:
        CelError: when the value is none.

    """
    if not isinstance(value, str):
        raise no_overload()
    return value


def _position(value: Any) -> int:
    if type(value) is not int:
        raise no_overload()
    return value


def to_string(value: Any) -> str:
    """Return `string(value)`."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return _double(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise CelError("invalid UTF-8 in bytes, cannot convert to string") from None
    if isinstance(value, timedelta):
        return _seconds(value)
    if isinstance(value, datetime):
        return _moment(value)
    text = getattr(value, "text", None)
    if isinstance(text, str):
        return text
    raise no_overload()


def _double(value: float) -> str:
    """Return a double as Go prints it: the shortest text that means it, from a million on with an exponent."""
    if math.isnan(value) or math.isinf(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return repr(value).removesuffix(".0")
    sign, digits, last = Decimal(repr(value)).normalize().as_tuple()
    exponent = len(digits) + int(last) - 1
    text = "".join(map(str, digits))
    whole = f"{text[0]}.{text[1:]}" if len(text) > 1 else text
    return f"{'-' if sign else ''}{whole}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _seconds(value: timedelta) -> str:
    total = value / timedelta(seconds=1)
    return f"{total:.9f}".rstrip("0").rstrip(".") + "s"


def _moment(value: datetime) -> str:
    fraction = f".{value.microsecond:06d}".rstrip("0").rstrip(".")
    offset = f"{value:%z}"
    zone = "Z" if offset == "+0000" else f"{offset[:3]}:{offset[3:]}"
    return f"{value:%Y-%m-%dT%H:%M:%S}{fraction}{zone}"


# Regular expressions


@lru_cache(maxsize=256)
def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text.replace(r"\z", r"\Z"), re.ASCII)
    except re.error as error:
        raise CelError(f"error parsing regexp: {error}") from None


def matches(text: Any, pattern: Any) -> bool:
    """Return whether a part of a text matches."""
    return _pattern(checked(pattern)).search(checked(text)) is not None


def _find(text: Any, pattern: Any) -> str:
    match = _pattern(checked(pattern)).search(checked(text))
    return match.group() if match else ""


def _find_all(text: Any, pattern: Any, most: Any = -1) -> list[str]:
    found = [match.group() for match in _pattern(checked(pattern)).finditer(checked(text))]
    return found if _position(most) < 0 else found[:most]


# Parts


def _char_at(text: Any, at: Any) -> str:
    index = _position(at)
    if not 0 <= index <= len(checked(text)):
        raise CelError(f"index out of range: {index}")
    found: str = text[index : index + 1]
    return found


def _index_of(value: Any, wanted: Any, start: Any = 0) -> int:
    if isinstance(value, list):
        return lists.index_of(value, wanted)
    text, offset = checked(value), _position(start)
    if offset < 0:
        raise CelError(f"index out of range: {offset}")
    return text.find(checked(wanted), offset) if offset <= len(text) else -1


def _last_index_of(value: Any, wanted: Any, end: Any = None) -> int:
    if isinstance(value, list):
        return lists.last_index_of(value, wanted)
    text, part = checked(value), checked(wanted)
    if end is None:
        return text.rfind(part)
    offset = _position(end)
    if offset < 0:
        raise CelError(f"index out of range: {offset}")
    return text.rfind(part, 0, offset + len(part)) if offset < len(text) else -1


def _substring(text: Any, start: Any, end: Any = None) -> str:
    whole, first = checked(text), _position(start)
    last = len(whole) if end is None else _position(end)
    if not 0 <= first <= len(whole):
        raise CelError(f"index out of range: {first}")
    if not 0 <= last <= len(whole):
        raise CelError(f"index out of range: {last}")
    if first > last:
        raise CelError(f"invalid substring range. start: {first}, end: {last}")
    return whole[first:last]


def _split(text: Any, separator: Any, most: Any = -1) -> list[str]:
    whole, between, limit = checked(text), checked(separator), _position(most)
    if limit == 0:
        return []
    if not between:
        parts = list(whole)
        return parts if limit < 0 or len(parts) <= limit else [*parts[: limit - 1], "".join(parts[limit - 1 :])]
    return whole.split(between, limit - 1 if limit > 0 else -1)


def _replace(text: Any, old: Any, new: Any, most: Any = -1) -> str:
    return checked(text).replace(checked(old), checked(new), _position(most))


def _join(items: Any, separator: Any = "") -> str:
    return checked(separator).join(map(checked, lists.checked(items)))


def _ascii_case(text: str, *, upper: bool) -> str:
    return "".join((one.upper() if upper else one.lower()) if one.isascii() else one for one in text)


def _quote(text: Any) -> str:
    quoted = json.dumps(checked(text), ensure_ascii=False)
    return quoted.replace("\\u0007", "\\a").replace("\\u000b", "\\v")


# Formatting


def _format(text: Any, args: Any) -> str:
    values = iter(lists.checked(args))
    count = len(args)

    def replaced(match: re.Match[str]) -> str:
        precision, directive = match.groups()
        if directive == "%":
            return "%"
        try:
            value = next(values)
        except StopIteration:
            raise CelError(f"error during formatting: index {count} out of range") from None
        return _formatted(value, directive, 6 if precision is None else int(precision))

    return _DIRECTIVE.sub(replaced, checked(text))


def _formatted(value: Any, directive: str, precision: int) -> str:
    if directive == "s":
        return shown(value)
    if directive == "d" and is_number(value):
        return str(int(value)) if isinstance(value, int) else _double(value)
    if directive == "f" and is_number(value):
        return f"{value:.{precision}f}"
    if directive == "e" and is_number(value):
        base, _, exponent = f"{value:.{precision}e}".partition("e")
        power = f"{exponent[0] if exponent[0] == '-' else ''}{exponent[1:].rjust(2, '0')}"
        return f"{base}\u00d710{power.translate(_SUPERSCRIPT)}"
    if directive == "b" and isinstance(value, int):
        return f"{int(value):b}"
    if directive == "o" and isinstance(value, int) and not isinstance(value, bool):
        return f"{int(value):o}"
    if directive in {"x", "X"}:
        return _hexadecimal(value, directive)
    if directive in "sdfeboxX":
        kind = {"d": "integers", "f": "doubles", "e": "doubles", "b": "integers and bools", "o": "integers"}[directive]
        raise CelError(f"error during formatting: only {kind} can be formatted with %{directive}")
    raise CelError(f"could not parse formatting clause: unrecognized formatting clause: {directive!r}")


def _hexadecimal(value: Any, directive: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{int(value):{directive}}"
    if isinstance(value, str | bytes):
        text = (value.encode() if isinstance(value, str) else value).hex()
        return text.upper() if directive == "X" else text
    raise CelError("error during formatting: only integers, byte buffers, and strings can be formatted as hex")


def shown(value: Any) -> str:
    """Return what `%s` makes of a value."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{', '.join(_nested(one) for one in value)}]"
    if isinstance(value, dict):
        entries = sorted((_nested(key), _nested(one)) for key, one in value.items())
        return f"{{{', '.join(f'{key}:{one}' for key, one in entries)}}}"
    return value.name if isinstance(value, CelType) else to_string(value)


def _nested(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:f}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else shown(value)


GLOBAL: Table = {"strings.quote": (_quote, 1, 1)}

METHODS: Table = {
    "charAt": (_char_at, 2, 2),
    "contains": (lambda text, part: checked(part) in checked(text), 2, 2),
    "endsWith": (lambda text, part: checked(text).endswith(checked(part)), 2, 2),
    "find": (_find, 2, 2),
    "findAll": (_find_all, 2, 3),
    "format": (_format, 2, 2),
    "indexOf": (_index_of, 2, 3),
    "join": (_join, 1, 2),
    "lastIndexOf": (_last_index_of, 2, 3),
    "lowerAscii": (lambda text: _ascii_case(checked(text), upper=False), 1, 1),
    "matches": (matches, 2, 2),
    "replace": (_replace, 3, 4),
    "split": (_split, 2, 3),
    "startsWith": (lambda text, part: checked(text).startswith(checked(part)), 2, 2),
    "substring": (_substring, 2, 3),
    "trim": (lambda text: checked(text).strip(), 1, 1),
    "upperAscii": (lambda text: _ascii_case(checked(text), upper=True), 1, 1),
}
