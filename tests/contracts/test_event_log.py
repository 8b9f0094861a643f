"""What every event log must do: the one in memory, and the one on a real broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Self

import pytest

from engine.runtime.event_log import NatsEventLog
from engine.runtime.jetstream import Connection
from engine.runtime.log_errors import Refused
from engine.runtime.ports import Delivery, EventLog, EventLogError, Message, MessageTooLarge, Record, WrongLastSequence
from engine.runtime.streams import stream_specs
from engine.sandbox.memory_log import MemoryLog
from engine.sandbox.nats_server import NatsServer

PATIENCE = 10.0


class World:
    """A log under test, and what can be done to it from outside."""

    def __init__(
        self, log: EventLog, another: Callable[[], Awaitable[EventLog]], lose_streams: Callable[[], Awaitable[None]]
    ) -> None:
        self.log = log
        self.another = another
        self.lose_streams = lose_streams


@asynccontextmanager
async def memory_world() -> AsyncIterator[World]:
    log = MemoryLog()
    await log.prepare()

    async def another() -> EventLog:
        return log

    async def lose_streams() -> None:
        log.lose_streams()

    yield World(log, another, lose_streams)


@asynccontextmanager
async def broker_world(server: NatsServer) -> AsyncIterator[World]:
    door = await Connection.open(server.url, name="test", token=server.token)
    logs: list[NatsEventLog] = []

    async def another() -> NatsEventLog:
        logs.append(await NatsEventLog.connect(server.url, token=server.token))
        return logs[-1]

    async def lose_streams() -> None:
        for name in stream_specs(fact_days=1):
            with suppress(Refused):
                await door.api(f"STREAM.DELETE.{name}")

    await lose_streams()
    log = await another()
    await log.prepare()
    yield World(log, another, lose_streams)
    for each in logs:
        await each.close()
    await lose_streams()  # the broker is shared by the whole session
    await door.close()


@pytest.fixture(params=["memory", pytest.param("broker", marks=pytest.mark.broker)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    opened = memory_world() if request.param == "memory" else broker_world(request.getfixturevalue("nats_server"))
    async with opened as made:
        yield made


@pytest.fixture
def log(world: World) -> EventLog:
    return world.log


def fact(name: str, body: bytes = b"{}", *, id: str = "", kind: str = "pods", ttl: float = 0.0) -> Message:  # noqa: A002
    return Message(subject=f"facts.c1.core.{kind}.ns.{name}", body=body, id=id, ttl=ttl)


def request_of(name: str, body: bytes = b"") -> Message:
    return Message(subject=f"requests.foo.c1.core.pods.ns.{name}", body=body)


def decision(name: str, body: bytes = b"") -> Message:
    return Message(subject=f"decisions.foo.c1.core.pods.ns.{name}", body=body)


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await check():
            await asyncio.sleep(0.01)


async def state_has(log: EventLog, count: int, pattern: str = "facts.>") -> dict[str, Record]:
    found: dict[str, Record] = {}

    async def complete() -> bool:
        nonlocal found
        found = await log.last("STATE", [pattern])
        return len(found) >= count

    await eventually(complete)
    return found


class Consumer:
    """A `consume` call in the background that notes what it gets."""

    def __init__(
        self,
        log: EventLog,
        *,
        stream: str = "REQUESTS",
        durable: str = "work",
        filters: tuple[str, ...] = ("requests.>",),
        concurrency: int = 8,
        ack_wait: float = 30.0,
        handler: Callable[[Delivery], Awaitable[None]] | None = None,
    ) -> None:
        self.got: list[Delivery] = []
        self._handler = handler
        self._call = log.consume(stream, durable, filters, self._take, concurrency=concurrency, ack_wait=ack_wait)
        self.task: asyncio.Task[None]

    async def _take(self, delivery: Delivery) -> None:
        self.got.append(delivery)
        await (self._handler(delivery) if self._handler else delivery.ack())

    @property
    def names(self) -> list[str]:
        return [delivery.record.subject.rpartition(".")[2] for delivery in self.got]

    async def has(self, count: int) -> None:
        async def enough() -> bool:
            if self.task.done():
                await self.task
            return len(self.got) >= count

        await eventually(enough)

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self._call)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


async def silent(_: Delivery) -> None:
    """A handler that says nothing."""


async def stuck(_: Delivery) -> None:
    """A handler that never returns."""
    await asyncio.Event().wait()


# --- publishing ---


async def test_preparing_again_and_by_many_at_once_changes_nothing(world: World) -> None:
    before = await world.log.incarnation("STATE")
    others = [await world.another() for _ in range(3)]
    await asyncio.gather(world.log.prepare(), *(other.prepare() for other in others))
    assert await world.log.incarnation("STATE") == before
    assert await world.log.heal() == []


async def test_a_published_fact_is_in_facts_and_in_state(log: EventLog) -> None:
    await log.publish([fact("a", b"1", id="one")])
    found = await state_has(log, 1)
    [record] = found.values()
    assert (record.subject, record.seq, record.body, record.id) == ("facts.c1.core.pods.ns.a", 1, b"1", "one")
    assert record.time.endswith("Z")
    assert set(await log.last("FACTS", ["facts.>"])) == set(found)


@pytest.mark.parametrize("count", [1, 5, 40, 2500])
async def test_facts_are_stored_in_the_order_in_which_they_were_published(log: EventLog, count: int) -> None:
    await log.publish([fact(f"p{number % 7}", b"%d" % number) for number in range(count)])
    assert await log.last_sequence("FACTS") == count
    followed = log.follow("FACTS", ["facts.>"], after=0)
    assert [(await anext(followed)).body for _ in range(count)] == [b"%d" % number for number in range(count)]
    await followed.aclose()  # type: ignore[attr-defined]


async def test_state_keeps_the_last_fact_of_each_subject(log: EventLog) -> None:
    await log.publish([fact(f"p{number % 3}", b"%d" % number) for number in range(60)])
    await eventually(lambda: reached(log, "STATE", 60))
    bodies = {subject[-2:]: record.body for subject, record in (await log.last("STATE", ["facts.>"])).items()}
    assert bodies == {"p0": b"57", "p1": b"58", "p2": b"59"}


async def test_a_record_of_state_says_where_it_is_in_facts(log: EventLog) -> None:
    await log.publish([fact("a", b"1"), fact("b", b"2"), fact("a", b"3")])
    await eventually(lambda: reached(log, "STATE", 3))
    assert {record.body: record.origin for record in (await log.last("STATE", ["facts.>"])).values()} == {
        b"2": 2,
        b"3": 3,
    }
    assert [record.origin async for record in log.scan("STATE", ["facts.>"])] == [2, 3]
    assert {record.origin for record in (await log.last("FACTS", ["facts.>"])).values()} == {0}


@pytest.mark.parametrize(
    ("after", "until", "expected"),
    [(0, 9, "12345"), (1, 4, "234"), (2, 3, "3"), (3, 3, ""), (5, 9, ""), (0, 1, "1")],
)
async def test_a_range_is_replayed_whole_and_ends(log: EventLog, after: int, until: int, expected: str) -> None:
    await log.publish([fact("ab"[number % 2], b"%d" % number) for number in range(1, 6)])
    found = log.replay("FACTS", ["facts.>"], after=after, until=until)
    assert "".join([record.body.decode() async for record in found]) == expected
    odd = log.replay("FACTS", [fact("b").subject], after=after, until=until)
    assert "".join([record.body.decode() async for record in odd]) == "".join(c for c in expected if c in "135")


async def test_a_time_is_a_position_in_the_stream(log: EventLog) -> None:
    assert await log.position("FACTS", time.time()) == 0
    await log.publish([fact("a", b"1")])
    await log.publish([fact("b", b"2")])
    records = [record async for record in log.replay("FACTS", ["facts.>"], after=0, until=2)]
    first, second = (datetime.fromisoformat(record.time).timestamp() for record in records)
    assert await log.position("FACTS", first - 1) == 0
    assert await log.position("FACTS", (first + second) / 2) == 1
    assert await log.position("FACTS", second + 1) == 2


async def test_the_extent_of_a_stream(log: EventLog) -> None:
    empty = await log.extent("INDEX")
    assert (empty.first, empty.last, empty.first_time, empty.messages) == (1, 0, "", 0)
    for name in ("one", "two", "one"):
        await log.append("INDEX", Message(subject=f"owners.x.{name}", body=b"b"))
    extent = await log.extent("INDEX")
    assert (extent.first, extent.last, extent.messages) == (2, 3, 2)
    assert extent.size >= 2
    assert extent.first_time <= extent.last_time
    await log.purge("INDEX", "owners.x.two")
    assert set(await log.last("INDEX", [">"])) == {"owners.x.one"}


async def reached(log: EventLog, stream: str, seq: int) -> bool:
    return await log.last_sequence(stream) >= seq


@pytest.mark.parametrize("count", [3, 50])
async def test_publishing_the_same_ids_again_stores_nothing(log: EventLog, count: int) -> None:
    messages = [fact(f"p{number}", id=f"id-{number}") for number in range(count)]
    await log.publish(messages)
    await log.publish(messages)
    assert await log.last_sequence("FACTS") == count


@pytest.mark.parametrize("count", [3, 50])
async def test_of_a_publish_with_some_known_ids_the_rest_is_stored_in_order(log: EventLog, count: int) -> None:
    await log.publish([fact("x", b"old", id="1")])
    await log.publish([fact("x", b"%d" % number, id=f"{number}") for number in range(count)])
    assert await log.last_sequence("FACTS") == count
    await eventually(lambda: reached(log, "STATE", count))
    [record] = (await log.last("STATE", ["facts.>"])).values()
    assert record.body == b"%d" % (count - 1)


async def test_many_callers_may_publish_at_once(log: EventLog) -> None:
    await asyncio.gather(*(log.publish([fact(f"p{number}"), fact(f"q{number}")]) for number in range(300)))
    assert len(await state_has(log, 600)) == 600


async def test_an_empty_publish_does_nothing(log: EventLog) -> None:
    await log.publish([])
    await log.publish_many("REQUESTS", [])
    assert await log.last_sequence("FACTS") == 0


async def test_a_message_over_the_limit_is_refused_and_nothing_of_its_call_is_published(log: EventLog) -> None:
    with pytest.raises(MessageTooLarge):
        await log.publish([fact("small"), fact("large", b"x" * (9 * 1024 * 1024))])
    assert await log.last_sequence("FACTS") == 0
    await log.publish([fact("small")])
    assert await log.last_sequence("FACTS") == 1


@pytest.mark.parametrize("size", [1_500_000, 3_000_000])
async def test_a_large_object_passes_whole(log: EventLog, size: int) -> None:
    body = bytes(range(256)) * (size // 256)
    await log.publish([fact("large", body)])
    found = await state_has(log, 1)
    assert [record.body for record in found.values()] == [body]
    assert [record.body async for record in log.scan("STATE", ["facts.>"])] == [body]


async def test_a_subject_that_the_stream_does_not_take_is_refused(log: EventLog) -> None:
    with pytest.raises(EventLogError):
        await log.publish([Message(subject="decisions.foo.bar", body=b"")])
    with pytest.raises(EventLogError):
        await log.append("DECISIONS", fact("a"))


async def test_facts_and_state_are_not_written_to_by_the_other_calls(log: EventLog) -> None:
    for stream in ("FACTS", "STATE"):
        with pytest.raises(ValueError, match=stream):
            await log.append(stream, fact("a"))
        with pytest.raises(ValueError, match=stream):
            await log.publish_many(stream, [fact("a")])


async def test_a_fact_with_a_ttl_leaves_state(log: EventLog) -> None:
    await log.publish([fact("gone", ttl=1.0), fact("stays")])
    await state_has(log, 2)

    async def left() -> bool:
        return list(await log.last("STATE", ["facts.>"])) == ["facts.c1.core.pods.ns.stays"]

    await eventually(left)


# --- appending ---


async def test_an_append_returns_the_sequence_that_the_next_one_expects(log: EventLog) -> None:
    first = await log.append("DECISIONS", decision("a", b"1"), expect_last=0)
    await log.append("DECISIONS", decision("b"), expect_last=0)
    second = await log.append("DECISIONS", decision("a", b"2"), expect_last=first)
    assert second > first
    assert (await log.last("DECISIONS", [decision("a").subject]))[decision("a").subject].seq == second


async def test_an_append_with_another_last_sequence_is_refused_and_stores_nothing(log: EventLog) -> None:
    first = await log.append("DECISIONS", decision("a"), expect_last=0)
    for wrong in (0, first + 1):
        with pytest.raises(WrongLastSequence):
            await log.append("DECISIONS", decision("a"), expect_last=wrong)
    assert await log.last_sequence("DECISIONS") == first


async def test_of_many_appends_that_expect_the_same_exactly_one_succeeds(world: World) -> None:
    other = await world.another()
    attempts = [
        asyncio.create_task(log.append("DECISIONS", decision(f"k{number % 10}"), expect_last=0))
        for number in range(100)
        for log in (world.log, other)
    ]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(result, int) for result in results) == 10
    assert sum(isinstance(result, WrongLastSequence) for result in results) == 190


async def test_appends_in_one_group_each_return_their_own_sequence(log: EventLog) -> None:
    names = [f"k{number}" for number in range(200)]
    seqs = await asyncio.gather(*(log.append("DECISIONS", decision(name), expect_last=0) for name in names))
    found = await log.last("DECISIONS", [decision(name).subject for name in names])
    assert [found[decision(name).subject].seq for name in names] == seqs


async def test_a_rollup_drops_what_the_subject_held(log: EventLog) -> None:
    for _ in range(3):
        await log.append("DECISIONS", decision("a"))
    await log.append("DECISIONS", decision("b"))
    last = await log.append("DECISIONS", decision("a", b"retired"), rollup=True)
    followed = log.follow("DECISIONS", ["decisions.>"], after=0)
    assert [(await anext(followed)).seq for _ in range(2)] == [4, last]
    await followed.aclose()  # type: ignore[attr-defined]


async def test_a_key_keeps_its_sixteen_latest_decisions(log: EventLog) -> None:
    for _ in range(20):
        await log.append("DECISIONS", decision("a"))
    followed = log.follow("DECISIONS", ["decisions.>"], after=0)
    assert [(await anext(followed)).seq for _ in range(16)] == list(range(5, 21))
    await followed.aclose()  # type: ignore[attr-defined]


async def test_an_expired_last_entry_counts_as_none(log: EventLog) -> None:
    message = Message(subject=decision("a").subject, body=b"", ttl=1.0)
    await log.append("DECISIONS", message, rollup=True)
    with pytest.raises(WrongLastSequence):
        await log.append("DECISIONS", decision("a"), expect_last=0)
    await asyncio.sleep(1.5)
    assert await log.append("DECISIONS", decision("a"), expect_last=0) == 2


# --- reading ---


async def test_last_answers_for_names_and_wildcards_and_leaves_out_what_is_not_there(log: EventLog) -> None:
    await log.publish([fact("a"), fact("b"), fact("c", kind="secrets")])
    await state_has(log, 3)
    found = await log.last(
        "STATE", [fact("a").subject, fact("a").subject, fact("nope").subject, "facts.*.core.secrets.>"]
    )
    assert set(found) == {fact("a").subject, fact("c", kind="secrets").subject}
    assert await log.last("STATE", []) == {}
    assert await log.last("STATE", ["sync.>"]) == {}
    assert set(await log.last("STATE", ["facts.c1.core.*.ns.a"])) == {fact("a").subject}
    assert set(await log.last("STATE", ["facts.c1.core.pods.ns.a.>"])) == set()
    assert set(await log.last("STATE", ["facts.c1.core.pods.*"])) == set()


async def test_thousands_of_subjects_asked_for_by_many_at_once_each_get_their_own(log: EventLog) -> None:
    await log.publish([fact(f"p{number}", b"%d" % number) for number in range(3000)])
    await eventually(lambda: reached(log, "STATE", 3000))

    async def small(number: int) -> None:
        wanted = [fact(f"p{(number * 17 + step) % 3000}").subject for step in range(4)]
        found = await log.last("STATE", [*wanted, "facts.c1.core.pods.ns.nope"])
        assert {subject: record.body for subject, record in found.items()} == {
            subject: subject.rpartition("p")[2].encode() for subject in wanted
        }

    async def everything() -> None:
        assert len(await log.last("STATE", [fact(f"p{number}").subject for number in range(3000)])) == 3000

    async def wild(pattern: str, count: int) -> None:
        assert len(await log.last("STATE", [pattern])) == count

    await asyncio.gather(
        everything(),
        *(small(number) for number in range(500)),
        wild("facts.>", 3000),
        wild("facts.c1.core.pods.ns.p7", 1),
        wild("facts.*.*.*.*.p42", 1),
        wild("facts.c2.>", 0),
        everything(),
    )


async def test_a_read_sees_what_was_acknowledged_before_it(log: EventLog) -> None:
    async def write_and_read(number: int) -> None:
        for _ in range(5):
            seq = await log.append("DECISIONS", decision(f"k{number}"))
            found = await log.last("DECISIONS", [decision(f"k{number}").subject])
            assert [record.seq for record in found.values()] == [seq]

    await asyncio.gather(*(write_and_read(number) for number in range(40)))


async def test_a_scan_gives_the_last_record_of_each_subject_in_stream_order_and_ends(log: EventLog) -> None:
    await log.publish([fact(f"p{number % 100}", b"%d" % number) for number in range(1300)])
    await eventually(lambda: reached(log, "STATE", 1300))
    records = [record async for record in log.scan("STATE", ["facts.c1.>", "sync.>"])]
    assert [record.body for record in records] == [b"%d" % number for number in range(1200, 1300)]
    assert [record.seq for record in records] == list(range(1201, 1301))
    assert [record async for record in log.scan("STATE", ["facts.c2.>"])] == []


async def test_a_scan_of_headers_leaves_bodies_out_and_keeps_ids(log: EventLog) -> None:
    await log.publish([fact("a", b"body", id="the-id")])
    await state_has(log, 1)
    [record] = [record async for record in log.scan("STATE", ["facts.>"], headers_only=True)]
    assert (record.body, record.id) == (b"", "the-id")


async def test_a_scan_of_more_than_one_pull_gives_everything(log: EventLog) -> None:
    await log.publish([fact(f"p{number}") for number in range(3333)])
    await eventually(lambda: reached(log, "STATE", 3333))
    assert len({record.subject async for record in log.scan("STATE", [">"])}) == 3333


async def test_a_scan_may_be_left_early(log: EventLog) -> None:
    await log.publish([fact(f"p{number}") for number in range(1200)])
    await eventually(lambda: reached(log, "STATE", 1200))
    scan = log.scan("STATE", ["facts.>"])
    assert (await anext(scan)).seq == 1
    await scan.aclose()  # type: ignore[attr-defined]


async def test_follow_begins_behind_a_sequence_and_goes_on_live(log: EventLog) -> None:
    await log.publish([fact("a"), fact("b"), Message(subject="sync.c1.core.pods", body=b"")])
    followed = log.follow("FACTS", ["facts.>"], after=1)
    assert (await anext(followed)).seq == 2
    waiting = asyncio.ensure_future(anext(followed))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await log.publish([Message(subject="sync.c1.core.pods", body=b""), fact("c")])
    assert (await waiting).seq == 5
    await followed.aclose()  # type: ignore[attr-defined]


async def test_follow_without_a_sequence_gives_only_what_comes(log: EventLog) -> None:
    await log.publish([fact("old")])
    followed = log.follow("FACTS", ["facts.>"])
    waiting = asyncio.ensure_future(anext(followed))
    await asyncio.sleep(0.2)
    await log.publish([fact("new")])
    assert (await waiting).subject.endswith(".new")
    await followed.aclose()  # type: ignore[attr-defined]


# --- consuming ---


async def test_requests_are_delivered_and_gone_once_acknowledged(log: EventLog) -> None:
    async with Consumer(log) as consumer:
        await log.publish_many("REQUESTS", [request_of(f"k{number}", b"why") for number in range(50)])
        await consumer.has(50)
        assert sorted(consumer.names) == sorted(f"k{number}" for number in range(50))
        assert {delivery.record.body for delivery in consumer.got} == {b"why"}
        assert {delivery.delivered for delivery in consumer.got} == {1}
        await eventually(lambda: is_empty(log, "REQUESTS"))


async def is_empty(log: EventLog, stream: str) -> bool:
    return not await log.last(stream, [">"])


async def test_a_key_requested_twice_is_delivered_once(log: EventLog) -> None:
    await log.publish_many("REQUESTS", [request_of("k"), request_of("k", b"again")])
    async with Consumer(log) as consumer:
        await consumer.has(1)
        await asyncio.sleep(0.1)
        assert [delivery.record.body for delivery in consumer.got] == [b"again"]


async def test_a_key_requested_while_its_handler_runs_is_delivered_again_at_once(log: EventLog) -> None:
    async with Consumer(log, handler=stuck, concurrency=2) as consumer:
        await log.append("REQUESTS", request_of("k", b"1"))
        await consumer.has(1)
        await log.append("REQUESTS", request_of("k", b"2"))
        started = time.monotonic()
        await consumer.has(2)
        assert time.monotonic() - started < 1.0
        assert [delivery.delivered for delivery in consumer.got] == [1, 1]
        await consumer.got[0].ack()  # acknowledges what has been replaced: the new one stays
        await asyncio.sleep(0.05)
        assert not await is_empty(log, "REQUESTS")
        await consumer.got[1].ack()
        await eventually(lambda: is_empty(log, "REQUESTS"))


async def test_consumers_of_one_name_share_the_work(world: World) -> None:
    async def briefly(delivery: Delivery) -> None:
        await asyncio.sleep(0.01)
        await delivery.ack()

    async with (
        Consumer(world.log, handler=briefly, concurrency=4) as one,
        Consumer(await world.another(), handler=briefly, concurrency=4) as two,
    ):
        await asyncio.sleep(0.2)
        await world.log.publish_many("REQUESTS", [request_of(f"k{number}") for number in range(60)])
        await eventually(lambda: is_empty(world.log, "REQUESTS"))
        assert len(one.got) + len(two.got) == 60
        assert one.got
        assert two.got


async def test_no_more_are_held_than_may_run(world: World) -> None:
    await world.log.publish_many("REQUESTS", [request_of(f"k{number}") for number in range(10)])
    async with Consumer(world.log, handler=stuck, concurrency=3) as greedy:
        await greedy.has(3)
        await asyncio.sleep(0.1)
        assert len(greedy.got) == 3
        async with Consumer(await world.another(), concurrency=3) as other:
            await other.has(7)
            assert len(greedy.got) == 3


async def test_a_nak_brings_the_message_back_and_counts(log: EventLog) -> None:
    async def twice(delivery: Delivery) -> None:
        await (delivery.nak() if delivery.delivered < 3 else delivery.ack())

    async with Consumer(log, handler=twice) as consumer:
        await log.append("REQUESTS", request_of("k"))
        await consumer.has(3)
        assert [delivery.delivered for delivery in consumer.got] == [1, 2, 3]
        await eventually(lambda: is_empty(log, "REQUESTS"))


async def test_a_nak_with_a_delay_waits(log: EventLog) -> None:
    async def later(delivery: Delivery) -> None:
        await (delivery.nak(0.3) if delivery.delivered == 1 else delivery.ack())

    async with Consumer(log, handler=later) as consumer:
        await log.append("REQUESTS", request_of("k"))
        await consumer.has(1)
        started = time.monotonic()
        await consumer.has(2)
        assert 0.2 < time.monotonic() - started < 2.0


async def test_a_message_whose_handler_raised_comes_again(log: EventLog) -> None:
    async def once(delivery: Delivery) -> None:
        if delivery.delivered == 1:
            message = "first time"
            raise RuntimeError(message)
        await delivery.ack()

    async with Consumer(log, handler=once) as consumer:
        await log.append("REQUESTS", request_of("k"))
        await consumer.has(2)
        await eventually(lambda: is_empty(log, "REQUESTS"))


async def test_a_message_whose_handler_said_nothing_comes_again_after_the_ack_wait(log: EventLog) -> None:
    async with Consumer(log, handler=silent, ack_wait=1.0) as consumer:
        await log.append("REQUESTS", request_of("k"))
        await consumer.has(1)
        started = time.monotonic()
        await consumer.has(2)
        assert 0.5 < time.monotonic() - started < 4.0


async def test_a_message_whose_handler_runs_longer_than_the_ack_wait_is_not_delivered_again(world: World) -> None:
    async with (
        Consumer(world.log, handler=stuck, ack_wait=1.0, concurrency=1) as busy,
        Consumer(await world.another(), handler=stuck, ack_wait=1.0, concurrency=1) as idle,
    ):
        await world.log.append("REQUESTS", request_of("k"))
        await asyncio.sleep(3.0)
        assert len(busy.got) + len(idle.got) == 1


async def test_cancelling_cancels_handlers_and_hands_their_messages_to_others_at_once(world: World) -> None:
    await world.log.publish_many("REQUESTS", [request_of(f"k{number}") for number in range(5)])
    async with Consumer(world.log, handler=stuck, concurrency=5) as first:
        await first.has(5)
    assert not await is_empty(world.log, "REQUESTS")
    async with Consumer(await world.another()) as second:
        started = time.monotonic()
        await second.has(5)
        assert time.monotonic() - started < 2.0


async def test_a_new_consumer_of_state_begins_with_all_that_is_there_and_goes_on(log: EventLog) -> None:
    await log.publish([fact(f"p{number}") for number in range(20)])
    await state_has(log, 20)
    async with Consumer(log, stream="STATE", durable="map", filters=("facts.*.core.pods.>",)) as consumer:
        await consumer.has(20)
        await log.publish([fact("later"), fact("other", kind="secrets")])
        await consumer.has(21)
        assert consumer.names[-1] == "later"
    async with Consumer(log, stream="STATE", durable="map", filters=("facts.*.core.pods.>",)) as again:
        await asyncio.sleep(0.2)
        assert again.got == []


async def test_a_consumer_takes_on_new_filters(log: EventLog) -> None:
    async with Consumer(log, stream="STATE", durable="map", filters=("facts.*.core.pods.>",)) as consumer:
        await log.publish([fact("a")])
        await consumer.has(1)
    filters = ("facts.*.core.pods.>", "facts.*.core.secrets.>")
    async with Consumer(log, stream="STATE", durable="map", filters=filters) as consumer:
        await log.publish([fact("s", kind="secrets")])
        await consumer.has(1)
        assert consumer.names == ["s"]


# --- time ---


async def test_a_timer_fires_once_and_is_gone_when_acknowledged(log: EventLog) -> None:
    async with Consumer(log, stream="TIMERS", durable="due", filters=("due.foo.>",)) as consumer:
        at = time.time() + 0.5
        await log.schedule("timers.foo.a", "due.foo.a", at, b"body")
        await consumer.has(1)
        assert -0.05 < time.time() - at < 1.0
        assert [(each.record.subject, each.record.body) for each in consumer.got] == [("due.foo.a", b"body")]
        await eventually(lambda: is_empty(log, "TIMERS"))


async def test_setting_a_timer_again_replaces_it(log: EventLog) -> None:
    async with Consumer(log, stream="TIMERS", durable="due", filters=("due.foo.>",)) as consumer:
        await log.schedule("timers.foo.a", "due.foo.a", time.time() + 0.3, b"first")
        await log.schedule("timers.foo.a", "due.foo.a", time.time() + 0.8, b"second")
        await log.schedule("timers.foo.b", "due.foo.b", time.time() - 60, b"past")
        await consumer.has(2)
        await asyncio.sleep(0.5)
        assert [delivery.record.body for delivery in consumer.got] == [b"past", b"second"]


async def test_a_timer_that_nobody_waits_for_is_still_there_later(log: EventLog) -> None:
    await log.schedule("timers.foo.a", "due.foo.a", time.time() + 0.1)
    await asyncio.sleep(0.6)
    async with Consumer(log, stream="TIMERS", durable="due", filters=("due.foo.>",)) as consumer:
        await consumer.has(1)


# --- losing streams ---


async def test_nothing_is_found_where_nothing_is_wrong(log: EventLog) -> None:
    await log.publish([fact(f"p{number}") for number in range(50)])
    assert await log.heal() == []
    await state_has(log, 50)
    assert await log.heal() == []


async def test_lost_streams_are_noticed_and_made_again_and_everyone_goes_on(world: World) -> None:
    log, other = world.log, await world.another()
    await log.publish([fact("a")])
    await state_has(log, 1)
    await other.heal()
    lives = {stream: await log.incarnation(stream) for stream in ("FACTS", "STATE")}
    async with Consumer(log) as consumer:
        await log.append("REQUESTS", request_of("before"))
        await consumer.has(1)
        await world.lose_streams()
        with pytest.raises(EventLogError):
            await log.publish([fact("b")])
        with pytest.raises(EventLogError):
            await log.append("DECISIONS", decision("a"))
        with pytest.raises(EventLogError):
            await log.last("STATE", [fact("a").subject])
        findings = await log.heal()
        assert any("FACTS" in finding for finding in findings)
        assert any("STATE" in finding for finding in findings)
        assert await log.heal() == []
        await asyncio.sleep(1.0)  # as long as an incarnation is cached
        for stream, life in lives.items():
            assert await log.incarnation(stream) != life
        await log.append("REQUESTS", request_of("after"))
        await consumer.has(2)
        await log.publish([fact("c")])
        found = await state_has(log, 1)
        assert set(found) == {fact("c").subject}
        if other is not log:
            assert any("re-created" in finding for finding in await other.heal())
        assert await other.heal() == []
