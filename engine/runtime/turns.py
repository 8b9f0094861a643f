"""Turns at keys within one process: one delivery of a key works, at most one waits.

The fence would stop a second worker too, but only after it has read everything, and then it would have to be asked for again;
so it waits for the first and goes on from there. A third one replaces the one that waits: REQUESTS keeps only the newest of a
subject, so the older is a copy of something that is no longer there, and whoever comes last reads all that either was about.
Only the newest is left unacknowledged; if this process dies, the broker hands that one out again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum


class Turn(StrEnum):
    """What has become of a delivery's turn."""

    GO = "go"
    REPLACED = "replaced"
    """A newer request for the key is here: acknowledge this one."""
    BUSY = "busy"
    """The key has been held all the time: ask for this one again."""


class Turns:
    """The keys in work here."""

    def __init__(self, patience: float) -> None:
        """Let a delivery wait for `patience` seconds."""
        self._patience = patience
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def take(self, key: str, seq: int) -> AsyncIterator[Turn]:
        """Wait for a turn at a key; it ends with the context.

        Args:
            key: which.
            seq: the request's sequence in its stream, which tells the newer of two.

        """
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line()
            turn = Turn.GO
        else:
            turn = await self._wait(key, line, seq)
        try:
            yield turn
        finally:
            if turn is Turn.GO:
                self._leave(key, line)

    async def _wait(self, key: str, line: _Line, seq: int) -> Turn:
        if line.waiter is not None:
            if seq < line.seq:
                return Turn.BUSY  # no older one could be here: the stream has begun anew
            line.waiter.set_result(Turn.REPLACED)
        mine: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        line.waiter, line.seq = mine, seq
        try:
            # Unlike a timeout, `wait` does not lose what the future was given at the last moment.
            await asyncio.wait([mine], timeout=self._patience)
        except asyncio.CancelledError:
            if mine.done() and mine.result() is Turn.GO:
                self._leave(key, line)
            raise
        finally:
            if line.waiter is mine:
                line.waiter = None
        return mine.result() if mine.done() else Turn.BUSY

    def _leave(self, key: str, line: _Line) -> None:
        """Give the turn to whoever waits for it."""
        if line.waiter is None:
            del self._lines[key]
        else:
            line.waiter.set_result(Turn.GO)
            line.waiter = None


class _Line:
    """Whoever waits for one key."""

    def __init__(self) -> None:
        self.waiter: asyncio.Future[Turn] | None = None
        self.seq = 0
        """Of the request that waits."""
