"""The collector: settles one dependent's ownership across clusters on live evidence (docs/garbage-collection.md).

Rules:
    * The dependent is read live, many of one owner together (`engine.runtime.live_reads`); what the log said of it or of its
      owners was a nomination.
    * It is deleted only as `engine.core.collection` says, with the uid and resourceVersion of that read as preconditions. If
      something else wrote it meanwhile and all that it was judged by is the same, with the uid alone, or a busy object could
      never be collected (G13); if that changed, it is judged anew.
    * Owners whose absence is inferred pass the breaker first. Every delete takes a turn under the cluster's rate cap.
    * Every delete leaves a record of who, what and on which evidence (SEC-27; `engine.runtime.delete_records`), one to which
      no answer came as well: it may have been carried out, and then nothing else would tell.
    * A dependent whose owners are all there, and which may refer to them, is made findable by a live LIST, after its owners
      have been held by a finalizer: none can be added once they are being deleted (G18).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
import structlog

from engine.core.api_errors import Status
from engine.core.cascade import Held, is_labelled, place_of
from engine.core.collection import Dependent, Fate, Ownership, Standing, Verdict, decide
from engine.core.evidence import Present, Unknown
from engine.core.grants import SIGNATURE_ANNOTATION
from engine.core.live_object import Metadata, reference_of
from engine.core.outcomes import absent, conflict, gone, outcome_of, refusal, skipped
from engine.core.ownership import CASCADE_FINALIZER, PROPAGATION_ANNOTATION, can_be_label, owner_label, without
from engine.runtime import api_calls
from engine.runtime.api_calls import Written, resource_of
from engine.runtime.brakes import Brakes, Hold
from engine.runtime.delete_records import DeleteRecords
from engine.runtime.fleet_directory import FleetDirectory
from engine.runtime.lately import Lately
from engine.runtime.live_reads import LiveReads
from engine.runtime.object_writer import ObjectWriter
from engine.runtime.ports import Clock, ClusterApi, EventLog, EventLogError
from engine.runtime.rate_cap import RateCap
from engine.runtime.references import References
from schemas import subjects
from schemas.actions import AddFinalizer, Collect, Outcome, Propagation, RecordEvent, Result
from schemas.facts import decode_fact
from schemas.names import ClusterId, ClusterName, ResourceVersion

TRIES = 3
"""Judgements of one dependent whose owners somebody keeps changing; then it is a conflict, to be retried later."""
MANAGER = "crosscurrent/garbage"
_WARNED = frozenset({"OwnerRefNotGranted", "OwnerRefInvalidScope", "Abandoned", "OwnerClusterUnknown"})
"""Reasons for which a dependent is left alone, and that its user must see on it."""

Apis = Mapping[ClusterName, ClusterApi | None]

_log = structlog.get_logger(__name__)
_held = msgspec.json.Decoder(Held)


class Collector:
    """Settles dependents; one per process."""

    def __init__(
        self,
        log: EventLog,
        directory: FleetDirectory,
        references: References,
        brakes: Brakes,
        reads: LiveReads,
        lately: Lately,
        clock: Clock,
        *,
        engine: str,
        deletes_per_second: float,
        timeout: float,
    ) -> None:
        """Take what a judgement needs.

        Args:
            log: INDEX and STATE, to see whether a dependent owns something itself; FACTS, for the records.
            directory: identities of the clusters.
            references: judges references.
            brakes: the breaker.
            reads: reads dependents.
            lately: is told what was deleted.
            clock: time.
            engine: id of this engine, for the records.
            deletes_per_second: in each cluster, by this process.
            timeout: seconds for each request.

        """
        self._event_log, self._directory, self._references, self._brakes = log, directory, references, brakes
        self._reads, self._lately = reads, lately
        self._clock, self._engine, self._rate, self._timeout = clock, engine, deletes_per_second, timeout
        self._caps: dict[ClusterName, RateCap] = {}
        self._records = DeleteRecords(log, clock, by=f"{engine} {MANAGER}")

    def expect(self, actions: Sequence[Collect]) -> None:
        """Begin to read the dependents that are about to be collected, where that is cheaper together."""
        self._reads.expect(actions)

    async def prepare(self, action: Collect, apis: Apis, deadline: float) -> None:
        """Judge one dependent without consequences, so that the proof of its owner's absence is there when it is needed.

        Raises:
            LeaseOver: when the time was over first.
            EventLogError: when it cannot be told which cluster is which.

        """
        api = apis.get(action.ref.cluster)
        status = (await self._directory.clusters()).get(action.ref.cluster)
        if api is None or status is None or not status.identity:
            return
        async with asyncio.timeout(max(0.0, deadline - self._clock.monotonic())):
            live = await self._reads.read(action, api, anew=False)
            if not isinstance(live, Status) and live.uid == action.uid:
                dependent = _as_read(live, status.identity, action)
                await self._references.judge(live, action.ref, dependent, frozenset(action.observed))

    async def collect(self, action: Collect, apis: Apis, deadline: float) -> Outcome:
        """Settle one dependent.

        Args:
            action: which, and what the log says of it.
            apis: the clusters, bounded by the lease.
            deadline: monotonic time by which every request must be over.

        Raises:
            LeaseOver: when the lease ran out first.

        """
        api = apis.get(action.ref.cluster)
        if api is None:
            return outcome_of(
                action, Result.FAILED, reason="Unreachable", message="there is no connection to its cluster"
            )
        try:
            async with asyncio.timeout(max(0.0, deadline - self._clock.monotonic())):
                for attempt in range(TRIES):
                    outcome = await self._settle(_Case(action, api, apis, deadline), anew=attempt > 0)
                    if outcome is not None:
                        return outcome
        except TimeoutError:
            return skipped(action, "the lease ran out")
        except EventLogError as error:
            return outcome_of(action, Result.FAILED, reason="LogUnreadable", message=str(error))
        return conflict(action, "Changed", "its owners keep changing")

    async def recorded(self, deadline: float) -> None:
        """Wait until the records of all deletes so far are stored, or until monotonic time `deadline`."""
        await self._records.stored(deadline)

    async def _settle(self, case: _Case, *, anew: bool) -> Outcome | None:
        """Judge once and act; None: its owners changed under our hands."""
        action, ref = case.action, case.action.ref
        status = (await self._directory.clusters()).get(ref.cluster)
        if status is not None and self._lately.holds(action.uid, status.epoch):
            return gone(action)
        live = await self._reads.read(action, case.api, anew=anew)
        if isinstance(live, Status):
            return gone(action) if absent(live, action) else refusal(action, live)
        if live.uid != action.uid:
            return gone(action)
        if status is None or not status.identity:
            return outcome_of(
                action, Result.FAILED, reason="ClusterUnknown", message="its cluster has not reported yet"
            )
        dependent = _as_read(live, status.identity, action)
        ownerships = await self._references.judge(live, ref, dependent, frozenset(action.observed))
        if any(one.standing is Standing.WAITING for one in ownerships):
            dependent = await self._with_dependents(case, dependent)
        fate = decide(dependent, ownerships)
        case.live, case.identity, case.epoch = live, status.identity, status.epoch
        match fate.verdict:
            case Verdict.KEEP:
                return await self._keep(case, fate, ownerships)
            case Verdict.PART:
                return await self._part(case, fate)
            case Verdict.DELETE:
                return await self._delete(case, fate, ownerships)

    async def _with_dependents(self, case: _Case, dependent: Dependent) -> Dependent:
        """Look whether it owns something across clusters, and whether that waits for it in turn (G10)."""
        found = await self._event_log.last("INDEX", [subjects.dependents_of(dependent.cluster, case.action.ref)])
        held = [
            (subjects.parse_dependent(record.subject)[2], _held.decode(record.body))
            for record in found.values()
            if record.body
        ]
        mine = [ref for ref, entry in held if case.action.uid in entry.owners]
        rows = await self._event_log.last("STATE", [subjects.fact(ref) for ref in mine])
        waiting = False
        for record in rows.values():
            fact = decode_fact(record.body)
            metadata = {} if fact.deleted else (msgspec.json.decode(fact.data) or {}).get("metadata") or {}
            noted = (metadata.get("annotations") or {}).get(PROPAGATION_ANNOTATION)
            waiting |= "deletionTimestamp" in metadata and noted == Propagation.FOREGROUND
        return msgspec.structs.replace(dependent, has_dependents=bool(mine), closes_cycle=waiting)

    async def _keep(self, case: _Case, fate: Fate, ownerships: Sequence[Ownership]) -> Outcome:
        action = case.action
        unknown = [one.evidence for one in ownerships if isinstance(one.evidence, Unknown)]
        if any(one.reason != "OwnerClusterUnknown" for one in unknown):
            return outcome_of(action, Result.FAILED, reason=fate.reason, message=fate.message)
        reason = "OwnerClusterUnknown" if unknown else fate.reason
        ignored = {Standing.UNGRANTED: "OwnerRefNotGranted", Standing.MISPLACED: "OwnerRefInvalidScope"}
        for warning in dict.fromkeys([reason, *(ignored.get(one.standing, "") for one in ownerships)]):
            if warning in _WARNED:
                await self._warn(case, warning, fate.message)
        if case.live.deleting:
            return outcome_of(action, Result.UNCHANGED, case.live, reason=reason, message=fate.message)
        return await self._adopt(case, reason, fate.message, ownerships)

    async def _adopt(self, case: _Case, reason: str, message: str, ownerships: Sequence[Ownership]) -> Outcome:
        """Hold the owners that it may refer to, then label it so that a live LIST finds it."""
        named = await self._directory.named()
        labels = {}
        for one in ownerships:
            if one.standing is not Standing.SOLID or not isinstance(one.evidence, Present):
                continue
            reference = one.reference
            if not one.evidence.held and not one.evidence.deleting:
                owner = place_of(reference, named[reference.cluster_id])
                hold = AddFinalizer(
                    ref=owner,
                    api_version=reference.api_version,
                    kind=reference.kind,
                    uid=reference.uid,
                    finalizer=CASCADE_FINALIZER,
                )
                held = await self._writer(case.apis[owner.cluster]).write(hold, seen=None, first=False)
                if not held.ok:
                    return outcome_of(
                        case.action, held.result, reason="OwnerNotHeld", message=f"{owner}: {held.message}"
                    )
            if can_be_label(reference.uid) and not is_labelled(case.live.labels or {}, reference.uid):
                labels[owner_label(reference.uid)] = ""
        if not labels:
            return outcome_of(case.action, Result.UNCHANGED, case.live, reason=reason, message=message)
        return await self._patch(case, {"labels": labels}, "Adopted")

    async def _part(self, case: _Case, fate: Fate) -> Outcome | None:
        patch = without(_metadata(case.live), fate.parted, unblock=fate.unblocked)
        outcome = await self._patch(case, patch, fate.reason)
        return None if outcome.result is Result.CONFLICT else outcome

    async def _patch(self, case: _Case, metadata: dict[str, object], reason: str) -> Outcome:
        action, ref, live = case.action, case.action.ref, case.live
        body = {"metadata": {**metadata, "uid": live.uid, "resourceVersion": live.resource_version}}
        answer = await api_calls.patch(
            case.api,
            resource_of(ref, action.api_version),
            ref.namespace,
            ref.name,
            body,
            manager=MANAGER,
            timeout=self._timeout,
        )
        if isinstance(answer, Written):
            case.live = answer.metadata
            return outcome_of(action, Result.DONE, answer.metadata, code=200, reason=reason)
        return gone(action) if absent(answer, action) else refusal(action, answer)

    async def _delete(self, case: _Case, fate: Fate, ownerships: Sequence[Ownership]) -> Outcome | None:
        action = case.action
        if (hold := await self._held_back(case, ownerships)) is not None:
            return outcome_of(
                action, Result.FAILED, reason=hold.reason, message=hold.message, retry_after=hold.retry_after
            )
        if fate.unblocked:
            freed = await self._patch(case, without(_metadata(case.live), (), unblock=fate.unblocked), fate.reason)
            if not freed.ok or not freed.version:
                return None if freed.result is Result.CONFLICT else freed
        if not await self._cap(action.ref.cluster).turn(case.deadline):
            return skipped(action, "the rate cap left no turn within the lease")
        refused = await self._send_delete(case, case.live.resource_version, fate)
        if refused is not None and refused.stale:
            again = await self._same_owners(case)
            if isinstance(again, Outcome) or again is None:
                return again
            case.live = again
            refused = await self._send_delete(case, None, fate)
        if refused is None or refused.sent:
            self._records.add(
                action,
                case.live.resource_version,
                (case.identity, case.epoch),
                propagation=fate.propagation.value,
                reason=fate.reason,
                ownerships=ownerships,
                unanswered=refused is not None,
            )
        if refused is not None:
            if refused.stale:
                return None
            return gone(action) if absent(refused, action) else refusal(action, refused)
        self._lately.add(action.uid, case.epoch)
        return outcome_of(action, Result.DONE, code=200, uid=action.uid, reason=fate.reason, message=_told(ownerships))

    async def _same_owners(self, case: _Case) -> Metadata | Outcome | None:
        """Read the dependent again after a conflict; None: it must be judged anew."""
        action, ref = case.action, case.action.ref
        live = await api_calls.get(
            case.api, resource_of(ref, action.api_version), ref.namespace, ref.name, timeout=self._timeout
        )
        if isinstance(live, Status):
            return gone(action) if absent(live, action) else refusal(action, live)
        if live.uid != action.uid:
            return gone(action)
        return live if _judged_by(live) == _judged_by(case.live) and not live.deleting else None

    async def _send_delete(self, case: _Case, version: ResourceVersion | None, fate: Fate) -> Status | None:
        ref = case.action.ref
        return await api_calls.delete(
            case.api,
            resource_of(ref, case.action.api_version),
            ref.namespace,
            ref.name,
            uid=case.action.uid,
            version=version,
            propagation=fate.propagation.value,
            timeout=self._timeout,
        )

    async def _held_back(self, case: _Case, ownerships: Sequence[Ownership]) -> Hold | None:
        """Ask the breaker about every owner that is inferred to be absent."""
        named = await self._directory.named()
        for one in ownerships:
            if one.standing is not Standing.DANGLING or one.reference.uid in case.action.observed:
                continue
            home = named.get(one.reference.cluster_id)
            if home is None and one.evidence is None:
                continue  # an administrator said of its whole cluster that it is gone
            if home is None:
                # It was known when the owner was asked for: the streams have been lost meanwhile.
                return Hold("OwnerClusterUnknown", f"nobody knows any more in which cluster {one.reference} was")
            hold = await self._brakes.hold(
                place_of(one.reference, home),
                restored=one.reference.uid in case.action.restored,
                identities=named,
            )
            if hold is not None:
                return hold
        return None

    def _cap(self, cluster: ClusterName) -> RateCap:
        return self._caps.setdefault(cluster, RateCap(self._rate, self._clock))

    def _writer(self, api: ClusterApi | None) -> ObjectWriter:
        assert api is not None  # noqa: S101 - its evidence has just come through it
        return ObjectWriter(api, manager=MANAGER, timeout=self._timeout, clock=self._clock)

    async def _warn(self, case: _Case, reason: str, message: str) -> None:
        """Leave an Event on the dependent; whether that succeeds changes nothing."""
        action = case.action
        event = RecordEvent(
            ref=action.ref,
            api_version=action.api_version,
            kind=action.kind,
            uid=action.uid,
            type="Warning",
            reason=reason,
            message=message or reason,
        )
        await self._writer(case.api).write(event, seen=None, first=False)


class _Case:
    """One dependent under judgement."""

    def __init__(self, action: Collect, api: ClusterApi, apis: Apis, deadline: float) -> None:
        self.action, self.api, self.apis, self.deadline = action, api, apis, deadline
        self.live = Metadata()
        self.identity, self.epoch = ClusterId(""), 0


def _as_read(live: Metadata, cluster: ClusterId, action: Collect) -> Dependent:
    return Dependent(
        cluster=cluster,
        namespace=action.ref.namespace,
        deleting=live.deleting,
        finalizers=tuple(live.finalizers or ()),
        native_owners=len(live.owner_references or ()),
    )


def _judged_by(live: Metadata) -> tuple[object, ...]:
    """Return all of a dependent that its fate depends on: owners, what vouches for them, and how it wants to be deleted."""
    return reference_of(live), (live.annotations or {}).get(SIGNATURE_ANNOTATION), live.finalizers or []


def _metadata(live: Metadata) -> dict[str, object]:
    return {"annotations": live.annotations, "labels": live.labels}


def _told(ownerships: Sequence[Ownership]) -> str:
    return "; ".join(f"{one.reference} is {one.standing}" for one in ownerships)
