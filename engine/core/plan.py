"""From a decision to the writes that are needed now, and from outcomes to what the key remembers. Pure.

Rules:
    * An object is written only when it differs (DESIGN §2.6); see `engine.core.drift`.
    * Until the watch has shown our last write, the view is stale for that object: the write is taken as done, for at most
      `STALE_SECONDS`; after that the write is sent again, which asks the live server. No cluster makes a key wait.
    * A failed write is not repeated before its back-off has passed, unless the intent or the cluster changed since.
    * Nothing is sent to a cluster that does not answer, or for a type whose contents are still unknown there: the cluster's
      record, or the type's sync record, wakes the key again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from engine.core.drift import digest, merged, projection, satisfies
from engine.core.renewal import next_look, renewal
from engine.core.view import Known, KubeObject, Row, View
from schemas.actions import (
    Action,
    AddFinalizer,
    Apply,
    Collect,
    Create,
    Decision,
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
from schemas.decisions import Target
from schemas.names import ObjectRef, newer

STALE_SECONDS = 5.0
"""How long an unobserved write is trusted (DESIGN §5, read-your-writes). Watches lag by milliseconds."""
FIRST_RETRY_SECONDS = 0.25
MAX_RETRY_SECONDS = 30.0
"""Passing troubles: doubled from the first to this."""
REFUSED_RETRY_SECONDS = 15.0
MAX_REFUSED_RETRY_SECONDS = 600.0
"""What the server refuses is refused again until somebody changes something: looked at slowly (DESIGN §7)."""
RETRIES = {
    Result.FAILED: (FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS),
    # A conflict is mostly a view that was a moment old, so the next try comes soon; if not, it is like a refusal.
    Result.CONFLICT: (FIRST_RETRY_SECONDS, MAX_REFUSED_RETRY_SECONDS),
    Result.REFUSED: (REFUSED_RETRY_SECONDS, MAX_REFUSED_RETRY_SECONDS),
}
"""First and longest delay by result."""

Slot = tuple[ObjectRef, str]

_SLOTS: dict[type, str] = {
    Apply: "apply",
    Create: "apply",
    Patch: "patch",
    Delete: "delete",
    AddFinalizer: "finalizer",
    RemoveFinalizer: "finalizer",
    PatchStatus: "status",
    RecordEvent: "event",
    Collect: "collect",
    Issue: "apply",
}


class Plan(msgspec.Struct, frozen=True):
    """What to send now, and when to look again because something is held back."""

    actions: tuple[Action, ...] = ()
    deferred: bool = False
    """A status was left out because objects are written first: reconcile again right after, with their outcomes known."""
    wake_at: float = math.inf
    """Wall time of the earliest back-off to pass, or of `again_after`; infinite if nothing is to be timed."""


def slot_of(action: Action) -> Slot:
    """Return which of the key's writes an action is."""
    slot = _SLOTS[type(action)]
    if isinstance(action, RecordEvent):
        slot = f"event:{action.reason}"
    return action.ref, slot


def intent(action: Action) -> str:
    """Return the hash of everything that an action wants."""
    return digest(msgspec.structs.replace(action, renew=False) if isinstance(action, Issue) else action)


def make_plan(view: View, decision: Decision) -> Plan:
    """Return the writes of `decision` that are needed now.

    Args:
        view: must hold a row for every object that the decision writes, where STATE has one.
        decision: what the reconciler answered.

    """
    wake_at = math.inf if decision.again_after is None else view.now + decision.again_after
    needed: list[Action] = []
    held: list[Action] = []
    for action in decision.actions:
        if _satisfied(view, action):
            continue
        hold_until = _held_until(view, action)
        if hold_until is None:
            needed.append(_with_renewal(view, action))
        else:
            held.append(action)
            wake_at = min(wake_at, hold_until)
    if any(
        isinstance(action, Delete) or (isinstance(action, Collect) and _is_retried(view, action)) for action in held
    ):
        needed = [action for action in needed if not isinstance(action, RemoveFinalizer)]
    now = [action for action in needed if not isinstance(action, PatchStatus)]
    # A status says what became of the writes, so it follows them instead of being written twice.
    deferred = bool(now) and len(now) < len(needed)
    return Plan(tuple(now if deferred else needed), deferred, wake_at)


