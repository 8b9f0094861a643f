"""How listings look: kubectl's tables, JSON, YAML and names, plain enough for a pipe."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, TextIO

import msgspec

_COLOURS = {"good": "32", "warn": "33", "bad": "31", "dim": "2"}
_GAP = "   "


class Format(StrEnum):
    """`-o`: the form of a listing."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


def say(text: str = "") -> None:
    """Print a line of the answer."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Print a line about the answer, kept out of pipes."""
    sys.stderr.write(text + "\n")


def colourful(stream: TextIO) -> bool:
    """Return whether colours are wanted there (https://no-color.org)."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def paint(text: str, mood: str, stream: TextIO | None = None) -> str:
    """Colour a text as `good`, `warn`, `bad` or `dim` where the stream is a terminal."""
    return f"\x1b[{_COLOURS[mood]}m{text}\x1b[0m" if mood and colourful(stream or sys.stdout) else text


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], moods: Sequence[dict[str, str]] = ()) -> str:
    """Return an aligned table; the last column is not padded, empty cells are `-`.

    Args:
        columns: headings.
        rows: cells, as many as columns.
        moods: for each column, in order, what mood a value has.

    """
    cells = [[cell or "-" for cell in row] for row in rows]
    widths = [max([len(title), *(len(row[i]) for row in cells)]) for i, title in enumerate(columns)]
    lines = [_GAP.join(title.ljust(width) for title, width in zip(columns, widths, strict=True)).rstrip()]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        for index, mood in enumerate(moods):
            padded[index] = paint(padded[index], mood.get(row[index], ""))
        lines.append(_GAP.join(padded).rstrip())
    return "\n".join(lines)


def dump(document: Any, form: Format) -> str:
    """Return a document as indented JSON or as YAML, without a newline at the end."""
    builtins = msgspec.to_builtins(document)
    if form is Format.YAML:
        import yaml  # noqa: PLC0415 - 50 ms that only `-o yaml` pays

        return str(yaml.safe_dump(builtins, sort_keys=False, allow_unicode=True)).rstrip("\n")
    return msgspec.json.format(msgspec.json.encode(builtins), indent=2).decode()


def span(seconds: float) -> str:
    """Return a length of time as kubectl shows ages: `41s`, `5m12s`, `3h20m`, `4d3h`, `9d`."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 8:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours}h" if days < 8 and hours else f"{days}d"


def parse_time(text: str) -> float | None:
    """Return an RFC 3339 time as seconds since the epoch; None for the empty or unreadable text."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


def age(text: str, now: float) -> str:
    """Return how long ago an RFC 3339 time was, empty when it cannot be read."""
    moment = parse_time(text)
    return "" if moment is None else span(now - moment)
