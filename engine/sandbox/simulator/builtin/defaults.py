"""Defaults of the built-in types (first version: none yet)."""

from __future__ import annotations

from typing import Any

from engine.sandbox.simulator.resource_types import TypeKey

Json = dict[str, Any]


def with_defaults(key: TypeKey, obj: Json) -> Json:
    """Return the object with the defaults of its type."""
    return obj
