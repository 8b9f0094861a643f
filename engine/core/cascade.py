"""What the collector asks for: which dependents to look at, and how a deleted owner is let go. Pure.

The log nominates and never condemns: everything here is asked of a view that may be old, and every `Collect` is decided
again on live evidence (`engine.core.collection`). An owner that cannot be judged just now, its cluster away or its type not
synced, is waited for; the mapper wakes its key when that changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from engine.core.collection import FOREGROUND_FINALIZER, ORPHAN_FINALIZER
from engine.core.ownership import (
    ADMIRALTY_ENGINE,
    ADMIRALTY_FINALIZER,
    ADMIRALTY_LABEL,
    CASCADE_FINALIZER,
    ENGINE,
    OWNER_LABEL,
    PROPAGATION_ANNOTATION,
    OwnerReference,
    all_references,
    owner_label,
    plural_of,
)
from engine.core.plan import intent
from engine.core.view import Cluster, Known, KubeObject, View
from schemas.actions import (
    Action,
    Apply,
    Collect,
    Outcome,
    Patch,
    Propagation,
    RecordEvent,
    RemoveFinalizer,
    Result,
)
from schemas.clusters import ClusterState
from schemas.facts import Cause, Fact
from schemas.names import ClusterId, ClusterName, ObjectRef, Resource, Uid

OURS = "crosscurrent.dev"
"""Group of the engine's own records, which own nothing and are owned by nothing."""
OWNER_TOMBSTONES = Resource(OURS, "v1alpha1", "ownertombstones")
UNREGISTRATIONS = Resource(OURS, "v1alpha1", "unregistrations")
MOST_AT_ONCE = 1000
"""Dependents looked at in one decision: two or three seconds' work for a fast API server, within the lease."""
FIRST_AT_ONCE, LEAST_AT_ONCE = 300, 50
"""The same in the first decision, and where the lease or the rate cap leaves time for next to none."""
UNWATCHED_SECONDS = 600.0
"""How often an owner is asked for whose type nobody watches."""
LATELY_SECONDS = 10.0
"""For so long a dependent that was deleted is not looked at again: the fact that it is gone passes through two processes."""
_WAITED = b'"deletionTimestamp"'
UNREGISTERED_SECONDS = 1.0
"""A dependent of an owner in an unknown cluster is looked at again when something wakes it, but not more often."""


