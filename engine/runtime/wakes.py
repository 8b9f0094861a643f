"""Requests on their way to REQUESTS: each key once, however many handlers want it woken at the same time.

Ten thousand dependents that leave one owner would publish its key ten thousand times, and each time some worker would be
handed it. So one publish is under way at a time, and what is wanted meanwhile goes with the next: a key that is asked for
again before it was sent is sent once. Whoever asks returns when a request that was sent *after* it asked is stored, so that
what it wrote before is seen by whoever answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from engine.runtime.ports import EventLog, Message


class Wakes:
    """Publishes requests of one reconciler; one per process."""

    def __init__(self, log: EventLog) -> None:
        """Publish to `log`."""
        self._event_log = log
        self._next: _Round | None = None
        self._sender: asyncio.Task[None] | None = None

    async def publish(self, messages: Iterable[Message]) -> None:
        """Publish requests; the latest body of a subject counts.

        Raises:
            EventLogError: when the outcome is unknown; publish them again.

        """
        wanted = {message.subject: message for message in messages}
        if not wanted:
            return
        if self._next is None:
            self._next = _Round()
        mine = self._next
        mine.messages |= wanted
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all(), name="publish requests")
        await asyncio.shield(mine.stored)

    async def _send_all(self) -> None:
        while self._next is not None:
            sending, self._next = self._next, None
            try:
                await self._event_log.publish_many("REQUESTS", list(sending.messages.values()))
            except Exception as problem:  # noqa: BLE001 - whoever asked must learn it, whatever it is
                sending.stored.set_exception(problem)
                sending.stored.exception()  # they may all have been cancelled
            else:
                sending.stored.set_result(None)


class _Round:
    """What is sent together."""

    def __init__(self) -> None:
        self.messages: dict[str, Message] = {}
        self.stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
