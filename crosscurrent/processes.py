"""The one place where the commands meet the engine: everything heavy is imported here, inside the functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crosscurrent.state_directory import BrokerAddress

if TYPE_CHECKING:
    from engine.runtime.ports import EventLog


async def open_log(address: BrokerAddress) -> EventLog:
    """Connect to a broker."""
    raise NotImplementedError(address)
