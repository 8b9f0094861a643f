"""How listings look: kubectl's tables, JSON, YAML and names, plain enough for a pipe.

Colours and fitting to the width are for terminals only. What clusters say is shown harmlessly everywhere: a name or a
message that holds control characters moves no cursor and paints nothing.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, TextIO

import msgspec

_COLOURS = {"good": "32", "warn": "33", "bad": "31", "dim": "2"}
_GAP = "   "
_LEAST_CUT = 12
"""Characters that a cut cell keeps at least: less than that tells nothing, and a wrapped line is better."""
_CONTROLS = {code: f"^{chr(code + 64)}" for code in range(32)} | {code: f"\\x{code:02x}" for code in range(127, 160)}
_CONTROLS |= {ord("\n"): " ", ord("\t"): " "}


class Format(StrEnum):
    """`-o`: the form of a listing."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"

    @property
    def tabular(self) -> bool:
        """Whether people read it."""
        return self in (Format.TABLE, Format.WIDE)


def say(text: str = "") -> None:
    """Print a line of the answer."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Print a line about the answer, kept out of pipes."""
    sys.stderr.write(text + "\n")


def colourful(stream: TextIO) -> bool:
    """Return whether colours are wanted there (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, mood: str, stream: TextIO | None = None) -> str:
    """Colour a text as `good`, `warn`, `bad` or `dim` where the stream is a terminal."""
    return f"\x1b[{_COLOURS[mood]}m{text}\x1b[0m" if mood and colourful(stream or sys.stdout) else text


def printable(text: str) -> str:
    """Return a text that a terminal shows and does not obey: control characters in caret notation, line breaks as spaces."""
    return text if text.isprintable() else text.translate(_CONTROLS)


def terminal_width() -> int:
    """Return the columns of the terminal that stdout is, 0 where it is none: a pipe gets whole lines."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def cut(text: str, width: int) -> str:
    """Return a text in at most `width` characters, where what remains still tells something; 0: as it is."""
    return f"{text[: width - 1]}…" if _LEAST_CUT <= width < len(text) else text


class Table:
    """Rows under a heading. Widths only grow, so that rows that come later stay in line; empty cells are `-`.

    Args:
        columns: headings.
        moods: for each column, in order, what mood a value has.
        heading: whether to print the columns' names, before the first rows.
        prose: the last column is free text, which is cut where a terminal ends.

    """

    def __init__(
        self, columns: Sequence[str], *, moods: Sequence[dict[str, str]] = (), heading: bool = True, prose: bool = False
    ) -> None:
        self._columns = columns
        self._moods = moods
        self._heading = heading
        self._prose = prose
        self._widths = [len(title) if heading else 0 for title in columns]

    def text(self, rows: Iterable[Sequence[str]]) -> str:
        """Return lines for rows of as many cells as there are columns; under the heading the first time."""
        cells = [[printable(cell) or "-" for cell in row] for row in rows]
        self._widths = [max([width, *(len(row[i]) for row in cells)]) for i, width in enumerate(self._widths)]
        lines = [self._line(self._columns)] if self._heading else []
        self._heading = False
        return "\n".join([*lines, *(self._line(row, self._moods) for row in cells)])

    def _line(self, cells: Sequence[str], moods: Sequence[dict[str, str]] = ()) -> str:
        *fixed, last = cells
        padded = [cell.ljust(width) for cell, width in zip(fixed, self._widths, strict=False)]
        if self._prose and (width := terminal_width()):
            last = cut(last, width - sum(self._widths[:-1]) - len(_GAP) * len(fixed))
        line = [*padded, last]
        for index, mood in enumerate(moods):
            line[index] = paint(line[index], mood.get(cells[index], ""))
        return _GAP.join(line).rstrip()


def dump(document: Any, form: Format) -> str:
    """Return a document as indented JSON or as YAML, without a newline at the end."""
    builtins = msgspec.to_builtins(document)
    if form is Format.YAML:
        import yaml  # noqa: PLC0415 - 50 ms that only `-o yaml` pays

        return str(yaml.safe_dump(builtins, sort_keys=False, allow_unicode=True)).rstrip("\n")
    return msgspec.json.format(msgspec.json.encode(builtins), indent=2).decode()


def dump_stream(document: Any, form: Format) -> str:
    """Return one of several documents: JSON documents follow each other, YAML ones begin with `---`."""
    return f"---\n{dump(document, form)}" if form is Format.YAML else dump(document, form)


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
