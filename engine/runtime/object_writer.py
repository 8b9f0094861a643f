"""One action against one object of one cluster, and what became of it.

Rules:
    * An update carries the uid and a resourceVersion. The first try uses those that the decision saw. If they do not hold,
      the object is read again and the write repeated with what was read, at most `TRIES` times. Every request, reads
      included, is sent within the lease, so whatever resourceVersion we hold was current while nobody else could write for
      this key: a worker that stalls between its last check and the send finds its successor's write in the way. That is
      why server-side apply carries one too, although it is declarative: without, a late worker would put an older intent
      over a newer one. Others who write the object all the time only make us read again; they cannot starve us.
    * An object of which the decision saw nothing is applied with a resourceVersion that no object ever has: Kubernetes
      ignores it where there is no object and refuses it where there is one. So one request creates it, and nobody's object
      is merged with; what is refused is looked at.
    * What exists already and is not ours is adopted only if that is asked for, and never from another owner of ours: a first
      apply needs a reference to the same owner on the live object, or our field manager if the body names no owner.
    * A delete reads first; the object must still be the same and still refer to its owner (DESIGN §2.2, G12 to G14).
    * A request without an answer may have been carried out; all of this can be repeated (F-30).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import assert_never

from engine.core.api_errors import Status
from engine.core.live_object import Metadata, is_ours, owners, reference_of
from engine.core.outcomes import absent, conflict, gone, outcome_of, place, refusal
from engine.core.write_bodies import EVENTS, complete, event_body, identity
from engine.runtime import api_calls
from engine.runtime.api_calls import Written, resource_of
from engine.runtime.ports import Clock, ClusterApi, Seen
from schemas.actions import (
    Action,
    AddFinalizer,
    Apply,
    Collect,
    Create,
    Delete,
    Issue,
    Json,
    Outcome,
    Patch,
    PatchStatus,
    RecordEvent,
    RemoveFinalizer,
    Result,
)
from schemas.names import ResourceVersion, Uid

TRIES = 8
"""Reads and writes of an object that others keep writing. 3 to 5 ms lie between our read and write, so with 100 foreign
updates a second less than every second try meets one, and eight in a row less than 1 in 250; then it is a conflict, to be
retried later. Eight take some 50 ms of a lease of seconds."""

NEVER = ResourceVersion(str(2**63 - 1))
"""What no object's resourceVersion is: etcd would have to count up to it."""
Send = Callable[[Seen], Awaitable[Written | Status]]


