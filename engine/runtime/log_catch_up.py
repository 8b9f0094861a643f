"""STATE never goes back before its readers' eyes.

STATE is written without fsync (see `streams`): after a crash its tail is missing for a moment, until the broker has sourced
it again, with the same sequences. A worker that read in that moment would take a new object for absent, and nobody would
wake it again: the consumers of STATE are past it. So on every new connection nothing of STATE is read until it has all that
FACTS had when the connection was made, which is all that anyone can have seen.
"""

from __future__ import annotations

import asyncio

import structlog

from engine.runtime.jetstream import Connection, Json
from engine.runtime.log_setup import stream_info
from engine.runtime.streams import FACTS, STATE

PATIENCE_SECONDS = 15.0
"""After a crash it takes well under a second. Longer means that the source stands still, which is for `heal` to mend; what
STATE has is then read as it is."""
LOOK_EVERY_SECONDS = 0.02

_log = structlog.get_logger(__name__)


class CatchUp:
    """Knows whether STATE is whole on the present connection."""

    def __init__(self, connection: Connection) -> None:
        """Watch over `connection`."""
        self._connection = connection
        self._passed = 0
        self._waiting: asyncio.Task[None] | None = None

    @property
    def is_done(self) -> bool:
        """Whether STATE may be read now."""
        return self._connection.is_up and self._passed == self._connection.generation

    async def wait(self) -> None:
        """Return when STATE may be read.

        Raises:
            EventLogError: when the broker does not answer.

        """
        while not self.is_done:
            if self._waiting is None or self._waiting.done():
                self._waiting = asyncio.create_task(self._look(), name="STATE catches up")
            await asyncio.shield(self._waiting)

    async def close(self) -> None:
        """Stop looking."""
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.gather(self._waiting, return_exceptions=True)

    async def _look(self) -> None:
        await self._connection.wait_up(PATIENCE_SECONDS)
        generation = self._connection.generation
        facts = await stream_info(self._connection, FACTS)
        target = int(facts["state"]["last_seq"]) if facts else 0
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    state = await stream_info(self._connection, STATE)
                    if state is None or _has(state, target):
                        break
                    await asyncio.sleep(LOOK_EVERY_SECONDS)
        except TimeoutError:
            _log.warning("STATE lags behind FACTS and is read as it is", facts=target)
        self._passed = generation


def _has(state: Json, target: int) -> bool:
    position = source_position(state)
    return position is None or position >= target


def source_position(state: Json) -> int | None:
    """Return up to which sequence of FACTS STATE has read, None where the broker does not say.

    Args:
        state: what the broker says of STATE.

    """
    sources, wanted = state.get("sources") or [{}], state["config"].get("sources") or [{}]
    started = wanted[0].get("opt_start_seq")
    read = sources[0].get("seq")  # since nats-server 2.15
    if read is None and started is None:
        return None
    return max(int(read or 0), int(started or 1) - 1)
