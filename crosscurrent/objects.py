"""Objects of one type across clusters, as STATE has them: read once, or followed as they change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Any

import msgspec

from crosscurrent.fleet import TypeSync
from crosscurrent.selectors import EVERYTHING, Selector
from engine.runtime.ports import EventLog, Record
from schemas import subjects
from schemas.facts import decode_fact
from schemas.names import ObjectRef

Json = dict[str, Any]


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which objects."""

    group: str
    plural: str
    names: tuple[str, ...] = ()
    """Empty: all."""
    namespace: str = "default"
    """Empty: every namespace. What has no namespace is always meant; `_`: nothing else."""
    clusters: tuple[str, ...] = ()
    """Empty: every cluster."""
    selector: Selector = EVERYTHING

    @property
    def group_resource(self) -> str:
        """`deployments.apps`, or `configmaps` for the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def filters(self) -> list[str]:
        """Return NATS filters: the namespace asked for, and `_` too because the type may be cluster-scoped."""
        places = {subjects.escape(self.namespace): None, "_": None} if self.namespace else ("*",)
        return [
            f"{subjects.facts_of(cluster, self.group, self.plural).removesuffix('>')}{place}.{name}"
            for cluster in self.clusters or ("*",)
            for place in places
            for name in [subjects.escape(name) for name in self.names] or ["*"]
        ]

    def concerns(self, item: TypeSync) -> bool:
        """Return whether a type's standing says something of what is selected."""
        return (item.group, item.plural) == (self.group, self.plural) and (
            not self.clusters or item.cluster in self.clusters
        )


class Row(msgspec.Struct, frozen=True):
    """One object."""

    ref: ObjectRef
    body: Json

    @property
    def metadata(self) -> Json:
        """Its metadata."""
        return self.body.get("metadata") or {}


class Change(StrEnum):
    """What became of a row."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    """It is gone, or the selectors do not select it any more."""


class Watched:
    """Rows and what becomes of them: the rows first, then every change.

    Args:
        log: to read.
        selection: which.

    """

    def __init__(self, log: EventLog, selection: Selection) -> None:
        self._event_log = log
        self._selection = selection
        self._rows: dict[ObjectRef, Row] = {}
        self._read: dict[str, int] = {}

    async def read(self) -> list[Row]:
        """Return every selected row, by cluster, namespace and name."""
        async for record in self._event_log.scan("STATE", self._selection.filters()):
            self._read[record.subject] = record.seq
            if row := self._row(record):
                self._rows[row.ref] = row
            else:  # it may have come twice, because it changed meanwhile
                self._rows.pop(subjects.parse_fact(record.subject), None)
        return sorted(self._rows.values(), key=lambda row: row.ref)

    async def changes(self, after: int) -> AsyncIterator[tuple[Change, Row]]:
        """Iterate over what becomes of the rows, without an end.

        Args:
            after: last sequence of STATE before `read` was called.

        """
        async for record in self._event_log.follow("STATE", self._selection.filters(), after=after):
            if record.seq <= self._read.pop(record.subject, 0):
                continue
            row = self._row(record)
            before = self._rows.pop(subjects.parse_fact(record.subject), None)
            if row is not None:
                self._rows[row.ref] = row
                yield Change.MODIFIED if before else Change.ADDED, row
            elif before is not None:
                yield Change.DELETED, before

    def _row(self, record: Record) -> Row | None:
        return row_of(record.subject, record.body, self._selection)


def row_of(subject: str, body: bytes, selection: Selection) -> Row | None:
    """Return a fact as a row, None when the object is gone or not selected by labels and fields."""
    fact = decode_fact(body)
    found = None if fact.deleted else msgspec.json.decode(fact.data, type=Json | None)
    if found is None or not selection.selector.selects(found):
        return None
    return Row(subjects.parse_fact(subject), found)
