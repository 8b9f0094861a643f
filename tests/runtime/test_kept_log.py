"""Facts that a member keeps on its own disk, between two real brokers: the hub's, which is away, and the member's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from engine.core.member_rights import MemberIdentity
from engine.runtime.clock import SystemClock
from engine.runtime.event_log import NatsEventLog
from engine.runtime.jetstream import Connection
from engine.runtime.kept_facts import KeptFacts
from engine.runtime.kept_log import STREAMS, KeptLog
from engine.runtime.member_gateway import MemberGateway
from engine.runtime.member_log import LIFE_CACHE_SECONDS, MemberLog
from engine.runtime.ports import EventLogError, Message
from engine.sandbox.nats_server import NatsServer
from schemas.members import LogMessage, Publish
from schemas.names import ClusterId, ClusterName
from tests.core.test_member_rights import fact
from tests.joining import Hub, running
from tests.world import eventually

pytestmark = pytest.mark.broker

A = ClusterName("a.b")
LIMIT = 64 * 1024 * 1024


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path)
    with hub.server:
        yield hub


@pytest.fixture
def own(tmp_path: Path) -> Iterator[NatsServer]:
    """The member's own broker."""
    with NatsServer(tmp_path / "member") as server:
        yield server


def message(name: str, *, padding: str = "") -> Message:
    told = fact(A, "id-1", name + padding)
    return Message(subject=told.subject, body=told.body, id=told.id)


def messages(first: int, last: int) -> list[Message]:
    return [message(f"web-{number}") for number in range(first, last)]


@asynccontextmanager
async def keeping(
    own: NatsServer, *, limit: int = LIMIT, identity: str = "id-1", cluster: ClusterName = A
) -> AsyncIterator[KeptFacts]:
    connection = await Connection.open(own.url, name="agent", token=own.token, timeout=5)
    facts = KeptFacts(connection, cluster, ClusterId(identity), limit)
    try:
        await facts.open()
        yield facts
    finally:
        await facts.close()
        await connection.close()


@asynccontextmanager
async def gateway(hub: Hub) -> AsyncIterator[NatsEventLog]:
    log = await NatsEventLog.connect(hub.server.url, credentials=hub.credentials, tls=hub.tls, timeout=5)
    await log.prepare()

    async def members(name: ClusterName) -> MemberIdentity | None:
        return MemberIdentity(name, ClusterId("id-1")) if name == A else None

    async with hub.engine() as engine, running(MemberGateway(engine, log, SystemClock(), members).run()):
        yield log
    await log.close()


async def patiently(attempt: Callable[[], Awaitable[None]]) -> None:
    """Try until a broker is back."""
    async with asyncio.timeout(10):
        while True:
            with suppress(EventLogError):
                return await attempt()


async def in_facts(log: NatsEventLog, count: int) -> list[str]:
    """Return the ids in FACTS in their order once there are that many; fails where there are more."""
    async with asyncio.timeout(20):
        while (last := await log.last_sequence("FACTS")) < count:
            await asyncio.sleep(0.02)
    return [one.id async for one in log.replay("FACTS", ["facts.>"], after=0, until=last)]


async def test_what_is_published_while_the_hub_is_away_is_in_its_log_in_order_and_once(
    hub: Hub, own: NatsServer
) -> None:
    expected = messages(0, 60)
    async with gateway(hub) as log, hub.member(A) as mine, keeping(own) as facts:
        kept = KeptLog(MemberLog(mine, A), facts, SystemClock())
        async with running(kept.run()):
            await kept.publish(expected[:10])
            assert await in_facts(log, 10) == [one.id for one in expected[:10]]
            life = await kept.incarnation("FACTS")
            hub.server.stop()
            await asyncio.sleep(LIFE_CACHE_SECONDS)
            async with asyncio.timeout(1):  # a watcher asks before each sync record, and must not wait for the hub
                assert await kept.incarnation("FACTS") == life
            for number in range(10, 60):  # each one by itself, as a quiet cluster's changes come
                await kept.publish([expected[number]])
            reading = asyncio.create_task(kept.last("STATE", [expected[0].subject]))
            hub.server.start()
            assert set(await reading) == {expected[0].subject}
            assert await log.last_sequence("FACTS") == 60, "what is read comes behind what was published"
            assert await in_facts(log, 60) == [one.id for one in expected]


async def test_nothing_is_left_out_when_the_sending_is_stopped_and_begun_again(hub: Hub, own: NatsServer) -> None:
    """As when the hub orders something else."""
    expected = messages(0, 40)
    async with hub.member(A) as mine, keeping(own) as facts:
        kept = KeptLog(MemberLog(mine, A), facts, SystemClock())
        async with gateway(hub) as log:
            await kept.incarnation("STATE")
            await kept.publish(expected[:20])
            async with running(kept.run()):
                await in_facts(log, 20)
        for one in expected[20:]:
            await kept.publish([one])
        async with running(kept.run()):  # nobody answers, and it has some of them in its hands
            pass
        async with gateway(hub) as log, running(kept.run()):
            assert await in_facts(log, 40) == [one.id for one in expected]


