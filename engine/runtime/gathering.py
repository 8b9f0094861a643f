"""Lets those who come shortly after each other go on together, so that what they ask and write is one request, not many.

The broker stores sixty-four messages for the price of fifteen single ones where it syncs always, and whoever syncs less
leaves the disk to the others. Requests and messages are put together where they are sent (`engine.runtime.log_publish`,
`engine.runtime.log_read`), but only those that wait there at the same moment. This is for work that nobody waits for.
"""

from __future__ import annotations

import asyncio

from engine.runtime.ports import Clock


class Gathering:
    """A place to wait for others; whoever comes after a rest does not wait."""

    def __init__(self, clock: Clock, *, most: int, quiet: float, longest: float) -> None:
        """Take when a group goes on.

        Args:
            clock: time.
            most: members; then it goes at once.
            quiet: seconds in which nobody has come; then there is nobody to wait for.
            longest: seconds that the first one waits.

        """
        self._clock = clock
        self._most, self._quiet, self._longest = most, quiet, longest
        self._came = float("-inf")
        self._group: _Group | None = None

    async def join(self) -> None:
        """Wait for the others, if any have come a moment ago, and go on with them."""
        now = self._clock.monotonic()
        rested, self._came = now - self._came >= self._quiet, now
        if self._group is not None:
            await self._follow(self._group)
        elif not rested:
            await self._lead(now)

    async def _follow(self, group: _Group) -> None:
        group.size += 1
        if group.size >= self._most:
            self._go(group)
        else:
            await group.gone.wait()

    async def _lead(self, since: float) -> None:
        """Wait on behalf of a new group; if this one is cancelled, the others go on."""
        group = self._group = _Group()
        try:
            while not group.gone.is_set() and self._clock.monotonic() - since < self._longest:
                last = self._came
                await self._clock.sleep(self._quiet)
                if self._came == last:
                    break
        finally:
            self._go(group)

    def _go(self, group: _Group) -> None:
        group.gone.set()
        if self._group is group:
            self._group = None


class _Group:
    """Those who wait together."""

    def __init__(self) -> None:
        self.size = 1
        self.gone = asyncio.Event()
