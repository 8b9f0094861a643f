"""Rules in CEL of custom resource definitions (first version: not evaluated)."""

from __future__ import annotations

from typing import Any

from engine.sandbox.simulator.errors import Cause

Json = dict[str, Any]


def has_rules(source: Any) -> bool:
    """Return whether a schema has rules anywhere."""
    if isinstance(source, dict):
        return "x-kubernetes-validations" in source or any(has_rules(one) for one in source.values())
    return isinstance(source, list) and any(has_rules(one) for one in source)


class RuleSet:
    """All rules of a schema."""

    def __init__(self, source: Json) -> None:
        self._source = source

    def causes(self, new: Json, old: Json | None) -> list[Cause]:
        """Return the rules that an object breaks."""
        return []
