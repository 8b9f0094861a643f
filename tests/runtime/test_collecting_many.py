"""Many dependents at once: read together, deleted as if each had been read alone, and nobody asks the same thing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
import pytest

from engine.core.cascade import Hint
from engine.core.grants import SIGNATURE_ANNOTATION
from engine.core.ownership import CASCADE_FINALIZER, OWNER_LABEL, owner_label
from engine.runtime import shared_reads
from engine.runtime.delete_records import DeleteRecords
from engine.runtime.garbage_performer import SETTLING, GarbagePerformer
from engine.runtime.live_reads import (
    LISTED_FROM,
    LISTED_SECONDS,
    RENEWED_SECONDS,
    WHOLE_FROM,
    WHOLE_MOST,
    WHOLE_SECONDS,
)
from engine.runtime.performer import Performer
from engine.runtime.ports import ClusterUnreachable, EventLogError, Message, Reply
from engine.runtime.shared_reads import SharedReads
from engine.runtime.turns import Turn, Turns
from engine.runtime.wakes import Wakes
from engine.sandbox.memory_log import MemoryLog
from schemas import subjects
from schemas.actions import Action, Collect, Outcome, RemoveFinalizer, Result
from schemas.deletions import DELETIONS, Deletion
from schemas.facts import decode_fact
from schemas.names import ClusterId, ResourceVersion, Uid
from tests.fakes import JSON_HEADERS, Clock, Sent
from tests.runtime.test_collector import Bench

Json = dict[str, Any]
LABEL = {owner_label(Uid("gone")): ""}
MANY = LISTED_FROM + 6


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    await made.start()
    yield made
    await made.prover.close()


def actions(bench: Bench, dependents: list[Json]) -> list[Collect]:
    return [
        Collect(
            ref=bench.b.ref("configmaps", one["metadata"]["name"]),
            api_version="v1",
            kind="ConfigMap",
            uid=Uid(one["metadata"]["uid"]),
            owner=Uid("gone"),
        )
        for one in dependents
    ]


def labelled(bench: Bench, count: int = MANY, labels: Json = LABEL) -> list[Json]:
    return [bench.dependent(bench.reference(), name=f"dep{number}", labels=labels) for number in range(count)]


def release(bench: Bench, owner: Json) -> RemoveFinalizer:
    return RemoveFinalizer(
        ref=bench.a.ref("configmaps", "owner"),
        api_version="v1",
        kind="ConfigMap",
        uid=Uid(owner["metadata"]["uid"]),
        finalizer=CASCADE_FINALIZER,
        dependents=("v1/configmaps",),
    )


async def perform(bench: Bench, wanted: Sequence[Action], *, lease: float = 1000.0) -> list[Outcome]:
    performer = GarbagePerformer(Performer(bench.apis, bench.clock), bench.collector, bench.barrier, bench.clock)
    deadline = bench.clock.monotonic() + lease
    done = await performer.perform(wanted, manager="crosscurrent/garbage", deadline=deadline, first_apply=(), expect={})
    return list(done.outcomes)


def before_each_delete(bench: Bench, act: Callable[[Sent], None]) -> None:
    def before(sent: Sent) -> Reply | None:
        if sent.method == "DELETE":
            act(sent)
        return None

    bench.b.before = before


@pytest.mark.parametrize("label", [owner_label(Uid("gone")), OWNER_LABEL])
async def test_dependents_of_one_owner_are_read_by_a_list_and_each_deleted_as_it_was_read(
    bench: Bench, label: str
) -> None:
    made = labelled(bench, labels={label: "gone" if label == OWNER_LABEL else ""})
    outcomes = await perform(bench, actions(bench, made))
    assert {one.result for one in outcomes} == {Result.DONE}
    reads = bench.b.sent("GET")
    assert {one.params.get("labelSelector") for one in reads} <= {owner_label(Uid("gone")), f"{OWNER_LABEL}=gone"}
    assert len(reads) <= 2
    assert all("resourceVersion" not in one.params for one in reads)
    wanted = {(one["metadata"]["uid"], one["metadata"]["resourceVersion"]) for one in made}
    sent = [one.body["preconditions"] for one in bench.deletes()]
    assert {(one["uid"], one["resourceVersion"]) for one in sent} == wanted


async def test_what_a_list_lacks_is_read_by_name_and_not_taken_for_gone(bench: Bench) -> None:
    made = [*labelled(bench), bench.dependent(bench.reference(), name="bare")]
    outcomes = await perform(bench, actions(bench, made))
    assert [one.result for one in outcomes] == [Result.DONE] * (MANY + 1)
    assert [one.path.rpartition("/")[2] for one in bench.b.sent("GET")][1:] == ["bare"]


async def test_a_list_that_fails_leads_to_reads_by_name(bench: Bench) -> None:
    made = labelled(bench)
    bench.b.before = lambda sent: Reply(500, b"") if "labelSelector" in sent.params else None
    outcomes = await perform(bench, actions(bench, made))
    assert {one.result for one in outcomes} == {Result.DONE}


async def test_a_listed_dependent_that_gained_an_owner_since_stays(bench: Bench) -> None:
    made = labelled(bench)
    owner = bench.owner(bench.c)
    both = [bench.reference(), bench.reference(owner["metadata"]["uid"], bench.c)]
    before_each_delete(
        bench, lambda sent: _once(bench, sent, lambda: bench.dependent(*both, name="dep3", labels=LABEL))
    )
    outcomes = await perform(bench, actions(bench, made))
    assert bench.b.get(bench.b.ref("configmaps", "dep3")) is not None
    assert [one.reason for one in outcomes if one.ref.name == "dep3"] == ["OtherOwners"]
    assert sum(one.result is Result.DONE for one in outcomes) == MANY


async def test_a_listed_dependent_that_was_replaced_since_stays(bench: Bench) -> None:
    made = labelled(bench)

    def replace() -> None:
        bench.b.remove(bench.b.ref("configmaps", "dep3"))
        bench.dependent(bench.reference(), name="dep3", uid="new", labels=LABEL)

    before_each_delete(bench, lambda sent: _once(bench, sent, replace))
    await perform(bench, actions(bench, made))
    assert bench.b.get(bench.b.ref("configmaps", "dep3")) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"finalizers": ["orphan"]},
        {"annotations": {SIGNATURE_ANNOTATION: "other"}},
        {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "o"}]},
    ],
)
async def test_what_a_listed_dependent_is_judged_by_is_not_overlooked_when_it_changes(
    bench: Bench, change: Json
) -> None:
    made = labelled(bench)
    changed = lambda: bench.dependent(bench.reference(), name="dep3", labels=LABEL, **change)  # noqa: E731
    before_each_delete(bench, lambda sent: _once(bench, sent, changed))
    await perform(bench, actions(bench, made))
    sent = [one.body for one in bench.deletes() if one.path.endswith("/dep3")]
    assert all("resourceVersion" in one["preconditions"] for one in sent)
    assert "ownerReferences" not in change or len(sent) == 1
    assert "finalizers" not in change or sent[-1]["propagationPolicy"] == "Orphan"


def _once(bench: Bench, sent: Sent, act: Callable[[], object]) -> None:
    if sent.path.endswith("/dep3") and sum(one.path == sent.path for one in bench.deletes()) == 1:
        act()


async def test_a_list_is_not_used_for_ever(bench: Bench) -> None:
    wanted = actions(bench, labelled(bench, 3 * LISTED_FROM + 1))
    await perform(bench, wanted[:LISTED_FROM])
    await perform(bench, wanted[LISTED_FROM : 2 * LISTED_FROM])
    assert len(bench.b.sent("GET")) == 1
    bench.clock.now += LISTED_SECONDS + 1
    await perform(bench, wanted[-1:])
    assert ["labelSelector" in one.params for one in bench.b.sent("GET")] == [True, False]
    await perform(bench, wanted[2 * LISTED_FROM : -1])
    assert ["labelSelector" in one.params for one in bench.b.sent("GET")] == [True, False, True]


def of_many_owners(bench: Bench, count: int) -> list[list[Collect]]:
    """Dependents of so many owners, as many of each as are worth a LIST."""
    groups = []
    for number in range(count):
        uid = Uid(f"gone-{number}")
        made = [
            bench.dependent(bench.reference(uid), name=f"dep-{number}-{one}", labels={owner_label(uid): ""})
            for one in range(LISTED_FROM)
        ]
        groups.append([msgspec.structs.replace(one, owner=uid) for one in actions(bench, made)])
    return groups


async def listed(bench: Bench, groups: list[list[Collect]]) -> list[bool]:
    """Let groups be listed at the same moment; return the LISTs so far, each by whether it is of a whole namespace."""
    for group in groups:
        bench.collector.expect(group)
    for _ in range(20):
        await asyncio.sleep(0)
    reads = [one for one in bench.b.sent("GET") if one.path.endswith("/configmaps")]
    return ["labelSelector" not in one.params for one in reads]


async def test_dependents_of_many_owners_are_read_by_one_list_of_their_namespace(bench: Bench) -> None:
    groups = of_many_owners(bench, WHOLE_FROM + 5)
    assert await listed(bench, groups) == [False] * WHOLE_FROM + [True]
    reads = len(bench.b.sent("GET"))
    for group in groups[-3:]:
        assert {one.result for one in await perform(bench, group)} == {Result.DONE}
    assert len(bench.b.sent("GET")) == reads


async def test_a_list_of_a_namespace_is_not_used_for_ever(bench: Bench) -> None:
    groups = of_many_owners(bench, WHOLE_FROM + 2)
    await listed(bench, groups[:-1])
    bench.clock.now += WHOLE_SECONDS + 1
    await perform(bench, groups[-2][:1])
    assert bench.b.sent("GET")[-1].path.endswith(groups[-2][0].ref.name)
    assert await listed(bench, groups[-1:]) == [False] * WHOLE_FROM + [True, False]


@pytest.mark.parametrize("trouble", ["too large", "failed"])
async def test_a_namespace_that_cannot_be_listed_as_a_whole_is_listed_owner_by_owner(
    bench: Bench, trouble: str
) -> None:
    def before(sent: Sent) -> Reply | None:
        if not sent.path.endswith("/configmaps") or "labelSelector" in sent.params:
            return None
        if trouble == "failed":
            return Reply(500, b"")
        page = {
            "kind": "PartialObjectMetadataList",
            "metadata": {"remainingItemCount": WHOLE_MOST + 1, "continue": "x"},
        }
        return Reply(200, msgspec.json.encode({**page, "items": []}), JSON_HEADERS)

    bench.b.before = before
    groups = of_many_owners(bench, WHOLE_FROM + 3)
    await listed(bench, groups[:-2])
    assert await listed(bench, groups[-2:]) == [False] * WHOLE_FROM + [True, False, False]
    assert {one.result for one in await perform(bench, groups[-1])} == {Result.DONE}


async def test_a_list_serves_while_it_is_made_anew(bench: Bench) -> None:
    gate, made = asyncio.Event(), actions(bench, labelled(bench))
    half = len(made) // 2
    assert len(await listed(bench, [made[:half]])) == 1
    bench.clock.now += RENEWED_SECONDS + 1
    request = bench.b.request

    async def slowly(method: str, path: str, **rest: Any) -> Reply:
        reply = await request(method, path, **rest)
        if path.endswith("/configmaps"):
            await gate.wait()
        return reply

    bench.b.request = slowly  # type: ignore[method-assign]
    assert len(await listed(bench, [made[:half], made[:half]])) == 2
    assert {one.result for one in await perform(bench, made[:half])} == {Result.DONE}
    gate.set()
    await asyncio.sleep(0)
    bench.clock.now += LISTED_SECONDS - RENEWED_SECONDS  # the first one is too old by now, the second is not
    assert {one.result for one in await perform(bench, made[half:])} == {Result.DONE}
    assert [one.path for one in bench.b.sent("GET") if not one.path.endswith("/configmaps")] == []


async def test_a_dependent_that_changed_since_its_namespace_was_listed_is_judged_anew(bench: Bench) -> None:
    groups = of_many_owners(bench, WHOLE_FROM + 1)
    assert (await listed(bench, groups))[-1]
    changed, owner = groups[-1][0], bench.owner(bench.c)
    both = [bench.reference(changed.owner), bench.reference(owner["metadata"]["uid"], bench.c)]
    bench.dependent(*both, name=changed.ref.name, labels={owner_label(changed.owner): ""})
    outcomes = await perform(bench, groups[-1])
    assert outcomes[0].reason == "OtherOwners"
    assert bench.b.get(changed.ref) is not None
    assert {one.result for one in outcomes[1:]} == {Result.DONE}


async def test_so_many_are_under_way_at_once_and_each_is_done_with_before_the_next(bench: Bench) -> None:
    made = [bench.dependent(bench.reference(), name=f"dep{number}") for number in range(2 * SETTLING)]
    outcomes = await perform(bench, [_alone(one) for one in actions(bench, made)])
    assert {one.result for one in outcomes} == {Result.DONE}
    methods = [one.method for one in bench.b.requests]
    assert methods.index("DELETE") <= SETTLING


def _alone(action: Collect) -> Collect:
    return Collect(ref=action.ref, api_version=action.api_version, kind=action.kind, uid=action.uid)


async def test_every_delete_is_on_record_before_the_decision_is_closed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = bench.log.publish

    async def slowly(messages: Sequence[Message]) -> None:
        for _ in range(100):
            await asyncio.sleep(0)
        await publish(messages)

    made = labelled(bench)
    monkeypatch.setattr(bench.log, "publish", slowly)
    await perform(bench, actions(bench, made))
    pattern = f"{subjects.FACTS}.b.{subjects.escape(DELETIONS.group)}.{DELETIONS.plural}.>"
    assert len(await bench.log.last("STATE", [pattern])) == MANY


@pytest.mark.parametrize("sent", [True, False])
async def test_a_delete_to_which_no_answer_came_leaves_a_record_that_says_so(bench: Bench, *, sent: bool) -> None:
    """It may have been carried out, and then the dependent is simply gone when it is looked at again."""

    def lost(asked: Sent) -> Reply | None:
        if asked.method == "DELETE":
            raise ClusterUnreachable("no answer within 2 s", sent=sent)
        return None

    made = labelled(bench)
    bench.b.before = lost
    outcomes = await perform(bench, actions(bench, made))
    assert {one.reason for one in outcomes} == {"Unreachable"}
    pattern = f"{subjects.FACTS}.b.{subjects.escape(DELETIONS.group)}.{DELETIONS.plural}.>"
    stored = await bench.log.last("STATE", [pattern])
    records = [msgspec.json.decode(decode_fact(one.body).data, type=Deletion).spec for one in stored.values()]
    assert [one.unanswered for one in records] == [True] * (MANY if sent else 0), "not where nothing can have arrived"


async def test_records_are_published_together_and_nobody_waits_for_those_of_later_deletes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, rounds, later = bench.log.publish, list[int](), asyncio.Event()

    async def by_rounds(messages: Sequence[Message]) -> None:
        rounds.append(len(messages))
        if len(rounds) > 2:
            await later.wait()
        await publish(messages)

    monkeypatch.setattr(bench.log, "publish", by_rounds)
    records = DeleteRecords(bench.log, bench.clock, by="test")
    made = actions(bench, labelled(bench))

    def record(some: Sequence[Collect]) -> None:
        for one in some:
            records.add(
                one, ResourceVersion("1"), (ClusterId("b"), 1), propagation="Background", reason="r", ownerships=()
            )

    record(made[:1])
    await asyncio.sleep(0)  # it is on its way
    record(made[1:-1])
    waiting = asyncio.create_task(records.stored(bench.clock.monotonic() + 10))
    await asyncio.sleep(0)
    record(made[-1:])
    await asyncio.wait_for(waiting, 5)
    assert rounds[0] == 1
    assert sum(rounds) >= len(made) - 1
    assert len(rounds) <= 3
    later.set()
    await records.stored(bench.clock.monotonic() + 10)
    assert sum(rounds) == len(made)


async def test_an_owner_is_not_let_go_while_a_dependent_is_not_settled(bench: Bench) -> None:
    owner = bench.owner(finalizers=[CASCADE_FINALIZER])
    wanted: list[Action] = [*actions(bench, labelled(bench, 1)), release(bench, owner)]
    bench.b.unreachable = True
    assert [one.result for one in await perform(bench, wanted)] == [Result.FAILED, Result.SKIPPED]
    assert bench.a.sent("PATCH") == []
    bench.b.unreachable = False
    assert [one.result for one in await perform(bench, wanted)] == [Result.DONE, Result.DONE]


async def test_grants_are_asked_for_once_by_all_who_need_them(bench: Bench) -> None:
    await perform(bench, actions(bench, labelled(bench)))
    assert len([one for one in bench.a.requests if "ownergrants" in one.path]) == 1


# --- one question at a time ---


async def test_whoever_asks_meanwhile_shares_the_answer() -> None:
    asked, answered = 0, asyncio.Event()

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await answered.wait()
        return asked

    clock = Clock()
    reads: SharedReads[str, int] = SharedReads(clock, 5.0)
    waiting = [asyncio.create_task(reads.read("a", ask)) for _ in range(10)]
    await asyncio.sleep(0)
    answered.set()
    assert await asyncio.gather(*waiting) == [1] * 10
    assert await reads.read("a", ask) == 1
    clock.now += 5.1
    assert await reads.read("a", ask) == 2


async def test_what_may_not_be_kept_is_asked_for_again_and_so_is_what_failed() -> None:
    answers: list[int | Exception] = [0, OSError("away"), 7, 8]

    async def ask() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    reads: SharedReads[str, int] = SharedReads(Clock(), 5.0, keeps=bool)
    assert await reads.read("a", ask) == 0
    with pytest.raises(OSError, match="away"):
        await reads.read("a", ask)
    assert await reads.read("a", ask) == 7
    assert await reads.read("a", ask) == 7


async def test_an_answer_from_before_it_was_forgotten_is_not_used_again() -> None:
    gate, answers = asyncio.Event(), iter(["old", "new"])

    async def ask() -> str:
        answer = next(answers)
        if answer == "old":
            await gate.wait()
        return answer

    reads: SharedReads[str, str] = SharedReads(Clock(), 5.0)
    early = asyncio.create_task(reads.read("a", ask))
    await asyncio.sleep(0)
    reads.forget("a")
    assert await reads.read("a", ask) == "new"
    gate.set()
    assert await early == "old"
    assert await reads.read("a", ask) == "new"


async def test_answers_are_not_kept_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_reads, "MOST_KEPT", 10)
    reads: SharedReads[int, int] = SharedReads(Clock(), 5.0)

    async def ask() -> int:
        return 1

    for key in range(25):
        await reads.read(key, ask)
    assert len(reads._kept) <= 10


# --- turns at a key ---


async def test_one_works_one_waits_and_the_older_of_two_that_wait_is_let_go() -> None:
    turns, order = Turns(60.0), list[tuple[int, Turn]]()
    done = asyncio.Event()

    async def take(seq: int) -> None:
        async with turns.take("key", seq) as turn:
            order.append((seq, turn))
            if turn is Turn.GO:
                await done.wait()

    async with asyncio.TaskGroup() as group:
        for seq in (1, 2, 3):
            group.create_task(take(seq))
            await asyncio.sleep(0)
        while len(order) < 2:
            await asyncio.sleep(0)
        assert order == [(1, Turn.GO), (2, Turn.REPLACED)]
        done.set()
    assert order[2:] == [(3, Turn.GO)]


async def test_a_request_that_cannot_be_the_newer_one_replaces_nothing() -> None:
    turns = Turns(60.0)
    async with turns.take("key", 5):
        waiting = asyncio.create_task(_turn(turns, 9))
        await asyncio.sleep(0)
        assert await _turn(turns, 3) is Turn.BUSY
    assert await waiting is Turn.GO


async def test_whoever_has_waited_long_enough_asks_again() -> None:
    turns = Turns(0.01)
    async with turns.take("key", 1):
        assert await _turn(turns, 2) is Turn.BUSY
    assert await _turn(turns, 3) is Turn.GO


async def test_a_turn_that_is_given_to_somebody_who_is_being_stopped_is_not_lost() -> None:
    turns = Turns(60.0)
    async with turns.take("key", 1):
        stopped = asyncio.create_task(_turn(turns, 2))
        await asyncio.sleep(0)
    stopped.cancel()
    await asyncio.gather(stopped, return_exceptions=True)
    assert await _turn(turns, 3) is Turn.GO


async def _turn(turns: Turns, seq: int) -> Turn:
    async with turns.take("key", seq) as turn:
        return turn


# --- requests ---


class Slow(MemoryLog):
    """Stores requests when it is told to."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.gate, self.groups, self.fails = asyncio.Event(), list[list[str]](), False

    async def publish_many(self, stream: str, messages: Any) -> None:
        self.groups.append([one.subject for one in messages])
        await self.gate.wait()
        if self.fails:
            raise EventLogError("away")
        await super().publish_many(stream, messages)


