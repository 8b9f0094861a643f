"""Requests on their way to REQUESTS: each key once, however many handlers want it woken at the same time.

Ten thousand dependents that leave one owner would publish its key ten thousand times, and each time some worker would be
handed it. So one publish is under way at a time, and what is wanted meanwhile goes with the next: a key that is asked for
again before it was sent is sent once. Whoever asks returns when a request that was sent *after* it asked is stored, so that
what it wrote before is seen by whoever answers.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable

from engine.runtime.ports import EventLog, Message
from engine.runtime.rounds import Rounds


class Wakes:
    """Publishes requests of one reconciler; one per process."""

    def __init__(self, log: EventLog) -> None:
        """Publish to `log`."""
        self._rounds = Rounds(functools.partial(log.publish_many, "REQUESTS"), "publish requests")

    async def publish(self, messages: Iterable[Message]) -> None:
        """Publish requests; the latest body of a subject counts.

        Raises:
            EventLogError: when the outcome is unknown; publish them again.

        """
        wanted = list(messages)
        if wanted:
            await asyncio.shield(self._rounds.add(wanted))
