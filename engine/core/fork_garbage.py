"""What the collector (`garbage`) would do in a fork: which deletes would follow, and which of them would be held back.

The rules are the collector's own (`engine.core.collection`, `engine.core.brake`); only the evidence is another: a fork is all
that there is, so an owner that is not in it is absent, unless its cluster does not answer or its type is not synced. Taken as
given: that references are granted, and that nobody has approved a brake.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from engine.core.brake import Limits, Suspect, Trip, count_known, scopes_of, trips
from engine.core.cascade import notes_of, place_of, tombstone
from engine.core.collection import Dependent, Fate, Ownership, Standing, Verdict, decide, standing_of
from engine.core.evidence import Absent, Evidence, Present, Tombstone, Unknown
from engine.core.fork import Forecast, Fork, Held, Step
from engine.core.ownership import (
    ADMIRALTY_ENGINE,
    ADMIRALTY_FINALIZER,
    CASCADE_FINALIZER,
    ENGINE,
    PROPAGATION_ANNOTATION,
    OwnerReference,
    all_references,
    without,
)
from engine.core.view import Cluster, KubeObject
from schemas.actions import Action, Delete, Patch, Propagation, RemoveFinalizer, Request
from schemas.clusters import ClusterState
from schemas.names import ObjectRef, Uid


class Collecting:
    """The collector of a fork."""

    def __init__(self, limits: Limits, *, name: str = "garbage", engine: str = ENGINE) -> None:
        """Take when the breaker trips, how requests name the collector, and the id of the engine that owns references."""
        self._limits, self._name, self._engine = limits, name, engine

    def sweep(self, fork: Fork, forecast: Forecast) -> list[ObjectRef]:
        """Do what follows from the owners that have gone since the fork was made; return what was written."""
        written = [ref for ref in dict.fromkeys(fork.going) if self._let_go(fork, forecast, ref)]
        judged = [self._judge(fork, ref) for ref in self._bereft(fork)]
        held = self._tripped(fork, [one for one in judged if one.fate.verdict is Verdict.DELETE])
        for one in judged:
            action = one.action
            if action is None:
                if one.fate.reason == "OwnerUnknown":
                    _hold(forecast, Held(self._request(one.found.ref), _delete(one), one.fate.message))
                continue
            if trip := held.get(one.found.ref):
                _hold(forecast, Held(self._request(one.found.ref), action, trip))
                continue
            fork.perform(action)
            forecast.steps.append(Step(self._request(one.found.ref), action))
            written.append(one.found.ref)
        return written

    def _request(self, ref: ObjectRef) -> Request:
        return Request(self._name, ref)

    def _let_go(self, fork: Fork, forecast: Forecast, ref: ObjectRef) -> bool:
        """Take our finalizer off an owner that is being deleted, once nothing holds it; return whether that was done."""
        owner = fork.get(ref)
        if owner is None or not owner.deleting:
            return False
        waits = _propagation(owner) == Propagation.FOREGROUND and any(True for _ in fork.owned_by(owner.uid))
        mine = next((one for one in (CASCADE_FINALIZER, ADMIRALTY_FINALIZER) if one in owner.finalizers), "")
        if not mine or waits:
            return False
        action = RemoveFinalizer(ref=ref, api_version=owner.api_version, kind=owner.kind, uid=owner.uid, finalizer=mine)
        fork.perform(action)
        forecast.steps.append(Step(self._request(ref), action))
        return True

    def _bereft(self, fork: Fork) -> Iterator[ObjectRef]:
        """Iterate over the dependents of owners that are gone or going."""
        uids = [*fork.gone, *(owner.uid for ref in fork.going if (owner := fork.get(ref)) is not None)]
        yield from dict.fromkeys(ref for uid in dict.fromkeys(uids) for ref in fork.owned_by(uid))

    def _judge(self, fork: Fork, ref: ObjectRef) -> _Judged:
        found = fork.get(ref)
        assert found is not None  # noqa: S101 - it is indexed because it is there
        clusters = fork.standing()
        identities = {one.name: one.identity for one in clusters if one.identity}
        home = next(one for one in clusters if one.name == ref.cluster)
        dependent = Dependent(
            cluster=home.identity,
            namespace=ref.namespace,
            deleting=found.deleting,
            finalizers=found.finalizers,
            native_owners=len(found.metadata.get("ownerReferences") or ()),
            has_dependents=any(True for _ in fork.owned_by(found.uid)),
        )
        ownerships = []
        for reference in all_references(found.metadata, identities):
            if reference.engine not in (self._engine, ADMIRALTY_ENGINE):
                ownerships.append(Ownership(reference, Standing.FOREIGN))
                continue
            evidence = _evidence(fork, clusters, reference)
            message = evidence.message if isinstance(evidence, Unknown) else ""
            ownerships.append(Ownership(reference, standing_of(reference, evidence, dependent), evidence, message))
        return _Judged(found, decide(dependent, ownerships), tuple(ownerships))

    def _tripped(self, fork: Fork, condemned: Iterable[_Judged]) -> dict[ObjectRef, str]:
        """Return why deletes would be held by the breaker, by dependent. All suspects are counted before the first delete."""
        condemned = list(condemned)
        owners = {one.found.ref: list(_suspected(fork, one)) for one in condemned}
        places = dict.fromkeys(ref for refs in owners.values() for ref in refs)
        suspects = [Suspect(ref.cluster, ref.group_resource, fork.now) for ref in places]
        known = count_known((ref.cluster, ref.group_resource) for ref in fork.owners().union(places))
        found: dict[ObjectRef, str] = {}
        for ref in places:
            scopes = scopes_of(ref.cluster, ref.group_resource)
            over = trips(suspects, known, self._limits, now=fork.now, scopes=scopes)
            if over:
                found[ref] = _told(over[0])
        return {dependent: found[ref] for dependent, refs in owners.items() for ref in refs if ref in found}


class _Judged(msgspec.Struct, frozen=True):
    """A dependent and its fate."""

    found: KubeObject
    fate: Fate
    ownerships: tuple[Ownership, ...]

    @property
    def action(self) -> Action | None:
        """What would be sent."""
        match self.fate.verdict:
            case Verdict.DELETE:
                return _delete(self)
            case Verdict.PART:
                patch: dict[str, Any] = {
                    "metadata": without(self.found.metadata, self.fate.parted, unblock=self.fate.unblocked)
                }
                return Patch(
                    ref=self.found.ref,
                    api_version=self.found.api_version,
                    kind=self.found.kind,
                    uid=self.found.uid,
                    patch=patch,
                )
            case _:
                return None


def _delete(judged: _Judged) -> Delete:
    found = judged.found
    return Delete(
        ref=found.ref,
        api_version=found.api_version,
        kind=found.kind,
        uid=found.uid,
        propagation=judged.fate.propagation,
    )


def _evidence(fork: Fork, clusters: Iterable[Cluster], reference: OwnerReference) -> Evidence:
    """Return what a fork says of an owner."""
    homes = [one for one in clusters if one.identity and one.identity == reference.cluster_id]
    if len(homes) != 1:
        return Unknown("OwnerClusterUnknown", "its cluster is not one of the configured ones")
    home = homes[0]
    if home.state is not ClusterState.LIVE:
        return Unknown("Unreachable", f"{home.name} does not answer")
    place = place_of(reference, home.name)
    if not fork.is_synced(place):
        return Unknown("NotSynced", f"{place.resource} of {home.name} are not synced")
    owner = fork.get(place)
    if owner is not None and owner.uid == reference.uid:
        return Present(owner.uid, owner.version, owner.deleting, _propagation(owner) if owner.deleting else "")
    made = fork.get(tombstone(place, reference.uid, "", "").ref)
    spec = made.spec if made is not None else {}
    orphaned, abandoned = spec.get("disposition") == "Orphaned", frozenset(spec.get("abandoned") or ())
    return Absent(reference, (), Tombstone(orphaned=orphaned, abandoned=abandoned))


def _propagation(owner: KubeObject) -> str:
    noted = notes_of(owner).get(PROPAGATION_ANNOTATION, "")
    if ADMIRALTY_FINALIZER in owner.finalizers:
        return noted if noted in (Propagation.FOREGROUND, Propagation.ORPHAN) else Propagation.FOREGROUND.value
    return noted if noted in set(Propagation) else ""


def _suspected(fork: Fork, judged: _Judged) -> Iterator[ObjectRef]:
    """Iterate over the owners of a condemned dependent whose absence is only inferred."""
    for one in judged.ownerships:
        place = fork.gone.get(Uid(one.reference.uid))
        if one.standing is Standing.DANGLING and place is not None and one.reference.uid in fork.unseen:
            yield place


def _told(trip: Trip) -> str:
    return f"the breaker trips for {trip.scope}: {trip.counted} owners missing that nobody saw go, the limit is {trip.limit}"


def _hold(forecast: Forecast, held: Held) -> None:
    if held not in forecast.held:
        forecast.held.append(held)
