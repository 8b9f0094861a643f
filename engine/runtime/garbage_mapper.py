"""Maps facts of any type to the collector's keys, and keeps its index of who refers to what (docs/garbage-collection.md).

A dependent wakes itself; an owner wakes when it is replaced, is being deleted or is gone, and when a dependent leaves it.
A type that has been read and a cluster that is live again wake the owners there whose dependents may have waited for that.
multicluster-controller's references name clusters as configured: those of one that has not answered yet are indexed by that
name, and again by its identity as soon as it says who it is.
INDEX is written before the request, so that the view finds the dependent that woke it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import msgspec

from engine.core.authoring import Reconciler
from engine.core.cascade import OURS, UNREGISTRATIONS, Held, is_labelled, place_of
from engine.core.drift import digest
from engine.core.history import seconds
from engine.core.ownership import ADMIRALTY_ENGINE, HOLDING_FINALIZERS, OwnerReference, all_references
from engine.runtime.brakes import suspect
from engine.runtime.dependents_index import DependentsIndex
from engine.runtime.fleet_directory import FleetDirectory
from engine.runtime.mapper import MAPPERS_IN_FLIGHT
from engine.runtime.ports import Clock, Delivery, EventLog, Message, Record
from engine.runtime.shared_reads import SharedReads
from engine.runtime.wakes import Wakes
from schemas import subjects
from schemas.actions import Json
from schemas.clusters import CLUSTERS, ClusterRecord, ClusterState
from schemas.facts import Cause, Fact, decode_fact, decode_sync
from schemas.names import ClusterId, ClusterName, ObjectRef, Resource, Uid

KINDS_LEARNT = 10_000
GONE_SECONDS = 1.0
"""For so long an owner that is gone is known to be: a thousand dependents that go after it ask for it once."""


class _Object(msgspec.Struct):
    """As much of an object as says who owns it; the rest is skipped over."""

    apiVersion: str = ""  # noqa: N815 - Kubernetes' spelling
    kind: str = ""
    metadata: Json = {}


_object = msgspec.json.Decoder(_Object | None)
_held = msgspec.json.Decoder(Held)


class GarbageMapper:
    """Maps for the collector."""

    def __init__(
        self,
        log: EventLog,
        reconciler: Reconciler,
        clusters: Collection[ClusterName],
        directory: FleetDirectory,
        clock: Clock,
        window_seconds: float,
        watched: Iterable[Resource] | None = None,
    ) -> None:
        """Map for a reconciler.

        Args:
            log: the streams.
            reconciler: whose requests are made.
            clusters: where its objects live; they may change.
            directory: which of them has which identity.
            clock: time.
            window_seconds: for how long the breaker counts owners that a list has lacked.
            watched: the watched types, so that nothing else is handed out; None: all.

        """
        self._clock, self._window = clock, window_seconds
        self._filters = _filters(watched)
        self._event_log, self._reconciler, self._clusters = log, reconciler, clusters
        self._directory = directory
        self._index = DependentsIndex(log)
        self._wakes = Wakes(log)
        self._gone: SharedReads[ObjectRef, bool] = SharedReads(clock, GONE_SECONDS, keeps=bool)
        self._plurals: dict[tuple[str, str], str] = {}
        """Plural of each kind, learnt from the facts that pass by."""

    @property
    def durable(self) -> str:
        """Name of its consumer: where other types are watched it is another, which reads everything again."""
        return f"map-{self._reconciler.name}-{self._reconciler.code}-{digest(self._filters)[:8]}"

    async def run(self, ack_wait: float) -> None:
        """Map until cancelled."""
        await self._event_log.consume(
            "STATE", self.durable, self._filters, self.handle, concurrency=MAPPERS_IN_FLIGHT, ack_wait=ack_wait
        )

    async def handle(self, delivery: Delivery) -> None:
        """Map one record of STATE and acknowledge it."""
        record = delivery.record
        if record.subject.startswith(f"{subjects.SYNC}."):
            sync = decode_sync(record.body)
            if sync.ends_gap:
                cluster, group, resource = subjects.parse_sync(record.subject)
                await self._request_owners(cluster, subjects.dependents_in(sync.identity, group, resource), record)
        else:
            await self._fact(record, subjects.parse_fact(record.subject))
        await delivery.ack()

    async def engaged(self, cluster: ClusterName) -> None:
        """Place dependents that named the cluster, and look at all: facts may have come by before it was one of ours."""
        await self._place(cluster)
        await self.request_all()

    async def request_all(self, cause: Record | None = None) -> None:
        """Request every owner and every dependent."""
        named = await self._directory.named()
        refs = []
        async for entry in self._event_log.scan("INDEX", [f"{subjects.DEPENDENTS}.>"], headers_only=True):
            identity, owner, dependent = subjects.parse_dependent(entry.subject)
            refs.append(dependent)
            if identity in named:
                refs.append(owner.on(named[identity]))
        await self._request(refs, cause)

    async def _fact(self, record: Record, ref: ObjectRef) -> None:
        fact = decode_fact(record.body)
        if (ref.group, ref.resource) == (CLUSTERS.group, CLUSTERS.plural):
            status = msgspec.json.decode(fact.data, type=ClusterRecord).status
            if status.state is ClusterState.LIVE and status.identity:
                await self._place(ref.cluster)
                await self._request_owners(ref.cluster, subjects.dependents_in(status.identity), record)
                await self._request_owners_of(ref.cluster, record)
            return
        if ref.group == OURS:
            if ref.resource == UNREGISTRATIONS.plural and not fact.deleted:
                await self._request_dependents(ref.cluster, fact, record)
            return
        await self._object(record, ref, fact)

    async def _object(self, record: Record, ref: ObjectRef, fact: Fact) -> None:
        """Map a fact of an object that is no record of the engine's."""
        seen = _object.decode(fact.data) or _Object()
        if seen.kind and len(self._plurals) < KINDS_LEARNT:
            self._plurals[ref.group, seen.kind] = ref.resource
        entries, references = await self._wanted(ref, fact, seen)
        # What it referred to when it was last seen is most likely what is indexed.
        wanted, former = ({}, tuple(entries)) if fact.deleted else (entries, ())
        going = _is_held_and_going(fact, seen)
        around = "" if going else subjects.dependents_of(fact.identity, ref)
        changed = await self._index.update(ref, wanted, former=former, around=around)
        named = await self._directory.named()
        owners = []
        for subject in (*changed.former, *changed.rewritten):
            identity, owner, _ = subjects.parse_dependent(subject)
            if identity in named:
                owners.append(owner.on(named[identity]))
        if fact.deleted:
            owners = [owner for owner in owners if not await self._is_gone(owner)]
        latest = await self._event_log.last("STATE", [record.subject]) if changed.changed else {}
        wake = [ref, *owners] if references and not fact.deleted else owners
        if going or _is_missed(fact, changed.around):
            await self._suspect(ref, fact)
            wake.append(ref)
        await self._request(wake, record)
        if changed.former:
            await self._index.forget(ref, wanted, changed)
        # An entry may have been written out of turn: whoever wrote looks whether its fact is still the latest.
        if (newer := latest.get(record.subject)) is not None and newer.seq > record.seq:
            await self._fact(newer, subjects.parse_fact(newer.subject))
        if not fact.deleted:
            await self._place_late(record, ref, references)

    async def _suspect(self, ref: ObjectRef, fact: Fact) -> None:
        """Let the breaker count an owner that a list has lacked: dependents are looked at one by one, and some much later."""
        if fact.deleted and fact.cause is Cause.INFERRED:
            since = seconds(fact.time)
            if self._clock.time() - since <= self._window:  # a new mapper goes through facts of days
                await suspect(self._event_log, ref, since, self._window)

    async def _is_gone(self, owner: ObjectRef) -> bool:
        """Return whether an owner was gone a moment ago.

        Then it is not woken by a dependent that goes after it: it waits for nothing, and its key looks for itself what is
        left to do. If another has taken its place since, that waits for nothing of this one's either.
        """

        async def ask() -> bool:
            row = (await self._event_log.last("STATE", [subjects.fact(owner)])).get(subjects.fact(owner))
            return row is not None and decode_fact(row.body).deleted

        return await self._gone.read(owner, ask)

    async def _place(self, cluster: ClusterName) -> None:
        """Index the dependents that named a cluster while nobody knew which one it was."""
        self._directory.forget()
        found = self._event_log.scan("INDEX", [subjects.dependents_in(_unplaced(cluster))], headers_only=True)
        refs = dict.fromkeys([subjects.parse_dependent(entry.subject)[2] async for entry in found])
        if refs:
            latest = await self._event_log.last("STATE", [subjects.fact(ref) for ref in refs])
            for record in latest.values():
                await self._fact(record, subjects.parse_fact(record.subject))

    async def _place_late(self, record: Record, ref: ObjectRef, references: Sequence[OwnerReference]) -> None:
        """Map a fact again if a cluster that it names has become known since: its record may not have found our entry."""
        names = {one.cluster for one in references if not one.cluster_id and one.engine == ADMIRALTY_ENGINE}
        if names:
            self._directory.forget()
            if any(name in names and one.identity for name, one in (await self._directory.clusters()).items()):
                await self._fact(record, ref)

    async def _wanted(
        self, ref: ObjectRef, fact: Fact, seen: _Object
    ) -> tuple[dict[str, Held], Sequence[OwnerReference]]:
        """Return the entries that an object should have, or had when it was last seen, and the owners that it names."""
        if not seen.metadata.get("annotations"):
            return {}, ()
        clusters = await self._directory.clusters()
        references = all_references(seen.metadata, {name: status.identity for name, status in clusters.items()})
        epochs = {status.identity: status.epoch for status in clusters.values()}
        entries = self._entries(ref, fact, seen, references)
        for subject, entry in entries.items():
            identity, _, _ = subjects.parse_dependent(subject)
            entries[subject] = msgspec.structs.replace(entry, epoch=epochs.get(identity, 0))
        return entries, references

    def _entries(
        self, ref: ObjectRef, fact: Fact, seen: _Object, references: Sequence[OwnerReference]
    ) -> dict[str, Held]:
        entries: dict[str, Held] = {}
        for reference in references:
            legacy = reference.engine == ADMIRALTY_ENGINE and reference.cluster
            identity = reference.cluster_id or (_unplaced(ClusterName(reference.cluster)) if legacy else "")
            if not identity or not reference.name or not reference.kind:
                continue
            place = place_of(reference, ClusterName(""))
            if not reference.resource and (reference.group, reference.kind) in self._plurals:
                plural = self._plurals[reference.group, reference.kind]
                place = ObjectRef(place.cluster, place.group, plural, place.namespace, place.name)
            subject = subjects.dependent(ClusterId(identity), place, ref)
            before = entries.get(subject)
            uids = {*before.owners, reference.uid} if before else {reference.uid}
            blocking = reference.block_owner_deletion or (before is not None and before.blocking)
            labels = seen.metadata.get("labels") or {}
            findable = all(is_labelled(labels, uid) for uid in uids)
            entries[subject] = Held(
                fact.uid, seen.apiVersion, seen.kind, tuple(sorted(uids)), blocking, findable=findable
            )
        return entries

    async def _request_dependents(self, cluster: ClusterName, fact: Fact, cause: Record) -> None:
        """Wake the dependents in a cluster whose owners were in one that is not configured any more."""
        spec = (msgspec.json.decode(fact.data) or {}).get("spec") or {}
        identity = spec.get("clusterID")
        if not isinstance(identity, str) or not identity:
            return
        found = self._event_log.scan("INDEX", [subjects.dependents_in(ClusterId(identity))], headers_only=True)
        refs = [subjects.parse_dependent(entry.subject)[2] async for entry in found]
        await self._request([ref for ref in refs if ref.cluster == cluster], cause)

    async def _request_owners(self, cluster: ClusterName, pattern: str, cause: Record) -> None:
        owners: dict[ObjectRef, None] = {}
        async for entry in self._event_log.scan("INDEX", [pattern], headers_only=True):
            _, owner, _ = subjects.parse_dependent(entry.subject)
            owners[owner.on(cluster)] = None
        await self._request(list(owners), cause)

    async def _request_owners_of(self, cluster: ClusterName, cause: Record) -> None:
        """Wake the owners, wherever they are, of dependents in a cluster: what was to be done to those waited for it."""
        named = await self._directory.named()
        owners: dict[ObjectRef, None] = {}
        async for entry in self._event_log.scan("INDEX", [subjects.dependents_at(cluster)], headers_only=True):
            identity, owner, _ = subjects.parse_dependent(entry.subject)
            if identity in named:
                owners[owner.on(named[identity])] = None
        await self._request(list(owners), cause)

    async def _request(self, refs: Sequence[ObjectRef], cause: Record | None) -> None:
        body = f"{cause.subject}@{cause.origin}".encode() if cause else b""
        messages = [
            Message(subject=subjects.keyed(subjects.REQUESTS, self._reconciler.name, ref), body=body)
            for ref in dict.fromkeys(refs)
            if ref.cluster in self._clusters
        ]
        await self._wakes.publish(messages)


