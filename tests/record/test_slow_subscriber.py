"""A subscriber that does not read is cut off by the broker: the engine and the other subscribers go on, and lose nothing."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from engine.runtime.event_log import NatsEventLog
from engine.runtime.ports import Message
from engine.sandbox.nats_server import NatsServer
from schemas import subjects
from schemas.names import ObjectRef
from tests.builders import C2
from tests.record.engine_run import tell_a_story, working

MESSAGES, BYTES = 400, 256 * 1024
"""100 MB: more than the 64 MB that the broker holds for a client, and than any socket's buffers."""

pytestmark = pytest.mark.broker


@asynccontextmanager
async def deaf(server: NatsServer, subject: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.Transport]]:
    """A plain NATS client that has subscribed and reads no more."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", server.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
    await reader.readline()
    options = json.dumps({"auth_token": server.token, "verbose": False, "name": "deaf"})
    writer.write(f"CONNECT {options}\r\nSUB {subject} 1\r\nPING\r\n".encode())
    assert await reader.readline() == b"PONG\r\n"
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    try:
        yield reader, writer.transport
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def test_a_subscriber_that_does_not_read_is_cut_off_and_holds_up_nobody(
    nats_server: NatsServer, broker_log: NatsEventLog
) -> None:
    wanted = [subjects.fact(ObjectRef(C2, "", "configmaps", "default", f"large-{n}")) for n in range(MESSAGES)]
    heard: list[str] = []

    async def listen() -> None:
        async for record in broker_log.follow("FACTS", [subjects.facts_of(C2, "", "configmaps")], after=0):
            heard.append(record.subject)
            if len(heard) == MESSAGES:
                return

    async with deaf(nats_server, "facts.>") as (reader, transport), working(broker_log) as world:
        listening = asyncio.create_task(listen())
        for subject in wanted:
            await broker_log.publish([Message(subject=subject, body=b"x" * BYTES, id=subject)])
        await tell_a_story(broker_log, world)  # which ends only when every write has been decided and done
        await asyncio.wait_for(listening, 30.0)
        transport.resume_reading()  # type: ignore[attr-defined]
        left = 0
        while chunk := await asyncio.wait_for(reader.read(1 << 20), 30.0):
            left += len(chunk)
    assert heard == wanted
    assert left < MESSAGES * BYTES, "it was not cut off"