async def test_a_key_that_many_want_woken_is_requested_once_more_after_the_one_under_way() -> None:
    log = Slow()
    wakes = Wakes(log)
    first = asyncio.create_task(wakes.publish([Message(subject="requests.garbage.a", body=b"1")]))
    await asyncio.sleep(0.0)
    await asyncio.sleep(0.0)
    assert log.groups == [["requests.garbage.a"]]
    others = [
        asyncio.create_task(wakes.publish([Message(subject="requests.garbage.a", body=b"%d" % number)]))
        for number in range(2, 12)
    ]
    await asyncio.sleep(0)
    assert not any(one.done() for one in (first, *others))
    log.gate.set()
    await asyncio.gather(first, *others)
    assert log.groups == [["requests.garbage.a"]] * 2
    assert [one.body for one in log.records("REQUESTS")] == [b"11"]


async def test_a_request_that_was_not_stored_is_an_error_to_all_who_wanted_it() -> None:
    log = Slow()
    log.fails = True
    log.gate.set()
    wakes = Wakes(log)
    message = Message(subject="requests.garbage.a", body=b"")
    told = await asyncio.gather(*(wakes.publish([message]) for _ in range(3)), return_exceptions=True)
    assert [str(one) for one in told] == ["away"] * 3
    log.fails = False
    await wakes.publish([message])
    assert len(log.records("REQUESTS")) == 1


