"""The whole chain under fire: facts → STATE → mapper → REQUESTS → workers with lock and fence in DECISIONS.

Skewed keys, killed workers, stalls between the `open` append and the send, reads that are behind a decision already made,
kill -9 of the broker. What must hold:
    * no two workers perform on one key at once,
    * nothing older is written over something newer,
    * no wake-up is lost: in the end every child is as its parent says,
    * no key is left open.
CROSSCURRENT_FUZZ_SECONDS lengthens the run; the seed is printed and may be given in CROSSCURRENT_FUZZ_SEED.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.core.authoring import dependent, reconciler
from engine.core.view import View
from engine.runtime import worker as worker_module
from engine.runtime.clock import SystemClock
from engine.runtime.ports import EventLog, EventLogError, Performed, Record, Seen
from engine.runtime.worker import Worker
from engine.sandbox.memory_log import MemoryLog
from engine.sandbox.nats_server import NatsServer
from schemas.actions import Action, Apply, Decision, Outcome, Request, Result
from schemas.decisions import EntryState, decode_entry
from schemas.facts import decode_fact
from schemas.names import ObjectRef
from schemas.subjects import facts_of, parse_fact
from tests.builders import C1, C2, FOOS, deployment_ref, foo_body, foo_ref
from tests.world import World

SECONDS = float(os.environ.get("CROSSCURRENT_FUZZ_SECONDS", "12"))
KEYS = 120
WORKERS = 4
LEASE = 1.5
STALL_ODDS = 0.01
BEHIND_ODDS = 0.05
"""Of a read of a parent that answers with an earlier state of it."""
KEPT_STATES = 8
KILL_EVERY = 0.7
SLOWEST = 3
"""So many times longer a machine may take, undisturbed from then on, whose disk or cores others use as well."""
PATIENCE = 45.0
"""Seconds for what is left to do in the end; a machine with nothing else to do needs three."""
CHILD = "apps/v1/deployments"
PARENTS = facts_of(C1, FOOS.group, FOOS.plural).removesuffix(">")


@reconciler("copy", watches="samplecontroller.k8s.io/v1alpha1/foos", owns=[CHILD])
def copy(view: View, request: Request) -> Decision:
    parent = view.get(request.object)
    if parent is None:
        return Decision.wait()
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": parent.name, "namespace": parent.namespace},
        "spec": {"replicas": parent.spec["replicas"]},
    }
    return Decision.do(dependent(view, parent, C2, CHILD, body))


class Book:
    """Performs on the world and writes down every breach of the promises."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self.world, self.dice = world, dice
        self.performing: dict[ObjectRef, int] = {}
        self.written: dict[ObjectRef, int] = {}
        self.overlaps: list[ObjectRef] = []
        self.regressions: list[tuple[ObjectRef, int, int]] = []
        self.counts = {"performed": 0, "stalled": 0, "late": 0, "behind": 0}

    async def perform(
        self,
        actions: Sequence[Action],
        *,
        manager: str,
        deadline: float,
        first_apply: Collection[ObjectRef],
        expect: Mapping[ObjectRef, Seen],
    ) -> Performed:
        (action,) = actions
        assert isinstance(action, Apply)
        if self.dice.random() < STALL_ODDS:
            self.counts["stalled"] += 1
            await asyncio.sleep(LEASE * self.dice.uniform(0.5, 2.0))
        call = min(0.3, self.dice.expovariate(100))
        if time.monotonic() + call > deadline:  # as the performer: sent only while the lease outlasts its timeout
            self.counts["late"] += 1
            return Performed((Outcome(action="Apply", ref=action.ref, result=Result.SKIPPED),))
        value = action.body["spec"]["replicas"]
        self.performing[action.ref] = self.performing.get(action.ref, 0) + 1
        if self.performing[action.ref] > 1:
            self.overlaps.append(action.ref)
        try:
            await asyncio.sleep(call)
            if value < self.written.get(action.ref, 0):
                self.regressions.append((action.ref, self.written[action.ref], value))
            self.written[action.ref] = value
            self.counts["performed"] += 1
        finally:
            self.performing[action.ref] -= 1
        # Now it is written. That the log hears of it may take as long as the broker is away, and the lease may end meanwhile.
        return await self.world.perform(
            actions, manager=manager, deadline=deadline, first_apply=first_apply, expect=expect
        )


