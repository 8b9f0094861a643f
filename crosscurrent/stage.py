"""What an audience sees of the demo: steps as they happen, with the time, and the checks at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from crosscurrent.output import colourful, paint, say


class Check(msgspec.Struct, frozen=True):
    """Something the demo promised, and whether it is so."""

    promise: str
    kept: bool
    detail: str = ""


class Stage:
    """Prints; on a terminal what is under way shows a spinner. Collects the checks."""

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self._started = time.monotonic()

    def step(self, text: str) -> None:
        """Announce what happens next."""
        say()
        say(f"{self._clock()} {paint('▸', 'good')} {text}")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Tell something about the step."""
        say(f"{self._clock()}   {text}")
        sys.stdout.flush()

    def check(self, promise: str, kept: bool, detail: str = "") -> None:
        """Note whether a promise is kept, and show it."""
        self.checks.append(Check(promise, kept, detail))
        self.note(_marked(self.checks[-1]))

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that something takes its time."""
        if not colourful(sys.stdout):
            yield
            return
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

        with Console().status(f"{text} ..."):
            yield

    def summary(self) -> bool:
        """Print every check and return whether all promises were kept."""
        broken = [check for check in self.checks if not check.kept]
        say()
        for check in self.checks:
            say(_marked(check))
        say()
        elapsed = time.monotonic() - self._started
        total = len(self.checks)
        say(f"{total - len(broken)} of {total} checks passed in {elapsed:.0f} s.")
        return bool(self.checks) and not broken

    def _clock(self) -> str:
        return paint(f"[{time.monotonic() - self._started:6.1f}s]", "dim")


def _marked(check: Check) -> str:
    mark = paint("✓", "good") if check.kept else paint("✗", "bad")
    return f"{mark} {check.promise}" + (f"  ({check.detail})" if check.detail else "")
