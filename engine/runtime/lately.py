"""What this process has deleted lately: INDEX and STATE know of a delete only after its fact has passed through two others.

The collector fills it and asks nobody again about what is in it; the nomination of dependents leaves it out. An epoch goes
with each, as what a restored etcd brings back is there again; and it counts for a while only, as what has a finalizer is
still there. Nothing here is evidence.
"""

from __future__ import annotations

from collections import OrderedDict

from engine.core.cascade import LATELY_SECONDS
from engine.runtime.ports import Clock
from schemas.names import Uid

REMEMBERED = 50_000
"""Some 10 MB; more than are deleted in that time."""


class Lately:
    """Remembers deleted objects for `LATELY_SECONDS`; one per process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._deleted: OrderedDict[Uid, tuple[int, float]] = OrderedDict()
        """The epoch of its cluster, and until when it counts, in monotonic time; the oldest first."""

    def add(self, uid: Uid, epoch: int) -> None:
        """Remember what has just been deleted in this epoch of its cluster."""
        self._deleted[uid] = epoch, self._clock.monotonic() + LATELY_SECONDS
        if len(self._deleted) > REMEMBERED:
            self._deleted.popitem(last=False)

    def holds(self, uid: Uid, epoch: int) -> bool:
        """Return whether an object of a cluster in this epoch was deleted lately."""
        known = self._deleted.get(uid)
        return known is not None and known[0] == epoch and self._clock.monotonic() < known[1]
