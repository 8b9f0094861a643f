"""A fork of the fleet's state: what reconcilers would do after a change that never happened. Pure; nothing is touched.

The same functions decide and plan as in production (`make_plan`, `remember`); only what the API servers would make of the
writes is a model: an apply merges, a delete waits for finalizers, versions rise. Defaults, admission and other controllers
are not in it, so the plan is what this engine would send, not all that would follow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from engine.core.assembly import cluster_of, synced_types
from engine.core.authoring import Reconciler
from engine.core.drift import merged
from engine.core.history import Stored
from engine.core.ownership import controller_reference, owner_references
from engine.core.plan import intent, remember, slot_of
from engine.core.replay import Kept, Scene, planned, show
from engine.core.view import Cluster, KubeObject, View
from schemas import subjects
from schemas.actions import (
    Action,
    AddFinalizer,
    Apply,
    Create,
    Delete,
    Outcome,
    Patch,
    PatchStatus,
    RemoveFinalizer,
    Request,
    Result,
)
from schemas.clusters import CLUSTERS, ClusterRecord, ClusterState, cluster_ref
from schemas.decisions import Entry, EntryState, Target
from schemas.facts import Cause, FactId, FactType, decode_fact, encode_fact
from schemas.names import ClusterName, ObjectRef, Resource, ResourceVersion, Uid

Json = dict[str, Any]

ROUNDS = 20
"""Decisions of one key: real ones come to rest in two or three; one that never does is cut here and said."""


class Step(msgspec.Struct, frozen=True):
    """One action that would be sent."""

    request: Request
    action: Action


class Held(msgspec.Struct, frozen=True):
    """One action that is wanted and would be held back."""

    request: Request
    action: Action
    why: str


class Forecast(msgspec.Struct):
    """What would be done."""

    steps: list[Step] = []
    held: list[Held] = []
    errors: list[tuple[Request, str]] = []
    """Reconcilers that would raise."""
    restless: list[Request] = []
    """Keys that did not come to rest."""


class Fork:
    """A state that hypothetical changes and actions are applied to."""

    def __init__(
        self,
        rows: Mapping[str, Stored],
        clusters: Sequence[ClusterName],
        memory: Mapping[Request, tuple[Target, ...]],
        now: float,
    ) -> None:
        """Fork a state.

        Args:
            rows: facts and sync records by subject.
            clusters: the declared clusters.
            memory: what each key remembers of its writes.
            now: wall time that decisions are made at, seconds since the epoch.

        """
        self.rows: dict[str, Kept] = {subject: Kept(stored.seq, stored.body) for subject, stored in rows.items()}
        self.clusters = tuple(clusters)
        self.now = now
        self.going: list[ObjectRef] = []
        """Objects whose deletion has been asked for in the fork, and that wait for finalizers."""
        self.gone: dict[Uid, ObjectRef] = {}
        """Objects that have gone in the fork."""
        self.unseen: set[Uid] = set()
        """Those of them that nobody saw go."""
        self._memory = dict(memory)
        self._owners: dict[str, set[str]] = {}
        """Subjects of dependents, by their owner's uid."""
        self._owned: dict[str, tuple[str, ...]] = {}
        self._serial = max([kept.seq for kept in self.rows.values()], default=0)
        for subject in self.rows:
            self._index(subject)

    def body(self, ref: ObjectRef) -> Json | None:
        """Return an object, None if it is not there."""
        kept = self.rows.get(subjects.fact(ref))
        if kept is None:
            return None
        fact = decode_fact(kept.body)
        return None if fact.deleted else msgspec.json.decode(fact.data, type=Json | None)

    def get(self, ref: ObjectRef) -> KubeObject | None:
        """Return an object as reconcilers see it, None if it is not there."""
        body, kept = self.body(ref), self.rows.get(subjects.fact(ref))
        return None if body is None or kept is None else KubeObject(ref, body, kept.seq, decode_fact(kept.body))

    def put(self, ref: ObjectRef, body: Json | None, cause: Cause = Cause.OBSERVED) -> None:
        """Let an object be so, or be gone; `cause` is how a watcher would have come to know."""
        subject, before = subjects.fact(ref), self.body(ref)
        metadata = dict((body or before or {}).get("metadata") or {})
        self._serial += 1
        version = ResourceVersion(str(max(self._serial, _number((before or {}).get("metadata")) + 1)))
        metadata |= {"uid": metadata.get("uid") or f"hypothetical-{self._serial}", "resourceVersion": version}
        document = {**(body or before or {}), "metadata": metadata}
        identity, epoch = self._standing(ref.cluster)
        api_version, kind = str(document.get("apiVersion", "v1")), ref.resource
        group, _, plain = api_version.rpartition("/")
        encoded = encode_fact(
            FactId(identity, epoch, ref.group, ref.resource, Uid(metadata["uid"]), version, body is None),
            FactType.DELETED if body is None else FactType.UPDATED,
            ref,
            Resource(group or ref.group, plain, kind),
            cause=cause,
            time="",
            managers=decode_fact(kept.body).managers if (kept := self.rows.get(subject)) else "",
            data=msgspec.json.encode(document),
        )
        self.rows[subject] = Kept(self._serial, encoded)
        self._index(subject)
        if body is None and before is not None:
            self.gone[Uid(metadata["uid"])] = ref
        elif "deletionTimestamp" in metadata:
            self.going.append(ref)

    def lack(self, ref: ObjectRef) -> None:
        """Let an object be gone without anybody's having seen it go, as after a restored backup."""
        body = self.body(ref)
        if body is not None:
            self.unseen.add(Uid((body.get("metadata") or {}).get("uid", "")))
            self.put(ref, None, Cause.INFERRED)

    def delete(self, ref: ObjectRef) -> None:
        """Ask for an object's deletion: it goes, or waits for its finalizers."""
        body = self.body(ref)
        if body is None:
            return
        metadata = body.get("metadata") or {}
        if metadata.get("finalizers"):
            self.put(ref, {**body, "metadata": {**metadata, "deletionTimestamp": "1970-01-01T00:00:00Z"}})
        else:
            self.put(ref, None)

    def lose(self, cluster: ClusterName) -> None:
        """Let a cluster stop answering."""
        subject = subjects.fact(cluster_ref(cluster))
        fact = decode_fact(self.rows[subject].body)
        record = msgspec.json.decode(fact.data, type=ClusterRecord)
        status = msgspec.structs.replace(
            record.status, state=ClusterState.SUSPECT, reason="Unreachable", message="lost, hypothetically"
        )
        self.put(cluster_ref(cluster), msgspec.to_builtins(msgspec.structs.replace(record, status=status)))

    def perform(self, action: Action) -> Outcome:
        """Do what an API server would, roughly."""
        live = self.body(action.ref)
        metadata: Json = dict((live or {}).get("metadata") or {})
        match action:
            case Apply() | Create():
                self.put(action.ref, merged(live or {}, action.body))
            case PatchStatus() if live is not None:
                self.put(action.ref, {**live, "status": action.status})
            case Patch() if live is not None:
                self.put(action.ref, merged(live, action.patch))
            case AddFinalizer() if live is not None:
                finalizers = [*(metadata.get("finalizers") or []), action.finalizer]
                self.put(action.ref, {**live, "metadata": {**metadata, "finalizers": finalizers}})
            case RemoveFinalizer() if live is not None:
                left = [one for one in metadata.get("finalizers") or [] if one != action.finalizer]
                gone = not left and "deletionTimestamp" in metadata
                self.put(action.ref, None if gone else {**live, "metadata": {**metadata, "finalizers": left}})
            case Delete():
                self.delete(action.ref)
            case _:
                pass
        after = self.body(action.ref)
        written = (after or {}).get("metadata") or {}
        return Outcome(
            action=type(action).__name__,
            ref=action.ref,
            result=Result.DONE,
            uid=Uid(written.get("uid", "")),
            version=ResourceVersion(written.get("resourceVersion", "")),
        )

    def view(self, request: Request, reconciler: Reconciler) -> View:
        """Return what a reconciler would see."""
        kinds = {
            (kind.group, kind.plural) for kind in reconciler.types_for(request.object.group, request.object.resource)
        }
        fleet = [subjects.fact(cluster_ref(name)) for name in self.clusters]
        fleet += [subjects.sync(name, group, plural) for name in self.clusters for group, plural in sorted(kinds)]
        targets = self._memory.get(request, ())
        places = {subjects.fact(ref) for ref in (request.object, *(target.ref for target in targets))}
        body = self.body(request.object)
        if body is not None:
            places |= self._owners.get(str((body.get("metadata") or {}).get("uid", "")), set())
        for one in reconciler.reads:
            places |= {subjects.fact(ref) for ref in one.places(request.object, self.clusters)}
            if pattern := one.pattern(request.object):
                places |= {subject for subject in self.rows if subjects.matches(pattern, subject)}
        wanted = [*fleet, *sorted(places)]
        rows = {subject: self.rows[subject] for subject in wanted if subject in self.rows}
        entry = Entry(
            state=EntryState.OPEN,
            worker="",
            reconciler=request.reconciler,
            code=reconciler.code,
            now=self.now,
            targets=targets,
        )
        return show(rows, self.clusters, request.reconciler, entry)

    def remembers(self, request: Request, targets: tuple[Target, ...]) -> None:
        """Keep what a key knows of its writes."""
        self._memory[request] = targets

    def concerned(self, ref: ObjectRef, reconciler: Reconciler, former: Iterable[str] = ()) -> list[Request]:
        """Return the keys of a reconciler that a change of an object would wake.

        Args:
            ref: what changed.
            reconciler: whose keys.
            former: uids of the owners that it named before.

        """
        kind = (ref.group, ref.resource)
        if kind == (CLUSTERS.group, CLUSTERS.plural):
            return self.requests(reconciler)
        found = [ref] if any(kind == (one.group, one.plural) for one in reconciler.watches) else []
        uids = {*former, *self._owned.get(subjects.fact(ref), ())}
        reading = [one for one in reconciler.reads if kind == (one.resource.group, one.resource.plural)]
        patterns = [pattern for one in reading for pattern in one.wakes(ref, reconciler.watches)]
        if uids or patterns:
            for one in self.requests(reconciler):
                subject = subjects.fact(one.object)
                if self._uid(one.object) in uids or any(subjects.matches(pattern, subject) for pattern in patterns):
                    found.append(one.object)
        return [Request(reconciler.name, place) for place in dict.fromkeys(found)]

    def requests(self, reconciler: Reconciler) -> list[Request]:
        """Return a key for every object that a reconciler watches."""
        patterns = [subjects.facts_of("*", kind.group, kind.plural) for kind in reconciler.watches]
        found = [
            subjects.parse_fact(subject)
            for subject in self.rows
            if any(subjects.matches(pattern, subject) for pattern in patterns)
        ]
        return [Request(reconciler.name, ref) for ref in sorted(found)]

    def owned_by(self, uid: Uid) -> list[ObjectRef]:
        """Return the objects that name an owner, in any cluster."""
        return [subjects.parse_fact(subject) for subject in sorted(self._owners.get(uid, ()))]

    def owners(self) -> set[ObjectRef]:
        """Return the places of all objects that are there and are named as owners."""
        there = set()
        for subject in self.rows:
            if subject.startswith(f"{subjects.FACTS}.") and self._owners.get(decode_fact(self.rows[subject].body).uid):
                there.add(subjects.parse_fact(subject))
        return there

    def standing(self) -> list[Cluster]:
        """Return the clusters as they stand."""
        return [cluster_of(name, self.rows.get(subjects.fact(cluster_ref(name)))) for name in self.clusters]

    def is_synced(self, ref: ObjectRef) -> bool:
        """Return whether the contents of an object's type are known in its cluster."""
        wanted = subjects.sync(ref.cluster, ref.group, ref.resource)
        return bool(synced_types(self.rows, [wanted], self.standing()))

    def owners_of(self, ref: ObjectRef) -> tuple[str, ...]:
        """Return the uids of the owners that an object names."""
        return self._owned.get(subjects.fact(ref), ())

    def _uid(self, ref: ObjectRef) -> str:
        kept = self.rows.get(subjects.fact(ref))
        return str(decode_fact(kept.body).uid) if kept else ""

    def _standing(self, cluster: ClusterName) -> tuple[Any, int]:
        kept = self.rows.get(subjects.fact(cluster_ref(cluster)))
        if kept is None:
            return "", 0
        fact = decode_fact(kept.body)
        return fact.identity, fact.epoch

    def _index(self, subject: str) -> None:
        if not subject.startswith(f"{subjects.FACTS}."):
            return
        for uid in self._owned.pop(subject, ()):
            self._owners[uid].discard(subject)
        fact = decode_fact(self.rows[subject].body)
        body = None if fact.deleted else _metadata.decode(fact.data)
        if body is None:
            return
        controller = controller_reference(body.metadata)
        uids = tuple(str(one.uid) for one in (*owner_references(body.metadata), *((controller,) if controller else ())))
        if uids:
            self._owned[subject] = uids
            for uid in uids:
                self._owners.setdefault(uid, set()).add(subject)


