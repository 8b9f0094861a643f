"""Loads what the collector looks at: one object, its owners, and its dependents by INDEX; history where it is being deleted.

Unlike other reconcilers', its inputs are not recorded for the fence beyond the object itself: whatever it does is decided
again on live evidence, with preconditions, so that old rows can mislead it to a question and never to a write.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec

from engine.core.assembly import cluster_of
from engine.core.cascade import (
    LATELY_SECONDS,
    MOST_AT_ONCE,
    OURS,
    GarbageView,
    Held,
    batch_after,
    deleted_by,
    is_open,
    place_of,
    tombstone,
)
from engine.core.ownership import all_references
from engine.core.related import Related
from engine.core.view import Cluster, KubeObject, Row
from engine.runtime.dependents_index import DependentsIndex
from engine.runtime.ports import Clock, EventLog, Record
from engine.runtime.view_loader import Fence, Loaded, ViewLoader
from schemas import subjects
from schemas.actions import Outcome, Request
from schemas.clusters import cluster_ref
from schemas.decisions import Entry
from schemas.facts import decode_fact, decode_sync
from schemas.names import ClusterId, ClusterName, ObjectRef, Resource, Uid

HELD_READ = 2
"""Dependents read for each that is looked at, where the owner is there: most of them are settled, and satisfied."""
LEFT_KEPT = 64
"""Owners whose remaining dependents are kept between two decisions; each may have ten thousands, of some 500 bytes."""
LAST_LOOK_SECONDS = LATELY_SECONDS + 1.0
"""After the last dependent has been deleted."""

_held = msgspec.json.Decoder(Held)


class _Deleted(NamedTuple):
    """When a dependent was deleted, in wall time, and in which epoch of its cluster: a restored etcd may bring it back."""

    at: float
    epoch: int


class GarbageLoader(ViewLoader):
    """Loads views for the collector."""

    def __init__(
        self,
        log: EventLog,
        clock: Clock,
        clusters: Collection[ClusterName],
        *,
        watched: Sequence[Resource] | None,
        engine: str,
    ) -> None:
        """Read through `log`.

        Args:
            log: the streams.
            clock: time.
            clusters: the registry's, looked at anew each time.
            watched: the watched types; None: all.
            engine: id of this engine.

        """
        super().__init__(log, clock, clusters)
        self._event_log, self._now, self._names = log, clock, clusters
        self._engine, self._index = engine, DependentsIndex(log)
        self._declared = watched
        self._left: dict[ObjectRef, tuple[float, tuple[Held, ...]]] = {}
        """Dependents that are still to be looked at, by owner, and since when."""
        self._deleted: dict[Uid, _Deleted] = {}
        """What was deleted lately, the oldest first."""
        self._watched = None if watched is None else frozenset((one.group, one.plural) for one in watched)

    async def load(
        self,
        request: Request,
        types: Sequence[Resource],  # noqa: ARG002 - it reads all types
        fence: Fence,
        reads: Sequence[Related] = (),  # noqa: ARG002
    ) -> Loaded:
        """Return what is known for a request."""
        entry = fence.entry
        incarnation = await self._event_log.incarnation("STATE")
        mine, names = subjects.fact(request.object), tuple(self._names)
        read = await self._event_log.last(
            "STATE", [mine, *(subjects.fact(cluster_ref(name)) for name in names), f"{subjects.SYNC}.>"]
        )
        clusters = [cluster_of(name, read.get(subjects.fact(cluster_ref(name)))) for name in names]
        synced, seen = _synced(read.values(), clusters)
        targets = entry.targets if entry else ()
        view = GarbageView(
            now=self._now.time(),
            clusters=clusters,
            rows={},
            synced=synced,
            targets=targets,
            reconciler=request.reconciler,
        )
        view.engine, view.watched = self._engine, self._watched
        view.types = self._types(seen)
        loaded = Loaded(
            subject=fence.subject,
            entry=entry,
            entry_seq=fence.entry_seq,
            view=view,
            inputs={mine: read[mine].seq if mine in read else 0},
            origins={mine: read[mine].origin if mine in read else 0},
            incarnation=incarnation,
        )
        if mine in read:
            view.rows[request.object] = Row(read[mine].seq, decode_fact(read[mine].body))
        await self._add_related(view, request.object, entry)
        return loaded

    async def add(self, loaded: Loaded, places: Iterable[ObjectRef]) -> bool:
        """Read further objects into a loaded view; return whether there are any."""
        before = len(loaded.view.rows)
        await self._rows(loaded.view.rows, places)
        return len(loaded.view.rows) > before

    async def _add_related(self, view: GarbageView, ref: ObjectRef, entry: Entry | None) -> None:
        home = view.clusters.get(ref.cluster)
        if home is None or not home.identity:
            return
        outcomes = entry.outcomes if entry else ()
        view.at_once = batch_after(outcomes)
        found, row = view.get(ref), view.rows.get(ref)
        going = found is not None and found.deleting
        gone = row is not None and row.fact.deleted
        if entry is not None and view.now - entry.now < LATELY_SECONDS:
            view.asked = deleted_by(outcomes)
        view.held = self._left_over(ref)
        if not view.held:
            most = HELD_READ * (MOST_AT_ONCE if going or gone else view.at_once)
            view.held = await self._dependents(view, home.identity, ref, most)
        wanted = [target.ref for target in view.targets.values()]
        if found is not None:
            wanted += self._owners(view, found)
            view.since = await self._index.since(found.ref)
        if row is not None and (going or (gone and view.held)):
            view.past = await self._histories.read(ref)
            wanted.append(tombstone(ref, row.fact.uid, "", "").ref if row.fact.uid else ref)
        await self._rows(view.rows, wanted)

    def _owners(self, view: GarbageView, found: KubeObject) -> list[ObjectRef]:
        places = []
        for reference in all_references(found.metadata, view.identities):
            home = view.home(reference.cluster_id)
            if home is not None and reference.name:
                places.append(place_of(reference, home.name))
        return places

    def again(self, loaded: Loaded, place: ObjectRef, outcomes: Sequence[Outcome]) -> float:
        """Return the wall time at which a key is to be looked at again: at once if there are more dependents.

        When what was deleted is known to be gone, a last look ends the memory of the key.
        """
        view = loaded.view
        assert isinstance(view, GarbageView)  # noqa: S101 - this loader makes no other
        touched = {one.ref for one in outcomes if one.action == "Collect" and one.ok}
        self._remember(view, deleted_by(outcomes))
        left = tuple(held for held in view.held if held.ref not in touched)
        if touched and any(is_open(view, held) for held in left):
            if len(self._left) < LEFT_KEPT:
                self._left[place] = view.now, left
            return view.now
        return self._now.time() + LAST_LOOK_SECONDS if deleted_by(outcomes) else math.inf

    def _remember(self, view: GarbageView, deleted: Collection[Uid]) -> None:
        now = self._now.time()
        while self._deleted and (uid := next(iter(self._deleted))) and now - self._deleted[uid].at > LATELY_SECONDS:
            del self._deleted[uid]
        for held in view.held:
            if held.uid in deleted:
                self._deleted[held.uid] = _Deleted(now, view.clusters[held.ref.cluster].epoch)

    def _left_over(self, ref: ObjectRef) -> tuple[Held, ...]:
        """Return the dependents that the key's last decision, just now and here, left for the next.

        INDEX would be read again only to find that it does not know yet what has gone; each is looked at live in any case.
        """
        now = self._now.time()
        for place in [place for place, (at, _) in self._left.items() if now - at > LATELY_SECONDS]:
            del self._left[place]
        return self._left.pop(ref, (0.0, ()))[1]

    async def _dependents(self, view: GarbageView, identity: ClusterId, ref: ObjectRef, most: int) -> tuple[Held, ...]:
        """Return dependents, all of them or about so many, and some that something can be done about if there are any."""
        pattern = subjects.dependents_of(identity, ref)
        records = await self._event_log.last("INDEX", [pattern], most=most)
        found = [held for held in map(self._held, records.values()) if held is not None]
        self._add_asked(view, found)
        if len(records) < most or sum(is_open(view, held) for held in found) >= view.at_once:
            return tuple(found)
        # Whatever comes first is waited for: a cluster's worth of dependents that does not answer, say.
        closed, opened = [held for held in found if not is_open(view, held)][: view.at_once], list[Held]()
        async for record in self._event_log.scan("INDEX", [pattern]):
            held = self._held(record)
            if held is not None:
                self._add_asked(view, [held])
                if is_open(view, held):
                    opened.append(held)
            if len(opened) >= most:
                break
        return (*opened, *closed)

    def _held(self, record: Record) -> Held | None:
        """Return what an entry says; None if it is no longer true, or of no concern here."""
        if not record.body:
            return None
        _, _, dependent = subjects.parse_dependent(record.subject)
        if dependent.cluster not in self._names:
            return None
        return msgspec.structs.replace(_held.decode(record.body), ref=dependent)

    def _add_asked(self, view: GarbageView, found: Iterable[Held]) -> None:
        """Let the view know which of them this process has deleted a moment ago: INDEX does not know it yet."""
        if not self._deleted:
            return
        since = view.now - LATELY_SECONDS
        asked = {
            held.uid
            for held in found
            if held.uid in self._deleted
            and (deleted := self._deleted[held.uid]).at > since
            and deleted.epoch == view.clusters[held.ref.cluster].epoch
        }
        view.asked |= asked

    async def _rows(self, rows: dict[ObjectRef, Row], places: Iterable[ObjectRef]) -> None:
        missing = [ref for ref in dict.fromkeys(places) if ref not in rows and _is_place(ref)]
        if not missing:
            return
        read = await self._event_log.last("STATE", [subjects.fact(ref) for ref in missing])
        for ref in missing:
            record = read.get(subjects.fact(ref))
            if record is not None:
                rows[ref] = Row(record.seq, decode_fact(record.body))

    def _types(self, seen: Iterable[tuple[str, str]]) -> tuple[str, ...]:
        """Return every type in which dependents may be; the barrier finds out in which version it is served."""
        declared = {(one.group, one.plural): str(one) for one in self._declared or ()}
        others = {place: str(Resource(place[0], "v1", place[1])) for place in seen}
        return tuple(sorted(text for (group, _), text in (others | declared).items() if group != OURS))


def _is_place(ref: ObjectRef) -> bool:
    return bool(ref.name and ref.resource)


def _synced(
    records: Iterable[Record], clusters: Iterable[Cluster]
) -> tuple[frozenset[tuple[ClusterName, str, str]], set[tuple[str, str]]]:
    """Return the types whose contents are known, by cluster, and every type that anybody watches."""
    standing = {cluster.name: (cluster.identity, cluster.epoch) for cluster in clusters}
    synced, seen = set(), set()
    for stored in records:
        if not stored.subject.startswith(f"{subjects.SYNC}."):
            continue
        record, place = decode_sync(stored.body), subjects.parse_sync(stored.subject)
        seen.add(place[1:])
        if record.synced and standing.get(record.cluster) == (record.identity, record.epoch):
            synced.add(place)
    return frozenset(synced), seen
