"""What is known of an owner in another cluster, and how its absence is proven. Pure: a state machine of questions.

Evidence is PRESENT, ABSENT with a proof, or UNKNOWN, and only ABSENT ever lets anything be deleted (DESIGN §2.2). The proof
is two looks, at least `APART_SECONDS` apart and each on a connection of its own. Each look asks, in this order:

    1. who the cluster is, not longer ago than `IDENTITY_SECONDS` on that connection;
    2. whether it serves the owner's type, by discovery;
    3. for the object, by a quorum GET: a Kubernetes Status NotFound that names the object, or another uid, is absence;
       where the type is not served, for its CustomResourceDefinition, and only if the deletion of this very uid was seen by
       an unfiltered watch in the present epoch;

and after the second look, 4. for the owner's tombstone, which says that dependents are to be orphaned or were abandoned.

Never evidence: a relist that lacks it, the end of a stream, 401, 403, 408, 429, 5xx, TLS and DNS errors, a 404 without a
Status or about something else, a missing CRD, a DELETED of a filtered watch, a cluster that is no longer configured, a type
that is not synced, an older epoch. None of these has a way into this module: what is no `Answer` below is a `NoAnswer`.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from engine.core.api_errors import Status
from engine.core.live_object import Metadata
from engine.core.ownership import ADMIRALTY_FINALIZER, HOLDING_FINALIZERS, PROPAGATION_ANNOTATION, OwnerReference
from schemas.actions import Propagation
from schemas.names import ClusterId, ResourceVersion, Uid

APART_SECONDS = 1.0
"""Least time between the two looks: longer than a load balancer's or a leader's change of mind in the usual case."""
IDENTITY_SECONDS = 30.0
"""For so long a connection's answer to "who are you" counts."""
PROOF_SECONDS = 30.0
"""For so long a proof may be used for further dependents of the same owner."""


class Question(StrEnum):
    """What is to be asked next."""

    IDENTITY = "identity"
    SERVED = "served"
    OBJECT = "object"
    DEFINITION = "definition"
    TOMBSTONE = "tombstone"


class Ask(msgspec.Struct, frozen=True):
    """Ask the owner's cluster something, on connection 0 or 1."""

    question: Question
    look: int


class Wait(msgspec.Struct, frozen=True):
    """Look again later."""

    seconds: float


class Identified(msgspec.Struct, frozen=True):
    """The cluster said who it is, at monotonic time `at`."""

    identity: ClusterId
    at: float


class Served(msgspec.Struct, frozen=True):
    """Discovery answered."""

    served: bool


class Found(msgspec.Struct, frozen=True):
    """The object is there, or another one of its name."""

    uid: Uid
    version: ResourceVersion
    deleting: bool = False
    propagation: str = ""
    """How it is being deleted, as the collector noted on it; empty where that is not known."""
    held: bool = False
    """Whether a finalizer keeps it until its dependents in other clusters have been seen to."""


class Missing(msgspec.Struct, frozen=True):
    """The API server itself said that the object which was asked for does not exist."""


class NoAnswer(msgspec.Struct, frozen=True):
    """Anything else, an answer that proves nothing included."""

    reason: str
    message: str = ""


class Disposition(StrEnum):
    """What an owner's tombstone says of its dependents."""

    NONE = ""
    ORPHANED = "Orphaned"
    """They lose the reference and stay."""
    ABANDONED = "Abandoned"
    """Their cluster was away and was given up: they stay, and are reported."""


class Tombstone(msgspec.Struct, frozen=True):
    """The owner's tombstone, or that there is none."""

    orphaned: bool = False
    abandoned: frozenset[ClusterId] = frozenset()


Answer = Identified | Served | Found | Missing | NoAnswer | Tombstone


class Look(msgspec.Struct, frozen=True, omit_defaults=True):
    """One completed look, as the audit record shows it."""

    at: float
    """Wall time, seconds since the epoch."""
    found: Uid = Uid("")
    """Uid of another object of that name; empty: NotFound."""
    version: ResourceVersion = ResourceVersion("")
    served: bool = True
    """False: the type was not served, and the look was for its definition."""


class Present(msgspec.Struct, frozen=True):
    """The owner exists."""

    uid: Uid
    version: ResourceVersion
    deleting: bool = False
    propagation: str = ""
    held: bool = False


class Absent(msgspec.Struct, frozen=True):
    """The owner does not exist, and this is the proof."""

    owner: OwnerReference
    looks: tuple[Look, ...]
    tombstone: Tombstone = Tombstone()
    until: float = 0.0
    """Monotonic time after which it proves nothing any more."""

    def disposition(self, cluster: ClusterId) -> Disposition:
        """Return what is to become of dependents in a cluster."""
        if self.tombstone.orphaned:
            return Disposition.ORPHANED
        return Disposition.ABANDONED if cluster in self.tombstone.abandoned else Disposition.NONE