class Sweeps(Protocol):
    """The collector; see `engine.core.fork_garbage`."""

    def sweep(self, fork: Fork, forecast: Forecast) -> list[ObjectRef]:
        """Do what follows from the owners that have gone; return what was written."""


def foresee_all(
    fork: Fork, reconcilers: Iterable[Reconciler], changed: Sequence[ObjectRef] | None, collector: Sweeps | None = None
) -> Forecast:
    """Let reconcilers act on a fork until they rest; the fork is changed.

    Args:
        fork: where.
        reconcilers: who acts.
        changed: what was changed in the fork; None: everything is looked at.
        collector: if it is one of them.

    """
    named = {one.name: one for one in reconcilers}
    queue: deque[Request] = deque()
    for one in named.values():
        keys = fork.requests(one) if changed is None else [key for ref in changed for key in fork.concerned(ref, one)]
        queue.extend(dict.fromkeys(keys))
    forecast = Forecast(steps=[], held=[], errors=[], restless=[])
    rounds: dict[Request, int] = {}
    while queue or (collector is not None and (written := collector.sweep(fork, forecast))):
        if not queue:  # what the collector does wakes the others, and whoever it leaves without an owner
            queue.extend(key for one in named.values() for ref in written for key in fork.concerned(ref, one))
            continue
        request = queue.popleft()
        rounds[request] = rounds.get(request, 0) + 1
        if rounds[request] > ROUNDS:
            if request not in forecast.restless:
                forecast.restless.append(request)
            continue
        woken = _act(fork, named[request.reconciler], request, forecast, list(named.values()))
        queue.extend(key for key in dict.fromkeys(woken) if key not in queue)
    return forecast


