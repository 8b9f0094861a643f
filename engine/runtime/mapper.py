"""Map facts to requests: primary objects, dependents by owner reference, changes of the cluster set (DESIGN §5).

Maps from STATE, never from FACTS: what woke a key is readable by then. Each reconciler has its own durable consumer, whose
name carries the digest of the reconciler's code: new code reads everything again and so evaluates everything again.
INDEX is written before the request, so that the view finds the dependent that woke it. A fact that a key has foreseen, the
echo of its own write, does not wake it (`engine.core.foresight`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import msgspec

from engine.core.authoring import Reconciler
from engine.core.foresight import is_foreseen
from engine.core.ownership import owner_references
from engine.runtime.owner_index import OwnerIndex, Owners
from engine.runtime.ports import Delivery, EventLog, Message, Record
from schemas import subjects
from schemas.actions import Json
from schemas.clusters import CLUSTERS, ClusterRecord, cluster_ref
from schemas.decisions import EntryState, decode_foresight
from schemas.facts import decode_fact, decode_sync
from schemas.names import ClusterId, ClusterName, ObjectRef, Resource

LOOKS, LOOK_SECONDS = 2, 0.01
"""At an open key that may be about to foresee a fact: most close within 20 ms."""
AGAIN_SECONDS, PATIENCE = 0.1, 12
"""Then the fact is asked for again, so often: behind a busy API server a key is open for a second, and each echo of its own
writes that is not waited for makes it look once more."""
MAPPERS_IN_FLIGHT = 256
"""Handlers at once: each waits for a round trip or two, so this many keep the broker busy."""


class _Object(msgspec.Struct):
    """As much of an object as says who owns it; the rest is skipped over."""

    metadata: Json = {}


_object = msgspec.json.Decoder(_Object)


class StillOpen(Exception):
    """Raised when a fact is to be mapped again later: whom it wakes may be about to foresee it."""


class Mapper:
    """Maps what one reconciler should hear of."""

    def __init__(self, log: EventLog, reconciler: Reconciler, clusters: Collection[ClusterName]) -> None:
        """Map for `reconciler`, whose objects live in `clusters`, which may change."""
        self._event_log = log
        self._reconciler = reconciler
        self._clusters = clusters
        self._index = OwnerIndex(log, reconciler.name)
        self._names: dict[ClusterId, ClusterName] = {}

    @property
    def durable(self) -> str:
        """Name of its consumer."""
        return f"map-{self._reconciler.name}-{self._reconciler.code}"

    async def run(self, ack_wait: float) -> None:
        """Map until cancelled."""
        types = self._reconciler.types
        filters = [subjects.facts_of("*", kind.group, kind.plural) for kind in (*types, CLUSTERS)]
        filters += [subjects.sync("*", kind.group, kind.plural) for kind in types]
        await self._event_log.consume(
            "STATE", self.durable, filters, self.handle, concurrency=MAPPERS_IN_FLIGHT, ack_wait=ack_wait
        )

    async def handle(self, delivery: Delivery) -> None:
        """Map one record of STATE and acknowledge it."""
        record = delivery.record
        if record.subject.startswith(f"{subjects.SYNC}."):
            if decode_sync(record.body).ends_gap:
                _, group, plural = subjects.parse_sync(record.subject)
                concerned = self._concerned_by(group, plural)
                await self._scan_and_request(
                    [subjects.facts_of("*", one.group, one.plural) for one in concerned], record
                )
        else:
            try:
                await self._fact(record, subjects.parse_fact(record.subject), patient=delivery.delivered <= PATIENCE)
            except StillOpen:
                await delivery.nak(AGAIN_SECONDS)
                return
        await delivery.ack()

    async def engaged(self, cluster: ClusterName) -> None:  # noqa: ARG002 - what concerns it can be anywhere
        """Look at everything again: facts of a cluster may have come by before it was one of ours."""
        self._names.clear()
        await self.request_all()

    async def request_all(self, cause: Record | None = None) -> None:
        """Request every object that the reconciler watches."""
        watched = self._reconciler.watches
        await self._scan_and_request([subjects.facts_of("*", kind.group, kind.plural) for kind in watched], cause)

    async def _scan_and_request(self, filters: list[str], cause: Record | None) -> None:
        """Request every object that has a fact among these; there may be any number."""
        found = self._event_log.scan("STATE", filters, headers_only=True)
        refs = [subjects.parse_fact(record.subject) async for record in found]
        await self._request([ref for ref in refs if ref.cluster in self._clusters], cause)

    async def _fact(self, record: Record, ref: ObjectRef, *, patient: bool = False) -> None:
        """Map the fact of an object; `patient`: not while whom it wakes is open."""
        if (ref.group, ref.resource) == (CLUSTERS.group, CLUSTERS.plural):
            self._names.clear()
            await self.request_all(record)
            return
        own = [ref] if self._is_watched(ref.group, ref.resource) else []
        if not self._is_owned(ref):
            keys = await self._unforeseen(record, own, patient=patient)
            await self._wake_readers(record, ref)
            await self._request(keys, record)
            return
        await self._wake_readers(record, ref)
        owners = await self._owners(record)
        # Also where the fact is mapped again later: a tombstone may take its place until then, and must find the owner.
        indexed = await self._index.update(ref, owners)
        keys = [*owners.values(), *indexed.former.values(), *own]
        try:
            keys = await self._unforeseen(record, keys, patient=patient and not indexed.former)
        except StillOpen:
            if indexed.changed:
                await self._catch_up(record)
            raise
        await self._request(keys, record)
        if indexed.former:
            await self._index.forget(ref, owners, indexed)
        if indexed.changed:
            await self._catch_up(record)

    async def _wake_readers(self, record: Record, ref: ObjectRef) -> None:
        """Request the objects for which this one is read and that are there: nothing is decided for one that is gone."""
        watched = self._reconciler.watches
        filters = [
            found
            for one in self._reconciler.reads
            if (one.resource.group, one.resource.plural) == (ref.group, ref.resource)
            for found in one.wakes(ref, watched)
        ]
        if filters:
            found = await self._event_log.last("STATE", filters)  # mostly few, and many such reads go together
            there = [subjects.parse_fact(place) for place, row in found.items() if not decode_fact(row.body).deleted]
            await self._request(there, record)

    async def _catch_up(self, record: Record) -> None:
        """Map the latest fact of an object if another has come since this one: an entry may have been written out of turn."""
        latest = (await self._event_log.last("STATE", [record.subject])).get(record.subject)
        if latest is not None and latest.seq > record.seq:
            await self._fact(latest, subjects.parse_fact(latest.subject))

    def _concerned_by(self, group: str, plural: str) -> Sequence[Resource]:
        """Return the watched types whose objects a change of a type's standing concerns."""
        return self._reconciler.concerned_by(group, plural)

    def _is_owned(self, ref: ObjectRef) -> bool:
        return any((ref.group, ref.resource) == (kind.group, kind.plural) for kind in self._reconciler.owns)

    async def _owners(self, record: Record) -> Owners:
        """Return the owners that a dependent names, of the type and in the clusters that requests may come from."""
        fact = decode_fact(record.body)
        references = () if fact.deleted else owner_references(_object.decode(fact.data).metadata)
        found = {}
        for owner in references:
            name = await self._cluster_named(owner.cluster_id)
            if name is not None and self._is_watched(owner.group, owner.resource):
                parent = ObjectRef(name, owner.group, owner.resource, owner.namespace, owner.name)
                found[owner.cluster_id, owner.uid] = parent
        return found

    async def _unforeseen(self, record: Record, keys: list[ObjectRef], *, patient: bool = False) -> list[ObjectRef]:
        """Return the keys, of declared clusters, that have not decided with this very fact in view.

        While a key is open its worker may be about to say so. Nobody else can act on it until then, so a few milliseconds
        are lost to no one.

        Raises:
            StillOpen: when all that are left are open, if `patient`.

        """
        name = self._reconciler.name
        waiting = {subjects.keyed(subjects.DECISIONS, name, key): key for key in keys if key.cluster in self._clusters}
        for look in range(LOOKS):
            if look:
                await asyncio.sleep(LOOK_SECONDS)
            found = await self._event_log.last("DECISIONS", list(waiting))
            entries = {place: decode_foresight(entry.body) for place, entry in found.items()}
            for place, entry in entries.items():
                if is_foreseen(entry, record.id, self._reconciler.code):
                    del waiting[place]
            is_open = [place in entries and entries[place].state is EntryState.OPEN for place in waiting]
            if not any(is_open):
                break
        if patient and waiting and all(is_open):
            raise StillOpen
        return list(waiting.values())

    def _is_watched(self, group: str, resource: str) -> bool:
        return any((group, resource) == (kind.group, kind.plural) for kind in self._reconciler.watches)

    async def _cluster_named(self, identity: ClusterId) -> ClusterName | None:
        if identity not in self._names:
            wanted = [subjects.fact(cluster_ref(name)) for name in self._clusters]
            for record in (await self._event_log.last("STATE", wanted)).values():
                described = msgspec.json.decode(decode_fact(record.body).data, type=ClusterRecord)
                self._names[described.status.identity] = described.metadata.name
        return self._names.get(identity)

    async def _request(self, refs: list[ObjectRef], cause: Record | None) -> None:
        body = f"{cause.subject}@{cause.origin}".encode() if cause else b""
        messages = [
            Message(subject=subjects.keyed(subjects.REQUESTS, self._reconciler.name, ref), body=body)
            for ref in dict.fromkeys(refs)
        ]
        await self._event_log.publish_many("REQUESTS", messages)
