"""Loads what the collector looks at: one object, its owners, and its dependents by INDEX; history where it is being deleted.

Unlike other reconcilers', its inputs are not recorded for the fence beyond the object itself: whatever it does is decided
again on live evidence, with preconditions, so that old rows can mislead it to a question and never to a write.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from engine.core.assembly import cluster_of, synced_types
from engine.core.cascade import (
    LATELY_SECONDS,
    OURS,
    GarbageView,
    batch_after,
    deleted_by,
    place_of,
    tombstone,
    went_at_once,
)
from engine.core.ownership import all_references
from engine.core.related import Related
from engine.core.view import KubeObject, Row
from engine.runtime.dependents_index import DependentsIndex
from engine.runtime.lately import Lately
from engine.runtime.nominees import Nominees
from engine.runtime.ports import Clock, EventLog
from engine.runtime.state_rows import add_missing
from engine.runtime.view_loader import Fence, Loaded, ViewLoader
from schemas import subjects
from schemas.actions import Outcome, Request
from schemas.clusters import cluster_ref
from schemas.decisions import Entry
from schemas.facts import decode_fact
from schemas.names import ClusterName, ObjectRef, Resource

HELD_READ = 2
"""Dependents read for each that is looked at, where the owner is there: most of them are settled."""


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
        lately: Lately,
    ) -> None:
        """Read through `log`.

        Args:
            log: the streams.
            clock: time.
            clusters: the registry's, looked at anew each time.
            watched: the watched types; None: all.
            engine: id of this engine.
            lately: what the collector of this process has deleted.

        """
        super().__init__(log, clock, clusters)
        self._event_log, self._now, self._names = log, clock, clusters
        self._engine, self._index = engine, DependentsIndex(log)
        self._declared = watched
        self._nominees = Nominees(log, clock, clusters, lately)
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
        targets = entry.targets if entry else ()
        # A fleet has thousands of these records, and a key needs those of a few types.
        syncs = _syncs([request.object, *(target.ref for target in targets)])
        read = await self._event_log.last(
            "STATE", [mine, *(subjects.fact(cluster_ref(name)) for name in names), *syncs]
        )
        clusters = [cluster_of(name, read.get(subjects.fact(cluster_ref(name)))) for name in names]
        view = GarbageView(
            now=self._now.time(),
            clusters=clusters,
            rows={},
            synced=synced_types(read, read, clusters),
            targets=targets,
            reconciler=request.reconciler,
        )
        view.engine, view.watched = self._engine, self._watched
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
        await add_missing(self._event_log, loaded.view, places)
        return len(loaded.view.rows) > before

    async def _add_related(self, view: GarbageView, ref: ObjectRef, entry: Entry | None) -> None:
        found, row = view.get(ref), view.rows.get(ref)
        going = found is not None and found.deleting
        owners = self._owners(view, found) if found is not None else []
        # An owner that is going is let go through a barrier over these types, whatever else is known of its cluster.
        records = await self._event_log.last("STATE", [f"{subjects.SYNC}.>"] if going else _syncs(owners))
        view.synced |= synced_types(records, records, view.clusters.values())
        view.types = self._types(records) if going else ()
        home = view.clusters.get(ref.cluster)
        if home is None or not home.identity:
            return
        outcomes = entry.outcomes if entry else ()
        view.at_once = batch_after(outcomes)
        if entry is not None and view.now - entry.now < LATELY_SECONDS:
            view.asked = deleted_by(outcomes)
        if found is None or going:
            await self._nominees.show(view, home.identity, ref)
        else:
            view.held = await self._nominees.some(home.identity, ref, HELD_READ * view.at_once)
        wanted = [*(target.ref for target in view.targets.values()), *owners]
        if found is not None:
            view.since = await self._index.since(found.ref)
        if row is not None and (going or (row.fact.deleted and view.held and not went_at_once(row.fact))):
            view.past = await self._histories.read(ref)
            wanted.append(tombstone(ref, row.fact.uid, "", "").ref if row.fact.uid else ref)
        await add_missing(self._event_log, view, wanted)

    def _owners(self, view: GarbageView, found: KubeObject) -> list[ObjectRef]:
        places = []
        for reference in all_references(found.metadata, view.identities):
            home = view.home(reference.cluster_id)
            if home is not None and reference.name:
                places.append(place_of(reference, home.name))
        return places

    def again(self, loaded: Loaded, place: ObjectRef, outcomes: Sequence[Outcome]) -> float:
        """Return the wall time at which a key is to be looked at again: at once if there are more dependents."""
        view = loaded.view
        assert isinstance(view, GarbageView)  # noqa: S101 - this loader makes no other
        return self._nominees.after(view, place, outcomes)

    def _types(self, records: Iterable[str]) -> tuple[str, ...]:
        """Return every type in which dependents may be; the barrier finds out in which version it is served."""
        declared = {(one.group, one.plural): str(one) for one in self._declared or ()}
        seen = {subjects.parse_sync(subject)[1:] for subject in records}
        others = {place: str(Resource(place[0], "v1", place[1])) for place in seen}
        return tuple(sorted(text for (group, _), text in (others | declared).items() if group != OURS))


def _syncs(places: Iterable[ObjectRef]) -> list[str]:
    """Return the subjects of the sync records of the types that are at some places."""
    named = (subjects.sync(ref.cluster, ref.group, ref.resource) for ref in places if ref.resource)
    return list(dict.fromkeys(named))
