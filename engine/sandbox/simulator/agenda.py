"""What controllers have to do, and when: one queue for all controllers of a cluster, driven from outside.

In: keys to look at, now or later. Out: calls of the controllers' reconcile functions when `run` is called with a time
that has come; a reconcile says when it wants to look again. Nothing here reads a clock or waits, so an hour passes as
fast as it is told.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from itertools import count
from typing import Any

from engine.sandbox.simulator.errors import ApiError

Reconcile = Callable[[Any], float | None]
"""Looks at a key; returns after how many seconds it wants to look again, or None."""

FIRST_RETRY_SECONDS = 0.005
LAST_RETRY_SECONDS = 1000.0
"""Between them a refused write is tried again, at twice the distance each time, as client-go's work queues do."""


class Agenda:
    """Keys and when they are due.

    Args:
        clock: seconds since 1970.

    Attributes:
        on_earlier: called when something becomes due before what was due first; None: nobody wants to know.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.on_earlier: Callable[[], None] | None = None
        self._clock = clock
        self._heap: list[tuple[float, int, Reconcile, Hashable]] = []
        self._due: dict[tuple[Reconcile, Hashable], float] = {}
        self._failures: dict[tuple[Reconcile, Hashable], int] = {}
        self._number = count()

    def add(self, reconcile: Reconcile, key: Hashable, delay: float = 0.0) -> None:
        """Look at a key, once, after `delay` seconds at the latest."""
        due = self._clock() + delay
        known = self._due.get((reconcile, key))
        if known is not None and known <= due:
            return
        self._due[reconcile, key] = due
        first = self.next_due()
        heapq.heappush(self._heap, (due, next(self._number), reconcile, key))
        if self.on_earlier is not None and (first is None or due < first):
            self.on_earlier()

    def next_due(self) -> float | None:
        """Return when the next key is due; None: there is none."""
        heap = self._heap
        while heap and self._due.get((heap[0][2], heap[0][3])) != heap[0][0]:
            heapq.heappop(heap)  # it was moved to an earlier time, and is done
        return heap[0][0] if heap else None

    def run(self, most: int) -> bool:
        """Look at the keys that are due, up to `most`; return whether more are due."""
        now = self._clock()
        for _ in range(most):
            due = self.next_due()
            if due is None or due > now:
                return False
            _, _, reconcile, key = heapq.heappop(self._heap)
            del self._due[reconcile, key]
            self._look(reconcile, key)
        due = self.next_due()
        return due is not None and due <= now

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()
        self._due.clear()
        self._failures.clear()

    def _look(self, reconcile: Reconcile, key: Hashable) -> None:
        try:
            again = reconcile(key)
        except ApiError:
            failures = self._failures.get((reconcile, key), 0)
            self._failures[reconcile, key] = failures + 1
            again = min(FIRST_RETRY_SECONDS * 2**failures, LAST_RETRY_SECONDS)
        else:
            self._failures.pop((reconcile, key), None)
        if again is not None:
            self.add(reconcile, key, again)