class Held(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry of INDEX: a dependent, and by which uids it refers to what is at its owner's place."""

    uid: Uid
    api_version: str
    kind: str
    owners: tuple[Uid, ...]
    blocking: bool = False
    epoch: int = 0
    """Of the owner's cluster when the reference was first seen."""
    findable: bool = False
    """Whether a live LIST finds it by these uids."""
    ref: ObjectRef = ObjectRef(ClusterName(""), "", "", "", "")
    """From the subject."""


class Hint(StrEnum):
    """What the log says of an owner."""

    SOLID = "solid"
    GOING = "going"
    """It is being deleted, and the collector holds it."""
    ABSENT = "absent"
    REPLACED = "replaced"
    UNWATCHED = "unwatched"
    UNREGISTERED = "unregistered"
    CONTESTED = "contested"
    """Two clusters claim the identity of its own. Nobody tells when that ends: it is asked again, ever more seldom."""
    WAIT = "wait"
    """It cannot be judged just now."""


class GarbageView(View):
    """A view with what the collector reads besides.

    Attributes:
        held: dependents of the requested object's place; there may be more.
        at_once: how many of them are looked at now, see `batch_after`.
        in_batches: whether they are read and looked at batch by batch, as those of an owner that is gone or going are.
        more: whether there may be others: nothing follows from their not being among these.
        asked: uids of those that the key's last decision has deleted, a moment ago: the facts that say so are on their way.
        since: epoch in which each reference of the requested object was first seen, by identity and place of its owner.
        watched: (group, plural) of the watched types; None: all.
        types: the types in which dependents may be, as `apps/v1/deployments`.
        past: facts of the requested object, oldest first, where it is or was being deleted.
        engine: id of this engine.

    """

    held: tuple[Held, ...] = ()
    at_once: int = FIRST_AT_ONCE
    in_batches: bool = False
    more: bool = False
    asked: frozenset[Uid] = frozenset()
    since: Mapping[tuple[ClusterId, ObjectRef], int] = {}
    watched: frozenset[tuple[str, str]] | None = None
    types: tuple[str, ...] = ()
    past: tuple[Fact, ...] = ()
    engine: str = ENGINE

    @property
    def identities(self) -> dict[ClusterName, ClusterId]:
        """Identities of the clusters that have answered, by name."""
        return {name: cluster.identity for name, cluster in self.clusters.items() if cluster.identity}

    def home(self, identity: ClusterId) -> Cluster | None:
        """Return the cluster with this identity; none where two claim it: it cannot be told which one is meant."""
        found = [cluster for cluster in self.clusters.values() if identity and cluster.identity == identity]
        return found[0] if len(found) == 1 else None


def settle(view: GarbageView, found: KubeObject) -> list[Action]:
    """Return what an object needs as a dependent: nothing if all of its owners seem solid and know of it."""
    references = all_references(found.metadata, view.identities)
    hints = [hint(view, reference) for reference in references]
    if not references or Hint.WAIT in hints or found.deleting:
        return []
    if set(hints) == {Hint.SOLID} and all(is_labelled(found.labels, one.uid) for one in references):
        return []
    return [_collect(view, found.ref, found.api_version, found.kind, found.uid, references)]


def hint(view: GarbageView, reference: OwnerReference) -> Hint:
    """Return what the log says of an owner."""
    if reference.engine not in (view.engine, ADMIRALTY_ENGINE):
        return Hint.SOLID
    home = view.home(reference.cluster_id)
    if home is None:
        claimed = any(cluster.identity == reference.cluster_id for cluster in view.clusters.values())
        return Hint.CONTESTED if claimed and reference.cluster_id else Hint.UNREGISTERED
    place = place_of(reference, home.name)
    watched = view.watched is None or (place.group, place.resource) in view.watched
    synced = (place.cluster, place.group, place.resource) in view.synced
    if home.state is not ClusterState.LIVE:
        return Hint.WAIT
    if watched and not synced:
        # A type that is no longer served is never synced again, but that its objects went with it was seen (XGC-09).
        return Hint.ABSENT if _was_seen_to_go(view, place, reference.uid) else Hint.WAIT
    if not watched:
        return Hint.UNWATCHED
    owner = view.get(place)
    if owner is None:
        return Hint.WAIT if view.known(place) is Known.PRESENT else Hint.ABSENT
    if owner.uid != reference.uid:
        return Hint.REPLACED
    return _going(owner)


def _going(owner: KubeObject) -> Hint:
    """Return what an owner that is there counts for: solid, too, until it is noted how it is to be deleted.

    Before that a dependent is judged to be kept, and what is asked for when it is noted must not be the same question.
    """
    return Hint.GOING if owner.deleting and PROPAGATION_ANNOTATION in notes_of(owner) else Hint.SOLID


def place_of(reference: OwnerReference, cluster: ClusterName) -> ObjectRef:
    """Return where an owner is; the plural of its type is guessed where the reference leaves it out."""
    resource = reference.resource or plural_of(reference.kind)
    return ObjectRef(cluster, reference.group, resource, reference.namespace, reference.name)


def batch_after(outcomes: Iterable[Outcome]) -> int:
    """Return how many dependents a key looks at after a decision with these outcomes.

    Each costs some work before it is deleted, so a decision should name as many as its lease, the API servers and the rate
    cap let it finish: a quarter more than that where it was cut short, twice as many where it was not.
    """
    asked = [one for one in outcomes if one.action == "Collect"]
    finished = sum(one.result is not Result.SKIPPED for one in asked)
    if finished < len(asked):
        return max(LEAST_AT_ONCE, finished + finished // 4)
    return min(MOST_AT_ONCE, max(FIRST_AT_ONCE, 2 * finished))


def deleted_by(outcomes: Iterable[Outcome]) -> frozenset[Uid]:
    """Return the uids of the dependents that a decision with these outcomes has deleted."""
    deleted = (one for one in outcomes if one.action == "Collect" and one.result is Result.DONE and not one.version)
    return frozenset(one.uid for one in deleted if one.uid)


def next_batch(view: GarbageView, wanted: Iterable[Held]) -> list[Held]:
    """Return those of the wanted dependents to look at now, the ones that something can be done about first.

    Hundreds in a cluster that does not answer, or that were refused a moment ago, must not keep the others waiting.
    """
    left = [held for held in wanted if held.uid not in view.asked]
    return sorted(left, key=lambda held: not is_open(view, held))[: view.at_once]


def is_open(view: GarbageView, held: Held) -> bool:
    """Return whether something can be done about a dependent at this moment, as far as the key knows."""
    cluster = view.clusters.get(held.ref.cluster)
    if held.uid in view.asked or cluster is None or not cluster.answering:
        return False
    target = view.targets.get((held.ref, "collect"))
    return target is None or not target.attempts or view.now >= target.not_before


def is_labelled(labels: Mapping[str, str], uid: Uid) -> bool:
    """Return whether a live LIST finds a dependent by its owner's uid."""
    return uid in (labels.get(OWNER_LABEL), labels.get(ADMIRALTY_LABEL)) or owner_label(uid) in labels


def notes_of(found: KubeObject) -> dict[str, str]:
    """Return an object's annotations."""
    return found.metadata.get("annotations") or {}


def collect_held(view: GarbageView, place: ObjectRef) -> list[Action]:
    """Return what an object's place needs as an owner: dependents of what is not there any more are looked at."""
    home = view.clusters[place.cluster]
    synced = (place.cluster, place.group, place.resource) in view.synced
    if not view.held or home.state is not ClusterState.LIVE:
        return []
    if not synced:
        # As in `hint`: what was seen to go does not come back by its type's being unknown.
        went = [held for held in view.held if all(_was_seen_to_go(view, place, uid) for uid in held.owners)]
        return [_collect_held(view, place, held, home, None) for held in next_batch(view, went)]
    present = view.get(place)
    if present is None and view.known(place) is Known.PRESENT:
        return []  # it is there, though its body is not published
    here = {present.uid} if present is not None else set[Uid]()
    # Those that are not findable waited for this owner's cluster or type when they were looked at themselves.
    wanted = [held for held in view.held if not here.issuperset(held.owners) or not held.findable]
    return [_collect_held(view, place, held, home, present) for held in next_batch(view, wanted)]


def let_go(view: GarbageView, owner: KubeObject) -> list[Action]:
    """Return what an owner that is being deleted needs before the collector's finalizer goes."""
    finalizer = next((one for one in (CASCADE_FINALIZER, ADMIRALTY_FINALIZER) if one in owner.finalizers), "")
    if not finalizer or not owner.deleting:
        return []
    noted = notes_of(owner).get(PROPAGATION_ANNOTATION, "")
    if noted not in set(Propagation):
        return [_note(owner, seen_propagation(view.past, owner.uid))]
    home = view.clusters[owner.cluster]
    mine = [held for held in view.held if owner.uid in held.owners]
    # multicluster-controller's finalizer always meant: children first.
    blocks = [held for held in mine if held.blocking or finalizer == ADMIRALTY_FINALIZER]
    orphan = noted == Propagation.ORPHAN
    if orphan and not _is_entombed(view, owner):
        return [tombstone(owner.ref, owner.uid, owner.api_version, owner.kind)]
    if noted == Propagation.BACKGROUND and finalizer == CASCADE_FINALIZER:
        return [_release(owner, finalizer)]
    wanted = mine if orphan else [*blocks, *(held for held in mine if held not in blocks)]
    release = _release(
        owner,
        finalizer,
        dependents=view.types,
        blocking_only=not orphan and finalizer == CASCADE_FINALIZER,
        remaining=len(mine if orphan else blocks),
    )
    collected: list[Action] = [_collect_held(view, owner.ref, held, home, owner) for held in next_batch(view, wanted)]
    more = view.more or sum(is_open(view, held) for held in wanted) > len(collected)
    return collected if more else [*collected, release]


def orphan_late(view: GarbageView, place: ObjectRef) -> list[Action]:
    """Return the tombstone of an owner that was deleted with Orphan before the collector could hold it, if that was seen."""
    row = view.rows.get(place)
    if row is None or not row.fact.deleted or not view.held:
        return []
    if seen_propagation(view.past, row.fact.uid) is not Propagation.ORPHAN:
        return []
    made = tombstone(place, row.fact.uid, "", "")
    return [] if _is_made(view, made.ref) else [made]


def seen_propagation(past: Iterable[Fact], uid: Uid) -> Propagation | None:
    """Return how an object's deletion was asked for, from its recorded history; None if nobody saw it begin.

    Kubernetes notes Orphan and Foreground as finalizers, which its own collector takes away at once. Either mark is proof.
    Their absence proves Background only in the very state in which the deletion began, as a watch showed it.
    """
    alive = False
    for fact in past:
        if fact.uid != uid:
            continue
        body = msgspec.json.decode(fact.data)
        metadata: dict[str, Any] = (body or {}).get("metadata") or {}
        finalizers = metadata.get("finalizers") or ()
        if "deletionTimestamp" not in metadata:
            alive = alive or body is not None
            continue
        if ORPHAN_FINALIZER in finalizers:
            return Propagation.ORPHAN
        if FOREGROUND_FINALIZER in finalizers:
            return Propagation.FOREGROUND
        if alive and fact.cause is Cause.OBSERVED:
            return Propagation.BACKGROUND
        alive = False
    return None


def went_at_once(fact: Fact) -> bool:
    """Return whether a watch has shown that an object went without waiting for anything, so not by Orphan or Foreground.

    Those two make it wait with a deletionTimestamp, which is then in the last state that the API server shows of it.
    """
    last = bytes(fact.data)
    return fact.deleted and fact.cause is Cause.OBSERVED and b'"metadata"' in last and _WAITED not in last


def tombstone(owner: ObjectRef, uid: Uid, api_version: str, kind: str) -> Apply:
    """Return the tombstone that orphans whatever ever refers to an owner; cluster-scoped, in the owner's cluster."""
    spec = {
        "uid": uid,
        "disposition": "Orphaned",
        "owner": {"apiVersion": api_version, "kind": kind, "namespace": owner.namespace, "name": owner.name},
    }
    ref = ObjectRef(owner.cluster, OWNER_TOMBSTONES.group, OWNER_TOMBSTONES.plural, "", uid)
    api = OWNER_TOMBSTONES.api_version
    body = {"apiVersion": api, "kind": "OwnerTombstone", "metadata": {"name": uid}, "spec": spec}
    return Apply(ref=ref, api_version=api, kind="OwnerTombstone", body=body)


def is_asked_already(view: GarbageView, action: Action) -> bool:
    """Return whether an action is the key's last one in its place, to the letter, so that it will not be performed again."""
    return any(target.ref == action.ref and target.desired == intent(action) for target in view.targets.values())


def _is_entombed(view: GarbageView, owner: KubeObject) -> bool:
    return _is_made(view, tombstone(owner.ref, owner.uid, "", "").ref)


def _is_made(view: GarbageView, ref: ObjectRef) -> bool:
    target = view.targets.get((ref, "apply"))
    return view.get(ref) is not None or (target is not None and bool(target.desired))


def _note(owner: KubeObject, seen: Propagation | None) -> Patch | RecordEvent:
    if seen is None:
        return RecordEvent(
            ref=owner.ref,
            api_version=owner.api_version,
            kind=owner.kind,
            uid=owner.uid,
            type="Warning",
            reason="PropagationUnknown",
            message=f"nobody saw how its deletion was asked for: set the annotation {PROPAGATION_ANNOTATION} to Background, "
            "Foreground or Orphan",
        )
    patch = {"metadata": {"annotations": {PROPAGATION_ANNOTATION: seen.value}}}
    return Patch(ref=owner.ref, api_version=owner.api_version, kind=owner.kind, uid=owner.uid, patch=patch)


def _release(owner: KubeObject, finalizer: str, **barrier: Any) -> RemoveFinalizer:
    return RemoveFinalizer(
        ref=owner.ref, api_version=owner.api_version, kind=owner.kind, uid=owner.uid, finalizer=finalizer, **barrier
    )


def _collect(
    view: GarbageView,
    ref: ObjectRef,
    api_version: str,
    kind: str,
    uid: Uid,
    references: Iterable[OwnerReference],
) -> Collect:
    observed, restored, hints = [], [], []
    for reference in references:
        home = view.home(reference.cluster_id)
        told = hint(view, reference)
        every = {Hint.UNWATCHED: UNWATCHED_SECONDS, Hint.UNREGISTERED: UNREGISTERED_SECONDS}.get(told)
        hints.append(f"{told}:{int(view.now // every)}" if every else told.value)
        if home is None:
            continue
        place = place_of(reference, home.name)
        if _was_seen_to_go(view, place, reference.uid):
            observed.append(reference.uid)
        if view.since.get((home.identity, place.on(ClusterName(""))), home.epoch) != home.epoch:
            restored.append(reference.uid)
    return Collect(
        ref=ref,
        api_version=api_version,
        kind=kind,
        uid=uid,
        observed=tuple(observed),
        restored=tuple(restored),
        hints=tuple(hints),
    )


def _collect_held(
    view: GarbageView, place: ObjectRef, held: Held, home: Cluster, present: KubeObject | None
) -> Collect:
    if view.home(home.identity) is None:
        told = Hint.CONTESTED
    elif present is None:
        told = Hint.ABSENT
    elif present.uid not in held.owners:
        told = Hint.REPLACED
    else:
        told = _going(present)
    seen = tuple(uid for uid in held.owners if _was_seen_to_go(view, place, uid))
    return Collect(
        ref=held.ref,
        api_version=held.api_version,
        kind=held.kind,
        uid=held.uid,
        observed=seen,
        restored=held.owners if held.epoch != home.epoch else (),
        hints=(told.value,),
        owner=held.owners[0] if len(held.owners) == 1 else Uid(""),
    )


def _was_seen_to_go(view: GarbageView, place: ObjectRef, uid: Uid) -> bool:
    """Return whether a watch of the present epoch has shown the deletion of this very uid."""
    row = view.rows.get(place)
    fact = row.fact if row is not None else None
    gone = fact is not None and fact.deleted and fact.uid == uid and fact.cause is Cause.OBSERVED
    return gone and fact is not None and fact.epoch == view.clusters[place.cluster].epoch
