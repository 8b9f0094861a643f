"""Changes to good objects: a path, and the value to put there."""

from __future__ import annotations

import copy
from typing import Any

from tests.sandbox.simulator.observed.good_objects import Json

DELETED: Any = object()
"""Stands for a field that is taken away."""

Change = tuple[str, Any]

CASES: dict[tuple[str, int], list[Change]] = {}
"""Changes by kind, and which of its good objects they are made to."""


def changed(obj: Json, path: str, value: Any) -> Json:
    """Return an object with one value changed."""
    result = copy.deepcopy(obj)
    steps: list[Any] = [int(step) if step.isdigit() else step for step in path.split(".")]
    found: Any = result
    for step in steps[:-1]:
        if isinstance(found, list) and step >= len(found):
            found.append({})
        if isinstance(found, dict) and step not in found:
            found[step] = {}
        found = found[step]
    last = steps[-1]
    if value is DELETED:
        found.pop(last, None)
    elif isinstance(found, list) and last == len(found):
        found.append(value)
    else:
        found[last] = value
    return result


def wrong(kind: str, *changes: Change, i: int = 0) -> None:
    """Keep changes that make an object of a kind wrong: the one with an index."""
    CASES.setdefault((kind, i), []).extend(changes)
