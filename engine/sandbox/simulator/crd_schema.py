"""Validation of custom resources (first version: none yet)."""

from __future__ import annotations

from typing import Any

from engine.sandbox.simulator.errors import Cause
from engine.sandbox.simulator.resource_types import ResourceType

Json = dict[str, Any]


def custom_causes(rtype: ResourceType, new: Json, old: Json | None, subresource: str) -> list[Cause]:
    """Return what is wrong with a custom resource's content."""
    return []
