"""A member's own broker: a nats-server beside the agent, for itself alone, where facts wait while the hub is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from crosscurrent.broker import STOP_GRACE_S, keep_running
from crosscurrent.errors import UserError

if TYPE_CHECKING:
    from engine.runtime.kept_facts import KeptFacts
    from schemas.names import ClusterId, ClusterName

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def kept_facts(
    directory: Path, limit: int, cluster: ClusterName, identity: ClusterId
) -> AsyncIterator[KeptFacts]:
    """Provide the facts that are kept in a directory for as long as the block runs.

    Args:
        directory: of the broker's store.
        limit: bytes.
        cluster: the member's name.
        identity: of the member.

    Raises:
        UserError: when they cannot be kept there.

    """
    from engine.runtime.jetstream import Connection  # noqa: PLC0415 - only where facts are kept
    from engine.runtime.kept_facts import KeptFacts  # noqa: PLC0415
    from engine.runtime.ports import EventLogError  # noqa: PLC0415
    from engine.sandbox.nats_server import NatsServer  # noqa: PLC0415
    from engine.sandbox.processes import SandboxError  # noqa: PLC0415

    server = NatsServer(directory)
    connection, facts = None, None
    try:
        await asyncio.to_thread(server.start)
        connection = await Connection.open(server.url, name=f"crosscurrent agent of {cluster}", token=server.token)
        facts = KeptFacts(connection, cluster, identity, limit)
        await facts.open()
    except (SandboxError, OSError, EventLogError) as problem:
        if connection is not None:
            await connection.close()
        await asyncio.to_thread(server.stop, STOP_GRACE_S)
        raise UserError(
            f"facts cannot be kept in {directory}: {problem}", "leave out --keep to go without"
        ) from problem
    running = asyncio.create_task(keep_running(server, lambda: None), name="own broker")
    _log.info("facts are kept while the hub is away", directory=str(directory), bytes=limit, waiting=facts.waiting)
    try:
        yield facts
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await facts.close()
        await connection.close()
        await asyncio.to_thread(server.stop, STOP_GRACE_S)
