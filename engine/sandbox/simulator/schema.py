"""Placeholder until the compiled schema lands minutes later."""

from __future__ import annotations


class Schema:
    """Compiled schema."""
