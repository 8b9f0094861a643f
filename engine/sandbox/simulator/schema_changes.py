"""Field sets that were written before a custom resource definition made a map or list atomic.

Who owned anything in what is atomic now owns all of it. Nothing is done the other way round, as in structured-merge-diff.
"""

from __future__ import annotations

from engine.sandbox.simulator.fields import MEMBER, FieldSet
from engine.sandbox.simulator.schema import DEDUCED, UNTYPED, Schema


def reconciled(schema: Schema, owned: FieldSet) -> FieldSet:
    """Return the set as the schema wants it now; the same one if that changes nothing."""
    result = None
    for element, node in owned.items():
        kind, name = element[0], element[2:]
        child = schema.child(name) if kind == "f" else schema.items if kind in {"k", "v"} else None
        if not node or child is None or child is UNTYPED or child is DEDUCED:
            continue
        atomic = child.map_atomic or (child.type == "array" and child.list_type == "atomic")
        after = MEMBER if atomic else reconciled(child, node)
        if after is not node:
            result = dict(owned) if result is None else result
            result[element] = after
    return owned if result is None else result
