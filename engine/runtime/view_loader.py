"""Load the view of a request: the fence first, then the inputs (DESIGN §5). Direct reads, no cache of the fleet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from engine.core.cascade import seen_propagation
from engine.core.ownership import DEPENDENTS_FINALIZER, PROPAGATION_ANNOTATION
from engine.core.view import Cluster, KubeObject, Row, View
from engine.runtime.history import Histories
from engine.runtime.ports import Clock, EventLog, Record
from schemas import subjects
from schemas.actions import Propagation, Request
from schemas.clusters import ClusterRecord, cluster_ref
from schemas.decisions import Entry, decode_entry
from schemas.facts import decode_fact, decode_sync
from schemas.names import ClusterName, ObjectRef, Resource

DECODED = 4096
"""Decoded records of clusters and syncs kept, by their bytes: every load reads the same few. Not a cache of the fleet, which
is read anew each time."""

_record = msgspec.json.Decoder(ClusterRecord)


class Fence(msgspec.Struct, kw_only=True):
    """What is read first of all."""

    subject: str
    """DECISIONS subject of the key."""
    entry: Entry | None
    entry_seq: int


class Loaded(Fence, kw_only=True):
    """Everything that was read for one request."""

    view: View
    inputs: dict[str, int]
    """STATE sequence of every row read, by subject; 0 for a missing row."""
    incarnation: str
    foreseen: tuple[str, ...] = ()
    """Ids of the facts that our writes were put into the view as."""


class ViewLoader:
    """Loads views for one set of declared clusters."""

    def __init__(self, log: EventLog, clock: Clock, clusters: Iterable[ClusterName]) -> None:
        """Read through `log`; only `clusters` take part."""
        self._log = log
        self._histories = Histories(log)
        self._clock = clock
        self._records = {name: subjects.fact(cluster_ref(name)) for name in clusters}
        self._polled: tuple[bytes, Entry | None] = (b"", None)
        """The last entry decoded: whoever waits for a key reads the same one, which may be long, again and again."""
        self._fleets: dict[tuple[Resource, ...], tuple[str, ...]] = {}

    async def fence(self, subject: str) -> Fence:
        """Return the last entry of a key, by its subject in DECISIONS.

        Raises:
            EventLogError: when the broker does not answer.

        """
        record = (await self._log.last("DECISIONS", [subject])).get(subject)
        if record is None:
            return Fence(subject=subject, entry=None, entry_seq=0)
        if self._polled[0] != record.body:
            self._polled = (record.body, decode_entry(record.body))
        return Fence(subject=subject, entry=self._polled[1], entry_seq=record.seq)

    async def load(self, request: Request, types: Sequence[Resource], fence: Fence) -> Loaded:
        """Return what is known for a request.

        Args:
            request: whose view.
            types: the reconciler's types, watched and owned.
            fence: its key's, read before.

        Raises:
            EventLogError: when the broker does not answer.

        """
        incarnation = await self._log.incarnation("STATE")
        loaded = Loaded(
            subject=fence.subject,
            entry=fence.entry,
            entry_seq=fence.entry_seq,
            view=View(now=0.0, clusters=(), rows={}, synced=frozenset()),
            inputs={},
            incarnation=incarnation,
        )
        fleet = self._fleet(types)
        targets = fence.entry.targets if fence.entry else ()
        places = {request.object, *(target.ref for target in targets)}
        found = await self._read(loaded, [*fleet, *map(subjects.fact, places)])
        clusters = self._read_clusters(found)
        loaded.view = View(
            now=self._clock.time(),
            clusters=clusters,
            rows={},
            synced=_synced(found, fleet, clusters),
            targets=targets,
            reconciler=request.reconciler,
        )
        _add_rows(loaded.view, found, places)
        await self._add_dependents(loaded, request)
        loaded.view.propagation = await self._propagation(loaded.view.get(request.object))
        return loaded

    async def add(self, loaded: Loaded, places: Iterable[ObjectRef]) -> None:
        """Read further objects into a loaded view, e.g. those that a decision writes."""
        missing = [ref for ref in dict.fromkeys(places) if subjects.fact(ref) not in loaded.inputs]
        if missing:
            _add_rows(loaded.view, await self._read(loaded, list(map(subjects.fact, missing))), missing)

    async def _propagation(self, found: KubeObject | None) -> Propagation | None:
        """Return how the deletion of an object that waits for its dependents was asked for."""
        if found is None or not found.deleting or DEPENDENTS_FINALIZER not in found.finalizers:
            return None
        noted = (found.metadata.get("annotations") or {}).get(PROPAGATION_ANNOTATION)
        if noted in set(Propagation):
            return Propagation(noted)
        return seen_propagation(await self._histories.read(found.ref), found.uid)

    async def _add_dependents(self, loaded: Loaded, request: Request) -> None:
        row = loaded.view.rows.get(request.object)
        home = loaded.view.clusters.get(request.object.cluster)
        if row is None or home is None or not home.identity:
            return
        index = await self._log.last("INDEX", [subjects.owned_by(home.identity, row.fact.uid)])
        dependents = (subjects.parse_owner(record.subject)[2] for record in index.values() if record.body != b"")
        await self.add(loaded, [ref for ref in dependents if ref.cluster in loaded.view.clusters])

    async def _read(self, loaded: Loaded, wanted: Sequence[str]) -> dict[str, Record]:
        found = await self._log.last("STATE", wanted)
        for subject in wanted:
            loaded.inputs[subject] = found[subject].seq if subject in found else 0
        return found

    def _fleet(self, types: Sequence[Resource]) -> tuple[str, ...]:
        """Return the subjects of the clusters' records and of their types' sync records."""
        known = self._fleets.get(tuple(types))
        if known is None:
            wanted = list(self._records.values())
            for name in self._records:
                wanted.extend(subjects.sync(name, kind.group, kind.plural) for kind in types)
            known = self._fleets[tuple(types)] = tuple(wanted)
        return known

    def _read_clusters(self, found: dict[str, Record]) -> list[Cluster]:
        return [
            _cluster(found[subject]) if subject in found else Cluster(name=name)
            for name, subject in self._records.items()
        ]


@lru_cache(maxsize=DECODED)
def _described(body: bytes) -> ClusterRecord:
    return _record.decode(decode_fact(body).data)


def _cluster(record: Record) -> Cluster:
    described = _described(record.body)
    status = described.status
    return Cluster(
        name=described.metadata.name,
        state=status.state,
        identity=status.identity,
        epoch=status.epoch,
        labels=described.metadata.labels,
        reason=status.reason,
        message=status.message,
        since=status.since,
        seq=record.seq,
    )


_sync_record = lru_cache(maxsize=DECODED)(decode_sync)
_sync_place = lru_cache(maxsize=DECODED)(subjects.parse_sync)


def _synced(
    found: dict[str, Record], fleet: Sequence[str], clusters: Iterable[Cluster]
) -> frozenset[tuple[ClusterName, str, str]]:
    """Return the types whose contents are known: a sync record of another identity or epoch says nothing (DESIGN §2.4)."""
    standing = {cluster.name: (cluster.identity, cluster.epoch) for cluster in clusters}
    synced = set()
    for subject in fleet:
        stored = found.get(subject)
        if stored is None or not subject.startswith(f"{subjects.SYNC}."):
            continue
        record = _sync_record(stored.body)
        if record.synced and standing.get(record.cluster) == (record.identity, record.epoch):
            synced.add(_sync_place(subject))
    return frozenset(synced)


def _add_rows(view: View, found: dict[str, Record], places: Iterable[ObjectRef]) -> None:
    for ref in places:
        record = found.get(subjects.fact(ref))
        if record is not None:
            view.rows[ref] = Row(record.seq, decode_fact(record.body))
