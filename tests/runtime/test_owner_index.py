"""Whom a dependent names, from either side: kept in step whatever the order of facts, mappers and crashes."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from engine.runtime.owner_index import Owner, OwnerIndex
from engine.runtime.ports import EventLogError, Message
from engine.sandbox.memory_log import MemoryLog
from schemas import subjects
from schemas.names import ClusterName, ObjectRef, Uid
from tests.builders import C1, C2, deployment_ref, foo_ref, identity

CHILD = deployment_ref(C2)


def owners(*names: str) -> dict[Owner, ObjectRef]:
    return {(identity(C1), Uid(f"uid-{name}")): foo_ref(name) for name in names}


async def entries(log: MemoryLog) -> set[str]:
    """Names of the owners that have a valid entry for the dependent."""
    found = await log.last("INDEX", [f"{subjects.OWNERS}.>"])
    return {subjects.parse_fact(record.body.decode()).name for record in found.values() if record.body}


async def names(log: MemoryLog, named: dict[Owner, ObjectRef], reconciler: str = "foo") -> list[str]:
    """Say whom the dependent names now; return the names of the former owners."""
    index = OwnerIndex(log, reconciler)
    indexed = await index.update(CHILD, named)
    await index.forget(CHILD, named, indexed)
    return sorted(parent.name for parent in indexed.former.values())


async def test_owners_come_go_and_return() -> None:
    log = MemoryLog()
    assert await names(log, owners("a", "b")) == []
    assert await entries(log) == {"a", "b"}
    assert await names(log, owners("b", "c")) == ["a"]
    assert await entries(log) == {"b", "c"}
    assert await names(log, owners("a")) == ["b", "c"]
    assert await entries(log) == {"a"}
    assert await names(log, {}) == ["a"]
    assert await entries(log) == set()
    assert await names(log, {}) == []


async def test_the_same_owners_again_are_read_and_not_written() -> None:
    log = MemoryLog()
    await names(log, owners("a"))
    before = await log.last_sequence("INDEX")
    assert not (await OwnerIndex(log, "foo").update(CHILD, owners("a"))).changed
    assert await log.last_sequence("INDEX") == before


async def test_a_former_owner_is_named_until_it_is_forgotten_though_its_entry_is_gone() -> None:
    """Whoever was to wake it may have died in between."""
    log = MemoryLog()
    await names(log, owners("a"))
    for _ in range(2):
        assert (await OwnerIndex(log, "foo").update(CHILD, {})).former == owners("a")
        assert await entries(log) == set()


async def test_each_reconciler_hears_of_a_former_owner_itself() -> None:
    log = MemoryLog()
    for reconciler in ("foo", "bar"):
        await names(log, owners("a"), reconciler)
    assert [await names(log, {}, reconciler) for reconciler in ("foo", "bar")] == [["a"], ["a"]]


async def test_an_entry_without_a_list_is_listed_when_its_dependent_is_seen_again() -> None:
    log = MemoryLog()
    (owner,) = owners("a")
    entry = Message(subject=subjects.owner(*owner, CHILD), body=subjects.fact(foo_ref("a")).encode())
    await log.append("INDEX", entry)
    await names(log, owners("a"))
    assert await names(log, {}) == ["a"]


class Faulty(MemoryLog):
    """Dies at a write, and lets others go first at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.dies_at = 0
        self.appends = 0
        self.dice: random.Random | None = None

    async def append(
        self, stream: str, message: Message, *, expect_last: int | None = None, rollup: bool = False
    ) -> int:
        if self.dice is not None:
            for _ in range(self.dice.randrange(4)):
                await asyncio.sleep(0)
        self.appends += 1
        if self.appends == self.dies_at:
            raise EventLogError("lost")
        return await super().append(stream, message, expect_last=expect_last, rollup=rollup)


@pytest.mark.parametrize("dies_at", range(1, 6))
async def test_a_crash_between_any_two_writes_loses_nothing(dies_at: int) -> None:
    log = Faulty()
    await names(log, owners("a", "b"))
    log.appends, log.dies_at = 0, dies_at
    woken: set[str] = set()
    for _ in range(2):  # the second time is the redelivery
        index = OwnerIndex(log, "foo")
        try:
            indexed = await index.update(CHILD, owners("b", "c"))
            woken |= {parent.name for parent in indexed.former.values()}
            await index.forget(CHILD, owners("b", "c"), indexed)
        except EventLogError:
            continue
    assert woken == {"a"}
    assert await entries(log) == {"b", "c"}
    assert await names(log, {}) == ["b", "c"]


@pytest.mark.parametrize("seed", range(60))
async def test_whoever_writes_last_knew_the_last_fact_in_any_order_of_two_mappers(seed: int) -> None:
    """As mappers do: facts in turn, each mapped by either, and after a write the latest is mapped again."""
    dice = random.Random(seed)
    log = Faulty()
    log.dice = dice
    history = [owners(*dice.sample("abc", dice.randrange(4))) for _ in range(6)]
    latest = -1

    async def map_fact(number: int) -> None:
        nonlocal latest
        index = OwnerIndex(log, "foo")
        indexed = await index.update(CHILD, history[number])
        await index.forget(CHILD, history[number], indexed)
        if indexed.changed and latest > number:
            await map_fact(latest)

    async with asyncio.TaskGroup() as group:
        for number in itertools.count():
            if number == len(history):
                break
            latest = number
            group.create_task(map_fact(number))
            for _ in range(dice.randrange(6)):
                await asyncio.sleep(0)

    assert await entries(log) == {parent.name for parent in history[-1].values()}
    assert await names(log, {}) == sorted(parent.name for parent in history[-1].values())


def test_lists_of_two_dependents_and_of_two_reconcilers_are_apart() -> None:
    places = {
        subjects.keyed(subjects.OWNED, name, ref)
        for name in ("foo", "bar")
        for ref in (CHILD, CHILD.on(ClusterName("x")))
    }
    assert len(places) == 4
