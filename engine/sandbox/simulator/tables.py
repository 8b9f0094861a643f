"""Objects as tables, as `kubectl get` shows them: the columns of the real server.

In: a type and its objects. Out: a Table. Built-in types have their printers in `printers`; custom resources bring their
columns along in their definitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.store import Json

INCLUDES: Final = ("", "Metadata", "Object", "None")


def table(
    rtype: ResourceType, objects: Sequence[Json], metadata: Json, *, version: str, include: str, now: float
) -> dict[str, Any]:
    """Return a table.

    Args:
        rtype: type of the objects.
        objects: one row each.
        metadata: of the list.
        version: apiVersion of the table.
        include: what to show of the objects beside the cells; empty: Metadata.
        now: seconds since 1970, for ages.

    """
    columns = [
        {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
        {"name": "Created At", "type": "date", "format": "", "description": "", "priority": 0},
    ]
    rows = []
    for one in objects:
        row: Json = {"cells": [one["metadata"].get("name", ""), one["metadata"].get("creationTimestamp")]}
        if include == "Object":
            row["object"] = one
        elif include != "None":
            row["object"] = {"kind": "PartialObjectMetadata", "apiVersion": version, "metadata": one["metadata"]}
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": version,
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    }
