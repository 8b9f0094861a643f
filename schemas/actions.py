"""Requests, decisions, actions, outcomes: what is asked, answered, done, and what became of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from schemas.names import ObjectRef, ResourceVersion, Uid

Json = dict[str, Any]
"""A JSON object."""


class Request(msgspec.Struct, frozen=True, order=True):
    """The name of something to reconcile, never a body or an event (habit 7)."""

    reconciler: str
    object: ObjectRef

    def __str__(self) -> str:
        return f"{self.reconciler} {self.object}"


class Propagation(StrEnum):
    """Kubernetes' propagationPolicy of a delete, inside the target cluster."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


class _Action(msgspec.Struct, frozen=True, tag_field="action", kw_only=True, omit_defaults=True):
    """One API call as a value: the place, and the apiVersion and kind by which the server knows it."""

    ref: ObjectRef
    api_version: str
    kind: str


class Apply(_Action, frozen=True, tag="Apply"):
    """Server-side apply of `body`, the complete intent of this reconciler for the object."""

    body: Json
    force: bool = True
    """Take fields over from other managers. The first apply to an object that is not ours is never forced."""
    adopt: bool = False
    """Take over an object that exists already and names no owner of ours; without, that is a conflict."""
    secret_from: ObjectRef | None = None
    """The Secret, or federated Secret, whose values `body.data` holds, as the view shows them: sealed, and opened on the way
    out."""


class Create(_Action, frozen=True, tag="Create"):
    """POST of `body` under a deterministic name; already existing is success if it is ours, else a conflict."""

    body: Json


class Patch(_Action, frozen=True, tag="Patch"):
    """JSON merge patch."""

    uid: Uid
    patch: Json


class Delete(_Action, frozen=True, tag="Delete"):
    """Delete after a live re-read, with uid and resourceVersion preconditions (DESIGN §2.2)."""

    uid: Uid
    propagation: Propagation = Propagation.BACKGROUND
    grace_seconds: int | None = None
    """gracePeriodSeconds; None: the type's default."""
    owner: Uid = Uid("")
    """Owner that the live object must still refer to, by annotation or label, or it stays; empty: whatever it refers to."""
    unwatched: bool = False
    """Its type is not watched, so that no view can show whether it is there: sent once for each uid."""


class AddFinalizer(_Action, frozen=True, tag="AddFinalizer"):
    """Add a finalizer. Performed before every Apply and Create of the same decision; if it fails they are not sent."""

    uid: Uid
    finalizer: str


class RemoveFinalizer(_Action, frozen=True, tag="RemoveFinalizer"):
    """Remove a finalizer, last of a decision, after a live LIST of `dependents` in every cluster has found none."""

    uid: Uid
    finalizer: str
    dependents: tuple[str, ...] = ()
    """Resource types (`apps/v1/deployments`) that must hold nothing labelled with this owner."""
    blocking_only: bool = False
    """Collector: only dependents that block count, a foreground deletion's."""
    remaining: int = 0
    """Collector: dependents that the index shows; when it changes, a barrier that was closed is worth another try."""


class PatchStatus(_Action, frozen=True, tag="PatchStatus"):
    """Server-side apply of `status` to the status subresource."""

    uid: Uid
    status: Json


class RecordEvent(_Action, frozen=True, tag="RecordEvent"):
    """A Kubernetes Event on the object, for its user to read."""

    uid: Uid
    type: str
    """`Normal` or `Warning`."""
    reason: str
    message: str


class Collect(_Action, frozen=True, tag="Collect", omit_defaults=True):
    """Settle a dependent's ownership across clusters, by live evidence: keep it, part it from owners, or delete it.

    A nomination, not a verdict: whatever the log suggests, the performer proves (docs/garbage-collection.md).
    """

    uid: Uid
    observed: tuple[Uid, ...] = ()
    """Owners whose deletion an unfiltered watch of the present epoch has shown: intent, for the breaker."""
    restored: tuple[Uid, ...] = ()
    """Owners that were last seen before their cluster's present epoch."""
    hints: tuple[str, ...] = ()
    """What the log says of each owner; when it changes, the dependent is worth another look."""
    owner: Uid = Uid("")
    """The owner on whose account it is looked at together with others, for the label by which they are found; else empty."""


class Withdrawal(StrEnum):
    """What becomes of an issued credential's Secret when what it was issued for is gone."""

    KEEP = "Keep"
    """It stays, unrenewed, until its token expires."""
    DELETE = "Delete"


class Issue(_Action, frozen=True, tag="Issue", omit_defaults=True):
    """Write a Secret that holds a token of a ServiceAccount in another cluster (TokenRequest).

    The performer asks for the token, so that none is ever in a decision (SEC-13). A type that is not watched: the performer
    looks at the live Secret and the live account each time, and leaves the Secret as it is unless something is amiss.
    """

    body: Json
    """The Secret without its data."""
    account: ObjectRef
    """The ServiceAccount."""
    context: str
    """What context, cluster and user are called in the kubeconfig."""
    seconds: int
    """Life of the token that is asked for."""
    audiences: tuple[str, ...] = ()
    """Empty: the API server's own."""
    renew: bool = False
    """The token is due whatever the Secret looks like. Filled in by the plan, no part of the intent."""


Action = Apply | Create | Patch | Delete | AddFinalizer | RemoveFinalizer | PatchStatus | RecordEvent | Collect | Issue


class Decision(msgspec.Struct, frozen=True):
    """What a reconciler answers: actions as values, and optionally when to look again.

    The engine leaves out every action that would change nothing, so a reconciler states what it wants each time.
    """

    actions: tuple[Action, ...] = ()
    again_after: float | None = None
    """Seconds after which to reconcile again even if nothing changes; None: only when something changes."""

    @classmethod
    def do(cls, *actions: Action, again_after: float | None = None) -> Decision:
        """Return a decision to perform `actions`."""
        return cls(actions, again_after)

    @classmethod
    def wait(cls, again_after: float | None = None) -> Decision:
        """Return a decision to do nothing until something changes or `again_after` seconds have passed."""
        return cls((), again_after)


class Result(StrEnum):
    """What became of an action."""

    DONE = "done"
    """The server accepted it."""
    UNCHANGED = "unchanged"
    """There was nothing to do when the server was asked, e.g. the object was gone already."""
    CONFLICT = "conflict"
    """A precondition or another field manager stood in the way."""
    REFUSED = "refused"
    """The server will not accept it as it is (403, 422, ...): retried slowly."""
    FAILED = "failed"
    """A passing trouble (429, 5xx, unreachable): retried with back-off."""
    SKIPPED = "skipped"
    """Not sent: an earlier action failed, the lease had run out, or the cluster is in back-off."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one action, in the order of the decision's actions."""

    action: str
    ref: ObjectRef
    result: Result
    code: int = 0
    """HTTP status, 0 where no answer came."""
    reason: str = ""
    message: str = ""
    uid: Uid = Uid("")
    version: ResourceVersion = ResourceVersion("")
    """resourceVersion after the write."""
    fields: str = ""
    """Hash of our field manager's fieldsV1 after the write."""
    retry_after: float = 0.0
    """Seconds that the server asked to wait."""
    issued_seconds: float = 0.0
    """Life of the credential that was issued; 0: none was."""

    @property
    def ok(self) -> bool:
        """Whether the world is now as the action wanted it."""
        return self.result in (Result.DONE, Result.UNCHANGED)
