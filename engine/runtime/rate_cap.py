"""A cap on deletes: tokens that come at a fixed rate, for whoever comes first."""

from __future__ import annotations

from engine.runtime.ports import Clock

BURST_SECONDS = 1.0
"""A second's worth may go at once: a cap is against thousands, not against ten."""


class RateCap:
    """Gives turns at most so often."""

    def __init__(self, per_second: float, clock: Clock) -> None:
        """Give `per_second` turns a second, and a second's worth at once after a rest."""
        self._interval = 1.0 / per_second
        self._clock = clock
        self._next = float("-inf")

    async def turn(self, deadline: float) -> bool:
        """Wait for a turn; False at once if it would come after `deadline`, which is monotonic time."""
        now = self._clock.monotonic()
        at = max(self._next, now - BURST_SECONDS)
        if max(at, now) >= deadline:
            return False
        self._next = at + self._interval
        if at > now:
            await self._clock.sleep(at - now)
        return True