# --- before the key is held ---


async def test_a_proof_is_made_before_the_key_is_held_and_used_when_it_is(bench: Bench) -> None:
    owner_path = "/api/v1/namespaces/default/configmaps/owner"
    wanted = [msgspec.structs.replace(one, hints=(Hint.ABSENT,)) for one in actions(bench, labelled(bench))]
    performer = GarbagePerformer(Performer(bench.apis, bench.clock), bench.collector, bench.barrier, bench.clock)
    await performer.prepare(wanted)
    assert bench.deletes() == []
    looks = [one.path for one in (*bench.a.requests, *bench.second.requests)].count(owner_path)
    assert looks == 2
    listed = len(bench.b.sent("GET"))
    outcomes = await perform(bench, wanted)
    assert {one.result for one in outcomes} == {Result.DONE}
    assert [one.path for one in (*bench.a.requests, *bench.second.requests)].count(owner_path) == looks
    assert len(bench.b.sent("GET")) == listed


@pytest.mark.parametrize("trouble", ["silent", "refused"])
async def test_preparing_in_vain_raises_nothing_and_condemns_nothing(bench: Bench, trouble: str) -> None:
    def before(sent: Sent) -> Reply | None:
        if trouble == "silent":
            raise ClusterUnreachable("no")
        return Reply(500, b"")

    wanted = [msgspec.structs.replace(one, hints=(Hint.ABSENT,)) for one in actions(bench, labelled(bench))]
    bench.a.before = bench.second.before = before
    performer = GarbagePerformer(Performer(bench.apis, bench.clock), bench.collector, bench.barrier, bench.clock)
    await performer.prepare(wanted)
    assert {one.result for one in await perform(bench, wanted)} == {Result.FAILED}
    assert bench.deletes() == []


async def test_what_no_proof_is_needed_for_is_not_prepared(bench: Bench) -> None:
    wanted = [msgspec.structs.replace(one, hints=(Hint.GOING,)) for one in actions(bench, labelled(bench))]
    performer = GarbagePerformer(Performer(bench.apis, bench.clock), bench.collector, bench.barrier, bench.clock)
    await performer.prepare(wanted)
    assert [one.requests for one in (bench.a, bench.second, bench.b)] == [[], [], []]