class Behind:
    """A log whose reads of STATE are at times behind, as on a replica that lags or a broker that came back with less.

    Only behind what a decision was made with: then the fence is what keeps the past from being written over the present. A
    read behind what woke its key would lose the wake-up whatever the fence did, so those go to the leader (DESIGN §5).
    """

    def __init__(self, log: EventLog, book: Book) -> None:
        self._log, self._book = log, book
        self._states: dict[str, dict[int, tuple[int, Record]]] = {}
        """Value and record of a parent by sequence, the last few."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def last(self, stream: str, subjects: Sequence[str], *, most: int | None = None) -> dict[str, Record]:
        found = await self._log.last(stream, subjects, most=most)
        return {subject: self._seen(record) if stream == "STATE" else record for subject, record in found.items()}

    def _seen(self, record: Record) -> Record:
        if not record.subject.startswith(PARENTS):
            return record
        states = self._states.setdefault(record.subject, {})
        states[record.seq] = (msgspec.json.decode(decode_fact(record.body).data)["spec"]["replicas"], record)
        if len(states) > KEPT_STATES:
            del states[min(states)]
        written = self._book.written.get(deployment_ref(C2, parse_fact(record.subject).name), 0)
        behind = [old for value, old in states.values() if value < written and old.seq < record.seq]
        if not behind or self._book.dice.random() > BEHIND_ODDS:
            return record
        self._book.counts["behind"] += 1
        return behind[-1]


async def put(world: World, ref: ObjectRef, value: int) -> None:
    """Change a parent, as often as it takes for the fact to be acknowledged."""
    while True:
        try:
            await world.put(ref, {**foo_body(ref.name), "spec": {"replicas": value}})
        except EventLogError:
            await asyncio.sleep(0.1)
        else:
            return


async def fuzz(open_log: Callable[[], Awaitable[EventLog]], break_broker: Callable[[], None] | None) -> None:
    seed = int(os.environ.get("CROSSCURRENT_FUZZ_SEED", str(random.randrange(2**32))))
    print(f"seed {seed}")
    dice = random.Random(seed)
    log = await open_log()
    await log.prepare()
    world = World(log, [C1, C2])
    await world.start()
    book = Book(world, dice)
    logs: list[EventLog] = []

    async def one(number: int) -> asyncio.Task[None]:
        own = await open_log()
        logs.append(own)
        behind: Any = Behind(own, book)
        worker = Worker(
            copy, log=behind, performer=book, clock=SystemClock(), clusters=(C1, C2), name=f"w{number}", concurrency=32
        )
        return asyncio.create_task(worker.run(), name=f"w{number}")

    workers = [await one(number) for number in range(WORKERS)]
    wanted: dict[ObjectRef, int] = {}
    kills, value, started = 0, 0, time.monotonic()
    next_kill, next_break = started + KILL_EVERY, started + SECONDS / 3

    def enough() -> bool:
        return book.counts["performed"] > KEYS and book.counts["behind"] > 0

    while (now := time.monotonic()) < started + SECONDS or (not enough() and now < started + SLOWEST * SECONDS):
        value += 1
        ref = foo_ref(f"k{int(dice.paretovariate(1.0)) % KEYS}")
        await put(world, ref, value)
        wanted[ref] = value
        if next_kill < now < started + SECONDS:
            next_kill, kills = now + KILL_EVERY, kills + 1
            victim = dice.randrange(WORKERS)
            workers[victim].cancel()
            await asyncio.gather(workers[victim], return_exceptions=True)
            workers[victim] = await one(WORKERS + kills)
        if break_broker is not None and next_break < now < started + SECONDS:
            next_break += SECONDS / 3
            await asyncio.to_thread(break_broker)
        await asyncio.sleep(0)

    def lost() -> list[ObjectRef]:
        return [ref for ref, last in wanted.items() if book.written.get(deployment_ref(C2, ref.name)) != last]

    async def left_open() -> list[str]:
        """Return the keys that are open; what a killed worker had in hand is closed by another after its lease."""
        last = {record.subject: record async for record in log.scan("DECISIONS", ["decisions.>"])}
        return [subject for subject, record in last.items() if decode_entry(record.body).state is EntryState.OPEN]

    limit = time.monotonic() + PATIENCE
    while (lost() or await left_open()) and time.monotonic() < limit:
        await asyncio.sleep(0.1)
    open_keys = await left_open()
    for task in workers:
        task.cancel()
    ended = await asyncio.gather(*workers, return_exceptions=True)
    for own in [*logs, log]:
        await own.close()
    print(f"{value} changes of {len(wanted)} keys, {kills} workers killed, {book.counts}")

    assert not book.overlaps
    assert not book.regressions
    assert not lost()
    assert not open_keys
    assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended
    assert enough(), book.counts


@pytest.fixture(autouse=True)
def _short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "LEASE_SECONDS", LEASE)


@pytest.mark.timeout(SLOWEST * SECONDS + 2 * PATIENCE)
async def test_one_performer_per_key_and_no_lost_wake_up_on_the_log_in_memory(monkeypatch: Any) -> None:
    log = MemoryLog()

    async def open_log() -> EventLog:
        return log

    await fuzz(open_log, None)


@pytest.mark.broker
@pytest.mark.timeout(SLOWEST * SECONDS + 2 * PATIENCE)
async def test_one_performer_per_key_and_no_lost_wake_up_while_workers_and_broker_are_killed(tmp_path: Path) -> None:
    from engine.runtime.event_log import NatsEventLog

    server = NatsServer(tmp_path / "store", sync="always")
    server.start()

    def kill_and_restart() -> None:
        server.kill()
        server.start()

    try:
        await fuzz(lambda: NatsEventLog.connect(server.url, token=server.token), kill_and_restart)
    finally:
        server.stop()
