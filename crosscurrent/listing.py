"""How objects are printed: kubectl's columns behind the one that kubectl lacks, the cluster."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from crosscurrent.columns import Columns
from crosscurrent.objects import Change, Row, Selection
from crosscurrent.output import Format, Table, dump, dump_stream, say
from crosscurrent.targets import NO_NAMESPACE

CLUSTER_ANNOTATION = "crosscurrent.dev/cluster"
"""Added to what `-o json` and `-o yaml` print: an object does not say by itself which cluster it is of."""


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """How to print."""

    form: Format = Format.TABLE
    headings: bool = True
    labels: bool = False
    """Whether a table ends with each object's labels."""
    changes: bool = False
    """Whether a watch says what became of an object."""
    now: float | None = None
    """Wall time that ages are counted to; None: the present."""


class Printer:
    """Prints objects of one type, all at once or one by one as they change.

    Args:
        selection: what is printed: its type, and whether the namespace tells something.
        columns: of a table.
        style: how.
        kinds: whether names carry their kind, because several types are printed.

    """

    def __init__(self, selection: Selection, columns: Columns, style: Style, *, kinds: bool = False) -> None:
        self._selection = selection
        self._style = style
        self._kinds = kinds
        self._columns = columns
        self._table: Table | None = None
        self._spaces = False

    def rows(self, rows: Sequence[Row]) -> None:
        """Print a listing."""
        if self._style.form is Format.NAME:
            for row in rows:
                say(self._name(row))
        else:
            say(self._lines([(row, Change.ADDED) for row in rows]))

    def first(self, rows: Sequence[Row]) -> None:
        """Print what a watch begins with."""
        if rows and self._style.form.tabular:
            self.rows(rows)
            sys.stdout.flush()
            return
        for row in rows:
            self.change(Change.ADDED, row)

    def change(self, change: Change, row: Row) -> None:
        """Print a line of a watch, or a document."""
        if self._style.form is Format.NAME:
            say(self._name(row))
        elif self._style.form.tabular:
            say(self._lines([(row, change)]))
        else:
            document = annotated(row)
            event = {"type": change.value, "object": document} if self._style.changes else document
            say(dump_stream(event, self._style.form))
        sys.stdout.flush()

    def _name(self, row: Row) -> str:
        return f"{row.ref.cluster}/{self._selection.group_resource}/{row.ref.namespace or NO_NAMESPACE}/{row.ref.name}"

    def _lines(self, rows: Sequence[tuple[Row, Change]]) -> str:
        now = time.time() if self._style.now is None else self._style.now
        spaces = not self._selection.namespace and any(row.ref.namespace for row, _ in rows)
        if self._table is None:
            before = ["EVENT"] if self._style.changes else []
            place = ["CLUSTER", "NAMESPACE", "NAME"] if spaces else ["CLUSTER", "NAME"]
            after = ["LABELS"] if self._style.labels else []
            self._spaces = spaces
            self._table = Table([*before, *place, *self._columns.titles, *after], heading=self._style.headings)
        return self._table.text([self._cells(row, change, now) for row, change in rows])

    def _cells(self, row: Row, change: Change, now: float) -> list[str]:
        cells = [change.value] if self._style.changes else []
        cells.append(row.ref.cluster)
        if self._spaces:
            cells.append(row.ref.namespace)
        kind = str(row.body.get("kind", "")).lower()
        group = f".{self._selection.group}" if self._selection.group else ""
        cells.append(f"{kind}{group}/{row.ref.name}" if self._kinds else row.ref.name)
        cells += self._columns.cells(row.body, now)
        if self._style.labels:
            labels = row.metadata.get("labels") or {}
            cells.append(",".join(f"{key}={value}" for key, value in sorted(labels.items())))
        return cells


def print_documents(rows: Sequence[Row], form: Format, *, one: bool, besides: Mapping[str, object] = {}) -> None:
    """Print objects as one JSON or YAML document: the object itself when it was asked for by name, else a List.

    Args:
        rows: the objects.
        form: JSON or YAML.
        one: whether the only row was asked for by name.
        besides: what a List says besides its items.

    """
    items = [annotated(row) for row in rows]
    say(dump(items[0] if one else {"apiVersion": "v1", "kind": "List", **besides, "items": items}, form))


def annotated(row: Row) -> dict[str, Any]:
    """Return an object with its cluster written on it."""
    annotations = {**(row.metadata.get("annotations") or {}), CLUSTER_ANNOTATION: row.ref.cluster}
    return {**row.body, "metadata": {**row.metadata, "annotations": annotations}}
