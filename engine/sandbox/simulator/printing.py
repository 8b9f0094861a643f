"""What printers of tables share: columns, cells, and the parts of objects that most of them show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from engine.sandbox.simulator.human import Json, age

Cells = list[Any]


class Column(NamedTuple):
    """One column: its name, its JSON type, and whether only wide tables show it."""

    name: str
    type: str = "string"
    wide: bool = False


class Printer(NamedTuple):
    """How a type is printed."""

    columns: tuple[Column, ...]
    cells: Callable[[Json, float], Cells]


def columns(text: str) -> tuple[Column, ...]:
    """Return columns written as `Name, Desired:integer, +Images`; a plus means wide."""
    found = []
    for part in text.split(", "):
        name, _, kind = part.removeprefix("+").partition(":")
        found.append(Column(name, kind or "string", part.startswith("+")))
    return tuple(found)


def spec_of(obj: Json) -> Json:
    """Return an object's spec, {} without one."""
    return obj.get("spec") or {}


def status_of(obj: Json) -> Json:
    """Return an object's status, {} without one."""
    return obj.get("status") or {}


def name_of(obj: Json) -> str:
    """Return an object's name."""
    return str(obj["metadata"].get("name", ""))


def age_of(obj: Json, now: float) -> str:
    """Return how old an object is."""
    return age(obj["metadata"].get("creationTimestamp"), now)