async def test_what_was_kept_outlives_the_agent_and_its_broker(hub: Hub, own: NatsServer) -> None:
    expected = messages(0, 40)
    async with gateway(hub) as log, hub.member(A) as mine:
        async with keeping(own) as facts:
            kept = KeptLog(MemberLog(mine, A), facts, SystemClock())
            for one in expected:
                await kept.publish([one])  # and nobody has sent it yet when the machine goes
            own.kill()
        own.start()
        async with keeping(own) as facts:
            assert facts.waiting
            async with running(KeptLog(MemberLog(mine, A), facts, SystemClock()).run()):
                assert await in_facts(log, 40) == [one.id for one in expected]
        stored = await log.last_sequence("FACTS")
        async with keeping(own) as facts, running(KeptLog(MemberLog(mine, A), facts, SystemClock()).run()):
            await eventually(lambda: not facts.waiting)  # what it had no time to note is asked again
        assert await log.last_sequence("FACTS") == stored


async def test_a_question_whose_answer_was_lost_stores_nothing_twice_however_long_ago(hub: Hub) -> None:
    async with gateway(hub) as log, hub.member(A) as mine, hub.engine() as engine:
        config = (await engine.api("STREAM.INFO.FACTS"))["config"]
        await engine.api("STREAM.UPDATE.FACTS", {**config, "duplicate_window": 100_000_000})
        asked = [LogMessage(one.subject, one.body, one.id) for one in messages(0, 5)]
        own = MemberLog(mine, A)
        await own.put(Publish(asked[:3]))
        await asyncio.sleep(0.3)  # the broker has forgotten the ids
        await own.put(Publish(asked, late=True))
        assert await in_facts(log, 5) == [one.id for one in asked]
        await own.put(Publish(asked[:3]))
        assert await log.last_sequence("FACTS") == 8, "the broker would have known them, and this shows nothing"


async def test_a_full_disk_refuses_what_is_new_and_keeps_what_it_took(hub: Hub, own: NatsServer) -> None:
    async with gateway(hub) as log, hub.member(A) as mine, keeping(own, limit=100_000) as facts:
        kept = KeptLog(MemberLog(mine, A), facts, SystemClock())
        taken, problem = list[str](), ""
        for one in messages(0, 1000):
            try:
                await kept.publish([one])
            except EventLogError as error:
                problem = str(error)
                break
            taken.append(one.id)
        assert "cannot be kept until the hub is back" in problem
        assert "maximum bytes" in problem
        assert len(taken) > 50
        async with running(kept.run()):
            assert await in_facts(log, len(taken)) == taken
            await kept.last("STATE", [])
            await kept.publish([message("there-is-room-again")])
            await in_facts(log, len(taken) + 1)


async def test_what_is_on_the_disk_is_looked_at_like_everything_that_a_member_says(hub: Hub, own: NatsServer) -> None:
    """SEC-18: whoever writes to the member's disk can say no more than the member itself."""
    forged = fact("c", "id-2", "web")
    async with gateway(hub) as log, hub.member(A) as mine, keeping(own) as facts:
        lives = (await log.incarnation("FACTS"), await log.incarnation("STATE"))
        await facts.keep([LogMessage(forged.subject, forged.body, forged.id)], lives)
        seq, question = await facts.next(1000)
        with pytest.raises(EventLogError, match="not about"):
            await MemberLog(mine, A).put(Publish(question.messages, late=True, lives=question.lives))
        assert (seq, await log.last_sequence("FACTS")) == (1, 0)


async def test_what_another_cluster_has_left_on_the_disk_is_forgotten(hub: Hub, own: NatsServer) -> None:
    async with gateway(hub) as log, hub.member(A) as mine:
        for identity, cluster in (("id-0", A), ("id-1", ClusterName("c"))):
            async with keeping(own, identity=identity, cluster=cluster) as facts:
                await KeptLog(MemberLog(mine, A), facts, SystemClock()).publish(messages(0, 3))
        async with keeping(own) as facts:
            assert not facts.waiting
            kept = KeptLog(MemberLog(mine, A), facts, SystemClock())
            async with running(kept.run()):
                await kept.publish([message("mine")])
                assert len(await in_facts(log, 1)) == 1


async def test_facts_for_a_stream_that_was_made_anew_meanwhile_are_dropped(hub: Hub, own: NatsServer) -> None:
    """A bookmark among them would say of what the new stream lacks that it is gone."""
    async with gateway(hub) as log, hub.member(A) as mine, keeping(own) as facts:
        kept = KeptLog(MemberLog(mine, A), facts, SystemClock())
        await kept.publish(messages(0, 3))
        before = {stream: await kept.incarnation(stream) for stream in STREAMS}
        hub.server.stop()
        hub.server.wipe()
        hub.server.start()
        await patiently(log.prepare)
        async with running(kept.run()):
            await kept.last("STATE", [])  # they have been answered
            assert await log.last_sequence("FACTS") == 0
            async with asyncio.timeout(5):
                for stream in STREAMS:  # as a watcher does, which then publishes everything again
                    while await kept.incarnation(stream) == before[stream]:
                        await asyncio.sleep(0.1)
            await kept.publish(messages(0, 3))
            await in_facts(log, 3)


async def test_a_disk_that_has_lost_what_was_kept_has_everything_published_again(hub: Hub, own: NatsServer) -> None:
    async with gateway(hub), hub.member(A) as mine, keeping(own) as facts:
        kept = KeptLog(MemberLog(mine, A), facts, SystemClock())
        await kept.publish(messages(0, 3))
        assert await kept.heal() == []
        own.stop()
        own.wipe()
        own.start()
        await patiently(lambda: kept.publish(messages(3, 6)))
        assert await kept.heal() == ["facts that were kept for the hub are lost"]
        assert await kept.heal() == []
        assert facts.waiting
