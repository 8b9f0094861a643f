"""Load the view of a request: the fence first, then the inputs (DESIGN §5). Direct reads, no cache of the fleet."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from engine.core.assembly import add_rows, cluster_of, mentioned_types, synced_types
from engine.core.cascade import seen_propagation
from engine.core.ownership import DEPENDENTS_FINALIZER, PROPAGATION_ANNOTATION
from engine.core.related import Related
from engine.core.view import Cluster, KubeObject, View
from engine.runtime.history import Histories
from engine.runtime.ports import Clock, EventLog, Record
from schemas import subjects
from schemas.actions import Outcome, Propagation, Request
from schemas.clusters import cluster_ref
from schemas.decisions import Entry, decode_entry
from schemas.names import ClusterName, ObjectRef, Resource


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
    origins: dict[str, int] = {}
    """FACTS sequence of every row read, by subject."""
    shown: int = 0
    """How many of the rows were in view when the reconciler was last asked; what its answer needed besides came then."""
    foreseen: tuple[str, ...] = ()
    """Ids of the facts that our writes were put into the view as."""


class ViewLoader:
    """Loads views for one set of clusters."""

    def __init__(self, log: EventLog, clock: Clock, clusters: Collection[ClusterName]) -> None:
        """Read through `log`; only `clusters` take part, whichever they are at the time."""
        self._log = log
        self._histories = Histories(log)
        self._clock = clock
        self._clusters = clusters
        self._records: dict[ClusterName, str] = {}
        """Subjects of the clusters' records."""
        self._polled: tuple[bytes, Entry | None] = (b"", None)
        """The last entry decoded: whoever waits for a key reads the same one, which may be long, again and again."""
        self._fleets: dict[tuple[Resource, ...], _Fleet] = {}

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

    async def load(
        self, request: Request, types: Sequence[Resource], fence: Fence, reads: Sequence[Related] = ()
    ) -> Loaded:
        """Return what is known for a request.

        Args:
            request: whose view.
            types: of the reconciler, as far as they concern this object.
            fence: its key's, read before.
            reads: what the reconciler reads besides.

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
        patterns = [pattern for one in reads if (pattern := one.pattern(request.object))]
        for one in reads:
            places.update(one.places(request.object, fleet.records))
        found = await self._read(loaded, [*fleet.wanted, *map(subjects.fact, places)], patterns)
        if patterns:
            places.update(_matched(found, patterns))
        standing = fleet.standing(found)
        loaded.view = View(
            now=self._clock.time(),
            clusters=standing.clusters,
            rows={},
            synced=standing.synced,
            mentioned=standing.mentioned,
            targets=targets,
            reconciler=request.reconciler,
        )
        add_rows(loaded.view, found, places)
        await self._add_dependents(loaded, request)
        loaded.view.propagation = await self._propagation(loaded.view.get(request.object))
        return loaded

    async def add(self, loaded: Loaded, places: Iterable[ObjectRef]) -> bool:
        """Read further objects into a loaded view, e.g. those that a decision writes; return whether there are any."""
        missing = [ref for ref in dict.fromkeys(places) if subjects.fact(ref) not in loaded.inputs]
        if not missing:
            return False
        found = await self._read(loaded, list(map(subjects.fact, missing)))
        add_rows(loaded.view, found, missing)
        return bool(found)

    def again(self, loaded: Loaded, place: ObjectRef, outcomes: Sequence[Outcome]) -> float:  # noqa: ARG002 - see garbage
        """Return the wall time at which a key is to be looked at again after its actions: never, if nothing wakes it."""
        return math.inf

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
        dependents = (
            subjects.parse_owner(record.subject)[2]
            for record in index.values()
            if record.body and subjects.fact_of_owned(record.subject) not in loaded.inputs
        )
        await self.add(loaded, [ref for ref in dependents if ref.cluster in loaded.view.clusters])

    async def _read(self, loaded: Loaded, wanted: Sequence[str], patterns: Sequence[str] = ()) -> dict[str, Record]:
        found = await self._log.last("STATE", [*wanted, *patterns])
        missing = dict.fromkeys(wanted, 0)  # in the order in which they were asked for
        loaded.inputs |= missing
        loaded.origins |= missing
        for subject, record in found.items():
            loaded.inputs[subject] = record.seq
            loaded.origins[subject] = record.origin
        return found

    def _fleet(self, types: Sequence[Resource]) -> _Fleet:
        if self._records.keys() != set(self._clusters):
            self._records, self._fleets = {name: subjects.fact(cluster_ref(name)) for name in self._clusters}, {}
        known = self._fleets.get(tuple(types))
        if known is None:
            known = self._fleets[tuple(types)] = _Fleet(self._records, types)
        return known


class _Standing(NamedTuple):
    """What the records of clusters and types say."""

    clusters: tuple[Cluster, ...]
    synced: frozenset[tuple[ClusterName, str, str]]
    mentioned: frozenset[tuple[ClusterName, str, str]]


class _Fleet:
    """The records of all clusters and of some types in them: read for every request, and seldom others than before."""

    def __init__(self, records: Mapping[ClusterName, str], types: Iterable[Resource]) -> None:
        """Take the clusters' subjects, and the types."""
        self.records = records
        """Subjects of the clusters' records, by name."""
        syncs = [subjects.sync(name, kind.group, kind.plural) for name in records for kind in types]
        self.wanted = (*records.values(), *syncs)
        """Subjects to read."""
        self._read: list[Record | None] = []
        self._last = _Standing((), frozenset(), frozenset())

    def standing(self, found: Mapping[str, Record]) -> _Standing:
        """Return what was found says; worked out again only where it differs from the last time."""
        read = [found.get(subject) for subject in self.wanted]
        if read != self._read:
            clusters = tuple(cluster_of(name, found.get(subject)) for name, subject in self.records.items())
            synced, mentioned = synced_types(found, self.wanted, clusters), mentioned_types(found, self.wanted)
            self._read, self._last = read, _Standing(clusters, synced, mentioned)
        return self._last


def _matched(found: Iterable[str], patterns: Sequence[str]) -> list[ObjectRef]:
    """Return the objects that were found by a pattern."""
    return [
        subjects.parse_fact(subject)
        for subject in found
        if any(subjects.matches(pattern, subject) for pattern in patterns)
    ]
