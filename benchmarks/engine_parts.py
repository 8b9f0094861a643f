"""The engine's parts as the benchmarks need them, put together in one place."""

from __future__ import annotations

from pathlib import Path

import msgspec

from crosscurrent.state_directory import BrokerAddress
from engine.runtime.event_log import NatsEventLog


async def open_log(url: str, token: str) -> NatsEventLog:
    """Connect to a broker."""
    return await NatsEventLog.connect(url, token=token)


def broker_of(broker_file: str) -> BrokerAddress:
    """Return the address of a running `up`'s broker; see `Fleet.broker_file`."""
    return msgspec.json.decode(Path(broker_file).read_bytes(), type=BrokerAddress)
