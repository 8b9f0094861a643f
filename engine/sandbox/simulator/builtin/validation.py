"""Validation of the built-in types (first version: none yet)."""

from __future__ import annotations

from typing import Any

from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.resource_types import TypeKey

Json = dict[str, Any]


def validation_causes(key: TypeKey, new: Json, old: Json | None, subresource: str) -> list[Cause]:
    """Return what is wrong with an object's content."""
    return []
