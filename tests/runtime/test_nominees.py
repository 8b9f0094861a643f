"""Dependents of an owner that is gone, batch by batch: none hides another, none is forgotten, none is asked for in vain."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import msgspec
import pytest

from engine.core.cascade import LATELY_SECONDS, GarbageView, Held, next_batch
from engine.core.view import Cluster
from engine.runtime import nominees as nominees_module
from engine.runtime.lately import Lately
from engine.runtime.nominees import LAST_LOOK_SECONDS, Nominees
from engine.runtime.ports import Message, Record
from engine.sandbox.memory_log import MemoryLog
from reconcilers.garbage import garbage
from schemas import subjects
from schemas.actions import Outcome, Request, Result
from schemas.clusters import ClusterState
from schemas.decisions import Target
from schemas.names import ClusterName, ObjectRef, Resource, ResourceVersion, Uid
from tests.builders import C1, C2, C3, fact_message, identity
from tests.fakes import Clock

MAPS = Resource("", "v1", "configmaps")
OWNER = ObjectRef(C1, "", "configmaps", "default", "owner")
BATCH = 3


def dependent(cluster: ClusterName, number: int) -> ObjectRef:
    return ObjectRef(cluster, "", "configmaps", "default", f"dep-{number}")


def uid_of(ref: ObjectRef) -> Uid:
    return Uid(f"{ref.cluster}-{ref.name}")


class Bench:
    """INDEX and STATE in memory, and views of one owner."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.log = MemoryLog(self.clock)
        self.states = dict.fromkeys((C1, C2, C3), ClusterState.LIVE)
        self.epochs = dict.fromkeys((C1, C2, C3), 1)
        self.lately = Lately(self.clock)
        self.nominees = Nominees(self.log, self.clock, (C1, C2, C3), self.lately)

    async def nominate(self, *dependents: ObjectRef) -> None:
        """Write what a mapper would."""
        for ref in dependents:
            body = msgspec.json.encode(Held(uid_of(ref), "v1", "ConfigMap", (Uid("owner"),), findable=True))
            await self.log.append("INDEX", Message(subject=subjects.dependent(identity(C1), OWNER, ref), body=body))

    async def forget(self, *dependents: ObjectRef) -> None:
        """Publish that dependents are gone; INDEX does not know it yet."""
        for ref in dependents:
            metadata = {"name": ref.name, "namespace": "default", "uid": uid_of(ref)}
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
            key, fact = fact_message(ref, MAPS, body, version="9", deleted=True)
            await self.log.publish([Message(subject=subjects.fact(ref), body=fact, id=key)])

    async def view(self, *, targets: tuple[Target, ...] = ()) -> GarbageView:
        made = GarbageView(
            now=self.clock.time(),
            clusters=[
                Cluster(name=name, state=state, identity=identity(name), epoch=self.epochs[name])
                for name, state in self.states.items()
            ],
            rows={},
            synced=frozenset(),
            targets=targets,
            reconciler="garbage",
        )
        made.at_once = BATCH
        await self.nominees.show(made, identity(C1), OWNER)
        return made

    async def batch(self, *, targets: tuple[Target, ...] = ()) -> list[ObjectRef]:
        """Return whom a decision would name now."""
        view = await self.view(targets=targets)
        return [held.ref for held in next_batch(view, view.held)]


def deleted(bench: Bench, *dependents: ObjectRef) -> list[Outcome]:
    """Do as the collector does when it has deleted them."""
    for ref in dependents:
        bench.lately.add(uid_of(ref), bench.epochs[ref.cluster])
    return [Outcome(action="Collect", ref=ref, result=Result.DONE, uid=uid_of(ref)) for ref in dependents]


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(nominees_module, "FIRST_READ", 2 * BATCH)
    made = Bench()
    await made.log.prepare()
    return made


async def test_dependents_in_a_cluster_that_does_not_answer_do_not_hide_those_in_others(bench: Bench) -> None:
    await bench.nominate(*(dependent(C2, number) for number in range(20)), dependent(C3, 1))
    bench.states[C2] = ClusterState.SUSPECT
    assert (await bench.batch())[0] == dependent(C3, 1)


