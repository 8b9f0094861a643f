"""Rules in CEL of custom resource definitions (first version: not evaluated)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.sandbox.simulator.errors import Cause

Json = dict[str, Any]


def has_rules(source: Any) -> bool:
    """Return whether a schema has rules anywhere."""
    if isinstance(source, dict):
        return "x-kubernetes-validations" in source or any(has_rules(one) for one in source.values())
    return isinstance(source, list) and any(has_rules(one) for one in source)


@dataclass(frozen=True, slots=True)
class Correlation:
    """Whether a value in an object can be told to be the one in the object before.

    Attributes:
        lost_at: path of the first node above at which it cannot; empty: it can.

    """

    lost_at: str = ""

    def lost(self, path: str) -> Correlation:
        """Return what holds below a node that breaks the correlation."""
        return self if self.lost_at else Correlation(path)


_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\['((?:[^'\\]|\\.)*)'\]")


def field_path(text: str, schema: Json) -> str | None:
    """Return a rule's `fieldPath` as causes say it; None: it is no path of fields in the schema."""
    found: Any = schema
    at, path = 0, ""
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or not isinstance(found, dict):
            return None
        name = match[1] or match[2].replace("\\'", "'")
        declared, other = (found.get("properties") or {}).get(name), found.get("additionalProperties")
        if declared is None and not isinstance(other, dict):
            return None
        path += f".{name}" if declared is not None else f"[{name}]"
        found, at = declared if declared is not None else other, match.end()
    return path or None


def rule_problems(schema: Json, path: str, correlation: Correlation) -> Iterator[Cause]:
    """Return which rules of one node cannot be compiled."""
    yield from ()


class RuleSet:
    """All rules of a schema."""

    def __init__(self, source: Json) -> None:
        self._source = source

    def causes(self, new: Json, old: Json | None) -> list[Cause]:
        """Return the rules that an object breaks."""
        return []