class Unknown(msgspec.Struct, frozen=True):
    """It cannot be told; nothing follows from it."""

    reason: str
    message: str = ""


Evidence = Present | Absent | Unknown
Next = Ask | Wait | Present | Absent | Unknown


class Examination(msgspec.Struct, frozen=True):
    """An examination under way."""

    owner: OwnerReference
    observed: bool = False
    """Whether an unfiltered watch of the present epoch has shown the deletion of this very uid."""
    look: int = 0
    asked: Question | None = None
    looks: tuple[Look, ...] = ()
    looked_at: float = 0.0
    """Monotonic time at which the first look ended."""


def begin(owner: OwnerReference, *, observed: bool = False) -> tuple[Examination, Next]:
    """Begin to examine an owner.

    Args:
        owner: whom.
        observed: whether its deletion was seen by an unfiltered watch in the present epoch. Proves nothing by itself.

    """
    if not owner.cluster_id or not owner.uid:
        return Examination(owner), Unknown("IncompleteReference", "it names no cluster or no uid")
    return _asking(Examination(owner, observed), Question.IDENTITY)


def step(examination: Examination, answer: Answer | None, *, now: float, wall: float) -> tuple[Examination, Next]:
    """Take an answer, and say what comes next.

    Args:
        examination: so far.
        answer: to what was asked; None after a wait.
        now: monotonic seconds.
        wall: wall time, for the record.

    """
    if answer is None:
        left = examination.looked_at + APART_SECONDS - now
        return (examination, Wait(left)) if left > 0 else _asking(examination, Question.IDENTITY)
    if isinstance(answer, NoAnswer):
        return examination, Unknown(answer.reason, answer.message)
    match examination.asked, answer:
        case Question.IDENTITY, Identified():
            return _identified(examination, answer, now)
        case Question.SERVED, Served():
            return _served(examination, answer)
        case Question.OBJECT, Found() if answer.uid == examination.owner.uid:
            return examination, Present(*msgspec.structs.astuple(answer))
        case Question.OBJECT, Found():
            return _looked(examination, Look(wall, answer.uid, answer.version), now)
        case Question.OBJECT | Question.DEFINITION, Missing():
            return _looked(examination, Look(wall, served=examination.asked is Question.OBJECT), now)
        case Question.DEFINITION, Found():
            return examination, Unknown("NotServed", "its type is defined but not served")
        case Question.TOMBSTONE, Tombstone():
            until = examination.looked_at + PROOF_SECONDS
            return examination, Absent(examination.owner, examination.looks, answer, until)
    return examination, Unknown("Unexpected", f"{type(answer).__name__} answers no {examination.asked}")


def _asking(examination: Examination, question: Question) -> tuple[Examination, Ask]:
    return msgspec.structs.replace(examination, asked=question), Ask(question, examination.look)


def _identified(examination: Examination, answer: Identified, now: float) -> tuple[Examination, Next]:
    if answer.identity != examination.owner.cluster_id:
        message = f"it answers as {answer.identity}, the reference means {examination.owner.cluster_id}"
        return examination, Unknown("IdentityMismatch", message)
    if now - answer.at > IDENTITY_SECONDS:
        return _asking(examination, Question.IDENTITY)
    return _asking(examination, Question.SERVED)


def _served(examination: Examination, answer: Served) -> tuple[Examination, Next]:
    if answer.served:
        return _asking(examination, Question.OBJECT)
    if not examination.observed:
        return examination, Unknown("NotServed", "its type is not served, and nobody has seen its deletion")
    return _asking(examination, Question.DEFINITION)


def _looked(examination: Examination, look: Look, now: float) -> tuple[Examination, Next]:
    looks = (*examination.looks, look)
    if len(looks) == 2:
        return _asking(msgspec.structs.replace(examination, looks=looks), Question.TOMBSTONE)
    after = msgspec.structs.replace(examination, looks=looks, look=1, asked=None, looked_at=now)
    return after, Wait(APART_SECONDS)


def answer_to_get(answer: Metadata | Status, name: str, plural: str) -> Found | Missing | NoAnswer:
    """Return what an API server's answer to a GET of one object says."""
    if isinstance(answer, Metadata):
        if answer.name != name:
            return NoAnswer("NotKubernetes", f"{answer.name!r} was answered where {name!r} was asked for")
        annotations = answer.annotations or {}
        propagation = annotations.get(PROPAGATION_ANNOTATION, "")
        known = propagation if propagation in set(Propagation) else ""
        if known == Propagation.BACKGROUND and ADMIRALTY_FINALIZER in (answer.finalizers or ()):
            known = Propagation.FOREGROUND.value  # multicluster-controller's finalizer always meant: children first
        held = not HOLDING_FINALIZERS.isdisjoint(answer.finalizers or ())
        return Found(answer.uid, answer.resource_version, answer.deleting, known, held)
    if answer.absent(name, plural) and answer.kind == plural:
        return Missing()
    return NoAnswer(answer.reason or f"HTTP{answer.code}", answer.message)
