"""The event log against a real broker that is killed, paused, wiped and set back."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from engine.runtime.event_log import NatsEventLog
from engine.runtime.jetstream import Connection
from engine.runtime.log_errors import NoAnswer
from engine.runtime.log_publish import GroupCommit
from engine.runtime.ports import Delivery, EventLogError, Message, Record
from engine.sandbox.nats_server import NatsServer

pytestmark = pytest.mark.broker

Result = TypeVar("Result")
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "broker", sync="always") as started:
        yield started


@pytest.fixture
async def log(server: NatsServer) -> AsyncIterator[NatsEventLog]:
    async with connected(server) as prepared:
        await prepared.prepare()
        yield prepared


@pytest.fixture
async def door(server: NatsServer) -> AsyncIterator[Connection]:
    connection = await Connection.open(server.url, name="test", token=server.token)
    yield connection
    await connection.close()


@asynccontextmanager
async def connected(server: NatsServer, **options: float) -> AsyncIterator[NatsEventLog]:
    log = await NatsEventLog.connect(server.url, token=server.token, **options)  # type: ignore[arg-type]
    try:
        yield log
    finally:
        await log.close()


def fact(name: str, body: bytes = b"{}", *, id: str = "") -> Message:  # noqa: A002
    return Message(subject=f"facts.c1.core.pods.ns.{name}", body=body, id=id)


async def persistently(action: Callable[[], Awaitable[Result]]) -> Result:
    """Do it again until it succeeds, as the engine's callers do."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await action()
            except EventLogError:
                await asyncio.sleep(0.05)


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await persistently(check):
            await asyncio.sleep(0.02)


async def state_reaches(log: NatsEventLog, seq: int) -> None:
    async def reached() -> bool:
        return await log.last_sequence("STATE") >= seq

    await eventually(reached)


async def everything(log: NatsEventLog, stream: str) -> list[Record]:
    count = await log.last_sequence(stream)
    records: list[Record] = []
    async with aclosing(log.follow(stream, [">"], after=0)) as followed:  # type: ignore[type-var]
        while not records or records[-1].seq < count:
            records.append(await anext(followed))
    return records


async def restart_by_kill(server: NatsServer) -> None:
    server.kill()
    await asyncio.to_thread(server.start)


# --- crashes ---


async def test_no_acknowledged_fact_is_lost_doubled_or_reordered_by_kills(
    server: NatsServer, log: NatsEventLog
) -> None:
    published = 0
    stop = False

    async def publish() -> None:
        nonlocal published
        while not stop:
            count = random.choice([1, 7, 60, 400])
            numbers = range(published, published + count)
            messages = [fact(f"p{number % 50}", b"%d" % number, id=f"id-{number}") for number in numbers]
            await persistently(lambda messages=messages: log.publish(messages))  # type: ignore[misc]
            published += count

    publisher = asyncio.create_task(publish())
    for _ in range(3):
        await asyncio.sleep(random.uniform(0.3, 0.8))
        await restart_by_kill(server)
    await asyncio.sleep(0.3)
    stop = True
    await publisher
    assert await log.last_sequence("FACTS") == published
    assert [int(record.body) for record in await everything(log, "FACTS")] == list(range(published))
    await state_reaches(log, published)
    latest = {int(record.body) % 50: int(record.body) for record in (await log.last("STATE", ["facts.>"])).values()}
    assert latest == {number % 50: number for number in range(published - 50, published)}
    assert await log.heal() == []


