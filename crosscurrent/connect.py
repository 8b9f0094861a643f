"""From a configuration to a connected event log, for commands that look at a fleet that runs elsewhere."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from crosscurrent import logs, processes
from crosscurrent.errors import BrokerUnreachable
from crosscurrent.settings import Settings
from crosscurrent.state_directory import find_broker
from engine.runtime.ports import EventLog, EventLogError


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[EventLog]:
    """Connect to the configured broker, or to that of a running `up`.

    Raises:
        BrokerNotFound: when there is neither.
        BrokerUnreachable: when it does not answer, now or while the block reads.

    """
    logs.configure("crosscurrent", level=logging.WARNING)
    address = find_broker(settings)
    log = await processes.open_log(address, settings)
    try:
        yield log
    except EventLogError as error:
        raise BrokerUnreachable(f"the broker at {address.url}: {error}", "`crosscurrent doctor` says more") from error
    finally:
        await log.close()
