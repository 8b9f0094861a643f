"""The broker of a running fleet: a configured one, or a nats-server of our own, started again when it dies."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from crosscurrent.errors import PortTaken, UserError
from crosscurrent.settings import Settings
from crosscurrent.state_directory import BrokerAddress, announced, broker_key, find_broker, write_credentials

if TYPE_CHECKING:
    from engine.sandbox.nats_server import Listener, NatsServer

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
    listener, address = _for_members(settings)
    try:
        server = NatsServer(
            settings.state_directory / STORE, port=nats.port, sync=nats.sync, token=nats.token, listener=listener
        )
        await asyncio.to_thread(server.start)
    except Taken as error:
        raise PortTaken(f"nats.port: {error}", "set nats.port to another port, or 0 for any that is free") from error
    except (SandboxError, OSError) as error:
        raise UserError(
            f"the embedded broker cannot be started: {error}", "or set nats.url to one of your own"
        ) from error
    keeping = asyncio.create_task(keep_running(server, restarted), name="embedded broker")
    address = msgspec.structs.replace(address, url=server.url, token="" if listener else server.token, pid=os.getpid())
    try:
        with announced(settings.state_directory, address):
            yield address
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        await asyncio.to_thread(server.stop, STOP_GRACE_S)


def _for_members(settings: Settings) -> tuple[Listener | None, BrokerAddress]:
    """Return how members reach the embedded broker, if any may join, and how our own processes then know it."""
    members = settings.config.members
    if not settings.config.registry.joins:
        return None, BrokerAddress(url="")
    from engine.core.broker_trust import BrokerTrust  # noqa: PLC0415 - only where members may join
    from engine.sandbox.nats_server import Listener  # noqa: PLC0415

    for field in ("certificate", "key"):
        if not Path(getattr(members, field)).is_file():
            raise UserError(f"members.{field}: {getattr(members, field)} does not exist", "agents need TLS to join")
    now, trust = int(time.time()), BrokerTrust(broker_key(settings.state_directory))
    credentials = write_credentials(settings.state_directory, trust.engine_credentials(now))
    listener = Listener(
        bind=members.bind,
        certificate=Path(members.certificate),
        key=Path(members.key),
        accounts=trust.configuration(now),
    )
    address = BrokerAddress(
        url="",
        credentials=str(credentials),
        tls=True,
        authority=members.authority,
        server_name=members.server_name,
    )
    return listener, address


async def keep_running(server: NatsServer, restarted: Callable[[], None]) -> None:
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
