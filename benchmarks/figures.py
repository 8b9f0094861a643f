"""What a benchmark returns: figures with their spread, and the targets that they are held to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Literal

import msgspec


class Target(msgspec.Struct, frozen=True):
    """What the median of a figure must be."""

    sign: Literal[">=", "<="]
    value: float

    def met(self, value: float) -> bool:
        """Return whether a value is good enough."""
        return value >= self.value if self.sign == ">=" else value <= self.value

    def __str__(self) -> str:
        return f"{self.sign} {number(self.value)}"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table: a value per round."""

    name: str
    values: tuple[float, ...]
    unit: str = ""
    fsync: str = ""
    """Which fsync mode the broker ran with; empty where no broker takes part."""
    target: Target | None = None
    strict: bool = False
    """Whether every round must meet the target, not only their median: for what must never happen."""

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return median(self.values)

    @property
    def missed(self) -> bool:
        """Whether there is a target and it is not met."""
        if self.target is None:
            return False
        judged = self.values if self.strict else (self.median,)
        return not all(self.target.met(value) for value in judged)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks of every benchmark."""

    quick: bool
    """Small sizes: shows that everything works, and roughly how fast."""
    rounds: int
    directory: Path
    """For stores and logs; deleted at the end unless it was named on the command line."""
    say: Callable[[str], None]
    """Takes a line about what is going on."""


class Report(msgspec.Struct, frozen=True):
    """What one benchmark found."""

    benchmark: str
    """Its name and a word on how it was measured."""
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()
    """What a reader of the figures must know."""
    raw: dict[str, object] = {}
    """Everything measured, for the JSON file."""


def figure(
    name: str,
    values: Sequence[float] | float,
    unit: str = "",
    *,
    fsync: str = "",
    at_least: float | None = None,
    at_most: float | None = None,
    strict: bool = False,
) -> Figure:
    """Return a figure; `at_least` or `at_most` is its target."""
    rounds = (float(values),) if isinstance(values, int | float) else tuple(map(float, values))
    target = None
    if at_least is not None:
        target = Target(">=", at_least)
    elif at_most is not None:
        target = Target("<=", at_most)
    return Figure(name=name, values=rounds, unit=unit, fsync=fsync, target=target, strict=strict)


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ratio of each round: rounds are interleaved, so what disturbed one side disturbed the other."""
    return [one / other for one, other in zip(above, below, strict=True)]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0..1) of the values do not exceed; nan of none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    rank = max(0, -(-len(ordered) * share // 1) - 1)
    return ordered[min(int(rank), len(ordered) - 1)]


def number(value: float) -> str:
    """Return a value with three significant digits or, if it is large, as a whole number with thousands separated."""
    if value != value:  # noqa: PLR0124 - nan
        return "none"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
