"""The state at any cut is what it was: against an oracle that kept every state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.history import Cut, Past, Stored
from engine.runtime import checkpoints
from engine.runtime.checkpoints import Checkpointer, is_due, make_checkpoint, read_checkpoints, worth_keeping
from engine.runtime.clock import SystemClock
from engine.runtime.event_log import NatsEventLog
from engine.runtime.jetstream import Connection
from engine.runtime.past import EVERYTHING, read_horizon, read_past
from engine.runtime.ports import EventLog, Message, Record
from engine.sandbox.memory_log import MemoryLog
from schemas import subjects
from schemas.checkpoints import Checkpoint
from schemas.clusters import ClusterState
from schemas.facts import SyncType
from tests.builders import C1, C2, FOOS, cluster_fact, sync_fact
from tests.record.oracle import Oracle, state_of

DAY = 86400.0
Step = tuple[str, int, int | None]


class Time:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class BusyLog(MemoryLog):
    """A log that is written to while STATE is scanned; each row is what it is when its turn comes, as on the broker."""

    during: Sequence[Callable[[], Message]] = ()

    async def scan(self, stream: str, filters: Sequence[str], *, headers_only: bool = False) -> AsyncIterator[Record]:
        writes = iter(self.during if stream == "STATE" else ())
        for found in [record async for record in super().scan(stream, filters, headers_only=headers_only)]:
            if stream != "STATE":
                yield found
                continue
            if (write := next(writes, None)) is not None:
                await self.publish([write()])
            yield (await self.last(stream, [found.subject]))[found.subject]


async def check_every_cut(log: EventLog, oracle: Oracle) -> int:
    """Compare each cut that can be told with the oracle; return the first."""
    horizon = await read_horizon(log)
    assert horizon.end.seq == len(oracle.states) - 1
    for seq in range(horizon.begin.seq, horizon.end.seq + 1):
        past = await read_past(log, Cut(seq, 0.0), EVERYTHING, horizon)
        assert state_of(past) == oracle.states[seq], f"at {seq} of {horizon}"
    return horizon.begin.seq


steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 9), st.one_of(st.none(), st.integers(0, 99))),
        st.tuples(st.just("checkpoint"), st.integers(0, 6), st.none()),
        st.tuples(st.just("wait"), st.integers(1, 40), st.none()),
    ),
    max_size=60,
)


@given(steps)
@settings(max_examples=150, deadline=None)
def test_every_state_of_any_history_can_be_told_again(history: list[Step]) -> None:
    async def play() -> None:
        clock, oracle = Time(), Oracle()
        log = BusyLog(clock, fact_days=1.0)

        def a_write(number: int, value: int | None) -> Message:
            return oracle.write((C1, C2)[number % 2], f"o{number}", value)

        await log.publish(oracle.begin())
        for verb, number, value in history:
            clock.now += 1.0
            if verb == "write":
                await log.publish([a_write(number, value)])
            elif verb == "wait":
                clock.now += number * DAY / 40  # facts grow old, and after a day they go
            else:
                log.during = [lambda i=i: a_write(i % 10, i if i % 3 else None) for i in range(number)]  # type: ignore[misc]
                await make_checkpoint(log, f"c{len(oracle.states)}-{clock.now:.0f}", clock)
                log.during = ()
        await check_every_cut(log, oracle)

    asyncio.run(play())


async def test_an_object_that_changed_only_before_the_window_is_there() -> None:
    clock, oracle = Time(), Oracle()
    log = MemoryLog(clock, fact_days=1.0)
    keeper = Checkpointer(log, clock, fact_days=1.0)
    await log.publish([*oracle.begin(), oracle.write(C1, "old", 1)])
    for hour in range(60):
        await log.publish([oracle.write(C1, "busy", hour)])
        await keeper.look()
        clock.now += 3600
    await log.publish([oracle.write(C1, "old", 2)])

    begin = await check_every_cut(log, oracle)
    assert begin > 5, "facts have gone"
    horizon = await read_horizon(log)
    assert clock.now - horizon.begin.time >= 7 / 8 * DAY - 3600
    assert len(horizon.checkpoints) <= checkpoints.RECENT + checkpoints.SHARE + 1


async def test_without_facts_for_longer_than_they_are_kept_the_state_can_still_be_told() -> None:
    clock, oracle = Time(), Oracle()
    log = MemoryLog(clock, fact_days=1.0)
    keeper = Checkpointer(log, clock, fact_days=1.0)
    await log.publish([*oracle.begin(), oracle.write(C1, "still", 1)])
    for _ in range(100):
        await keeper.look()
        clock.now += 3600
    assert (await log.extent("FACTS")).messages == 0
    assert await check_every_cut(log, oracle) == len(oracle.states) - 1


async def test_one_of_several_processes_makes_the_checkpoint_and_a_dead_one_is_replaced() -> None:
    clock, oracle = Time(), Oracle()
    log = MemoryLog(clock)
    await log.publish([*oracle.begin(), oracle.write(C1, "a", 1)])
    keepers = [Checkpointer(log, clock, fact_days=7.0) for _ in range(5)]
    made = await asyncio.gather(*(keeper.look() for keeper in keepers))
    assert sum(one is not None for one in made) == 1

    clock.now += 2 * DAY
    await log.publish([oracle.write(C1, "a", 2)])
    assert await keepers[0]._claim("killed")
    await log.append("CHECKPOINTS", Message(subject="checkpoints.rows.killed.facts.c.g.r.1", body=b"half"))
    assert await keepers[1].look() is None, "it may be at work"
    clock.now += checkpoints.CLAIM_SECONDS
    assert await keepers[1].look() is not None
    assert not await log.last("CHECKPOINTS", ["checkpoints.rows.killed.>"])


def a_checkpoint(until: int, time: float, rows: int = 10) -> Checkpoint:
    return Checkpoint(name=f"c{until}", after=until, until=until, time=time, incarnation="", rows=rows, size=1)


def test_a_checkpoint_is_due_after_a_share_of_the_age_or_very_many_facts() -> None:
    last = [a_checkpoint(100, 1000.0)]
    assert is_due([], 1, 0.0, 50.0)
    assert not is_due(last, 101, 1049.0, 50.0)
    assert is_due(last, 101, 1050.0, 50.0)
    assert not is_due(last, 100, 1050.0, 50.0), "nothing has happened"
    assert is_due(last, 100, 1200.0, 50.0), "it would expire"
    assert is_due(last, 100 + checkpoints.FACTS_BETWEEN, 1001.0, 50.0)
    assert not is_due(last, 101, 1050.0, 50.0, 1.5), "somebody else may make it"
    assert is_due(last, 101, 1075.0, 50.0, 1.5)
    assert not is_due(last, 100 + checkpoints.FACTS_BETWEEN, 1001.0, 50.0, 1.5)
    large = [a_checkpoint(100, 1000.0, rows=10**6)]
    assert not is_due(large, 100 + checkpoints.FACTS_BETWEEN, 1001.0, 50.0), "it costs more than it saves"


def test_of_many_checkpoints_few_are_kept_and_the_oldest_of_each_interval_are() -> None:
    made = [a_checkpoint(number, number * 10.0) for number in range(100)]
    kept = worth_keeping(made, 100.0)
    assert [one.until for one in kept] == [*range(0, 100, 10), 96, 97, 98, 99]


async def test_a_checkpoint_of_another_life_of_facts_is_not_used() -> None:
    clock, oracle = Time(), Oracle()
    log = MemoryLog(clock)
    await log.publish([*oracle.begin(), oracle.write(C1, "a", 1)])
    await make_checkpoint(log, "before", clock)
    saved = log.records("CHECKPOINTS")
    log.lose_streams()
    await log.prepare()
    await log.publish_many("CHECKPOINTS", [Message(subject=record.subject, body=record.body) for record in saved])
    assert await read_checkpoints(log) == []


def test_what_is_not_certain_of_a_state_is_said() -> None:
    past = Past()
    for name, kind in ((C1, SyncType.COMPLETED), (C2, SyncType.GAP)):
        past.take(
            subjects.sync(name, FOOS.group, FOOS.plural), Stored(1, "2026-01-01T00:00:00Z", sync_fact(name, FOOS, kind))
        )
    past.take(f"facts.{C1}.crosscurrent%2Edev.clusters._.{C1}", Stored(2, "2026-01-01T00:00:09Z", cluster_fact(C1)[1]))
    past.take(
        f"facts.{C2}.crosscurrent%2Edev.clusters._.{C2}",
        Stored(3, "2026-01-01T00:00:05Z", cluster_fact(C2, ClusterState.SUSPECT)[1]),
    )
    first, second = past.standings()
    assert (first.cluster, first.watermark, first.doubts) == (C1, "2026-01-01T00:00:09Z", ())
    assert second.watermark == "2026-01-01T00:00:05Z"
    assert [(doubt.what, doubt.why) for doubt in second.doubts] == [
        ("", "suspect"),
        ("foos.samplecontroller.k8s.io", "gap"),
    ]
    assert [doubt.what for doubt in past.standings([("", "pods")])[1].doubts] == [""]


@pytest.mark.broker
async def test_every_state_of_a_history_on_a_real_broker_can_be_told_again(
    broker_log: NatsEventLog, door: Connection
) -> None:
    log = broker_log
    oracle, clock = Oracle(), SystemClock()
    await log.publish(oracle.begin())
    going = True

    async def write_on() -> None:
        number = 0
        while going:
            number += 1
            batch = [
                oracle.write((C1, C2)[i % 2], f"o{i * number % 97}", number if number % 5 else None) for i in range(9)
            ]
            await log.publish(batch)

    writing = asyncio.create_task(write_on())
    for name in ("one", "two", "three"):
        await asyncio.sleep(0.1)
        made = await make_checkpoint(log, name, clock)
        assert made.until > made.after, "facts came while it was made"
        await asyncio.sleep(0.1)
    going = False
    await writing
    first = (await read_checkpoints(log))[0]
    # What age does in a week: facts that the first checkpoint stands for go.
    await door.api("STREAM.PURGE.FACTS", {"seq": first.after + 1})

    horizon = await read_horizon(log)
    assert horizon.begin.seq == first.until
    for seq in sorted({*range(first.until, horizon.end.seq + 1, 41), first.until, horizon.end.seq}):
        assert state_of(await read_past(log, Cut(seq, 0.0), EVERYTHING, horizon)) == oracle.states[seq], seq
        only = [subjects.facts_of(C2, FOOS.group, FOOS.plural)]
        found = state_of(await read_past(log, Cut(seq, 0.0), [*only, only[0].replace(">", "default.>")], horizon))
        assert found == {ref: value for ref, value in oracle.states[seq].items() if ref.cluster == C2}
    await door.api("STREAM.PURGE.FACTS", {})
    assert (await read_horizon(log)).begin.seq > horizon.end.seq, "nothing can be told, and nothing is made up"
