"""The dependents of an owner that is gone or going, as INDEX nominates them, batch by batch (docs/garbage-collection.md).

An owner may have a hundred thousand. INDEX is read for two batches; if a decision leaves another batch, that is kept in this
process for the next, which follows at once. What that needs of INDEX and STATE is read while the batch before it is deleted,
so that nobody waits in between. INDEX and STATE know of a delete only after its fact has passed through two processes, so
what this process has deleted is remembered for as long. Nothing here is evidence: each is looked at live.

Rules:
    * Dependents that something can be done about come first: hundreds in a cluster that does not answer, or that have gone
      already, do not keep the others waiting.
    * What was left is never all there is: whatever depends on that is decided on a whole reading of INDEX.
    * A key that may have more says so (`GarbageView.more`, `after`): an owner that is gone is woken by nobody else.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec

from engine.core.assembly import add_rows
from engine.core.cascade import LATELY_SECONDS, MOST_AT_ONCE, GarbageView, Held, deleted_by, is_open
from engine.core.view import Row
from engine.runtime.lately import Lately
from engine.runtime.ports import Clock, EventLog, EventLogError, Record
from engine.runtime.state_rows import add_missing
from schemas import subjects
from schemas.actions import Outcome, Result
from schemas.names import ClusterId, ClusterName, ObjectRef, Uid

FIRST_READ = 2 * MOST_AT_ONCE
"""Entries read for an owner."""
SCANNED = 20_000
"""Dependents looked for, some 10 MB, if nothing can be done about those that come first."""
AHEAD_SECONDS = 0.3
"""After a view has been loaded, until the next one is read for: the first deletes go first."""
LEFT_KEPT = 64
"""Owners whose remaining dependents are kept between two decisions, or read ahead."""
LAST_LOOK_SECONDS = 60.0
"""After the last dependent has been deleted: a last look ends the memory of the key, when most cascades are over."""

_held = msgspec.json.Decoder(Held)


class _Left(NamedTuple):
    """Dependents that a decision has left for the next."""

    at: float
    held: tuple[Held, ...]


class _Ahead(NamedTuple):
    """What was read for the next decision while this one is carried out."""

    at: float
    held: tuple[Held, ...]
    rows: dict[str, Record]


class Nominees:
    """Reads dependents for views; one per process."""

    def __init__(self, log: EventLog, clock: Clock, clusters: Collection[ClusterName], lately: Lately) -> None:
        """Read INDEX and STATE of `log`; what is in other clusters than `clusters`, or deleted `lately`, is of no concern."""
        self._event_log, self._clock, self._clusters, self._lately = log, clock, clusters, lately
        self._left: dict[ObjectRef, _Left] = {}
        self._ahead: dict[ObjectRef, tuple[float, asyncio.Task[_Ahead | None]]] = {}
        """And when each was begun."""

    async def some(self, identity: ClusterId, owner: ObjectRef, most: int) -> tuple[Held, ...]:
        """Return the first dependents of an owner that is there, which most of them are settled with.

        Raises:
            EventLogError: when the broker does not answer.

        """
        records = await self._event_log.last("INDEX", [subjects.dependents_of(identity, owner)], most=most)
        return self._all_held(records.values())

    async def show(self, view: GarbageView, identity: ClusterId, owner: ObjectRef) -> None:
        """Add dependents to the view of an owner: a batch that something can be done about, if there is one, and others.

        Raises:
            EventLogError: when the broker does not answer.

        """
        view.in_batches = True
        pattern = subjects.dependents_of(identity, owner)
        await self._show(view, pattern, owner)
        self._forget_old(view.now)
        # Those that are open come first: where there are none, the next decision has nothing to do either.
        others = view.more or len(view.held) > view.at_once
        if others and view.held and is_open(view, view.held[0]) and len(self._ahead) < LEFT_KEPT:
            task = asyncio.create_task(self._read_ahead(view, pattern), name=f"read ahead for {owner}")
            self._ahead[owner] = view.now, task

    async def _show(self, view: GarbageView, pattern: str, owner: ObjectRef) -> None:
        kept = self._kept(view, owner)
        if sum(is_open(view, held) for held in kept) >= view.at_once:
            view.more = True  # at the least, whatever has come since
            await self._sift(view, kept)
            return
        records = await self._event_log.last("INDEX", [pattern], most=FIRST_READ)
        view.more = len(records) >= FIRST_READ
        await self._sift(view, self._all_held(records.values()))
        if not view.more or sum(is_open(view, held) for held in view.held) >= view.at_once:
            return
        opened: list[Held] = []
        async for record in self._event_log.scan("INDEX", [pattern]):
            opened += [held for held in self._all_held([record]) if is_open(view, held)]
            if len(opened) >= SCANNED:
                break
        view.more = len(opened) >= SCANNED
        await self._sift(view, (*opened, *(held for held in view.held if not is_open(view, held))))

    def _kept(self, view: GarbageView, owner: ObjectRef) -> tuple[Held, ...]:
        """Return the dependents that are known already, and add to the view what has been read of them."""
        left, (_, reading) = self._left.pop(owner, None), self._ahead.pop(owner, (0.0, None))
        held = left.held if left is not None and view.now - left.at <= LATELY_SECONDS else ()
        if reading is None:
            return held
        if not reading.done():
            reading.cancel()  # what is not known yet is read now
            return held
        ahead = reading.result()
        if ahead is None or view.now - ahead.at > LATELY_SECONDS:
            return held
        add_rows(view, ahead.rows, map(subjects.parse_fact, ahead.rows))
        return held if len(held) >= view.at_once else ahead.held

    async def _read_ahead(self, view: GarbageView, pattern: str) -> _Ahead | None:
        """Read for the decision that follows one on this view; None: the broker did not answer."""
        await self._clock.sleep(AHEAD_SECONDS)
        try:
            return await self._following(view, pattern)
        except EventLogError:
            return None

    async def _following(self, view: GarbageView, pattern: str) -> _Ahead:
        now, taken = self._clock.time(), {held.uid for held in view.held[: view.at_once]}
        following = view.held[view.at_once :]
        if len(following) < MOST_AT_ONCE and view.more:
            records = await self._event_log.last("INDEX", [pattern], most=FIRST_READ + len(taken))
            following = tuple(held for held in self._all_held(records.values()) if held.uid not in taken)
        wanted = [subjects.fact(held.ref) for held in following if is_open(view, held)][:MOST_AT_ONCE]
        return _Ahead(now, following, await self._event_log.last("STATE", wanted) if wanted else {})

    def after(self, view: GarbageView, owner: ObjectRef, outcomes: Sequence[Outcome]) -> float:
        """Return the wall time at which an owner is to be looked at again after these outcomes; at once if there is more."""
        if not view.in_batches:
            return math.inf
        settled = [one for one in outcomes if one.action == "Collect" and one.ok]
        touched = {one.ref for one in settled}
        # One that was gone already is no step forward: it is nominated until its fact has come.
        stepped = any(one.result is Result.DONE or one.version for one in settled)
        left = tuple(held for held in view.held if held.ref not in touched)
        opened = any(is_open(view, held) for held in left)
        self._forget_old(view.now)
        if stepped and opened and len(self._left) < LEFT_KEPT:
            self._left[owner] = _Left(view.now, left)
        if stepped and (opened or view.more):
            return view.now
        return self._clock.time() + LAST_LOOK_SECONDS if deleted_by(outcomes) else math.inf

    def _forget_old(self, now: float) -> None:
        """Forget what another process went on with, or nothing came of."""
        for place in [place for place, kept in self._left.items() if now - kept.at > LATELY_SECONDS]:
            del self._left[place]
        for place in [place for place, (at, _) in self._ahead.items() if now - at > LATELY_SECONDS]:
            self._ahead.pop(place)[1].cancel()

    async def _sift(self, view: GarbageView, found: Sequence[Held]) -> None:
        """Show dependents, in front a batch of those that are open and that STATE does not know to be gone."""
        view.asked |= {
            held.uid for held in found if self._lately.holds(held.uid, view.clusters[held.ref.cluster].epoch)
        }
        opened = [held for held in found if is_open(view, held)]
        closed = [held for held in found if not is_open(view, held)]
        there: list[Held] = []
        while opened and len(there) < view.at_once:
            part, opened = opened[: view.at_once], opened[view.at_once :]
            await add_missing(self._event_log, view, [held.ref for held in part])
            there += [held for held in part if not _is_gone(view.rows.get(held.ref), held.uid)]
        view.held = (*there, *opened, *closed)

    def _all_held(self, records: Iterable[Record]) -> tuple[Held, ...]:
        """Return what entries say, without those that are no longer true, or of no concern here."""
        found = []
        for record in records:
            dependent = subjects.parse_dependent(record.subject)[2]
            if record.body and dependent.cluster in self._clusters:
                found.append(msgspec.structs.replace(_held.decode(record.body), ref=dependent))
        return tuple(found)


def _is_gone(row: Row | None, uid: Uid) -> bool:
    return row is not None and row.fact.deleted and row.fact.uid == uid