async def test_dependents_that_were_refused_a_moment_ago_do_not_hide_others(bench: Bench) -> None:
    refused = [dependent(C2, number) for number in range(2 * BATCH)]
    await bench.nominate(*refused, dependent(C3, 1))
    targets = tuple(Target(ref=ref, slot="collect", attempts=1, not_before=bench.clock.time() + 60) for ref in refused)
    assert (await bench.batch(targets=targets))[0] == dependent(C3, 1)
    bench.clock.now += 61
    assert (await bench.batch(targets=targets))[0] == dependent(C2, 0)


async def test_dependents_that_are_known_to_be_gone_do_not_hide_others(bench: Bench) -> None:
    gone = [dependent(C2, number) for number in range(20)]
    await bench.nominate(*gone, dependent(C3, 1))
    await bench.forget(*gone)
    assert await bench.batch() == [dependent(C3, 1)]


async def test_one_that_has_come_back_under_its_name_is_nominated(bench: Bench) -> None:
    await bench.nominate(dependent(C2, 1))
    await bench.forget(dependent(C2, 1))
    renewed = Held(Uid("another"), "v1", "ConfigMap", (Uid("owner"),))
    subject = subjects.dependent(identity(C1), OWNER, dependent(C2, 1))
    await bench.log.append("INDEX", Message(subject=subject, body=msgspec.json.encode(renewed)))
    assert await bench.batch() == [dependent(C2, 1)]


async def test_what_a_decision_leaves_is_taken_at_once_and_to_its_end(bench: Bench) -> None:
    everyone = [dependent(C2, number) for number in range(10)]
    await bench.nominate(*everyone)
    done: list[ObjectRef] = []
    while True:
        view = await bench.view()
        batch = [held.ref for held in next_batch(view, view.held)]
        done += batch
        again = bench.nominees.after(view, OWNER, deleted(bench, *batch))
        if again > view.now:
            break
    assert sorted(done, key=str) == sorted(everyone, key=str)
    assert garbage(view, Request("garbage", OWNER)).again_after == LATELY_SECONDS


async def test_an_owner_is_not_let_go_on_what_was_left_but_on_a_whole_reading(bench: Bench) -> None:
    everyone = [dependent(C2, number) for number in range(2 * BATCH)]
    await bench.nominate(*everyone)
    first = await bench.view()
    bench.nominees.after(first, OWNER, deleted(bench, *(held.ref for held in next_batch(first, first.held))))
    await bench.nominate(dependent(C3, 9))
    second = await bench.view()
    assert second.more
    bench.nominees.after(second, OWNER, deleted(bench, *(held.ref for held in next_batch(second, second.held))))
    whole = await bench.view()
    assert [held.ref for held in next_batch(whole, whole.held)] == [dependent(C3, 9)]
    assert not whole.more


async def test_less_than_a_batch_that_was_left_is_filled_up_from_the_index(bench: Bench) -> None:
    await bench.nominate(*(dependent(C2, number) for number in range(BATCH + 1)))
    first = await bench.view()
    bench.nominees.after(first, OWNER, deleted(bench, *(held.ref for held in next_batch(first, first.held))))
    await bench.nominate(dependent(C3, 9))
    assert await bench.batch() == [dependent(C2, BATCH), dependent(C3, 9)]


async def test_what_another_process_went_on_with_does_not_keep_others_from_being_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nominees_module, "LEFT_KEPT", 1)
    await bench.nominate(*(dependent(C2, number) for number in range(BATCH + 1)))
    view = await bench.view()
    elsewhere = ObjectRef(C1, "", "configmaps", "default", "another")
    bench.nominees.after(view, elsewhere, deleted(bench, dependent(C2, 0)))
    bench.clock.now += LATELY_SECONDS + 1
    view = await bench.view()
    bench.nominees.after(view, OWNER, deleted(bench, dependent(C2, 1)))
    assert (await bench.view()).more  # it goes on from what was left


async def test_when_all_are_deleted_a_last_look_follows(bench: Bench) -> None:
    await bench.nominate(dependent(C2, 1))
    again = bench.nominees.after(await bench.view(), OWNER, deleted(bench, dependent(C2, 1)))
    assert again == bench.clock.time() + LAST_LOOK_SECONDS


