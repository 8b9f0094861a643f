"""Workers: from facts to writes and back to rest, with one performer per key and nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from engine.core import fence
from engine.core.authoring import dependent, reconciler
from engine.core.ownership import DEPENDENTS_FINALIZER
from engine.core.view import View
from engine.runtime import worker as worker_module
from engine.runtime.clock import SystemClock
from engine.runtime.worker import Worker
from engine.sandbox.memory_log import MemoryLog
from reconcilers.foo import deployment, foo
from schemas.actions import Action, AddFinalizer, Apply, Decision, Outcome, PatchStatus, Request, Result
from schemas.clusters import ClusterState
from schemas.decisions import Entry, EntryState, decode_entry
from schemas.names import ObjectRef
from tests.builders import C1, C2, C3, deployment_ref, foo_body, foo_ref
from tests.world import World, eventually

CLUSTERS = (C1, C2, C3)


@asynccontextmanager
async def running(
    log: MemoryLog, world: World, *, workers: int = 1, what: Any = foo
) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = []
    for number in range(workers):
        one = Worker(what, log=log, performer=world, clock=SystemClock(), clusters=CLUSTERS, name=f"w{number}")
        tasks.append(asyncio.create_task(one.run(), name=f"w{number}"))
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def a_world() -> tuple[MemoryLog, World]:
    log = MemoryLog()
    world = World(log, CLUSTERS)
    await world.start()
    return log, world


def entries(log: MemoryLog, state: EntryState | None = None) -> list[Entry]:
    found = [decode_entry(record.body) for record in log.records("DECISIONS")]
    return [entry for entry in found if state is None or entry.state is state]


def at_rest(log: MemoryLog) -> bool:
    return not log.records("REQUESTS")


async def settled(log: MemoryLog) -> None:
    """Wait until nothing is asked for any more, twice in a row."""
    for _ in range(2):
        await eventually(lambda: at_rest(log))
        await asyncio.sleep(0.03)
    await eventually(lambda: at_rest(log))


def ready(world: World) -> str:
    conditions = world.objects[foo_ref()].get("status", {}).get("conditions") or [{"status": ""}]
    return str(conditions[0]["status"])


async def test_a_foo_becomes_deployments_elsewhere_and_a_status_and_then_rests() -> None:
    log, world = await a_world()
    async with running(log, world, workers=2):
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: ready(world) == "True")
        await settled(log)
        writes, decisions = len(world.writes), log.records("DECISIONS")[-1].seq
        await asyncio.sleep(0.2)

    assert {deployment_ref(C2), deployment_ref(C3)} <= set(world.objects)
    assert [name for name, _ in world.writes] == ["AddFinalizer", "Apply", "Apply", "PatchStatus"]
    assert (len(world.writes), log.records("DECISIONS")[-1].seq) == (writes, decisions)
    assert DEPENDENTS_FINALIZER in world.objects[foo_ref()]["metadata"]["finalizers"]


async def test_a_changed_spec_is_followed_and_an_edited_or_deleted_child_comes_back() -> None:
    log, world = await a_world()
    async with running(log, world):
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: ready(world) == "True")
        body = world.objects[foo_ref()]
        await world.put(foo_ref(), {**body, "spec": {**body["spec"], "replicas": 4}})
        await eventually(lambda: world.objects[deployment_ref(C2)]["spec"]["replicas"] == 4)
        child = world.objects[deployment_ref(C2)]
        await world.put(deployment_ref(C2), {**child, "spec": {**child["spec"], "replicas": 9}})
        await eventually(lambda: world.objects[deployment_ref(C2)]["spec"]["replicas"] == 4)
        await world.remove(deployment_ref(C3))
        await eventually(lambda: deployment_ref(C3) in world.objects)


async def test_the_echo_of_own_writes_asks_for_nothing() -> None:
    log, world = await a_world()
    world.lag = 0.02
    async with running(log, world, workers=2):
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: ready(world) == "True")
        await asyncio.sleep(5 * world.lag)
        await settled(log)
        asked, written = await log.last_sequence("REQUESTS"), len(world.writes)
        body = world.objects[foo_ref()]
        await world.put(foo_ref(), {**body, "metadata": {**body["metadata"], "generation": 2}})
        await eventually(lambda: world.objects[foo_ref()]["status"]["observedGeneration"] == 2)
        await asyncio.sleep(5 * world.lag)
        await settled(log)
        assert [name for name, _ in world.writes[written:]] == ["PatchStatus"]
        assert await log.last_sequence("REQUESTS") == asked + 1, "the change itself, and not the status that followed"
        assert entries(log)[-1].foreseen


async def test_a_foreign_change_right_after_our_own_write_is_not_taken_for_its_echo() -> None:
    log, world = await a_world()
    meddled = False

    async def meddle(action: Action) -> Outcome | None:
        nonlocal meddled
        if isinstance(action, PatchStatus) and not meddled:
            meddled = True
            child = world.objects[deployment_ref(C2)]
            await world.put(deployment_ref(C2), {**child, "spec": {**child["spec"], "replicas": 9}})
        return None

    world.hook = meddle
    async with running(log, world):
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: meddled and world.objects[deployment_ref(C2)]["spec"]["replicas"] == 1)


async def test_what_the_server_fills_in_is_used_under_the_same_lock() -> None:
    @reconciler("chained", watches="samplecontroller.k8s.io/v1alpha1/foos", owns=["apps/v1/deployments"])
    def chained(view: View, request: Request) -> Decision:
        """Make one child, and tell another what uid it was given."""
        parent = view.get(request.object)
        if parent is None:
            return Decision.wait()
        first = dependent(view, parent, C2, "apps/v1/deployments", deployment(parent))
        made = view.get(first.ref)
        if made is None:
            return Decision.do(first)
        body = {**deployment(parent), "spec": {"told": made.uid}}
        return Decision.do(first, dependent(view, parent, C3, "apps/v1/deployments", body))

    log, world = await a_world()
    world.lag = 0.2
    async with running(log, world, what=chained):
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: deployment_ref(C3) in world.objects)
        await asyncio.sleep(0.05)
    assert world.objects[deployment_ref(C3)]["spec"]["told"] == world.objects[deployment_ref(C2)]["metadata"]["uid"]
    assert [entry.state for entry in entries(log)] == [EntryState.OPEN, EntryState.OPEN, EntryState.CLOSED]


async def test_a_renamed_child_moves_and_the_old_one_goes() -> None:
    log, world = await a_world()
    async with running(log, world):
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: ready(world) == "True")
        body = world.objects[foo_ref()]
        await world.put(foo_ref(), {**body, "spec": {**body["spec"], "deploymentName": "other"}})
        await eventually(
            lambda: deployment_ref(C2) not in world.objects and deployment_ref(C2, "other") in world.objects
        )


async def test_a_deleted_foo_goes_after_its_children_and_its_memory_goes_too() -> None:
    log, world = await a_world()
    async with running(log, world):
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: ready(world) == "True")
        await world.mark_deleted(foo_ref())
        await eventually(lambda: foo_ref() not in world.objects)
        await eventually(lambda: [entry.state for entry in entries(log)] == [EntryState.RETIRED])

    last = [(name, ref.cluster) for name, ref in world.writes[-3:]]
    assert last == [("Delete", C2), ("Delete", C3), ("RemoveFinalizer", C1)]


async def test_a_refused_child_shows_the_servers_words_and_is_not_tried_hot() -> None:
    log, world = await a_world()
    asked = []

    async def refuse(action: Action) -> Outcome | None:
        if isinstance(action, Apply) and action.ref.cluster == C3:
            asked.append(action)
            return Outcome(
                action="Apply", ref=action.ref, result=Result.REFUSED, code=422, reason="Invalid", message="too many"
            )
        return None

    world.hook = refuse
    async with running(log, world):
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: ready(world) == "False")
        await settled(log)
        await asyncio.sleep(0.2)
        clusters = {entry["name"]: entry["conditions"][0] for entry in world.objects[foo_ref()]["status"]["clusters"]}
        assert len(asked) == 1
        assert log.timers()
        world.hook = None
        body = world.objects[foo_ref()]
        await world.put(foo_ref(), {**body, "spec": {**body["spec"], "replicas": 2}})
        await eventually(lambda: ready(world) == "True")

    assert (clusters["cluster3"]["reason"], clusters["cluster3"]["message"]) == ("Invalid", "too many")
    assert clusters["cluster2"]["status"] == "True"


async def test_a_passing_failure_is_retried_by_a_durable_timer() -> None:
    log, world = await a_world()
    failures = iter([True, True])

    async def flaky(action: Action) -> Outcome | None:
        if isinstance(action, Apply) and action.ref.cluster == C3 and next(failures, False):
            return Outcome(action="Apply", ref=action.ref, result=Result.FAILED, code=503, message="later")
        return None

    world.hook = flaky
    async with running(log, world):
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: ready(world) == "True", seconds=4)
    assert deployment_ref(C3) in world.objects


async def test_a_cluster_that_does_not_answer_is_left_alone_and_served_when_it_returns() -> None:
    log, world = await a_world()
    await world.set_state(C3, ClusterState.SUSPECT)
    async with running(log, world):
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: deployment_ref(C2) in world.objects and ready(world) == "False")
        await settled(log)
        assert not [ref for _, ref in world.writes if ref.cluster == C3]
        await world.set_state(C3, ClusterState.LIVE)
        await eventually(lambda: ready(world) == "True")
    assert deployment_ref(C3) in world.objects


async def test_the_first_write_waits_for_the_finalizer() -> None:
    log, world = await a_world()
    order: list[type] = []

    async def note(action: Action) -> Outcome | None:
        order.append(type(action))
        return None

    world.hook = note
    async with running(log, world):
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: ready(world) == "True")
    assert order[0] is AddFinalizer


async def test_no_more_keys_are_open_at_once_than_an_api_server_can_answer_within_their_leases() -> None:
    log, world = await a_world()
    busy: set[ObjectRef] = set()
    most = 0

    async def slow(action: Action) -> Outcome | None:
        nonlocal most
        if isinstance(action, AddFinalizer):
            busy.add(action.ref)
            most = max(most, len(busy))
            await asyncio.sleep(0.01)
            busy.discard(action.ref)
        return None

    world.hook = slow
    for number in range(9):
        await world.put(foo_ref(f"foo-{number}"), foo_body(f"foo-{number}"))
    one = Worker(foo, log=log, performer=world, clock=SystemClock(), clusters=CLUSTERS, name="w", performing=3)
    running_one = asyncio.create_task(one.run())
    await eventually(lambda: all("status" in world.objects[foo_ref(f"foo-{number}")] for number in range(9)))
    running_one.cancel()
    await asyncio.gather(running_one, return_exceptions=True)
    assert most == 3


async def test_what_takes_long_is_begun_before_the_key_is_opened() -> None:
    log, world = await a_world()
    seen: list[tuple[bool, int]] = []

    async def prepare(actions: Sequence[Action]) -> None:
        seen.append((bool(actions), len(entries(log, EntryState.OPEN))))

    await world.put(foo_ref(), foo_body())
    one = Worker(foo, log=log, performer=world, clock=SystemClock(), clusters=CLUSTERS, name="w", prepare=prepare)
    running_one = asyncio.create_task(one.run())
    await eventually(lambda: ready(world) == "True")
    running_one.cancel()
    await asyncio.gather(running_one, return_exceptions=True)
    assert seen[0] == (True, 0)
    assert entries(log, EntryState.OPEN)


async def test_a_reconciler_that_raises_is_parked_with_its_reason_and_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "MAX_FAILURE_DELAY_SECONDS", 0.01)
    calls: list[ObjectRef] = []

    @reconciler("poison", watches="samplecontroller.k8s.io/v1alpha1/foos", owns=["apps/v1/deployments"])
    def poison(view: View, request: Request) -> Decision:
        calls.append(request.object)
        if request.object.name == "bad":
            message = "no such thing"
            raise LookupError(message)
        return foo(view, request)

    log, world = await a_world()
    async with running(log, world, what=poison):
        await world.put(foo_ref("bad"), foo_body("bad"))
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: ready(world) == "True")
        await eventually(lambda: bool(entries(log, EntryState.PARKED)))
        (parked,) = entries(log, EntryState.PARKED)
        tries = calls.count(foo_ref("bad"))
        await asyncio.sleep(0.1)
        assert calls.count(foo_ref("bad")) == tries == worker_module.PARK_AFTER_FAILURES
        await world.put(foo_ref("bad"), foo_body("bad"))
        await eventually(lambda: calls.count(foo_ref("bad")) > tries)

    assert parked.reason == "LookupError: no such thing"


async def test_a_reconciler_that_never_ends_costs_its_key_and_not_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "MAX_FAILURE_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(worker_module, "RECONCILER_CPU_SECONDS", 0.05)

    @reconciler("endless", watches="samplecontroller.k8s.io/v1alpha1/foos", owns=["apps/v1/deployments"])
    def endless(view: View, request: Request) -> Decision:
        while request.object.name == "bad":
            pass
        return foo(view, request)

    log, world = await a_world()
    async with running(log, world, what=endless):
        await world.put(foo_ref("bad"), foo_body("bad"))
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: ready(world) == "True")
        await eventually(lambda: bool(entries(log, EntryState.PARKED)), seconds=10)

    assert "CPU time" in entries(log, EntryState.PARKED)[0].reason


async def test_a_killed_workers_key_is_done_after_its_lease_and_others_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "LEASE_SECONDS", 0.6)
    monkeypatch.setattr(worker_module, "ACK_WAIT_SECONDS", 0.2)
    log, world = await a_world()
    stuck = asyncio.Event()

    async def hang_once(action: Action) -> Outcome | None:
        if not stuck.is_set():
            stuck.set()
            await asyncio.Event().wait()
        return None

    world.hook = hang_once
    async with running(log, world, workers=1) as first:
        await world.put(foo_ref(), foo_body())
        await asyncio.wait_for(stuck.wait(), 2)
        first[0].cancel()
        async with running(log, world, workers=1):
            started = asyncio.get_running_loop().time()
            await world.put(foo_ref("second"), foo_body("second"))
            await eventually(lambda: deployment_ref(C2, "second") in world.objects)
            quick = asyncio.get_running_loop().time() - started
            await eventually(lambda: ready(world) == "True")
            slow = asyncio.get_running_loop().time() - started

    assert quick < 0.5
    assert 0.5 < slow < 2.0
    assert fence.LEASE_SECONDS + fence.ACK_WAIT_SECONDS <= 5.0


async def test_a_key_that_wants_to_be_looked_at_at_once_goes_on_without_a_timer_or_another_request() -> None:
    asked = 0

    @reconciler("steps", watches="samplecontroller.k8s.io/v1alpha1/foos", owns=["apps/v1/deployments"])
    def steps(view: View, request: Request) -> Decision:
        nonlocal asked
        found = view.get(request.object)
        if found is None:
            return Decision.wait()
        asked += 1
        body = deployment(found)
        body["spec"]["replicas"] = min(asked, 4)
        return Decision.do(
            dependent(view, found, C2, "apps/v1/deployments", body), again_after=0.0 if asked < 4 else None
        )

    log, world = await a_world()
    async with running(log, world, what=steps):
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: asked >= 4)
        await settled(log)
    assert world.objects[deployment_ref(C2)]["spec"]["replicas"] == 4
    assert await log.last_sequence("TIMERS") == 0


async def test_a_late_worker_does_not_close_a_key_that_was_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "LEASE_SECONDS", 0.3)
    log, world = await a_world()
    release = asyncio.Event()
    held = 0

    async def stall_first(action: Action) -> Outcome | None:
        nonlocal held
        held += 1
        if held == 1:
            await release.wait()
        return None

    world.hook = stall_first
    async with running(log, world, workers=3):
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: held == 1)
        body = world.objects[foo_ref()]
        await world.put(foo_ref(), {**body, "spec": {**body["spec"], "replicas": 3}})  # wakes the key elsewhere
        await eventually(lambda: ready(world) == "True")
        release.set()
        await settled(log)

    states = [entry.state for entry in entries(log)]
    assert states[:2] == [EntryState.OPEN, EntryState.OPEN]
    assert states[-1] is EntryState.CLOSED
    late = entries(log)[0].now
    assert not [entry for entry in entries(log, EntryState.CLOSED) if entry.now == late]
    assert world.objects[deployment_ref(C2)]["spec"]["replicas"] == 3


async def test_lost_decisions_are_made_again_without_a_needless_child_write() -> None:
    log, world = await a_world()
    async with running(log, world):
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: ready(world) == "True")
        await settled(log)
    log.lose_streams()
    await log.heal()
    await world.start()
    for ref, body in list(world.objects.items()):
        await world.put(ref, body)
    async with running(log, world):
        await eventually(lambda: bool(entries(log, EntryState.CLOSED)))
        await settled(log)
    assert ready(world) == "True"


async def test_a_request_for_an_object_in_an_undeclared_cluster_is_dropped() -> None:
    log, world = await a_world()
    stranger = foo_ref(cluster=type(C1)("elsewhere"))
    async with running(log, world):
        await world.put(stranger, foo_body())
        await settled(log)
    assert world.writes == []