def _filters(watched: Iterable[Resource] | None) -> tuple[str, ...]:
    """Return what is mapped of STATE: records of deletes, as many as there are deletes, only where all types are watched."""
    if watched is None:
        return f"{subjects.FACTS}.>", f"{subjects.SYNC}.>"
    facts = {subjects.facts_of("*", one.group, one.plural) for one in (*watched, CLUSTERS, UNREGISTRATIONS)}
    return *sorted(facts), f"{subjects.SYNC}.>"


def _is_held_and_going(fact: Fact, seen: _Object) -> bool:
    """Return whether an object's own key must let it go."""
    held = not HOLDING_FINALIZERS.isdisjoint(seen.metadata.get("finalizers") or ())
    return not fact.deleted and held and "deletionTimestamp" in seen.metadata


def _is_missed(fact: Fact, dependents: Iterable[Record]) -> bool:
    """Return whether some dependent means another object than the one that is there now."""
    live = {fact.uid} if not fact.deleted else set[Uid]()
    return any(not live.issuperset(_held.decode(one.body).owners) for one in dependents)


def _unplaced(cluster: ClusterName) -> ClusterId:
    """Return what stands for the identity of a cluster that multicluster-controller names and nobody knows yet."""
    return ClusterId(f"named-{cluster}")
