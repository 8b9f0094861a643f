"""Where an object's state comes from: which decision wrote a fact, and what woke that decision. Pure.

The record holds every link of the chain: a fact names its object, uid and resourceVersion; an outcome in DECISIONS names the
resourceVersion that its write got; an entry names the fact that woke its key, and every row that it read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from engine.core.differences import FieldChange, compare
from engine.core.history import Stored
from schemas.actions import Action, Outcome, Result
from schemas.decisions import Entry, EntryState
from schemas.facts import Fact, decode_fact
from schemas.names import ObjectRef

Json = dict[str, Any]


class Told(msgspec.Struct, frozen=True):
    """A fact of history, decoded."""

    ref: ObjectRef
    seq: int
    """Its sequence in FACTS."""
    time: str
    """When the broker stored it, RFC 3339."""
    fact: Fact
    fields: tuple[FieldChange, ...] = ()
    """What it changed against the fact before; nothing where that is not known."""
    first: bool = False
    """Whether no earlier fact of this object is in the record."""


class Deed(msgspec.Struct, frozen=True):
    """One action and what became of it."""

    action: Action
    outcome: Outcome | None
    """None: nobody has said yet, or the worker died and another took over."""


class Decided(msgspec.Struct, frozen=True):
    """One decision of a key: its entry, and what became of its actions."""

    object: ObjectRef
    seq: int
    """Sequence of the entry in DECISIONS."""
    time: str
    entry: Entry
    deeds: tuple[Deed, ...] = ()

    @property
    def cause(self) -> tuple[str, int]:
        """Subject and FACTS sequence of what woke the key; ("", 0) when it was no fact."""
        subject, at, seq = self.entry.cause.rpartition("@")
        return (subject, int(seq)) if at and seq.isdigit() else ("", 0)


def tell(ref: ObjectRef, history: Iterable[Stored]) -> list[Told]:
    """Return the facts of one object, oldest first, each with what it changed."""
    found: list[Told] = []
    before: Json | None = None
    for stored in history:
        fact = decode_fact(stored.body)
        body = None if fact.deleted else msgspec.json.decode(fact.data, type=Json | None) or {}
        change = compare(before, body) if found else None
        found.append(Told(ref, stored.seq, stored.time, fact, change[1] if change else (), first=not found))
        before = body
    return found


def pair(ref: ObjectRef, entries: Iterable[tuple[int, str, Entry]]) -> list[Decided]:
    """Return the decisions of a key, oldest first: those that acted, and those that failed or were given up.

    Args:
        ref: the key's object.
        entries: (sequence, time, entry) of the key, in order. The outcomes of an open entry are in the next one, unless
            another worker has taken over.

    """
    found = []
    ordered = list(entries)
    for index, (seq, time, entry) in enumerate(ordered):
        if entry.state is EntryState.OPEN:
            following = ordered[index + 1][2] if index + 1 < len(ordered) else None
            said: Sequence[Outcome | None] = [None] * len(entry.actions)
            if following is not None and following.worker == entry.worker and len(following.outcomes) == len(said):
                said = following.outcomes
            deeds = tuple(Deed(action, outcome) for action, outcome in zip(entry.actions, said, strict=True))
            found.append(Decided(ref, seq, time, entry, deeds))
        elif entry.failures or entry.state is EntryState.PARKED:
            found.append(Decided(ref, seq, time, entry))
    return found


def wrote(deed: Deed, told: Told) -> bool:
    """Return whether an action made this very fact."""
    outcome = deed.outcome
    if outcome is None or outcome.result is not Result.DONE or deed.action.ref != told.ref:
        return False
    if told.fact.deleted:
        # A delete has no resourceVersion to go by: the uid is enough, for an object ends once.
        kind = type(deed.action).__name__
        ends = kind in {"Delete", "RemoveFinalizer"} or (
            kind == "Collect" and not outcome.version
        )  # else it only marked it
        return ends and _uid(deed) == told.fact.uid
    return outcome.version == told.fact.resourceversion


def writer_of(told: Told, decisions: Iterable[Decided]) -> tuple[Decided, Deed] | None:
    """Return the decision and the action that made a fact, None if none of these did."""
    return next(((one, deed) for one in decisions for deed in one.deeds if wrote(deed, told)), None)


def woken_by(told: Told, decisions: Iterable[Decided], subject: str) -> list[Decided]:
    """Return the decisions that a fact woke."""
    return [one for one in decisions if one.cause == (subject, told.seq)]


def last_change(history: Sequence[Told], path: str) -> Told | None:
    """Return the fact in which a field, or what is below or around it, last changed; the first if it never did."""
    for told in reversed(history):
        if told.first or any(_overlap(field.path, path) for field in told.fields):
            return told
    return None


def last_of_substance(history: Sequence[Told]) -> Told:
    """Return the last fact that changed more than a status, which others write all the time; the first if none did."""
    for told in reversed(history):
        if told.first or told.fact.deleted or any(not _overlap(field.path, ".status") for field in told.fields):
            return told
    return history[-1]


def _overlap(one: str, other: str) -> bool:
    """Return whether one path is the other, or leads to it."""
    shorter, longer = sorted((one, other), key=len)
    return longer == shorter or longer.startswith((f"{shorter}.", f"{shorter}["))


def _uid(deed: Deed) -> str:
    return str(getattr(deed.action, "uid", ""))
