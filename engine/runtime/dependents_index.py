"""INDEX as the collector keeps it: who refers to what is at a place, whatever its uid (docs/garbage-collection.md).

Beside `engine.runtime.owner_index`, which finds a reconciler's dependents by the owner's uid, because the collector must also
find the dependents of owners that were replaced, or never existed. Two kinds of entry:
    * `dependents.<identity>.<place of the owner>.<dependent>` holds a `Held`. A key reads its own dependents by one prefix.
    * `owned.garbage.<dependent>` lists the subjects of a dependent's entries, so that former ones are found by an exact read.

The rules are those of `owner_index`: the list is written before an entry and shortened after everything that follows from its
removal; every write holds the sequence of the entry before it; whoever wrote looks whether its fact is still the latest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec
import structlog

from engine.core.cascade import Held
from engine.runtime.owner_index import ABSENT, ABSENT_TTL_SECONDS, INDEX
from engine.runtime.ports import EventLog, Message, Record, WrongLastSequence
from schemas import subjects
from schemas.names import ClusterId, ObjectRef

RECONCILER = "garbage"

_log = structlog.get_logger(__name__)
_subjects = msgspec.json.Decoder(list[str])
_held = msgspec.json.Decoder(Held)
_encoder = msgspec.json.Encoder()


class Changed(msgspec.Struct, frozen=True):
    """What bringing a dependent's entries up to date came to."""

    former: tuple[str, ...] = ()
    """Entries that are no longer true: wake their owners, then `forget` them."""
    rewritten: tuple[str, ...] = ()
    """Entries that say something else now: whether it blocks, or by which uid it refers."""
    changed: bool = False
    listed: int = 0
    """Sequence of the dependent's list."""
    around: tuple[Record, ...] = ()
    """Entries of what depended on the object itself when its own were read, before any of those was written."""


class DependentsIndex:
    """The entries, one dependent at a time."""

    def __init__(self, log: EventLog) -> None:
        """Keep them in `log`."""
        self._event_log = log

    async def update(
        self, dependent: ObjectRef, wanted: Mapping[str, Held], *, former: Collection[str] = (), around: str = ""
    ) -> Changed:
        """Bring a dependent's entries, by subject, up to date. The epoch of one that is there already stays as it is.

        Args:
            dependent: whose.
            wanted: what is true.
            former: entries that probably were, to read them together with the list.
            around: pattern of the entries of its own dependents, to be read on the way; empty: they are not asked for.

        Raises:
            EventLogError: when the broker does not answer; do it again.

        """
        while True:
            try:
                return await self._update(dependent, wanted, former, around)
            except WrongLastSequence:
                _log.debug("index entry written by another mapper", dependent=str(dependent))

    async def forget(self, dependent: ObjectRef, wanted: Iterable[str], changed: Changed) -> None:
        """Shorten a dependent's list to what is true, now that the former owners have been woken."""
        try:
            await self._list(dependent, wanted, changed.listed)
        except WrongLastSequence:
            _log.debug("owners listed by another mapper", dependent=str(dependent))  # it stays longer than it need be

    async def since(self, dependent: ObjectRef) -> dict[tuple[ClusterId, ObjectRef], int]:
        """Return the epoch in which each of a dependent's references was first seen, by identity and place of the owner."""
        place = _place(dependent)
        listed = _listed((await self._event_log.last(INDEX, [place])).get(place))
        found = {}
        for subject, record in (await self._event_log.last(INDEX, listed)).items() if listed else ():
            if record.body != ABSENT:
                identity, owner, _ = subjects.parse_dependent(subject)
                found[identity, owner] = _held.decode(record.body).epoch
        return found

    async def _update(
        self, dependent: ObjectRef, wanted: Mapping[str, Held], probable: Collection[str], around: str
    ) -> Changed:
        place = _place(dependent)
        found = await self._event_log.last(INDEX, [place, *wanted, *probable, *([around] if around else [])])
        own = tuple(one for subject, one in found.items() if one.body != ABSENT and subjects.matches(around, subject))
        listed, seq = _listed(found.get(place)), _seq(found.get(place))
        former = tuple(subject for subject in listed if subject not in wanted)
        before = {
            subject: _held.decode(found[subject].body)
            for subject in wanted
            if subject in found and found[subject].body != ABSENT
        }
        written = {subject: _kept(before.get(subject), held) for subject, held in wanted.items()}
        differing = [subject for subject, held in written.items() if before.get(subject) != held]
        if not former and not differing and set(listed) == wanted.keys():
            return Changed(around=own)
        if wanted.keys() - set(listed):
            seq = await self._list(dependent, {*listed, *wanted}, seq)
        for subject in differing:
            await self._write(subject, _encoder.encode(written[subject]), _seq(found.get(subject)))
        if former:
            unread = [subject for subject in former if subject not in probable]
            found |= await self._event_log.last(INDEX, unread) if unread else {}
            for subject in former:
                await self._write(subject, ABSENT, _seq(found.get(subject)))
        rewritten = tuple(one for one in differing if one in before and _matters(before[one], written[one]))
        return Changed(former, rewritten, changed=True, listed=seq, around=own)

    async def _list(self, dependent: ObjectRef, entries: Iterable[str], expect: int) -> int:
        listed = sorted(entries)
        return await self._write(_place(dependent), _encoder.encode(listed) if listed else ABSENT, expect)

    async def _write(self, subject: str, body: bytes, expect: int) -> int:
        ttl = ABSENT_TTL_SECONDS if body == ABSENT else 0.0
        return await self._event_log.append(INDEX, Message(subject=subject, body=body, ttl=ttl), expect_last=expect)


def _kept(before: Held | None, now: Held) -> Held:
    same = before is not None and before.owners == now.owners
    return msgspec.structs.replace(now, epoch=before.epoch) if same and before is not None else now


def _matters(before: Held, now: Held) -> bool:
    """Return whether an owner would decide otherwise now."""
    return (before.owners, before.blocking) != (now.owners, now.blocking)


def _place(dependent: ObjectRef) -> str:
    return subjects.keyed(subjects.OWNED, RECONCILER, dependent)


def _listed(record: Record | None) -> list[str]:
    return [] if record is None or record.body == ABSENT else _subjects.decode(record.body)


def _seq(record: Record | None) -> int:
    return record.seq if record else 0
