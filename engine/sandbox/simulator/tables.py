"""Objects as tables, as `kubectl get` shows them: the columns of the real server.

In: a type and its objects. Out: a Table. Built-in types have their printers in `printers`; custom resources bring their
columns along in their definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from engine.sandbox.simulator.go_text import json_text
from engine.sandbox.simulator.human import Json, age
from engine.sandbox.simulator.json_path import compiled
from engine.sandbox.simulator.pod_printer import pod_conditions
from engine.sandbox.simulator.printers import PRINTERS, SCALE
from engine.sandbox.simulator.printing import Cells, Column, Printer
from engine.sandbox.simulator.resource_types import PrinterColumn, ResourceType
from engine.sandbox.simulator.strategies import TEMPLATE_GENERATION

INCLUDES: Final = ("", "Metadata", "Object", "None")
_AGE: Final = PrinterColumn("Age", "date", ".metadata.creationTimestamp")
"""What a custom resource shows whose definition names no columns."""


def table(
    rtype: ResourceType, objects: Sequence[Json], metadata: Json, *, version: str, include: str, now: float
) -> Json:
    """Return a table.

    Args:
        rtype: type of the objects.
        objects: one row each.
        metadata: of the list.
        version: apiVersion of the table.
        include: what to show of the objects beside the cells; empty: Metadata.
        now: seconds since 1970, for ages.

    """
    columns, cells = _printer(rtype, objects)
    rows = []
    for one in objects:
        row: Json = {"cells": cells(one, now)}
        if rtype.key == ("", "pods") and (conditions := pod_conditions(one)):
            row["conditions"] = conditions
        row["object"] = _included(one, include, version)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": version,
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows if rows or columns != [_definition(one) for one in _DEFAULT.columns] else None,
    }


def custom_printer(columns: Sequence[PrinterColumn]) -> Printer:
    """Return how a custom resource is printed whose definition names these columns; none: with its age."""
    chosen = columns or (_AGE,)
    heads = (Column(column.name, column.type, column.priority > 0) for column in chosen)
    return Printer((Column("Name"), *heads), _custom_cells(chosen))


def _included(obj: Json, include: str, version: str) -> Json | None:
    if include == "None":
        return None
    if include == "Object":
        return obj
    return metadata_only(obj, version)


def metadata_only(obj: Json, version: str) -> Json:
    """Return an object's PartialObjectMetadata, which is made of the internal object, as rows are."""
    metadata = obj["metadata"]
    annotations = metadata.get("annotations") or {}
    if TEMPLATE_GENERATION in annotations:  # of the internal object it is a field
        rest = {name: value for name, value in annotations.items() if name != TEMPLATE_GENERATION}
        metadata = {**metadata, "annotations": rest}
        if not rest:
            del metadata["annotations"]
    return {"kind": "PartialObjectMetadata", "apiVersion": version, "metadata": metadata}


def _printer(rtype: ResourceType, objects: Sequence[Json]) -> tuple[list[Json], Callable[[Json, float], Cells]]:
    """Return the definitions of a type's columns, and what makes its cells."""
    if objects and objects[0].get("kind") == "Scale":
        return [_definition(one) for one in SCALE.columns], SCALE.cells
    if rtype.custom:
        columns = rtype.columns or (_AGE,)
        return [_definition(Column("Name")), *map(_custom_definition, columns)], _custom_cells(columns)
    printer = PRINTERS.get(rtype.key, _DEFAULT)
    return [_definition(one) for one in printer.columns], printer.cells


def _definition(column: Column) -> Json:
    return {
        "name": column.name,
        "type": column.type,
        "format": "name" if column.name == "Name" else "",
        "description": "",
        "priority": int(column.wide),
    }


def _custom_definition(column: PrinterColumn) -> Json:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def _custom_cells(columns: Sequence[PrinterColumn]) -> Callable[[Json, float], Cells]:
    found = [(column.type, compiled(column.json_path)) for column in columns]

    def cells(obj: Json, now: float) -> Cells:
        row: Cells = [obj["metadata"].get("name", "")]
        for kind, values in found:
            here = values(obj)
            row.append(_custom_cell(kind, here[0], now) if here else None)
        return row

    return cells


def _custom_cell(kind: str, value: Any, now: float) -> Any:
    """Return a value as a column of some type shows it, None when it is not of that type."""
    if kind == "date":
        return age(value, now) if isinstance(value, str) else None
    if kind == "string":
        return _text(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "integer":
        return int(value) if is_number else None
    if kind == "number":
        return value if is_number else None
    return value if isinstance(value, bool) else None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else json_text(value)


def _default_cells(obj: Json, _now: float) -> Cells:
    return [obj["metadata"].get("name", ""), obj["metadata"].get("creationTimestamp")]


_DEFAULT: Final = Printer((Column("Name"), Column("Created At", "date")), _default_cells)
"""How types are printed that have no printer of their own."""
