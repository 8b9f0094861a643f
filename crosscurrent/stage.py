"""What an audience sees of the demo: steps as they happen, with the time, and at the end what was checked.

On a terminal a small picture of the clusters stays below the steps and changes as they do. Elsewhere there are lines, without
colours, and the picture is printed where a step asks for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from crosscurrent.board import Board

PAUSE_S = 0.7
"""Between two steps on a terminal: machines need none, eyes do."""
_REFRESHES_PER_S = 8
_LEAST_COLUMNS, _LEAST_LINES = 72, 20
"""On a smaller terminal the picture would leave no room for the steps."""


class Check(msgspec.Struct, frozen=True):
    """Something the demo promised, and whether it is so."""

    promise: str
    kept: bool
    detail: str = ""


class Act(msgspec.Struct):
    """A step, what it shows, and its checks."""

    claim: str
    checks: list[Check] = []

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return all(check.kept for check in self.checks)


class Stage:
    """Prints, and collects the checks.

    Args:
        console: where to; None: stdout.
        moving: whether the picture stays and moves; None: on a terminal that has room for it.

    Attributes:
        moving: as given or found out.

    """

    def __init__(self, console: Console | None = None, *, moving: bool | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        roomy = self.console.width >= _LEAST_COLUMNS and self.console.height >= _LEAST_LINES
        self.moving = self.console.is_terminal and roomy if moving is None else moving
        self._acts: list[Act] = []
        self._started = time.monotonic()
        self._board: Board | None = None
        self._spinner: Spinner | None = None

    def step(self, text: str, claim: str = "") -> None:
        """Announce what happens next.

        Args:
            text: what is done.
            claim: what that shows, for the summary; empty: the text.

        """
        self._acts.append(Act(claim or text))
        self.say()
        self._line(Text.assemble(("▸ ", "bold cyan"), (text, "bold")))

    def note(self, text: str) -> None:
        """Tell something about the step."""
        self._line(Text(f"  {text}"))

    def check(self, promise: str, kept: bool, detail: str = "") -> None:
        """Note whether a promise is kept, and show it."""
        check = Check(promise, kept, detail)
        if not self._acts:
            self._acts.append(Act(promise))
        self._acts[-1].checks.append(check)
        self._line(Text("  ").append_text(_marked(check)))

    def say(self, text: str = "") -> None:
        """Print a line as it is."""
        self.console.print(Text(text), soft_wrap=True)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that something takes its time."""
        if not self.moving:
            yield
            return
        self._spinner = Spinner("dots", text=Text(f"{text} ...", style="dim"))
        try:
            if self._board is not None:
                yield
            else:
                with self._live(lambda: self._spinner or ""):
                    yield
        finally:
            self._spinner = None

    @asynccontextmanager
    async def showing(self, board: Board) -> AsyncIterator[None]:
        """Show a picture of the clusters for as long as the block runs."""
        self._board = board
        if not self.moving:
            yield
            self._board = None
            return
        watching = asyncio.create_task(board.watch(), name="picture")
        try:
            with self._live(lambda: Group(board.picture(), self._spinner or "", "")):
                yield
        finally:
            self._board = None
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def picture(self) -> None:
        """Show the clusters as they are at this moment, where they are not shown all the time."""
        if self._board is not None and not self.moving:
            await self._board.look()
            self.console.print(self._board.picture(), soft_wrap=True)

    async def breathe(self) -> None:
        """Give the audience time to see what a step has done."""
        if self.moving:
            await asyncio.sleep(PAUSE_S)

    def summary(self) -> bool:
        """Print what was checked and return whether all promises were kept."""
        acts = [act for act in self._acts if act.checks]
        checks = [check for act in acts for check in act.checks]
        broken = [check for check in checks if not check.kept]
        self.say()
        self.console.print(Text("What was checked", style="bold"))
        for act in acts:
            count = f"{len(act.checks)} check{'s' * (len(act.checks) != 1)}"
            self.console.print(Text("  ").append_text(_marked(Check(act.claim, act.kept, count))), soft_wrap=True)
        for check in broken:
            self.console.print(Text("  broken: ").append_text(_marked(check)), soft_wrap=True)
        elapsed = time.monotonic() - self._started
        self.say()
        self.say(f"{len(checks) - len(broken)} of {len(checks)} checks passed in {elapsed:.0f} s.")
        return bool(checks) and not broken

    def _line(self, text: Text) -> None:
        clock = (f"[{time.monotonic() - self._started:6.1f}s] ", "dim")
        self.console.print(Text.assemble(clock, text), soft_wrap=True)

    def _live(self, draw: Callable[[], RenderableType]) -> Live:
        return Live(get_renderable=draw, console=self.console, refresh_per_second=_REFRESHES_PER_S, transient=True)


def _marked(check: Check) -> Text:
    mark = ("✓ ", "green") if check.kept else ("✗ ", "bold red")
    detail = (f"  ({check.detail})", "dim") if check.detail else ""
    return Text.assemble(mark, check.promise, detail)