async def test_consumers_go_on_within_two_seconds_of_the_return_of_a_killed_broker(
    server: NatsServer, log: NatsEventLog
) -> None:
    got: dict[str, int] = {}

    async def handle(delivery: Delivery) -> None:
        await asyncio.sleep(0.001)
        got[delivery.record.subject] = got.get(delivery.record.subject, 0) + 1
        await delivery.ack()

    consumer = asyncio.create_task(
        log.consume("REQUESTS", "work", ["requests.>"], handle, concurrency=32, ack_wait=3.0)
    )
    requested = 0
    for _ in range(3):
        for _ in range(200):
            message = Message(subject=f"requests.foo.k{requested}", body=b"")
            await persistently(lambda message=message: log.append("REQUESTS", message))  # type: ignore[misc]
            requested += 1
        server.kill()
        await asyncio.to_thread(server.start)
        back = time.monotonic()
        probe = Message(subject=f"requests.foo.k{requested}", body=b"")
        requested += 1
        await persistently(lambda probe=probe: log.append("REQUESTS", probe))  # type: ignore[misc]
        async with asyncio.timeout(10):
            while probe.subject not in got:
                await asyncio.sleep(0.01)
        assert time.monotonic() - back < 2.5

    async def all_done() -> bool:
        return len(got) == requested and not await log.last("REQUESTS", [">"])

    await eventually(all_done)
    consumer.cancel()
    await asyncio.gather(consumer, return_exceptions=True)


async def test_a_hanging_broker_makes_calls_fail_in_time_and_all_goes_on_when_it_wakes(
    server: NatsServer, log: NatsEventLog
) -> None:
    await log.publish([fact("a")])
    server.pause()
    try:
        started = time.monotonic()
        calls = (log.last("STATE", ["facts.>"]), log.append("DECISIONS", Message(subject="decisions.a", body=b"")))
        results = await asyncio.gather(*calls, log.last_sequence("FACTS"), return_exceptions=True)
        assert [isinstance(result, EventLogError) for result in results] == [True, True, True]
        assert time.monotonic() - started < 12.0
    finally:
        server.resume()
    await persistently(lambda: log.publish([fact("b")]))
    await state_reaches(log, 2)


async def test_a_follower_sees_every_fact_once_in_order_over_kills(server: NatsServer, log: NatsEventLog) -> None:
    seen: list[int] = []

    async def follow() -> None:
        async for record in log.follow("FACTS", ["facts.>"], after=0):
            seen.append(int(record.body))  # noqa: PERF401 - the test looks at it meanwhile

    follower = asyncio.create_task(follow())
    for round_number in range(3):
        numbers = range(round_number * 500, round_number * 500 + 500)
        messages = [fact(f"p{number}", b"%d" % number, id=f"id-{number}") for number in numbers]
        await persistently(lambda messages=messages: log.publish(messages))  # type: ignore[misc]
        await restart_by_kill(server)
    async with asyncio.timeout(10):
        while len(seen) < 1500:
            await asyncio.sleep(0.01)
    assert seen == list(range(1500))
    follower.cancel()
    await asyncio.gather(follower, return_exceptions=True)


async def test_a_scan_that_loses_its_broker_fails_and_does_not_end(server: NatsServer, log: NatsEventLog) -> None:
    await log.publish([fact(f"p{number}", b"x" * 20_000) for number in range(1500)])
    await state_reaches(log, 1500)

    async def scan_and_kill() -> None:
        async for _ in log.scan("STATE", ["facts.>"]):
            if server.process.running:
                server.kill()

    with pytest.raises(EventLogError):
        await scan_and_kill()
    await asyncio.to_thread(server.start)
    assert await persistently(lambda: count(log)) == 1500


async def count(log: NatsEventLog) -> int:
    return len([record async for record in log.scan("STATE", ["facts.>"])])


async def test_a_read_waits_for_a_broker_that_comes_back(server: NatsServer, log: NatsEventLog) -> None:
    await log.publish([fact("a")])
    await state_reaches(log, 1)
    server.kill()
    await asyncio.sleep(0.1)
    reading = asyncio.create_task(log.last("STATE", [fact("a").subject, "facts.c1.core.*.ns.a"]))
    await asyncio.to_thread(server.start)
    assert set(await reading) == {fact("a").subject}


async def test_closing_without_a_broker_takes_no_longer_than_three_seconds(
    server: NatsServer, log: NatsEventLog
) -> None:
    server.pause()
    try:
        pending = asyncio.gather(log.publish([fact("a")]), log.last("STATE", ["facts.>"]), return_exceptions=True)
        await asyncio.sleep(0.05)
        started = time.monotonic()
        await log.close()
        assert all(isinstance(result, EventLogError) for result in await pending)
        assert time.monotonic() - started < 3.0
    finally:
        server.resume()