def _act(
    fork: Fork, reconciler: Reconciler, request: Request, forecast: Forecast, reconcilers: Sequence[Reconciler]
) -> list[Request]:
    """Let one key decide and act once; return the keys that this would wake."""
    view = fork.view(request, reconciler)
    try:
        decision = reconciler(view, request)
    except Exception as problem:  # noqa: BLE001 - a user's function may raise anything; that is what one wants to know
        forecast.errors.append((request, f"{type(problem).__name__}: {problem}"))
        return []
    refs = [action.ref for action in decision.actions]
    later = {subjects.fact(ref): fork.rows[subjects.fact(ref)] for ref in refs if subjects.fact(ref) in fork.rows}
    actions = planned(Scene(view, later), decision)
    _hold(view, request, [action for action in decision.actions if action not in actions], forecast)
    woken: list[Request] = []
    outcomes = []
    for action in actions:
        former = fork.owners_of(action.ref)
        outcomes.append(fork.perform(action))
        forecast.steps.append(Step(request, action))
        for one in reconcilers:
            woken += fork.concerned(action.ref, one, former)
    if actions:
        fork.remembers(request, remember(view, actions, outcomes, now=fork.now, seed=0.5))
        woken.append(request)
    return woken


def _hold(view: View, request: Request, actions: Iterable[Action], forecast: Forecast) -> None:
    """Note what would be held back by a cluster that does not answer, or by contents that are not known."""
    for action in actions:
        cluster = view.clusters.get(action.ref.cluster)
        target = view.targets.get(slot_of(action))
        if target is not None and target.desired == intent(action):
            continue  # it is so already, as far as anyone knows
        why = ""
        if cluster is None or not cluster.answering:
            why = f"{action.ref.cluster} does not answer"
        elif (
            isinstance(action, Apply | Create)
            and (action.ref.cluster, action.ref.group, action.ref.resource) not in view.synced
        ):
            why = f"{action.ref.resource} of {action.ref.cluster} are not synced: what is there is unknown"
        elif target is not None and target.attempts and target.attempted == intent(action):
            why = f"it failed {target.attempts} times and is in back-off: {target.message}"
        held = Held(request, action, why)
        if why and held not in forecast.held:
            forecast.held.append(held)


class _Object(msgspec.Struct):
    """As much of an object as says who owns it."""

    metadata: Json = {}


_metadata = msgspec.json.Decoder(_Object | None)


def _number(metadata: Any) -> int:
    text = str((metadata or {}).get("resourceVersion", ""))
    return int(text) if text.isascii() and text.isdigit() else 0
