"""Checkpoints: the state of the fleet as it was, kept so that the past stays whole when its oldest facts have gone.

A checkpoint is read from STATE while facts go on coming, so it is fuzzy, as a database's: what was in STATE when it began is
in it, and of what came meanwhile it may hold some. So a state is folded from its rows and from *every* fact behind `after`;
it can be any state from `until` on.
"""

from __future__ import annotations

import msgspec


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """That a checkpoint is whole: written last, so that one which was cut short is never read."""

    name: str
    after: int
    """Sequence of FACTS up to which everything is in the rows."""
    until: int
    """Sequence of FACTS that the rows do not go beyond: the earliest state that can be told."""
    time: float
    """Wall time of `until`, seconds since the epoch."""
    incarnation: str
    """Which life of FACTS these sequences count in."""
    rows: int
    size: int
    """Bytes of its parts, as stored."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """That somebody makes a checkpoint."""

    name: str
    time: float
    """Wall time at which it was begun, seconds since the epoch."""


class CheckpointRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One record of STATE."""

    subject: str
    seq: int
    """Its sequence in FACTS."""
    time: str
    """When the broker stored it, RFC 3339."""
    body: bytes
