"""The broker of a running fleet: a configured one, or a nats-server of our own, started again when it dies."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import structlog

from crosscurrent.errors import PortTaken, UserError
from crosscurrent.settings import Settings
from crosscurrent.state_directory import BrokerAddress, announced, find_broker

if TYPE_CHECKING:
    from engine.sandbox.nats_server import NatsServer

STORE = "nats"
"""Directory of the embedded broker's store inside the state directory."""
STOP_GRACE_S = 3.0
"""nats-server closes its store in less than a second; with the children's grace this keeps an end within 10 s."""
_LOOK_S = 0.5
"""Between looks at whether the embedded broker still runs."""
_MAX_DELAY_S = 10.0

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def running_broker(settings: Settings, restarted: Callable[[], None]) -> AsyncIterator[BrokerAddress]:
    """Provide the broker for as long as the block runs, and leave word of an embedded one in the state directory.

    Args:
        settings: name the broker, or say how to run one.
        restarted: called when the embedded one has died and runs again.

    Raises:
        PortTaken: when another process has the embedded broker's port.
        UserError: when it cannot be started.

    """
    if settings.config.nats.url:
        yield find_broker(settings)
        return
    from engine.sandbox.nats_server import NatsServer  # noqa: PLC0415 - only for an embedded broker
    from engine.sandbox.processes import PortTaken as Taken  # noqa: PLC0415
    from engine.sandbox.processes import SandboxError  # noqa: PLC0415

    nats = settings.config.nats
    try:
        server = NatsServer(settings.state_directory / STORE, port=nats.port, sync=nats.sync, token=nats.token)
        await asyncio.to_thread(server.start)
    except Taken as error:
        raise PortTaken(f"nats.port: {error}", "set nats.port to another port, or 0 for any that is free") from error
    except (SandboxError, OSError) as error:
        raise UserError(
            f"the embedded broker cannot be started: {error}", "or set nats.url to one of your own"
        ) from error
    keeping = asyncio.create_task(_keep(server, restarted), name="embedded broker")
    address = BrokerAddress(url=server.url, token=server.token, pid=os.getpid())
    try:
        with announced(settings.state_directory, address):
            yield address
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        await asyncio.to_thread(server.stop, STOP_GRACE_S)


async def _keep(server: NatsServer, restarted: Callable[[], None]) -> None:
    """Start the broker again, on the same port and store, whenever it has died; clients reconnect by themselves."""
    from engine.sandbox.processes import SandboxError  # noqa: PLC0415

    delay = _LOOK_S
    while True:
        await asyncio.sleep(delay)
        if server.process.running:
            delay = _LOOK_S
            continue
        _log.warning("the embedded broker died, starting it again", port=server.port)
        try:
            await asyncio.to_thread(server.start)
        except (SandboxError, OSError) as error:
            delay = min(delay * 2, _MAX_DELAY_S)
            _log.error("the embedded broker cannot be started", error=str(error), retry_in_seconds=delay)
            continue
        restarted()
