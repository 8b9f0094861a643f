"""Preparing streams on a real broker, and the door itself: limits, authentication, addresses."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress

import pytest

from engine.runtime.event_log import NatsEventLog
from engine.runtime.jetstream import Connection
from engine.runtime.log_errors import Refused
from engine.runtime.ports import EventLogError, Message, MessageTooLarge
from engine.sandbox.nats_server import NatsServer
from tests.runtime.test_event_log_broker import ROOT, connected, door, fact, log, server

__all__ = ["door", "log", "server"]  # fixtures

pytestmark = pytest.mark.broker


# --- preparing ---


async def test_processes_that_prepare_at_once_agree(server: NatsServer) -> None:
    program = (
        "import asyncio, sys\n"
        "from engine.runtime.event_log import NatsEventLog\n"
        "async def main():\n"
        "    log = await NatsEventLog.connect(sys.argv[1], token=sys.argv[2])\n"
        "    await log.prepare()\n"
        "    print(await log.incarnation('FACTS'), await log.incarnation('STATE'))\n"
        "    await log.close()\n"
        "asyncio.run(main())\n"
    )
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, server.url, server.token, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    outputs = [(await process.communicate())[0].decode().splitlines()[-1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(set(outputs)) == 1


async def test_a_stream_with_other_settings_is_migrated_and_keeps_its_messages(
    server: NatsServer, door: Connection
) -> None:
    await door.api("STREAM.CREATE.DECISIONS", {"name": "DECISIONS", "subjects": ["decisions.>"], "storage": "file"})
    await door.request("decisions.a", b"kept")
    async with connected(server, fact_days=3) as log:
        await log.prepare()
        await log.append("DECISIONS", Message(subject="decisions.a", body=b"", ttl=60), rollup=True, expect_last=1)
    async with connected(server, fact_days=5) as log:
        await log.prepare()
        assert (await door.api("STREAM.INFO.FACTS"))["config"]["max_age"] == 5 * 86400 * 10**9


async def test_a_stream_that_cannot_be_migrated_is_named_with_the_way_out(server: NatsServer, door: Connection) -> None:
    await door.api("STREAM.CREATE.INDEX", {"name": "INDEX", "subjects": ["owners.>"], "storage": "memory"})
    async with connected(server) as log:
        with pytest.raises(EventLogError, match=r"INDEX.*delete the stream"):
            await log.prepare()


async def test_a_foreign_stream_with_our_subjects_is_named(server: NatsServer, door: Connection) -> None:
    await door.api("STREAM.CREATE.OTHERS", {"name": "OTHERS", "subjects": ["facts.>"], "storage": "file"})
    async with connected(server) as log:
        with pytest.raises(EventLogError, match=r"FACTS.*another stream"):
            await log.prepare()


async def test_more_replicas_than_servers_are_refused_in_words(server: NatsServer) -> None:
    log = await NatsEventLog.connect(server.url, token=server.token, replicas=3)
    with pytest.raises(EventLogError, match=r"FACTS.*replicas"):
        await log.prepare()
    await log.close()


# --- the door ---


async def test_a_message_at_the_limit_passes_and_one_over_it_leaves_the_connection_whole(
    server: NatsServer, log: NatsEventLog, door: Connection
) -> None:
    room = door.max_payload - 256
    await log.publish([fact("fits", b"x" * room)])
    with pytest.raises(MessageTooLarge, match="max_payload"):
        await log.publish([fact("too-large", b"x" * door.max_payload)])
    await log.publish([fact("next")])
    assert await log.last_sequence("FACTS") == 2


async def test_a_wrong_token_is_refused_at_once(server: NatsServer) -> None:
    started = time.monotonic()
    with pytest.raises(EventLogError, match=r"(?i)authorization"):
        await NatsEventLog.connect(server.url, token="wrong")
    assert time.monotonic() - started < 3.0


async def test_a_token_may_be_in_the_url_and_is_in_no_message(server: NatsServer) -> None:
    with_token = server.url.replace("nats://", f"nats://{server.token}@")
    log = await NatsEventLog.connect(with_token)
    await log.prepare()
    server.kill()
    with pytest.raises(EventLogError) as failure:
        await log.last_sequence("FACTS")
    assert server.token not in str(failure.value)
    await log.close()


async def test_no_broker_is_said_in_time() -> None:
    started = time.monotonic()
    with pytest.raises(EventLogError, match=r"no broker at nats://127\.0\.0\.1:1\b"):
        await NatsEventLog.connect("nats://127.0.0.1:1", timeout=0.5)
    assert time.monotonic() - started < 2.0


async def test_an_unknown_stream_is_refused(log: NatsEventLog, door: Connection) -> None:
    with suppress(Refused):
        await door.api("STREAM.DELETE.INDEX")
    with pytest.raises(EventLogError):
        await log.incarnation("INDEX")
    with pytest.raises(EventLogError):
        await anext(log.scan("INDEX", ["owners.>"]))
    with pytest.raises(EventLogError):
        await anext(log.follow("INDEX", ["owners.>"]))
