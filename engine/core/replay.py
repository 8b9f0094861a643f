"""Run recorded history through reconcilers: the same view, the same plan, byte for byte. No cluster, no broker, no clock.

A recorded decision names every row that it read, how many of them it had before it when it decided, what its key remembered,
and the time that it took for now. From those its view is put together again; what the reconciler makes of it and the engine
plans from that is compared with what was decided then.

What the collector (`garbage`) decides cannot be told again so: its entries nominate, and live evidence decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from engine.core.assembly import add_rows, cluster_of, mentioned_types, synced_types
from engine.core.authoring import Reconciler
from engine.core.history import Stored
from engine.core.plan import make_plan
from engine.core.view import Row, View
from schemas import subjects
from schemas.actions import Action, Decision, Request
from schemas.clusters import CLUSTERS, cluster_ref
from schemas.decisions import Entry, EntryState
from schemas.facts import decode_fact
from schemas.names import ClusterName

KILLED_ITS_WORKERS = "handed out "
"""How the reason of an entry begins whose key was given up because its workers died: no reconciler answered."""


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A record of STATE."""

    seq: int
    """Its sequence in STATE, which a decision goes by."""
    body: bytes


class Case(msgspec.Struct, frozen=True):
    """One recorded decision."""

    request: Request
    seq: int
    """Sequence in DECISIONS."""
    time: str
    entry: Entry


class Answer(msgspec.Struct, frozen=True):
    """What a reconciler makes of a case."""

    actions: tuple[Action, ...] = ()
    error: str = ""
    """What it raised, if it did."""
    missing: tuple[str, ...] = ()
    """What it read then and is in the record no more: it could not be asked."""

    @property
    def bytes(self) -> bytes:
        """What is compared."""
        return _encoder.encode((self.error, self.actions))


class Recorded:
    """Facts by their place in history, and by their id."""

    def __init__(self, facts: Iterable[tuple[str, Stored]], clusters: Sequence[ClusterName]) -> None:
        """Take facts and sync records with their subjects, and the declared clusters."""
        self.clusters = tuple(clusters)
        self._places: dict[tuple[str, int], bytes] = {}
        self._ids: dict[str, tuple[str, bytes]] = {}
        for subject, stored in facts:
            self._places[subject, stored.seq] = stored.body
            if subject.startswith(f"{subjects.FACTS}."):
                self._ids[_ident.decode(stored.body).id] = (subject, stored.body)

    def at(self, subject: str, seq: int) -> bytes | None:
        """Return what a subject was at a sequence of FACTS."""
        return self._places.get((subject, seq))

    def called(self, fact_id: str) -> tuple[str, bytes] | None:
        """Return subject and bytes of the fact with an id."""
        return self._ids.get(fact_id)


def cases(entries: Iterable[tuple[int, str, str, Entry]]) -> Iterator[Case]:
    """Iterate over the decisions among entries that can be asked again: those that acted, and those that raised.

    Args:
        entries: (sequence, time, subject, entry).

    """
    for seq, time, subject, entry in entries:
        raised = entry.failures and not entry.reason.startswith(KILLED_ITS_WORKERS)
        if entry.state is EntryState.OPEN or raised:
            _, ref = subjects.parse_keyed(subject)
            yield Case(Request(entry.reconciler, ref), seq, time, entry)


def expected(case: Case) -> Answer:
    """Return what was decided then."""
    return Answer(case.entry.actions, case.entry.reason if case.entry.failures else "")


class Scene(msgspec.Struct, frozen=True):
    """What a reconciler is shown of a case."""

    view: View
    later: Mapping[str, Kept]
    """Rows that are read once it has answered, because its answer writes there."""


def ask(recorded: Recorded, case: Case, reconciler: Reconciler) -> Answer:
    """Return what a reconciler makes of a recorded case."""
    scene = stage(recorded, case)
    return scene if isinstance(scene, Answer) else decide(scene, case.request, reconciler)


def stage(recorded: Recorded, case: Case) -> Scene | Answer:
    """Return what a reconciler was shown of a case; an answer that names what is missing, if something is."""
    entry = case.entry
    if entry.inputs and not entry.facts:
        return Answer(missing=("the places of its inputs in history: an older version recorded it",))
    found = {subject: recorded.at(subject, seq) for subject, seq in entry.read.items()}
    foreseen = {fact_id: recorded.called(fact_id) for fact_id in entry.foreseen}
    missing = [f"{subject}@{entry.read[subject]}" for subject, body in found.items() if body is None]
    missing += [fact_id for fact_id, fact in foreseen.items() if fact is None]
    if missing:
        return Answer(missing=tuple(missing))
    rows = {subject: Kept(entry.inputs[subject], body) for subject, body in found.items() if body is not None}
    shown = set(list(entry.inputs)[: entry.shown])
    before = {subject: kept for subject, kept in rows.items() if subject in shown}
    view = show(before, recorded.clusters, case.request.reconciler, entry)
    for fact in filter(None, foreseen.values()):
        ref = subjects.parse_fact(fact[0])
        known = view.rows.get(ref)
        view.show(ref, Row(known.seq if known else 0, decode_fact(fact[1])))
    return Scene(view, {subject: kept for subject, kept in rows.items() if subject not in shown})


def show(rows: Mapping[str, Kept], clusters: Iterable[ClusterName], reconciler: str, entry: Entry) -> View:
    """Return a view of records, with the time and the memory of an entry."""
    standing = [cluster_of(name, rows.get(subjects.fact(cluster_ref(name)))) for name in clusters]
    view = View(
        now=entry.now,
        clusters=standing,
        rows={},
        synced=synced_types(rows, rows, standing),
        mentioned=mentioned_types(rows, rows),
        targets=entry.targets,
        reconciler=reconciler,
    )
    view.propagation = entry.propagation
    places = [subjects.parse_fact(subject) for subject in rows if subject.startswith(f"{subjects.FACTS}.")]
    add_rows(view, rows, [ref for ref in places if (ref.group, ref.resource) != (CLUSTERS.group, CLUSTERS.plural)])
    return view


def decide(scene: Scene, request: Request, reconciler: Reconciler) -> Answer:
    """Return what a reconciler decides and the engine plans from it."""
    try:
        decision = reconciler(scene.view, request)
    except Exception as problem:  # noqa: BLE001 - a user's function may raise anything; that is an answer too
        return Answer(error=f"{type(problem).__name__}: {problem}")
    return Answer(planned(scene, decision))


def planned(scene: Scene, decision: Decision) -> tuple[Action, ...]:
    """Return the actions that the engine plans from a decision."""
    add_rows(scene.view, scene.later, [action.ref for action in decision.actions if action.ref not in scene.view.rows])
    return make_plan(scene.view, decision).actions


class _Ident(msgspec.Struct):
    """As much of a fact as says which it is."""

    id: str


_ident = msgspec.json.Decoder(_Ident)
_encoder = msgspec.json.Encoder()