def _is_retried(view: View, action: Action) -> bool:
    """Return whether a held write waits for its next try, and not for its cluster, which may have been given up."""
    return not math.isinf(_held_until(view, action) or math.inf)


def _held_until(view: View, action: Action) -> float | None:
    """Return when a needed write may be sent: None for now, infinity where only a change of the fleet can tell."""
    places = [action.ref, action.account] if isinstance(action, Issue) else [action.ref]
    for place in places:
        cluster = view.clusters.get(place.cluster)
        if cluster is None or not cluster.answering:
            return math.inf
    cluster = view.clusters[action.ref.cluster]
    target = view.targets.get(slot_of(action))
    if target is None or not target.attempts:
        return None
    if target.attempted != intent(action) or target.cluster_seq != cluster.seq or view.now >= target.not_before:
        return None
    return target.not_before


def _satisfied(view: View, action: Action) -> bool:
    live = view.get(action.ref)
    target = view.targets.get(slot_of(action))
    accepted = target if target is not None and target.desired and target.desired == intent(action) else None
    if accepted is not None and _unobserved(view, action.ref, accepted):
        return True
    match action:
        case Apply() | Create():
            return _applied(view, action, live, accepted)
        case PatchStatus():
            return live is None or live.uid != action.uid or _same(view, live, action, accepted)
        case Patch():
            return live is None or live.uid != action.uid or merged(live.body, action.patch) == live.body
        case Delete(unwatched=True) | RecordEvent():
            return accepted is not None
        case Issue():
            return accepted is not None and view.now < min(accepted.renew_at, accepted.look_at)
        case Delete():
            return live is None or live.uid != action.uid or live.deleting
        case AddFinalizer():
            return live is None or live.uid != action.uid or action.finalizer in live.finalizers or live.deleting
        case RemoveFinalizer():
            return live is None or live.uid != action.uid or action.finalizer not in live.finalizers
        case Collect():
            settled = live is not None and (live.uid != action.uid or _settled(live, accepted))
            return settled or _was_deleted(view, action)


def _with_renewal(view: View, action: Action) -> Action:
    """Say whether a new token is due, or only a look at what there is."""
    if not isinstance(action, Issue):
        return action
    target = view.targets.get(slot_of(action))
    same = target is not None and target.desired == intent(action) and view.now < target.renew_at
    return msgspec.structs.replace(action, renew=not same)


def _was_deleted(view: View, action: Collect) -> bool:
    """Return whether the log shows that a dependent is gone; if that is not so, it wakes itself when it is seen again."""
    row = view.rows.get(action.ref)
    return row is not None and row.fact.deleted and row.fact.uid == action.uid


def _settled(live: KubeObject, accepted: Target | None) -> bool:
    """Return whether a dependent was settled as it stands, on the same hints."""
    return accepted is not None and live.version == accepted.version


def _applied(view: View, action: Apply | Create, live: KubeObject | None, accepted: Target | None) -> bool:
    if live is None and view.known(action.ref) is Known.PRESENT:
        return accepted is not None  # its body is not published: drift cannot be seen
    if live is None:
        # UNKNOWN is not absent: until the type is synced there, we would write blindly what may be there already.
        return (action.ref.cluster, action.ref.group, action.ref.resource) not in view.synced
    if live.deleting:
        return True  # it cannot be kept; its tombstone wakes the key
    return isinstance(action, Create) or _same(view, live, action, accepted)


def _same(view: View, live: KubeObject, action: Apply | PatchStatus, accepted: Target | None) -> bool:
    """Return whether `live` is what the server made of this very intent, by ownership and by value (DESIGN §7).

    Args:
        view: for the field manager's name.
        live: the object.
        action: what is wanted.
        accepted: our memory of the write, if this very intent was the last that the server accepted.

    """
    if accepted is None or live.fact is None:
        return False
    if live.version == accepted.version:
        return True  # nobody has written since
    status = isinstance(action, PatchStatus)
    manager = f"crosscurrent/{view.reconciler}:status" if status else f"crosscurrent/{view.reconciler}"
    if live.fact.manager_hash(manager) != accepted.fields:
        return False
    wanted = _wanted(action)
    return satisfies(live.body, wanted) or accepted.settled == digest(projection(live.body, wanted))