async def test_to_subscribe_just_when_the_connection_breaks_is_an_answer_that_did_not_come(
    door: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(subject: str, queue: str = "") -> None:
        raise ConnectionResetError("Connection lost")

    monkeypatch.setattr(door._client, "subscribe", broken)
    with pytest.raises(NoAnswer, match="Connection lost"):
        await door.subscribe("facts.>", lambda *_: None)


async def test_a_connection_to_a_broker_that_says_nothing_is_closed_all_the_same(server: NatsServer) -> None:
    """It is not left to the garbage collector, which would report an open socket in whatever test runs then."""
    connection = await Connection.open(server.url, name="test", token=server.token)
    transport = connection._client._transport._io_writer.transport
    server.pause()
    try:
        await connection.close()
    finally:
        server.resume()
    assert connection._client.is_closed
    assert transport.get_extra_info("socket").fileno() == -1


# --- streams that are not what they were ---


async def test_a_wiped_broker_is_noticed_and_healed(server: NatsServer, log: NatsEventLog) -> None:
    await log.publish([fact("a")])
    await state_reaches(log, 1)
    server.kill()
    server.wipe()
    await asyncio.to_thread(server.start)
    with pytest.raises(EventLogError):
        await log.publish([fact("b")])
    with pytest.raises(EventLogError):
        await log.append("REQUESTS", Message(subject="requests.foo.b", body=b""))
    findings = await log.heal()
    assert len(findings) == 7  # one for each stream
    await log.publish([fact("b")])
    await state_reaches(log, 1)
    assert await log.heal() == []


def facts_directory(server: NatsServer) -> Path:
    [found] = server.directory.glob("**/streams/FACTS")
    return found


@pytest.mark.parametrize("new_facts", [3, 80])
async def test_a_re_created_facts_is_followed_from_its_start(
    log: NatsEventLog, door: Connection, new_facts: int
) -> None:
    await log.publish([fact(f"old{number}") for number in range(40)])
    await state_reaches(log, 40)
    config = (await door.api("STREAM.INFO.FACTS"))["config"]
    await door.api("STREAM.DELETE.FACTS")
    await door.api("STREAM.CREATE.FACTS", config)
    await log.publish([fact(f"new{number}") for number in range(new_facts)])
    assert any("FACTS was re-created" in finding for finding in await log.heal())
    await state_reaches(log, 40 + new_facts)
    assert len(await log.last("STATE", ["facts.>"])) == 40 + new_facts
    assert await log.heal() == []
    await log.publish([fact("later")])
    await state_reaches(log, 41 + new_facts)


@pytest.mark.parametrize("written_since", [0, 5, 80])
async def test_a_facts_that_was_set_back_is_noticed_and_followed(
    server: NatsServer, log: NatsEventLog, tmp_path: Path, written_since: int
) -> None:
    await log.publish([fact(f"kept{number}", id=f"k{number}") for number in range(20)])
    await state_reaches(log, 20)
    server.stop()
    shutil.copytree(facts_directory(server), tmp_path / "backup")
    await asyncio.to_thread(server.start)
    await persistently(lambda: log.publish([fact(f"lost{number}", id=f"l{number}") for number in range(30)]))
    await state_reaches(log, 50)
    assert await log.heal() == []
    server.stop()
    target = facts_directory(server)
    shutil.rmtree(target)
    shutil.copytree(tmp_path / "backup", target)
    await asyncio.to_thread(server.start)
    async with connected(server) as stranger:  # writes without looking, as a client that is not ours might
        writer = GroupCommit(stranger._connection, "FACTS")
        await writer.send(stranger._encode("FACTS", [fact(f"since{number}") for number in range(written_since)]))
    assert any("set back" in finding for finding in await persistently(log.heal))
    await log.publish([fact("after")])

    async def follows() -> bool:
        found = await log.last("STATE", ["facts.>"])
        return len(found) == 20 + 30 + written_since + 1

    await eventually(follows)
    assert await log.heal() == []


async def test_a_publisher_looks_before_it_writes_to_a_broker_that_came_back_with_less(
    server: NatsServer, log: NatsEventLog, tmp_path: Path
) -> None:
    await log.publish([fact("kept")])
    await state_reaches(log, 1)
    server.stop()
    shutil.copytree(server.directory / "jetstream", tmp_path / "backup")
    await asyncio.to_thread(server.start)
    await persistently(lambda: log.publish([fact(f"lost{number}") for number in range(5)]))
    await state_reaches(log, 6)
    server.stop()
    target = facts_directory(server)
    shutil.rmtree(target)
    shutil.copytree(next((tmp_path / "backup").glob("**/streams/FACTS")), target)
    await asyncio.to_thread(server.start)
    await persistently(lambda: log.publish([fact(f"new{number}") for number in range(20)]))
    assert any("set back" in finding for finding in await log.heal())

    async def follows() -> bool:
        return len(await log.last("STATE", ["facts.>"])) == 26

    await eventually(follows)


async def test_facts_that_expired_before_state_had_read_them_are_named(server: NatsServer, door: Connection) -> None:
    async with connected(server, fact_days=2 / 86400) as log:
        await log.prepare()
        await log.publish([fact("a")])
        await state_reaches(log, 1)
        config = (await door.api("STREAM.INFO.STATE"))["config"]
        await door.api("STREAM.UPDATE.STATE", {**config, "sources": []})
        await log.publish([fact(f"expired{number}") for number in range(10)])
        await asyncio.sleep(3.5)
        await door.api("STREAM.UPDATE.STATE", config)
        assert any("2 to 11 expired" in finding for finding in await log.heal())
        assert await log.heal() == []
        await log.publish([fact("b")])

        async def follows() -> bool:
            return len(await log.last("STATE", ["facts.>"])) == 2

        await eventually(follows)


async def test_anchoring_anew_works_thirty_times_over(log: NatsEventLog, door: Connection) -> None:
    for number in range(1, 32):
        config = (await door.api("STREAM.INFO.FACTS"))["config"]
        await door.api("STREAM.DELETE.FACTS")
        await door.api("STREAM.CREATE.FACTS", config)
        assert any("re-created" in finding for finding in await log.heal())
        if number in (1, 2, 15, 16, 30, 31):
            await log.publish([fact(f"n{number}"), Message(subject=f"sync.c{number}.core.pods", body=b"")])

            async def followed(number: int = number) -> bool:
                return len(await log.last("STATE", [fact(f"n{number}").subject, f"sync.c{number}.core.pods"])) == 2

            await eventually(followed)


async def test_others_learn_that_state_was_anchored_anew(
    server: NatsServer, log: NatsEventLog, door: Connection
) -> None:
    async with connected(server) as other:
        await log.publish([fact("a")])
        await state_reaches(log, 1)
        assert (await log.heal(), await other.heal()) == ([], [])
        config = (await door.api("STREAM.INFO.FACTS"))["config"]
        await door.api("STREAM.DELETE.FACTS")
        await door.api("STREAM.CREATE.FACTS", config)
        assert await log.heal()
        assert any("by someone else" in finding for finding in await other.heal())
        assert (await log.heal(), await other.heal()) == ([], [])


async def test_a_consumer_beyond_the_end_of_its_stream_begins_anew(log: NatsEventLog, door: Connection) -> None:
    got: list[str] = []

    async def handle(delivery: Delivery) -> None:
        got.append(delivery.record.subject)
        await delivery.ack()

    consumer = asyncio.create_task(log.consume("STATE", "map", ["facts.>"], handle, concurrency=8, ack_wait=5.0))
    await log.publish([fact("a")])
    async with asyncio.timeout(10):
        while not got:
            await asyncio.sleep(0.01)
    info = await door.api("CONSUMER.INFO.STATE.map")
    info["delivered"]["stream_seq"] = 99
    from engine.runtime.log_setup import drop_if_beyond

    assert await drop_if_beyond(door, "STATE", info, last=1)
    await log.publish([fact("b")])
    async with asyncio.timeout(10):
        while fact("b").subject not in got:
            await asyncio.sleep(0.01)
    consumer.cancel()
    await asyncio.gather(consumer, return_exceptions=True)
