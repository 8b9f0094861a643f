"""Performs the collector's decisions: settles dependents by evidence, opens the barrier, leaves the rest to the performer."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress

from engine.core.cascade import Hint
from engine.core.outcomes import outcome_of, skipped
from engine.runtime.collector import Collector
from engine.runtime.leased_api import LeaseOver
from engine.runtime.performer import Performer
from engine.runtime.ports import Clock, EventLogError, Performed, Seen
from engine.runtime.release import Barrier
from schemas.actions import Action, Collect, Outcome, RecordEvent, RemoveFinalizer, Result
from schemas.names import ClusterName, ObjectRef

SETTLING = 72
"""Dependents under way at once in one cluster: three quarters of what a process may ask it at a time. The more there are, the
more of them etcd commits together (64 cost 7 % less than 32, 72 a tenth less than 48, 96 no less than 72); the rest is for
proofs and for other keys."""
PREPARE_SECONDS = 3.0
"""For a proof, which takes little more than a second if the owner's cluster answers; else the decision waits for it."""


class GarbagePerformer:
    """Performs; one per process."""

    def __init__(self, performer: Performer, collector: Collector, barrier: Barrier, clock: Clock) -> None:
        """Take who does what, and time."""
        self._performer, self._collector, self._barrier, self._clock = performer, collector, barrier, clock

    async def prepare(self, actions: Sequence[Action]) -> None:
        """Look at what a decision is about to need, before its key is held: a proof takes longer than ten deletes.

        Whatever this comes to is found out again, by all the rules, when the decision is carried out.
        """
        absent = [one for one in actions if isinstance(one, Collect) and one.owner and Hint.ABSENT in one.hints]
        if not absent:
            return
        deadline = self._clock.monotonic() + PREPARE_SECONDS
        self._collector.expect(absent)
        with suppress(LeaseOver, TimeoutError, EventLogError):
            await self._collector.prepare(absent[0], self._performer.leased(deadline), deadline)

    async def perform(
        self,
        actions: Sequence[Action],
        *,
        manager: str,
        deadline: float,
        first_apply: Collection[ObjectRef],
        expect: Mapping[ObjectRef, Seen],
    ) -> Performed:
        """Carry actions out; see `Performer.perform`.

        Dependents are settled first; a finalizer goes only if each of them was, and through the barrier.
        """
        dependents = {index: action for index, action in enumerate(actions) if isinstance(action, Collect)}
        outcomes = await self._settle(dependents, deadline) if dependents else {}
        unsettled = next((one for one in outcomes.values() if not one.ok), None)
        ready: dict[int, Action] = {}
        for index, action in enumerate(actions):
            if index in outcomes:
                continue
            if isinstance(action, RemoveFinalizer) and unsettled is not None:
                outcomes[index] = skipped(action, f"{unsettled.ref} came first: {unsettled.message}")
            elif isinstance(action, RemoveFinalizer) and (closed := await self._closed(action, deadline)) is not None:
                outcomes[index] = closed
            else:
                ready[index] = _open(action)
        done = await self._performer.perform(
            list(ready.values()), manager=manager, deadline=deadline, first_apply=first_apply, expect=expect
        )
        outcomes |= dict(zip(ready, done.outcomes, strict=True))
        return Performed(tuple(outcomes[index] for index in range(len(actions))))

    async def _settle(self, dependents: Mapping[int, Collect], deadline: float) -> dict[int, Outcome]:
        """Settle dependents, each to its end before the next of its cluster begins: a lease that runs out finds work done."""
        apis = self._performer.leased(deadline)
        self._collector.expect(tuple(dependents.values()))
        outcomes: dict[int, Outcome] = {}

        async def settle(line: Iterator[tuple[int, Collect]]) -> None:
            for index, action in line:
                try:
                    outcomes[index] = await self._collector.collect(action, apis, deadline)
                except LeaseOver as over:
                    outcomes[index] = skipped(action, str(over))

        lines: dict[ClusterName, list[tuple[int, Collect]]] = {}
        for index, action in dependents.items():
            lines.setdefault(action.ref.cluster, []).append((index, action))
        try:
            async with asyncio.TaskGroup() as group:
                for cluster, members in lines.items():
                    line = iter(members)
                    for _ in range(min(SETTLING, len(members))):
                        group.create_task(settle(line), name=f"settle dependents in {cluster}")
        finally:
            await self._collector.recorded(deadline)
        return outcomes

    async def _closed(self, action: RemoveFinalizer, deadline: float) -> Outcome | None:
        if not action.dependents:
            return None
        try:
            closed = await self._barrier.closed(action, self._performer.leased, deadline)
        except LeaseOver as over:
            return skipped(action, str(over))
        except TimeoutError:
            return skipped(action, "the lease ran out before every cluster had been asked for its dependents")
        except EventLogError as error:
            return outcome_of(action, Result.FAILED, reason="LogUnreadable", message=str(error))
        if closed is not None and closed.reason == "WaitingForCluster":
            await self._tell(action, closed, deadline)
        return closed

    async def _tell(self, action: RemoveFinalizer, closed: Outcome, deadline: float) -> None:
        """Leave an Event on the owner, for who waits for it to go."""
        told = RecordEvent(
            ref=action.ref,
            api_version=action.api_version,
            kind=action.kind,
            uid=action.uid,
            type="Warning",
            reason=closed.reason,
            message=f"{closed.message} (dependents: {action.remaining} known)",
        )
        await self._performer.perform([told], manager="crosscurrent/garbage", deadline=deadline)


def _open(action: Action) -> Action:
    """Return the action without a barrier of the performer's own: ours has been passed."""
    if isinstance(action, RemoveFinalizer):
        return RemoveFinalizer(
            ref=action.ref,
            api_version=action.api_version,
            kind=action.kind,
            uid=action.uid,
            finalizer=action.finalizer,
        )
    return action
