"""What is to become of a dependent, from the evidence for each of its owners. Pure: Kubernetes' rules, across clusters.

The rules are those of Kubernetes' own collector (G8 to G13), with three differences that other clusters make necessary:

    * One owner that is UNKNOWN keeps the dependent as it is, references included.
    * A reference that is not granted, or belongs to another engine, is left alone and keeps the dependent, as any native
      ownerReference does: their own collectors look after those.
    * Dependents of an owner that was orphaned lose the reference, whenever they turn up; those in a cluster that was given
      up stay and are reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from engine.core.evidence import Absent, Disposition, Evidence, Present
from engine.core.ownership import OwnerReference
from schemas.actions import Propagation
from schemas.names import ClusterId

ORPHAN_FINALIZER = "orphan"
FOREGROUND_FINALIZER = "foregroundDeletion"


class Standing(StrEnum):
    """What one owner means for its dependent."""

    SOLID = "solid"
    DANGLING = "dangling"
    WAITING = "waiting"
    """The owner waits, in a foreground deletion, for this dependent to go."""
    ORPHANING = "orphaning"
    ABANDONED = "abandoned"
    UNKNOWN = "unknown"
    UNGRANTED = "ungranted"
    MISPLACED = "misplaced"
    """A namespaced owner of a cluster-scoped dependent (G7)."""
    FOREIGN = "foreign"
    """Another engine's."""


class Ownership(msgspec.Struct, frozen=True):
    """A reference and what it means."""

    reference: OwnerReference
    standing: Standing
    evidence: Evidence | None = None
    message: str = ""


class Verdict(StrEnum):
    """What is to be done."""

    KEEP = "keep"
    PART = "part"
    """Take references away."""
    DELETE = "delete"


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become of a dependent."""

    verdict: Verdict
    reason: str
    message: str = ""
    parted: tuple[OwnerReference, ...] = ()
    unblocked: tuple[OwnerReference, ...] = ()
    """References that must not block any more, before the delete: a cycle (G10)."""
    propagation: Propagation = Propagation.BACKGROUND


class Dependent(msgspec.Struct, frozen=True, kw_only=True):
    """A dependent as just read."""

    cluster: ClusterId
    namespace: str
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    native_owners: int = 0
    """How many `metadata.ownerReferences` it has."""
    has_dependents: bool = False
    """Whether it owns objects itself, across clusters."""
    closes_cycle: bool = False
    """Whether one of those is itself waiting for its dependents."""


def standing_of(reference: OwnerReference, evidence: Evidence, dependent: Dependent) -> Standing:
    """Return what an owner means for its dependent (G7, G8). Grants and engines are judged before there is evidence."""
    if reference.namespace and not dependent.namespace:
        return Standing.MISPLACED
    match evidence:
        case Present():
            if not evidence.deleting:
                return Standing.SOLID
            if evidence.propagation == Propagation.FOREGROUND:
                return Standing.WAITING
            return Standing.ORPHANING if evidence.propagation == Propagation.ORPHAN else Standing.SOLID
        case Absent():
            return {
                Disposition.NONE: Standing.DANGLING,
                Disposition.ORPHANED: Standing.ORPHANING,
                Disposition.ABANDONED: Standing.ABANDONED,
            }[evidence.disposition(dependent.cluster)]
        case _:
            return Standing.UNKNOWN


def decide(dependent: Dependent, ownerships: Sequence[Ownership]) -> Fate:
    """Return what is to become of a dependent.

    Args:
        dependent: as just read.
        ownerships: all of its references to owners in other clusters, none left out.

    """
    by: dict[Standing, list[OwnerReference]] = {standing: [] for standing in Standing}
    for ownership in ownerships:
        by[ownership.standing].append(ownership.reference)
    if dependent.deleting:
        return _already_deleting(dependent, by)
    if by[Standing.UNKNOWN]:
        unknown = next(one for one in ownerships if one.standing is Standing.UNKNOWN)
        return _keep("OwnerUnknown", f"{unknown.reference}: {unknown.message}")
    # An owner that is not there and an owner that wants to go both want to be rid of the reference (G9).
    going = (*by[Standing.DANGLING], *by[Standing.WAITING], *by[Standing.ORPHANING])
    if by[Standing.SOLID] or by[Standing.FOREIGN] or dependent.native_owners:
        return _part(going, "OtherOwners") if going else _keep("Owned")
    if by[Standing.UNGRANTED] or by[Standing.MISPLACED]:
        # Such a reference does nothing, and that includes making its bearer garbage: who knows what it was meant to say.
        return _part(going, "OtherOwners") if going else _ineffective(by)
    if by[Standing.ORPHANING]:
        return _part(tuple(by[Standing.ORPHANING]), "Orphaned")
    if by[Standing.ABANDONED]:
        return _keep("Abandoned", f"its cluster was given up when {by[Standing.ABANDONED][0]} was deleted")
    if not going:
        return _keep("Unowned")
    if by[Standing.WAITING] and dependent.has_dependents:
        freed = tuple(one for one in going if one.block_owner_deletion) if dependent.closes_cycle else ()
        return _delete(Propagation.FOREGROUND, "OwnerWaiting", unblocked=freed)
    return _delete(policy(dependent.finalizers), "OwnerWaiting" if by[Standing.WAITING] else "OwnersAbsent")


def policy(finalizers: Sequence[str]) -> Propagation:
    """Return the propagation policy that an object's own finalizers ask for (G11)."""
    if ORPHAN_FINALIZER in finalizers:
        return Propagation.ORPHAN
    return Propagation.FOREGROUND if FOREGROUND_FINALIZER in finalizers else Propagation.BACKGROUND


def _already_deleting(dependent: Dependent, by: dict[Standing, list[OwnerReference]]) -> Fate:
    """Leave it to its deletion, a one-way trip (G12), unless it holds up a cycle that was not seen to be one before."""
    holding = tuple(one for one in by[Standing.WAITING] if one.block_owner_deletion)
    if dependent.closes_cycle and holding:
        return Fate(verdict=Verdict.PART, reason="Unblocked", unblocked=holding)
    return _keep("Deleting", "it is being deleted already")


def _ineffective(by: dict[Standing, list[OwnerReference]]) -> Fate:
    if by[Standing.MISPLACED]:
        return _keep("OwnerRefInvalidScope", f"it is cluster-scoped, {by[Standing.MISPLACED][0]} is not: left alone")
    # The same words whether that owner exists or not: whoever wrote the reference must not learn it (SEC-05).
    return _keep("OwnerRefNotGranted", "no OwnerGrant in the owner's cluster allows this reference: it is ignored")


def _keep(reason: str, message: str = "") -> Fate:
    return Fate(verdict=Verdict.KEEP, reason=reason, message=message)


def _part(references: tuple[OwnerReference, ...], reason: str) -> Fate:
    return Fate(verdict=Verdict.PART, reason=reason, parted=references)


def _delete(propagation: Propagation, reason: str, *, unblocked: tuple[OwnerReference, ...] = ()) -> Fate:
    return Fate(verdict=Verdict.DELETE, reason=reason, propagation=propagation, unblocked=unblocked)