class ObjectWriter:
    """Performs one action of one reconciler.

    Attributes:
        answer: the whole object as the server answered the write, for the view; empty if there was none, or for a Secret.

    """

    def __init__(self, api: ClusterApi, *, manager: str, timeout: float, clock: Clock) -> None:
        """Take what every request needs.

        Args:
            api: the cluster, bounded by lease and budget.
            manager: field manager, `crosscurrent/<reconciler>`.
            timeout: seconds for each request.
            clock: wall time, for Events.

        """
        self._api = api
        self._manager = manager
        self._timeout = timeout
        self._clock = clock
        self.answer = b""

    async def write(self, action: Action, *, seen: Seen | None, first: bool) -> Outcome:
        """Carry out an action.

        Args:
            action: what to do.
            seen: the object as the decision saw it; None if it saw none.
            first: nothing of ours is known to exist there.

        """
        match action:
            case Apply():
                return await self._apply(action, seen, first=first)
            case Create():
                return await self._create(action)
            case Patch():
                return await self._patch(action, seen)
            case Delete():
                return await self._delete(action)
            case AddFinalizer() | RemoveFinalizer():
                return await self._finalizer(action, seen)
            case PatchStatus():
                return await self._status(action, seen)
            case RecordEvent():
                return await self._event(action)
            case Collect():
                return conflict(action, "NotHere", "only the collector settles dependents")
            case Issue():
                return conflict(action, "NotHere", "this process issues no tokens")
            case _:
                assert_never(action)

    async def _look(self, action: Action) -> Metadata | Status:
        resource, ref = resource_of(action.ref, action.api_version), action.ref
        return await api_calls.get(self._api, resource, ref.namespace, ref.name, timeout=self._timeout)

    async def _apply(self, action: Apply, seen: Seen | None, *, first: bool) -> Outcome:
        if seen is None or not first:
            answer = await self._send_apply(action, seen)
            if isinstance(answer, Written):
                return self._done(action, answer, before=seen)
            if not _may_differ(answer, seen):
                return refusal(action, answer)
        for _ in range(TRIES):
            live = await self._look(action)
            if isinstance(live, Status):
                if not absent(live, action):
                    return refusal(action, live)
                if seen is not None and not first:
                    return conflict(action, "Gone", "it was deleted since the decision was made")
                now = None
            else:
                if (obstacle := self._obstacle(action, live, seen, first=first)) is not None:
                    return obstacle
                now = Seen(live.uid, live.resource_version)
            answer = await self._send_apply(action, now)
            if isinstance(answer, Written):
                return self._done(action, answer, before=now)
            refused = answer
            if not _may_differ(refused, now):
                break
        return refusal(action, refused)

    async def _send_apply(self, action: Apply, seen: Seen | None) -> Written | Status:
        """Apply to an object as it was seen, or create it: only if there is none."""
        resource, body = resource_of(action.ref, action.api_version), complete(action)
        condition = {"resourceVersion": NEVER} if seen is None else {"uid": seen.uid, "resourceVersion": seen.version}
        body["metadata"] |= condition
        force = action.force and seen is not None
        return await api_calls.apply(
            self._api, resource, body, manager=self._manager, force=force, timeout=self._timeout
        )

    def _obstacle(self, action: Apply, live: Metadata, seen: Seen | None, *, first: bool) -> Outcome | None:
        """Return why a live object must not be applied to, or None."""
        if (first or seen is None) and not is_ours(live, action.body, self._manager):
            if not action.adopt or owners(live):
                return conflict(
                    action, "NotOurs", f"{action.kind} {place(action)} exists already and is not ours", live
                )
            return None
        if seen is not None and not first and live.uid != seen.uid:
            return conflict(action, "Replaced", "it was deleted and created anew since the decision was made", live)
        if live.deleting:
            # It cannot be kept. Its tombstone wakes the key, which then creates it anew.
            return outcome_of(action, Result.UNCHANGED, reason="Deleting", message="it is being deleted")
        return None

    async def _create(self, action: Create) -> Outcome:
        body, resource = complete(action), resource_of(action.ref, action.api_version)
        answer = await api_calls.create(self._api, resource, body, manager=self._manager, timeout=self._timeout)
        if isinstance(answer, Written):
            return self._done(action, answer, before=None)
        if answer.reason != "AlreadyExists":
            return refusal(action, answer)
        live = await self._look(action)
        if isinstance(live, Status):
            return refusal(action, live) if not absent(live, action) else refusal(action, answer)
        if is_ours(live, action.body, self._manager):
            return self._done(action, Written(live), before=Seen(live.uid, live.resource_version))
        return conflict(action, "NotOurs", f"{action.kind} {place(action)} exists already and is not ours", live)

    async def _patch(self, action: Patch, seen: Seen | None) -> Outcome:
        resource, ref = resource_of(action.ref, action.api_version), action.ref

        async def send(now: Seen) -> Written | Status:
            metadata = {**(action.patch.get("metadata") or {}), "uid": now.uid, "resourceVersion": now.version}
            body = {**action.patch, "metadata": metadata}
            return await api_calls.patch(
                self._api, resource, ref.namespace, ref.name, body, manager=self._manager, timeout=self._timeout
            )

        return await self._update(action, action.uid, seen, send)

    async def _status(self, action: PatchStatus, seen: Seen | None) -> Outcome:
        resource = resource_of(action.ref, action.api_version)

        async def send(now: Seen) -> Written | Status:
            body = {**identity(action), "status": action.status}
            body["metadata"] = {**body["metadata"], "uid": now.uid, "resourceVersion": now.version}
            return await api_calls.apply(
                self._api,
                resource,
                body,
                manager=self._manager,
                force=True,
                timeout=self._timeout,
                subresource="status",
            )

        outcome = await self._update(action, action.uid, seen, send, subresource="status")
        if outcome.code == 404 and outcome.result is Result.REFUSED:
            message = f"{action.kind} has no status subresource in {action.ref.cluster}, or is not served there"
            return outcome_of(action, Result.REFUSED, code=404, reason="NoStatus", message=message)
        return outcome

    async def _update(
        self, action: Action, uid: Uid, seen: Seen | None, send: Send, *, subresource: str = ""
    ) -> Outcome:
        """Update an object that must be `uid`; if it is gone there is nothing left to do."""
        if seen is not None and seen.uid == uid:
            answer = await send(seen)
            if isinstance(answer, Written):
                return self._done(action, answer, before=seen, subresource=subresource)
            if not answer.stale:
                return gone(action) if absent(answer, action) else refusal(action, answer)
        for _ in range(TRIES):
            live = await self._look(action)
            if isinstance(live, Status):
                return gone(action) if absent(live, action) else refusal(action, live)
            if live.uid != uid:
                return gone(action)
            now = Seen(live.uid, live.resource_version)
            answer = await send(now)
            if isinstance(answer, Written):
                return self._done(action, answer, before=now, subresource=subresource)
            refused = answer
            if not refused.stale:
                break
        return gone(action) if absent(refused, action) else refusal(action, refused)

    async def _finalizer(self, action: AddFinalizer | RemoveFinalizer, seen: Seen | None) -> Outcome:
        adding = isinstance(action, AddFinalizer)
        if adding and seen is not None and seen.uid == action.uid and seen.finalizers is not None:
            answer = await self._send_finalizers(action, seen, seen.finalizers)
            if isinstance(answer, Written):
                return self._done(action, answer, before=None)
            if not answer.stale:
                return gone(action, needed=True) if absent(answer, action) else refusal(action, answer)
        for _ in range(TRIES):
            live = await self._look(action)
            if isinstance(live, Status):
                return gone(action, needed=adding) if absent(live, action) else refusal(action, live)
            if live.uid != action.uid:
                return gone(action, needed=adding)
            present = live.finalizers or []
            if (action.finalizer in present) is adding:
                return outcome_of(action, Result.UNCHANGED, live)
            if adding and live.deleting:
                # Kubernetes forbids it (G18). Nothing may be created for an owner that will not wait.
                return conflict(action, "Deleting", "it is being deleted: no finalizer can be added", live)
            answer = await self._send_finalizers(action, Seen(live.uid, live.resource_version), present)
            if isinstance(answer, Written):
                return self._done(action, answer, before=None)
            refused = answer
            if not refused.stale:
                break
        return gone(action, needed=adding) if absent(refused, action) else refusal(action, refused)

    async def _send_finalizers(
        self, action: AddFinalizer | RemoveFinalizer, seen: Seen, present: Sequence[str]
    ) -> Written | Status:
        kept = [one for one in present if one != action.finalizer]
        finalizers = [*kept, action.finalizer] if isinstance(action, AddFinalizer) else kept
        metadata = {"uid": seen.uid, "resourceVersion": seen.version, "finalizers": finalizers}
        resource, ref = resource_of(action.ref, action.api_version), action.ref
        body = {"metadata": metadata}
        return await api_calls.patch(
            self._api, resource, ref.namespace, ref.name, body, manager=self._manager, timeout=self._timeout
        )

    async def _delete(self, action: Delete) -> Outcome:
        live = await self._look(action)
        reference: Json | None = None
        for attempt in range(2):
            if isinstance(live, Status):
                return gone(action) if absent(live, action) else refusal(action, live)
            if live.uid != action.uid:
                return gone(action)
            if live.deleting:
                return outcome_of(action, Result.UNCHANGED, live, reason="Deleting")
            if action.owner and action.owner not in owners(live):
                return conflict(action, "NotOurs", f"it no longer refers to the owner {action.owner}", live)
            if attempt and reference_of(live) != reference:
                return conflict(action, "Changed", "its owners changed while it was about to be deleted", live)
            reference = reference_of(live)
            # The second time the uid alone, or a busy object could never be deleted (G13).
            answer = await self._send_delete(action, None if attempt else live.resource_version)
            if answer is None:
                return outcome_of(action, Result.DONE, code=200, uid=action.uid)
            refused = answer
            if not refused.stale:
                break
            live = await self._look(action)
        return gone(action) if absent(refused, action) else refusal(action, refused)

    async def _send_delete(self, action: Delete, version: ResourceVersion | None) -> Status | None:
        ref = action.ref
        return await api_calls.delete(
            self._api,
            resource_of(ref, action.api_version),
            ref.namespace,
            ref.name,
            uid=action.uid,
            version=version,
            propagation=action.propagation.value,
            grace_seconds=action.grace_seconds,
            timeout=self._timeout,
        )

    async def _event(self, action: RecordEvent) -> Outcome:
        """Create an Event; its name is a hash of what it says, so that saying it again changes nothing."""
        body = event_body(action, self._manager, self._clock.time())
        answer = await api_calls.create(self._api, EVENTS, body, manager=self._manager, timeout=self._timeout)
        if isinstance(answer, Written):
            return outcome_of(action, Result.DONE, code=201)
        if answer.reason == "AlreadyExists":
            return outcome_of(action, Result.UNCHANGED, code=answer.code)
        return refusal(action, answer)

    def _done(self, action: Action, written: Written, *, before: Seen | None, subresource: str = "") -> Outcome:
        self.answer = written.body
        metadata = written.metadata
        unchanged = before is not None and before[:2] == (metadata.uid, metadata.resource_version)
        return outcome_of(
            action,
            Result.UNCHANGED if unchanged else Result.DONE,
            metadata,
            code=200,
            fields=metadata.fields_hash(self._manager, subresource),
        )


def _may_differ(refused: Status, seen: Seen | None) -> bool:
    """Return whether an apply was refused because the object is not as it was seen, or not absent as it was thought to be."""
    return refused.stale or (seen is None and refused.field_conflict)
