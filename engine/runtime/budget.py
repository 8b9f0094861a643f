"""How many requests one cluster gets at once: additive increase, multiplicative decrease on overload (DESIGN §7).

Overload is a 429, a 504, and an answer that did not come within a request's time: it may be the server's or our own that is
too busy, and either gets more done with fewer requests at once.

One budget per cluster, shared by everything that writes to it, so that a slow cluster holds up nobody else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from contextlib import suppress

from engine.runtime.ports import Clock, ClusterUnreachable, Reply

MOST = 96
"""In flight at first and at most. An API server admits some 600 requests at once by default, shared with all its clients,
and answers a write in 5 to 20 ms: this is several thousand a second, more than one process sends."""
LEAST = 1
"""There is always one, or nothing would ever find out that the cluster recovered."""
OVERLOADED = (429, 504)
"""An API server that could not answer within the time that a request gave it is as overloaded as one that says so: what it
did for it is lost, and the request comes again."""
CALM_SECONDS = 1.0
"""After a cut, further ones count for nothing so long: they answer requests that were sent before it."""


class Budget:
    """Slots of one cluster."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._limit = float(most)
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._calm_until = float("-inf")

    @property
    def limit(self) -> int:
        """Requests in flight that are allowed just now."""
        return int(self._limit)

    def take_now(self) -> bool:
        """Take one slot if one is free and nobody waits for it."""
        free = self._taken < self.limit and not self._waiting
        self._taken += free
        return free

    async def take(self) -> None:
        """Take one slot; waits for it, first come first served. Whoever took one gives it back."""
        if self.take_now():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with suppress(ValueError):
                    self._waiting.remove(turn)
            else:
                self.give_back()  # it was given to us just as we gave up
            raise

    def give_back(self) -> None:
        """Let the next one have the slot."""
        self._taken -= 1
        self._wake()

    async def learn_from(self, exchange: Awaitable[Reply], clock: Clock) -> Reply:
        """Return the answer of an exchange, and take into account how it ended.

        Raises:
            ClusterUnreachable: as the exchange did.

        """
        try:
            reply = await exchange
        except ClusterUnreachable as error:
            if error.sent:
                self._cut(clock.monotonic())
            raise
        self.learn(reply.status, clock.monotonic())
        return reply

    def learn(self, status: int, now: float) -> None:
        """Take an answer into account.

        Args:
            status: HTTP status.
            now: monotonic seconds.

        """
        if status in OVERLOADED:
            self._cut(now)
        elif 200 <= status < 300:
            # One more for every full window of successes.
            self._limit = min(self._most, self._limit + 1 / self._limit)
            self._wake()

    def _cut(self, now: float) -> None:
        if now >= self._calm_until:
            self._limit = max(LEAST, self._limit / 2)
            self._calm_until = now + CALM_SECONDS

    def _wake(self) -> None:
        while self._waiting and self._taken < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)
