"""Read the chain that led to a fact: up to what began it, then down to everything that came of that."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from crosscurrent.errors import UserError
from crosscurrent.fleet import ClusterView, read_clusters
from engine.core.history import Stored
from engine.core.lineage import (
    Decided,
    Deed,
    Told,
    last_change,
    last_of_substance,
    pair,
    tell,
    woken_by,
    writer_of,
    wrote,
)
from engine.core.ownership import owner_references
from engine.runtime.past import Horizon, read_horizon, read_past
from engine.runtime.ports import EventLog
from schemas import subjects
from schemas.decisions import Entry, decode_entry
from schemas.deletions import Deletion, DeletionSpec, deletion_ref
from schemas.facts import SyncRecord, decode_fact, decode_sync
from schemas.names import ClusterName, ObjectRef

DEPTH = 16
"""Decisions that are followed upwards: chains across reconcilers are two or three long, and a loop must end."""
BREADTH = 20
"""Decisions of one fact that are followed downwards: each is a reconciler, or a round of one."""


class Origin(msgspec.Struct, frozen=True):
    """What began a chain: a fact, a sync record, or neither."""

    told: Told | None = None
    sync: SyncRecord | None = None
    words: str = ""
    """What it was where it was no record, or one that is kept no more."""


class Chain(msgspec.Struct, frozen=True):
    """What led to a fact."""

    asked: Told
    origin: Origin
    decisions: tuple[tuple[Decided, tuple[tuple[Deed, Told | None], ...]], ...] = ()
    """Each decision on the way or right behind it, with its actions and the fact that each of them made."""
    deletion: DeletionSpec | None = None
    """Who deleted it, and on which evidence; None where it was not the collector."""


class Chronicle:
    """Reads facts and decisions of objects, each once."""

    def __init__(self, log: EventLog) -> None:
        self._event_log = log
        self._told: dict[ObjectRef, list[Told]] = {}
        self._decided: dict[str, list[Decided]] = {}
        self._horizon: Horizon | None = None
        self._views: list[ClusterView] | None = None

    async def history(self, ref: ObjectRef) -> list[Told]:
        """Return the facts of an object that are in the record, oldest first."""
        if ref not in self._told:
            subject = subjects.fact(ref)
            if self._horizon is None:
                self._horizon = await read_horizon(self._event_log)
            begin, end = self._horizon.begin, self._horizon.end
            stored = []
            if 0 < begin.seq <= end.seq:  # what it was before the oldest facts that are kept
                base = await read_past(self._event_log, begin, [subject], self._horizon)
                stored = list(base.rows.values())
            after = begin.seq if begin.seq <= end.seq else 0
            async for record in self._event_log.replay("FACTS", [subject], after=after, until=end.seq):
                stored.append(Stored(record.seq, record.time, record.body))
            self._told[ref] = tell(ref, stored)
        return self._told[ref]

    async def decisions(self, told: Told) -> list[Decided]:
        """Return the decisions that may have written an object, or been woken by it: its own keys', and its owners'."""
        places = [told.ref, *await self._owners(told)]
        patterns = [f"{subjects.DECISIONS}.*.{subjects.object_tokens(ref)}" for ref in dict.fromkeys(places)]
        return [one for pattern in patterns for one in await self._of(pattern)]

    async def _of(self, pattern: str) -> list[Decided]:
        if pattern not in self._decided:
            last = await self._event_log.last_sequence("DECISIONS")
            entries: dict[str, list[tuple[int, str, Entry]]] = {}
            async for record in self._event_log.replay("DECISIONS", [pattern], after=0, until=last):
                entries.setdefault(record.subject, []).append((record.seq, record.time, decode_entry(record.body)))
            self._decided[pattern] = [
                one for subject, found in entries.items() for one in pair(subjects.parse_keyed(subject)[1], found)
            ]
        return self._decided[pattern]

    async def _owners(self, told: Told) -> list[ObjectRef]:
        """Return the owners that an object names now or named when it was last seen alive."""
        alive = [one for one in await self.history(told.ref) if one.seq <= told.seq and not one.fact.deleted]
        if not alive:
            return []
        if self._views is None:
            self._views = await read_clusters(self._event_log)
        return owner_places(alive[-1].fact.data, self._views)

    async def result(self, decided: Decided, deed: Deed) -> Told | None:
        """Return the fact that an action made: none that its decision had read, though it may have the same version."""
        read = decided.entry.read.get(subjects.fact(deed.action.ref), 0)
        history = await self.history(deed.action.ref)
        return next((told for told in history if told.seq > read and wrote(deed, told)), None)

    async def fact_at(self, subject: str, seq: int) -> Origin:
        """Return what is at a sequence of FACTS."""
        if subject.startswith(f"{subjects.SYNC}."):
            async for record in self._event_log.replay("FACTS", [subject], after=seq - 1, until=seq):
                return Origin(sync=decode_sync(record.body))
            return Origin(words=f"{subject} at sequence {seq}, which is kept no more")
        ref = subjects.parse_fact(subject)
        told = next((one for one in await self.history(ref) if one.seq == seq), None)
        return Origin(told) if told else Origin(words=f"a fact of {ref} at sequence {seq}, which is kept no more")


def owner_places(data: bytes | memoryview, views: Sequence[ClusterView]) -> list[ObjectRef]:
    """Return where the owners are that an object names, as far as it says: names and types may be left out, uids may not.

    Args:
        data: the object as JSON.
        views: the clusters that there are.

    """
    body = msgspec.json.decode(data, type=dict[str, object] | None)
    metadata = (body or {}).get("metadata")
    found = owner_references(metadata) if isinstance(metadata, dict) else ()
    names = {view.status.identity: view.name for view in views if view.status}
    places = [(one, names.get(one.cluster_id) or ClusterName(one.cluster)) for one in found]
    return [
        ObjectRef(cluster, one.group, one.resource, one.namespace, one.name)
        for one, cluster in places
        if cluster and one.resource
    ]


async def _read_deletion(log: EventLog, told: Told) -> DeletionSpec | None:
    subject = subjects.fact(deletion_ref(told.ref, told.fact.uid))
    record = (await log.last("STATE", [subject])).get(subject)
    return None if record is None else msgspec.json.decode(decode_fact(record.body).data, type=Deletion).spec


async def read_chain(log: EventLog, ref: ObjectRef, field: str = "") -> Chain:
    """Return what led to an object as it is, but for its status, or to a field of it.

    Raises:
        UserError: when the record has never seen the object, or it lacks the field.

    """
    chronicle = Chronicle(log)
    history = await chronicle.history(ref)
    if not history:
        raise UserError(
            f"the record holds no fact of {ref}", "is its name right? `crosscurrent get` lists what there is"
        )
    asked = last_of_substance(history)
    if field:
        found = last_change(history, field)
        assert found is not None  # noqa: S101 - a history has a first fact
        asked = found
    path: list[Decided] = []
    origin, reached = Origin(asked), asked
    while len(path) < DEPTH:
        written = writer_of(reached, await chronicle.decisions(reached))
        if written is None:
            break
        path.insert(0, written[0])
        subject, seq = written[0].cause
        if not subject:
            origin = Origin(words=_unfounded(written[0]))
            break
        origin = await chronicle.fact_at(subject, seq)
        if origin.told is None:
            break
        reached = origin.told
    if origin.told is not None:
        # What else it woke: the status that reports, other reconcilers.
        for one in woken_by(reached, await chronicle.decisions(reached), subjects.fact(reached.ref))[:BREADTH]:
            if one.seq not in {other.seq for other in path}:
                path.append(one)
    decisions = [
        (one, tuple([(deed, await chronicle.result(one, deed)) for deed in one.deeds]))
        for one in sorted(path, key=lambda decided: decided.seq)
    ]
    return Chain(asked, origin, tuple(decisions), await _read_deletion(log, asked))


def _unfounded(decided: Decided) -> str:
    if decided.entry.cause == "timer":
        return "a timer that an earlier decision had set"
    return decided.entry.cause or "a full evaluation, as at every start of new code and every 10 hours"
