"""The event log on a cluster of three brokers, with three replicas of each stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from engine.runtime.event_log import NatsEventLog
from engine.runtime.jetstream import Connection
from engine.runtime.ports import Delivery, EventLogError, Message, WrongLastSequence
from engine.sandbox.nats_server import find_nats_server
from engine.sandbox.processes import ChildProcess, free_port

pytestmark = pytest.mark.broker


class Cluster:
    """Three nats-servers that know each other."""

    def __init__(self, directory: Path) -> None:
        self.ports = [free_port() for _ in range(3)]
        routes = [free_port() for _ in range(3)]
        self.processes = []
        for number, (port, route) in enumerate(zip(self.ports, routes, strict=True)):
            config = directory / f"n{number}.conf"
            config.write_text(
                json.dumps(
                    {
                        "server_name": f"n{number}",
                        "host": "127.0.0.1",
                        "port": port,
                        "jetstream": {"store_dir": str(directory / f"n{number}")},
                        "cluster": {
                            "name": "test",
                            "host": "127.0.0.1",
                            "port": route,
                            "routes": [f"nats://127.0.0.1:{other}" for other in routes],
                        },
                    }
                )
            )
            command = (str(find_nats_server()), "--config", str(config))
            log = directory / f"n{number}.log"
            self.processes.append(ChildProcess(f"n{number}", command, log, ready=lambda: True, start_timeout=10.0))

    @property
    def url(self) -> str:
        return ",".join(f"nats://127.0.0.1:{port}" for port in self.ports)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    for process in made.processes:
        process.start()
    yield made
    for process in made.processes:
        process.kill()


@pytest.fixture
async def log(cluster: Cluster) -> AsyncIterator[NatsEventLog]:
    connected = await NatsEventLog.connect(cluster.url, replicas=3, timeout=20)
    await persistently(connected.prepare)
    yield connected
    await connected.close()


async def persistently(action: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(40):
        while True:
            try:
                await action()
            except EventLogError:
                await asyncio.sleep(0.2)
            else:
                return


async def test_three_replicas_keep_everything_when_the_leader_is_killed(cluster: Cluster, log: NatsEventLog) -> None:
    got: set[str] = set()

    async def handle(delivery: Delivery) -> None:
        found = await log.last("STATE", [delivery.record.subject])
        assert found[delivery.record.subject].seq >= delivery.record.seq  # what woke is readable
        got.add(delivery.record.subject)
        await delivery.ack()

    async def look_after() -> None:
        while True:
            with suppress(EventLogError):
                assert await log.heal() == []
            await asyncio.sleep(1.0)

    healer = asyncio.create_task(look_after())
    consumer = asyncio.create_task(log.consume("STATE", "map", ["facts.>"], handle, concurrency=32, ack_wait=5.0))
    facts = [Message(subject=f"facts.c1.core.pods.ns.p{n}", body=b"%d" % n, id=f"id-{n}") for n in range(200)]
    await persistently(lambda: log.publish(facts[:100]))
    first = await log.append("DECISIONS", Message(subject="decisions.foo.a", body=b""), expect_last=0)
    with pytest.raises(WrongLastSequence):
        await log.append("DECISIONS", Message(subject="decisions.foo.a", body=b""), expect_last=0)

    door = await Connection.open(cluster.url, name="test")
    leader = (await door.api("STREAM.INFO.FACTS"))["cluster"]["leader"]
    await door.close()
    cluster.processes[int(leader[1:])].kill()

    await persistently(lambda: log.publish(facts))  # the first half again: known ids are not stored twice
    assert await log.last_sequence("FACTS") == 200
    async with asyncio.timeout(40):
        while len(got) < 200:
            await asyncio.sleep(0.05)
    wanted = [message.subject for message in facts]
    found = await log.last("STATE", [*wanted, "facts.c1.core.pods.ns.nope", "facts.*.core.pods.*.p7"])
    assert [found[subject].body for subject in wanted] == [message.body for message in facts]
    assert [found[subject].id for subject in wanted] == [message.id for message in facts]
    assert len(await log.last("STATE", ["facts.>"])) == 200
    assert await log.append("DECISIONS", Message(subject="decisions.foo.a", body=b""), expect_last=first) > first
    assert len([record async for record in log.scan("STATE", ["facts.>"])]) == 200
    for task in (consumer, healer):
        assert not task.done()
        task.cancel()
    await asyncio.gather(consumer, healer, return_exceptions=True)