async def test_one_that_was_just_deleted_is_not_nominated_until_its_fact_should_have_come(bench: Bench) -> None:
    await bench.nominate(dependent(C2, 1))
    bench.nominees.after(await bench.view(), OWNER, deleted(bench, dependent(C2, 1)))
    assert await bench.batch() == []
    bench.clock.now += LATELY_SECONDS + 0.1
    assert await bench.batch() == [dependent(C2, 1)]


async def test_one_that_a_restored_etcd_brings_back_is_nominated_at_once(bench: Bench) -> None:
    await bench.nominate(dependent(C2, 1))
    bench.nominees.after(await bench.view(), OWNER, deleted(bench, dependent(C2, 1)))
    bench.epochs[C2] += 1
    assert await bench.batch() == [dependent(C2, 1)]


async def test_a_decision_that_did_nothing_calls_for_no_other(bench: Bench) -> None:
    await bench.nominate(*(dependent(C2, number) for number in range(10)))
    failed = Outcome(action="Collect", ref=dependent(C2, 0), result=Result.FAILED)
    assert bench.nominees.after(await bench.view(), OWNER, [failed]) == math.inf


async def test_one_that_was_gone_already_is_no_step_forward_and_one_that_is_settled_is(bench: Bench) -> None:
    await bench.nominate(*(dependent(C2, number) for number in range(2)))
    was_gone = Outcome(action="Collect", ref=dependent(C2, 0), result=Result.UNCHANGED)
    assert bench.nominees.after(await bench.view(), OWNER, [was_gone]) == math.inf
    settled = msgspec.structs.replace(was_gone, version=ResourceVersion("7"))
    view = await bench.view()
    assert bench.nominees.after(view, OWNER, [settled]) == view.now


async def test_a_key_that_cannot_see_all_of_its_dependents_looks_again_though_nothing_wakes_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nominees_module, "SCANNED", 8)
    gone = [dependent(C2, number) for number in range(10)]
    await bench.nominate(*gone, dependent(C3, 1))
    await bench.forget(*gone)
    view = await bench.view()
    assert garbage(view, Request("garbage", OWNER)).again_after == LATELY_SECONDS


async def test_the_batch_after_next_is_read_while_a_batch_is_deleted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [dependent(C2, number) for number in range(4 * BATCH)]
    await bench.nominate(*wanted)
    first = await bench.view()
    gone = [held.ref for held in next_batch(first, first.held)]
    for _ in range(20):
        await asyncio.sleep(0)  # the deletes take some time
    reads, last = list[str](), bench.log.last

    async def seen(stream: str, names: Sequence[str], *, most: int | None = None) -> dict[str, Record]:
        reads.append(stream)
        return await last(stream, names, most=most)

    monkeypatch.setattr(bench.log, "last", seen)
    bench.nominees.after(first, OWNER, deleted(bench, *gone))
    second = await bench.batch()
    assert len(second) == BATCH
    assert not set(second) & set(gone)
    assert "INDEX" not in reads


async def test_what_was_read_ahead_is_never_all_there_is(bench: Bench) -> None:
    await bench.nominate(*(dependent(C2, number) for number in range(2 * BATCH)))
    first = await bench.view()
    for _ in range(20):
        await asyncio.sleep(0)
    await bench.nominate(dependent(C3, 1))
    bench.nominees.after(first, OWNER, deleted(bench, *(held.ref for held in next_batch(first, first.held))))
    second = await bench.view()
    assert second.more
    bench.nominees.after(second, OWNER, deleted(bench, *(held.ref for held in next_batch(second, second.held))))
    assert dependent(C3, 1) in await bench.batch()


async def test_nothing_is_read_ahead_where_nothing_can_be_done(bench: Bench) -> None:
    await bench.nominate(*(dependent(C2, number) for number in range(4 * BATCH)))
    bench.states[C2] = ClusterState.SUSPECT
    await bench.view()
    assert not bench.nominees._ahead
    bench.states[C2] = ClusterState.LIVE
    await bench.view()
    assert bench.nominees._ahead
    bench.clock.now += LATELY_SECONDS + 1
    bench.states[C2] = ClusterState.SUSPECT
    await bench.view()
    assert not bench.nominees._ahead
