"""The worker: request → view → decision → open → perform → close → ack (DESIGN §5).

Workers hold nothing that matters: any number may run, come, go and be killed. One key is acted on by one of them at a time,
by the entries of DECISIONS; see `engine.core.fence`.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Protocol

import structlog

from engine.core.authoring import Reconciler
from engine.core.fence import (
    ACK_WAIT_SECONDS,
    LEASE_MARGIN_SECONDS,
    LEASE_SECONDS,
    Verdict,
    is_held,
    judge,
    merged_inputs,
)
from engine.core.foresight import foresee
from engine.core.plan import Plan, failures_changed, make_plan, remember
from engine.core.view import Known
from engine.runtime.held_keys import BUSY_NAK_SECONDS, HeldKeys
from engine.runtime.mapper import Mapper
from engine.runtime.ports import Clock, Delivery, EventLog, Message, Performed, Record, Seen, WrongLastSequence
from engine.runtime.time_limit import cpu_limit
from engine.runtime.turns import Turn, Turns
from engine.runtime.view_loader import Loaded, ViewLoader
from engine.runtime.worker_metrics import WorkerMetrics
from schemas import subjects
from schemas.actions import Action, Outcome, Request, Result
from schemas.decisions import Entry, EntryState, Target, encode_entry
from schemas.names import ClusterName, ObjectRef, newer

PARK_AFTER_FAILURES = 10
"""A reconciler that raised this often in a row for one key is not asked again until something changes (F-27)."""
MAX_FAILURE_DELAY_SECONDS = 60.0
RECONCILER_CPU_SECONDS = 1.0
"""More than this for one decision is a fault: they take well under a millisecond, and every other key waits meanwhile."""
MAX_DELIVERIES = 500
"""A request that was handed out this often without an answer has killed its workers: parked (F-27). Waiting for a key whose
holder was killed takes about 60 of them, so this is some eight holders."""
STRANGER_DELIVERIES, STRANGER_NAK_SECONDS = 5, 1.0
"""Of a request for a cluster that is not in the registry; a provider's news is in every process within 5 s."""
ROUNDS = 3
"""Of actions under one lock: the writes, the status that reports them, and one more if that failed."""
GOES = 20
"""Decisions of a key in a row before its request is given back for others to take: each begins with all that is remembered
here (the collector's proofs take a second elsewhere), but a process that is about to end should have an end of it."""
LOOKS = 3
"""At objects that an answer names and the view did not hold yet."""
RETIRED_TTL_SECONDS = 3600.0
"""How long the last entry of a vanished object fences workers that were stalled while it lived."""
PERFORMING = 24
"""Keys that are open at once. On a fleet as slow as 50 ms a request these are 100 keys a second, more than one process
decides; the more of them wait for a busy API server, the longer each one takes, up to its timeouts and its lease, and what is
given up is done again."""
RESYNC_SECONDS = 10 * 3600.0
"""Full re-evaluation, with jitter (DESIGN §5)."""

_log = structlog.get_logger(__name__)


class Performer(Protocol):
    """Performs actions against clusters; see `engine.runtime.performer`."""

    async def perform(
        self,
        actions: Sequence[Action],
        *,
        manager: str,
        deadline: float,
        first_apply: Collection[ObjectRef],
        expect: Mapping[ObjectRef, Seen],
    ) -> Performed:
        """Return what became of each action, in order, and the objects that were written."""


class Maps(Protocol):
    """Turns facts into requests; see `engine.runtime.mapper`."""

    async def run(self, ack_wait: float) -> None:
        """Map until cancelled."""

    async def request_all(self, cause: Record | None = None) -> None:
        """Request everything."""

    async def engaged(self, cluster: ClusterName) -> None:
        """Look again at what a cluster concerns that has become one of ours."""