def _wanted(action: Apply | PatchStatus) -> Json:
    return action.body if isinstance(action, Apply) else {"status": action.status}


def _unobserved(view: View, ref: ObjectRef, target: Target) -> bool:
    """Return whether STATE has not yet shown our last successful write to an object."""
    if not target.version or view.now - target.closed_at > STALE_SECONDS:
        return False
    row: Row | None = view.rows.get(ref)
    return row is None or (row.version != target.version and newer(target.version, row.version))


def remember(
    view: View, actions: Sequence[Action], outcomes: Sequence[Outcome], *, now: float, seed: float
) -> tuple[Target, ...]:
    """Return the key's targets after `outcomes`.

    Args:
        view: what the decision saw.
        actions: what was performed, in order.
        outcomes: what became of each, in the same order.
        now: wall time, seconds since the epoch.
        seed: a number in [0, 1) that spreads retries of different keys.

    """
    targets = dict(view.targets)
    for action, outcome in zip(actions, outcomes, strict=True):
        slot = slot_of(action)
        if outcome.result is Result.SKIPPED:
            continue
        before = targets.get(slot, Target(ref=slot[0], slot=slot[1]))
        targets[slot] = (
            _succeeded(view, action, outcome, before, now, seed)
            if outcome.ok
            else _failed(view, action, outcome, before, now, seed)
        )
        if outcome.ok and isinstance(action, Delete):
            targets.pop((action.ref, "apply"), None)
        if outcome.ok and isinstance(action, Collect) and not outcome.version:
            targets.pop(slot, None)  # it is gone: thousands of these would be carried from entry to entry
    return tuple(targets[slot] for slot in sorted(targets))


def _succeeded(view: View, action: Action, outcome: Outcome, before: Target, now: float, seed: float) -> Target:
    live = view.get(action.ref)
    settled = ""
    if isinstance(action, Apply | PatchStatus) and live is not None and live.version == outcome.version:
        # The server had nothing to change, so what it holds is its form of this intent.
        settled = digest(projection(live.body, _wanted(action)))
    target = Target(
        ref=before.ref,
        slot=before.slot,
        desired=intent(action),
        fields=outcome.fields,
        settled=settled,
        uid=outcome.uid or before.uid,
        version=outcome.version,
        closed_at=now,
        value=action.status if isinstance(action, PatchStatus) else None,
    )
    return _issued(view, target, outcome, before, now, seed) if isinstance(action, Issue) else target


def _issued(view: View, target: Target, outcome: Outcome, before: Target, now: float, seed: float) -> Target:
    """Return the target with the times of what was issued, or found to be as it should."""
    seconds = outcome.issued_seconds
    return msgspec.structs.replace(
        target,
        renew_at=renewal(now, seconds, seed) if seconds else before.renew_at,
        expires_at=now + seconds if seconds else before.expires_at,
        look_at=next_look(now, view.look_seconds, seed),
    )


def _failed(view: View, action: Action, outcome: Outcome, before: Target, now: float, seed: float) -> Target:
    again = before.attempted == intent(action)
    attempts = before.attempts + 1 if again else 1
    first, most = RETRIES[outcome.result]
    delay = min(most, first * 2.0 ** min(attempts - 1, 20)) * (0.75 + seed / 2)
    cluster = view.clusters.get(action.ref.cluster)
    return msgspec.structs.replace(
        before,
        attempted=intent(action),
        attempts=attempts,
        not_before=now + max(delay, outcome.retry_after),
        cluster_seq=cluster.seq if cluster else 0,
        code=outcome.code,
        reason=outcome.reason or outcome.result.value,
        message=outcome.message,
    )


def failures_changed(before: Sequence[Target], after: Sequence[Target]) -> bool:
    """Return whether a failure appeared, went away or changed its words: the reconciler must see it, for its status."""

    def failing(targets: Sequence[Target]) -> set[tuple[ObjectRef, str, int, str]]:
        return {(target.ref, target.slot, target.code, target.message) for target in targets if target.attempts}

    return failing(before) != failing(after)
