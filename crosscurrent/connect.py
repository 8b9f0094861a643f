"""From a configuration to a connected event log, for commands that look at a fleet that runs elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from crosscurrent import processes
from crosscurrent.settings import Settings
from crosscurrent.state_directory import find_broker
from engine.runtime.ports import EventLog


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[EventLog]:
    """Connect to the configured broker, or to that of a running `up`.

    Raises:
        BrokerNotFound: when there is neither.
        BrokerUnreachable: when it does not answer.

    """
    log = await processes.open_log(find_broker(settings), settings)
    try:
        yield log
    finally:
        await log.close()
