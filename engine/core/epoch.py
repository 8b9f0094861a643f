"""Epochs: when what was known of a cluster stops being comparable with what it shows now (DESIGN §2.4).

An epoch names one unbroken history of one cluster. A new one begins when another cluster answers (its identity differs)
or when the same one answers with an older state (its resourceVersions went back: an etcd restore, W-17). It is the
larger of the last epoch plus one and the time in seconds, so that it rises even where the last one has been forgotten.
"""

from __future__ import annotations

import msgspec

from schemas.names import ClusterId


class Standing(msgspec.Struct, frozen=True):
    """Identity and epoch of a cluster; both empty before it has ever answered."""

    identity: ClusterId = ClusterId("")
    epoch: int = 0


def recognised(last: Standing, identity: ClusterId, now: float) -> Standing:
    """Return the standing of a cluster that answers as `identity`, at wall time `now` in seconds."""
    if last.identity == identity and last.epoch:
        return last
    return Standing(identity, _next(last, now))


def restored(last: Standing, now: float) -> Standing:
    """Return the standing of a cluster whose resourceVersions went back, at wall time `now` in seconds."""
    return Standing(last.identity, _next(last, now))


def _next(last: Standing, now: float) -> int:
    return max(last.epoch + 1, int(now))
