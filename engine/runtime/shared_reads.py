"""One question at a time: whoever asks meanwhile shares the answer, and an answer that may be kept serves a little longer.

Without it a thousand dependents that are judged together ask for the same grants a thousand times whenever what is
remembered of them has run out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from engine.runtime.ports import Clock

MOST_KEPT = 10_000
"""Answers; then all are asked for anew."""

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")


class SharedReads(Generic[Key, Answer]):
    """Answers by key; one per kind of question and process."""

    def __init__(self, clock: Clock, seconds: float, *, keeps: Callable[[Answer], bool] = lambda _: True) -> None:
        """Keep answers.

        Args:
            clock: time.
            seconds: for which an answer is used, counted from when it was asked for.
            keeps: which answers may be used again at all; those who asked together share the others too.

        """
        self._clock, self._seconds, self._keeps = clock, seconds, keeps
        self._kept: dict[Key, tuple[float, Answer]] = {}
        self._running: dict[Key, asyncio.Task[Answer]] = {}

    async def read(self, key: Key, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return the answer to a question, from `ask` unless somebody has it; what that raises, all who asked get."""
        kept = self._kept.get(key)
        if kept is not None and self._clock.monotonic() - kept[0] <= self._seconds:
            return kept[1]
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._ask(key, ask), name=f"read {key}")
            task.add_done_callback(_retrieved)
        return await asyncio.shield(task)

    def forget(self, key: Key) -> None:
        """Let the next one ask anew, also where the question is under way: its answer may be from before."""
        self._kept.pop(key, None)
        self._running.pop(key, None)

    async def _ask(self, key: Key, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        me = asyncio.current_task()
        asked_at = self._clock.monotonic()
        try:
            answer = await ask()
            if self._keeps(answer) and self._running.get(key) is me:
                if len(self._kept) >= MOST_KEPT:
                    self._kept.clear()
                self._kept[key] = (asked_at, answer)
            return answer
        finally:
            if self._running.get(key) is me:
                del self._running[key]


def _retrieved(task: asyncio.Task[Answer]) -> None:
    """Look at the exception: whoever waited for it may have been cancelled."""
    if not task.cancelled():
        task.exception()