class Worker:
    """One worker for one reconciler."""

    def __init__(
        self,
        reconciler: Reconciler,
        *,
        log: EventLog,
        performer: Performer,
        clock: Clock,
        clusters: Collection[ClusterName],
        name: str,
        metrics: WorkerMetrics | None = None,
        concurrency: int = 64,
        performing: int = PERFORMING,
        lease: float | None = None,
        mapper: Maps | None = None,
        loader: ViewLoader | None = None,
        prepare: Callable[[Sequence[Action]], Awaitable[None]] | None = None,
    ) -> None:
        """Take everything from outside.

        Args:
            reconciler: what to ask.
            log: the streams.
            performer: does what it answers.
            clock: time.
            clusters: the registry's clusters, looked at anew each time; objects elsewhere are not touched.
            name: of this worker, unique, for the entries that it makes.
            metrics: where to count.
            concurrency: requests in flight; each mostly waits for the broker or an API server.
            performing: keys that are acted on at once.
            lease: seconds for which a key is held at a time, if longer than usual: a killed worker's waits for as long.
            mapper: if it takes another than the usual one to find what to ask for.
            loader: the same for what to show.
            prepare: begins what takes long before the key is opened, without consequences; it raises nothing.

        """
        self.reconciler = reconciler
        self.mapper: Maps = mapper or Mapper(log, reconciler, clusters)
        self.metrics = metrics or WorkerMetrics()
        self._event_log = log
        self._performer = performer
        self._clock = clock
        self._clusters = clusters
        self._loader = loader or ViewLoader(log, clock, clusters)
        self._name = name
        self._concurrency = concurrency
        self._types = reconciler.types
        self._types_for = cache(reconciler.types_for)
        self._held = HeldKeys(clock)
        self._lease = LEASE_SECONDS if lease is None else lease
        self._turns = Turns(self._lease)
        self._performing = asyncio.Semaphore(performing)
        self._prepare = prepare

    async def run(self) -> None:
        """Map, work and keep time until cancelled."""
        name = self.reconciler.name
        async with asyncio.TaskGroup() as group:
            group.create_task(self.mapper.run(ACK_WAIT_SECONDS), name=f"mapper of {name}")
            group.create_task(self._work(), name=f"worker of {name}")
            group.create_task(self._keep_time(), name=f"timers of {name}")
            group.create_task(self._resync(), name=f"resync of {name}")

    async def _work(self) -> None:
        filters = [f"{subjects.REQUESTS}.{subjects.escape(self.reconciler.name)}.>"]
        await self._event_log.consume(
            "REQUESTS",
            f"work-{self.reconciler.name}",
            filters,
            self.handle,
            concurrency=self._concurrency,
            ack_wait=ACK_WAIT_SECONDS,
        )

    async def _keep_time(self) -> None:
        async def due(delivery: Delivery) -> None:
            name, ref = subjects.parse_keyed(delivery.record.subject)
            message = Message(subject=subjects.keyed(subjects.REQUESTS, name, ref), body=b"timer")
            await self._event_log.append("REQUESTS", message)
            await delivery.ack()

        filters = [f"{subjects.DUE}.{subjects.escape(self.reconciler.name)}.>"]
        durable = f"due-{self.reconciler.name}"
        await self._event_log.consume("TIMERS", durable, filters, due, concurrency=64, ack_wait=ACK_WAIT_SECONDS)

    async def _resync(self) -> None:
        while True:
            await self._clock.sleep(RESYNC_SECONDS * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load
            await self.mapper.request_all()

    async def handle(self, delivery: Delivery) -> None:
        """Answer one request: acknowledge it, or ask for it again, or stop without a word if the key was taken over."""
        _, ref = subjects.parse_keyed(delivery.record.subject)
        request = Request(self.reconciler.name, ref)
        if ref.cluster not in self._clusters:
            # One that this worker is about to learn of, or that others know already; else what is left of a former one.
            if delivery.delivered <= STRANGER_DELIVERIES:
                await delivery.nak(STRANGER_NAK_SECONDS)
            else:
                await delivery.ack()
            return
        async with self._turns.take(delivery.record.subject, delivery.record.seq) as turn:
            if turn is Turn.GO:
                for _ in range(GOES):
                    if await self._answer(delivery, request) != "requeue":
                        return
                await delivery.nak()
            elif turn is Turn.REPLACED:
                await delivery.ack()
            else:
                await delivery.nak(BUSY_NAK_SECONDS)

    async def _answer(self, delivery: Delivery, request: Request) -> str:
        """Decide once, and return what came of it; unless that is `requeue`, the delivery has been answered."""
        started = self._clock.monotonic()
        subject = subjects.keyed(subjects.DECISIONS, request.reconciler, request.object)
        if (wait := self._held.wait(subject)) > 0:
            await delivery.nak(wait)
            return "held"
        # Looked at before anything else is read: a batch of the collector's is held for seconds, and asked for all the time.
        fence = await self._loader.fence(subject)
        waited = self._held.seen(fence)
        if is_held(fence.entry, waited=waited):
            await delivery.nak(self._held.wait(subject))
            return "held"
        types = self._types_for(request.object.group, request.object.resource)
        loaded = await self._loader.load(request, types, fence, self.reconciler.reads)
        verdict = judge(loaded.entry, inputs=loaded.inputs, incarnation=loaded.incarnation, waited=waited)
        if verdict is not Verdict.GO:
            await delivery.nak(BUSY_NAK_SECONDS)
            return "held"
        with self.metrics.reconcile(self.reconciler.name) as measured:
            measured.result = await self._reconcile(delivery, request, loaded)
        _log.debug(
            "reconciled",
            controller=self.reconciler.name,
            cluster=request.object.cluster,
            namespace=request.object.namespace,
            name=request.object.name,
            result=measured.result,
            seconds=round(self._clock.monotonic() - started, 4),
        )
        return measured.result

    async def _reconcile(self, delivery: Delivery, request: Request, loaded: Loaded) -> str:
        if delivery.delivered > MAX_DELIVERIES and not _parked_for(loaded) and not self._is_worked_on(loaded):
            reason = f"handed out {delivery.delivered} times without an answer: it seems to kill its workers"
            await self._give_up(delivery, loaded, reason)
            return "parked"
        try:
            plan = await self._plan(loaded, request)
        except Exception as problem:  # noqa: BLE001 - a user's function may raise anything; the key pays, not the worker
            return await self._reconciler_failed(delivery, request, loaded, problem)
        if plan.actions:
            if self._prepare is not None:
                await self._prepare(plan.actions)
            async with self._performing:
                return await self._perform(delivery, request, loaded, plan)
        if self._finished(loaded, request):
            await self._retire(loaded)
        await self._set_timer(request, plan.wake_at)
        await delivery.ack()
        return "success"

    def _is_worked_on(self, loaded: Loaded) -> bool:
        """Return whether somebody has just closed the key: what waits behind a long cascade kills nobody."""
        entry = loaded.entry
        return entry is not None and entry.state is EntryState.CLOSED and loaded.view.now - entry.now < 2 * self._lease

    async def _perform(self, delivery: Delivery, request: Request, loaded: Loaded, plan: Plan) -> str:
        """Open, perform and close; what the outcomes call for, a status above all, follows under the same lock."""
        cause = delivery.record.body.decode(errors="replace")
        before = tuple(loaded.view.targets.values())
        seq, outcomes = loaded.entry_seq, tuple[Outcome, ...]()
        following: Plan | None = None
        try:
            for _ in range(ROUNDS):
                # The lease counts from before the append, so that it never ends later than a waiter thinks.
                held_until = self._clock.monotonic() + self._lease
                entry = self._entry(loaded, EntryState.OPEN, plan.actions, outcomes, lease=self._lease, cause=cause)
                seq = await self._append(loaded, entry, seq)
                outcomes = await self._perform_actions(loaded, plan.actions, held_until - LEASE_MARGIN_SECONDS)
                following = await self._follow_up(loaded, request, plan, outcomes, before)
                before = tuple(loaded.view.targets.values())
                if following is None or not following.actions:
                    break
                plan = following
            entry = self._entry(loaded, EntryState.CLOSED, outcomes=outcomes, cause=cause)
            await self._append(loaded, entry, seq)
        except WrongLastSequence:
            # Someone else has the key: what is left to do is theirs. Not acknowledged: it is looked at again after them.
            await delivery.nak(BUSY_NAK_SECONDS)
            return "fenced"
        again = self._loader.again(loaded, request.object, outcomes)
        if following is None or following.actions:
            return "requeue"
        wake_at = min(following.wake_at, _next_retry(before), again)
        if wake_at <= self._clock.time():
            return "requeue"
        await self._set_timer(request, wake_at)
        await delivery.ack()
        return "success" if all(outcome.ok for outcome in outcomes) else "error"

    async def _perform_actions(
        self, loaded: Loaded, actions: tuple[Action, ...], deadline: float
    ) -> tuple[Outcome, ...]:
        """Perform, and let the view know what was written."""
        performed = await self._performer.perform(
            actions,
            manager=self.reconciler.manager,
            deadline=deadline,
            first_apply=_not_ours_yet(loaded, actions),
            expect=_expected(loaded, actions),
        )
        self.metrics.count_outcomes(performed.outcomes)
        now, seed = self._clock.time(), random.random()  # noqa: S311 - spreads load
        targets = remember(loaded.view, actions, performed.outcomes, now=now, seed=seed)
        loaded.view.targets = {(target.ref, target.slot): target for target in targets}
        loaded.foreseen += foresee(loaded.view, performed.objects, self._types)
        return performed.outcomes

    async def _follow_up(
        self, loaded: Loaded, request: Request, plan: Plan, outcomes: tuple[Outcome, ...], before: tuple[Target, ...]
    ) -> Plan | None:
        """Return what is left to do now that the outcomes are known; None if only a new request can tell."""
        if _cut_short(outcomes):
            return None
        after = tuple(loaded.view.targets.values())
        if not (plan.deferred or loaded.foreseen or failures_changed(before, after)):
            return Plan(wake_at=plan.wake_at)
        try:
            return await self._plan(loaded, request)
        except Exception as problem:  # noqa: BLE001 - as in `_reconcile`, where the next request counts it
            _log.warning("reconciler raised", key=str(request), exc_info=problem)
            return None

    async def _plan(self, loaded: Loaded, request: Request) -> Plan:
        """Ask the reconciler, and again if what it writes is there already: it decides on what it has seen."""
        for _ in range(LOOKS):
            loaded.shown = sum(seq > 0 for seq in loaded.inputs.values())
            with cpu_limit(RECONCILER_CPU_SECONDS):
                decision = self.reconciler(loaded.view, request)
            if not await self._loader.add(loaded, [action.ref for action in decision.actions]):
                break
        return make_plan(loaded.view, decision)

    async def _reconciler_failed(self, delivery: Delivery, request: Request, loaded: Loaded, problem: Exception) -> str:
        if _parked_for(loaded):
            await delivery.ack()
            return "parked"
        failures = loaded.entry.failures + 1 if loaded.entry else 1
        reason = f"{type(problem).__name__}: {problem}"
        if failures >= PARK_AFTER_FAILURES:
            await self._give_up(delivery, loaded, reason)
            return "parked"
        _log.warning("reconciler raised", key=str(request), failures=failures, exc_info=problem)
        delay = min(MAX_FAILURE_DELAY_SECONDS, 0.1 * 2.0**failures)
        try:
            cause = delivery.record.body.decode(errors="replace")
            entry = self._entry(loaded, EntryState.CLOSED, failures=failures, reason=reason, cause=cause)
            await self._append(loaded, entry, loaded.entry_seq)
        except WrongLastSequence:
            return "fenced"
        await self._set_timer(request, self._clock.time() + delay)
        await delivery.ack()
        return "error"

    async def _give_up(self, delivery: Delivery, loaded: Loaded, reason: str) -> None:
        _log.error("key parked", key=loaded.subject, reason=reason)
        try:
            entry = self._entry(loaded, EntryState.PARKED, failures=PARK_AFTER_FAILURES, reason=reason)
            await self._append(loaded, entry, loaded.entry_seq)
        except WrongLastSequence:
            return
        await delivery.ack()

    def _finished(self, loaded: Loaded, request: Request) -> bool:
        """Return whether the object is gone, its dependents are gone, and the key's memory may go as well."""
        view, entry = loaded.view, loaded.entry
        if entry is None or entry.state is EntryState.RETIRED:
            return False
        gone = view.known(request.object) is Known.ABSENT
        return gone and not any(
            view.known(target.ref) is not Known.ABSENT for target in entry.targets if self._is_watched(target.ref)
        )

    def _is_watched(self, ref: ObjectRef) -> bool:
        """Return whether the view can show an object: what is not watched is not waited for."""
        return any(kind.plural == "*" or (kind.group, kind.plural) == (ref.group, ref.resource) for kind in self._types)

    async def _retire(self, loaded: Loaded) -> None:
        entry = self._entry(loaded, EntryState.RETIRED, targets=())
        message = Message(subject=loaded.subject, body=encode_entry(entry), ttl=RETIRED_TTL_SECONDS)
        try:
            await self._event_log.append("DECISIONS", message, expect_last=loaded.entry_seq, rollup=True)
        except WrongLastSequence:
            return

    def _entry(
        self,
        loaded: Loaded,
        state: EntryState,
        actions: tuple[Action, ...] = (),
        outcomes: tuple[Outcome, ...] = (),
        *,
        targets: tuple[Target, ...] | None = None,
        lease: float = 0.0,
        failures: int = 0,
        reason: str = "",
        cause: str = "",
    ) -> Entry:
        inputs = merged_inputs(loaded.entry, loaded.inputs, loaded.incarnation)
        return Entry(
            state=state,
            worker=self._name,
            reconciler=self.reconciler.name,
            code=self.reconciler.code,
            now=loaded.view.now,
            lease=lease,
            incarnation=loaded.incarnation,
            inputs=inputs,
            facts=tuple(loaded.origins.get(subject, 0) for subject in inputs),
            shown=loaded.shown,
            propagation=loaded.view.propagation,
            actions=actions,
            outcomes=outcomes,
            targets=tuple(loaded.view.targets.values()) if targets is None else targets,
            foreseen=loaded.foreseen,
            failures=failures,
            reason=reason,
            cause=cause,
        )

    async def _append(self, loaded: Loaded, entry: Entry, expect: int) -> int:
        message = Message(subject=loaded.subject, body=encode_entry(entry))
        return await self._event_log.append("DECISIONS", message, expect_last=expect)

    async def _set_timer(self, request: Request, at: float) -> None:
        if math.isinf(at):
            return
        timer = subjects.keyed(subjects.TIMERS, request.reconciler, request.object)
        due = subjects.keyed(subjects.DUE, request.reconciler, request.object)
        await self._event_log.schedule(timer, due, at)


def _not_ours_yet(loaded: Loaded, actions: Sequence[Action]) -> frozenset[ObjectRef]:
    """Return the places that no apply of this key has ever succeeded at: what is there may be someone else's."""
    view = loaded.view
    ours = {ref for (ref, slot), target in view.targets.items() if slot == "apply" and target.uid}
    return frozenset(action.ref for action in actions if action.ref not in ours)


def _expected(loaded: Loaded, actions: Sequence[Action]) -> dict[ObjectRef, Seen]:
    """Return the existing objects that will be written: as seen, or as we left them since."""
    view = loaded.view
    expected = {}
    for action in actions:
        live = view.get(action.ref)
        if live is None:
            continue
        ours = [
            target.version for (ref, _), target in view.targets.items() if ref == live.ref and target.uid == live.uid
        ]
        version = live.version
        for one in ours:
            if one and newer(one, version):
                version = one
        expected[live.ref] = Seen(live.uid, version, live.finalizers if version == live.version else None)
    return expected


def _parked_for(loaded: Loaded) -> bool:
    """Return whether the key was parked for exactly these inputs: a change of any of them is worth another try."""
    entry = loaded.entry
    if entry is None or entry.state is not EntryState.PARKED or entry.incarnation != loaded.incarnation:
        return False
    return all(entry.inputs.get(subject, 0) == seq for subject, seq in loaded.inputs.items())


def _cut_short(outcomes: Sequence[Outcome]) -> bool:
    """Return whether something was left out with no failure to time the next try: the lease had run out."""
    results = {outcome.result for outcome in outcomes}
    return Result.SKIPPED in results and results <= {Result.SKIPPED, Result.DONE, Result.UNCHANGED}


def _next_retry(targets: Sequence[Target]) -> float:
    return min((target.not_before for target in targets if target.attempts), default=math.inf)
