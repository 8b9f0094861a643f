"""The performer: a decision's actions, carried out against the clusters, each with an outcome.

Rules:
    * Phases, one after the other: AddFinalizer; Apply, Create, Patch; Delete; PatchStatus, RecordEvent; RemoveFinalizer. An
      owner is held before anything depends on it, a workload that moves is there before it is taken away, and an owner is
      let go last.
    * Within a phase everything runs at once, except that actions on the same object keep their order.
    * If a finalizer could not be added nothing that follows is sent. RemoveFinalizer is sent only if everything before it
      succeeded (Events aside, which are for people), and only through the barrier. Deletes do not wait for others' applies
      to succeed: a cluster that refuses must not keep another from being cleaned up.
    * A request is sent only while the lease is longer than its timeout (DESIGN §5); the rest is SKIPPED.
    * Every cluster has its own budget, so none waits for another's answers except for the end of a phase.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

import structlog

from engine.core.outcomes import skipped
from engine.runtime.barrier import find_dependents
from engine.runtime.budget import Budget
from engine.runtime.leased_api import LeasedApi, LeaseOver
from engine.runtime.object_writer import ObjectWriter
from engine.runtime.ports import Clock, ClusterApi, Performed, Seen
from engine.runtime.token_issuer import TokenIssuer
from schemas.actions import (
    Action,
    AddFinalizer,
    Apply,
    Collect,
    Create,
    Delete,
    Issue,
    Outcome,
    Patch,
    PatchStatus,
    RecordEvent,
    RemoveFinalizer,
    Result,
)
from schemas.names import ClusterName, ObjectRef

REQUEST_SECONDS = 2.0
"""For a whole exchange. Writes take 5 to 20 ms; half a lease leaves room for two that hang."""
PHASES: dict[type, int] = {
    AddFinalizer: 0,
    Apply: 1,
    Create: 1,
    Issue: 1,
    Patch: 1,
    Collect: 2,
    Delete: 2,
    PatchStatus: 3,
    RecordEvent: 3,
    RemoveFinalizer: 4,
}
_HOLD, _RELEASE = PHASES[AddFinalizer], PHASES[RemoveFinalizer]

_log = structlog.get_logger(__name__)


class Performer:
    """Performs actions; one per process, shared by all reconcilers, so that budgets are shared."""

    def __init__(
        self,
        apis: Mapping[ClusterName, ClusterApi | None],
        clock: Clock,
        *,
        request_timeout: float = REQUEST_SECONDS,
        issuer: TokenIssuer | None = None,
    ) -> None:
        """Take the clusters.

        Args:
            apis: every *declared* cluster, looked at anew for each decision; None for one without a connection: it may hold
                dependents, so it keeps finalizers in place.
            clock: time.
            request_timeout: seconds for each request.
            issuer: performs `Issue`; None: none are issued.

        """
        self._issuer = issuer
        self._apis = apis
        self._clock = clock
        self._timeout = request_timeout
        self._budgets: dict[ClusterName, Budget] = {}

    async def perform(
        self,
        actions: Sequence[Action],
        *,
        manager: str,
        deadline: float,
        first_apply: Collection[ObjectRef] = (),
        expect: Mapping[ObjectRef, Seen] | None = None,
    ) -> Performed:
        """Carry actions out.

        Args:
            actions: of one decision.
            manager: field manager, `crosscurrent/<reconciler>`.
            deadline: monotonic time at which the lease ends; every request is over by then.
            first_apply: places where nothing is known to be ours; what exists there must prove that it is.
            expect: the existing objects as the decision saw them.

        Returns:
            What became of each action, in their order, and the written objects. Trouble is an outcome, never an exception.

        """
        task = _Task(
            self.leased(deadline), self._clock, manager, self._timeout, first_apply, dict(expect or {}), self._issuer
        )
        return await task.run(actions)

    def budget(self, cluster: ClusterName) -> Budget:
        """Return the budget of a cluster."""
        return self._budgets.setdefault(cluster, Budget())

    def leased(self, deadline: float) -> dict[ClusterName, ClusterApi | None]:
        """Return the clusters, bounded by their budgets and by a lease that ends at this monotonic time."""
        leased: dict[ClusterName, ClusterApi | None] = {}
        for name, api in self._apis.items():
            leased[name] = None if api is None else LeasedApi(api, self.budget(name), self._clock, deadline)
        return leased


class _Task:
    """One decision under way."""

    def __init__(
        self,
        apis: Mapping[ClusterName, ClusterApi | None],
        clock: Clock,
        manager: str,
        timeout: float,
        first_apply: Collection[ObjectRef],
        seen: dict[ObjectRef, Seen],
        issuer: TokenIssuer | None,
    ) -> None:
        self._issuer = issuer
        self._apis = apis
        self._clock = clock
        self._manager = manager
        self._timeout = timeout
        self._first = frozenset(first_apply)
        self._seen = seen
        """Kept up to date with our own writes, so that a later phase does not stumble over an earlier one."""
        self._outcomes: dict[int, Outcome] = {}
        self._answers: dict[ObjectRef, bytes] = {}

    async def run(self, actions: Sequence[Action]) -> Performed:
        numbered = list(enumerate(actions))
        for phase in sorted({PHASES[type(action)] for action in actions}):
            await self._phase(phase, [(i, action) for i, action in numbered if PHASES[type(action)] == phase], actions)
        return Performed(tuple(self._outcomes[i] for i in range(len(actions))), self._answers)

    async def _phase(self, phase: int, members: list[tuple[int, Action]], actions: Sequence[Action]) -> None:
        if (failed := self._stopped_by(phase, actions)) is not None:
            for i, action in members:
                self._outcomes[i] = skipped(action, f"{failed.action} on {failed.ref} came first: {failed.message}")
            return
        lines: dict[ObjectRef, list[tuple[int, Action]]] = {}
        for i, action in members:
            lines.setdefault(action.ref, []).append((i, action))
        async with asyncio.TaskGroup() as group:
            for ref, line in lines.items():
                group.create_task(self._line(line), name=f"write {ref}")

    def _stopped_by(self, phase: int, actions: Sequence[Action]) -> Outcome | None:
        """Return the outcome that keeps a phase from being sent."""
        for i, outcome in sorted(self._outcomes.items()):
            counts = PHASES[type(actions[i])] == _HOLD or phase == _RELEASE
            if counts and not outcome.ok and not isinstance(actions[i], RecordEvent):
                return outcome
        return None

    async def _line(self, line: list[tuple[int, Action]]) -> None:
        for i, action in line:
            try:
                outcome = await self._one(action)
            except LeaseOver as over:
                outcome = skipped(action, str(over))
            if outcome.ok and outcome.version:
                self._seen[action.ref] = Seen(outcome.uid, outcome.version)
            self._outcomes[i] = outcome
            self._audit(action, outcome)

    async def _one(self, action: Action) -> Outcome:
        api = self._apis.get(action.ref.cluster)
        if api is None:
            known = action.ref.cluster in self._apis
            message = f"there is no connection to {action.ref.cluster}{'' if known else ': it is not declared'}"
            return _failed(action, "Unreachable", message)
        if isinstance(action, RemoveFinalizer) and action.dependents:
            finding = await find_dependents(self._apis, action.dependents, action.uid, timeout=self._timeout)
            if finding is not None:
                return _failed(action, finding.reason, finding.message, finding.result)
        writer = ObjectWriter(api, manager=self._manager, timeout=self._timeout, clock=self._clock)
        if isinstance(action, Issue) and self._issuer is not None:
            first = action.ref in self._first
            return await self._issuer.issue(action, self._apis, writer, manager=self._manager, first=first)
        outcome = await writer.write(action, seen=self._seen.get(action.ref), first=action.ref in self._first)
        if writer.answer:
            self._answers[action.ref] = writer.answer
        return outcome

    def _audit(self, action: Action, outcome: Outcome) -> None:
        """Leave a trace of what can never be undone (SEC-27)."""
        if isinstance(action, Delete | RemoveFinalizer) and outcome.result is Result.DONE:
            _log.info(
                "deleted" if isinstance(action, Delete) else "finalizer removed",
                cluster=action.ref.cluster,
                kind=action.kind,
                namespace=action.ref.namespace,
                name=action.ref.name,
                uid=action.uid,
                manager=self._manager,
            )


def _failed(action: Action, reason: str, message: str, result: Result = Result.FAILED) -> Outcome:
    return Outcome(action=type(action).__name__, ref=action.ref, result=result, reason=reason, message=message)
