"""Keys that another worker holds, as this one sees them: for how long already, and when to look again."""

from __future__ import annotations

from typing import NamedTuple

from engine.runtime.ports import Clock
from engine.runtime.view_loader import Fence
from schemas.decisions import EntryState

BUSY_NAK_SECONDS = 0.02
"""How soon a key that another worker holds is asked for again; most decisions take 10 to 50 ms."""
LONG_BUSY_NAK_SECONDS = 0.1
"""The same once it has been held for longer than that."""


class _Held(NamedTuple):
    seq: int
    """Of its open entry."""
    since: float
    """Monotonic time at which this worker first saw that entry."""
    again_at: float
    """Monotonic time before which it is not looked at again, whoever asks."""


class HeldKeys:
    """The keys, by their subject in DECISIONS."""

    def __init__(self, clock: Clock) -> None:
        """Count by this clock."""
        self._clock = clock
        self._held: dict[str, _Held] = {}

    def wait(self, subject: str) -> float:
        """Return the seconds until a key may be looked at again; 0 or less: now."""
        held = self._held.get(subject)
        return 0.0 if held is None else held.again_at - self._clock.monotonic()

    def seen(self, fence: Fence) -> float:
        """Take note of a key's entry; return for how long it has been seen open, in seconds; 0 the first time."""
        if fence.entry is None or fence.entry.state is not EntryState.OPEN:
            self._held.pop(fence.subject, None)
            return 0.0
        now = self._clock.monotonic()
        known = self._held.get(fence.subject)
        since = known.since if known is not None and known.seq == fence.entry_seq else now
        again = BUSY_NAK_SECONDS if now - since < LONG_BUSY_NAK_SECONDS else LONG_BUSY_NAK_SECONDS
        self._held[fence.subject] = _Held(fence.entry_seq, since, now + again)
        return now - since
