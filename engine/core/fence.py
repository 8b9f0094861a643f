"""The lock and the fence of a key, as pure questions about its last DECISIONS entry (DESIGN §5).

Rules:
    * Whoever appends `open` with the sequence of the entry before it holds the key until the lease runs out.
    * A waiter judges the lease by its own monotonic clock, from when *it* first saw that entry: no two clocks are compared.
    * Input sequences never go backwards along a key's entries: a reader whose rows are older than those of a decision that
      was made is looking at the past, however well its append would succeed (zombie writes after SIGSTOP).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from schemas.decisions import Entry, EntryState

LEASE_SECONDS = 4.0
"""With `ACK_WAIT_SECONDS` this bounds how long the key of a killed worker waits: 5 s (PB-08)."""
ACK_WAIT_SECONDS = 1.0
"""After this the broker hands a silent worker's request to another; a living one says `in progress` three times in it."""
LEASE_MARGIN_SECONDS = 0.5
"""No request is sent with less of the lease left: it must also be answered and closed within it."""


class Verdict(StrEnum):
    """What the last entry lets a worker do."""

    GO = "go"
    WAIT = "wait"
    """Somebody holds the key: ask again shortly."""
    STALE = "stale"
    """Our rows are older than a decision made: load again shortly."""


def is_held(entry: Entry | None, *, waited: float) -> bool:
    """Return whether somebody holds a key.

    Args:
        entry: the key's last entry.
        waited: seconds for which this waiter has seen `entry` unchanged.

    """
    return entry is not None and entry.state is EntryState.OPEN and waited < entry.lease


def judge(entry: Entry | None, *, inputs: Mapping[str, int], incarnation: str, waited: float) -> Verdict:
    """Return whether a decision from these inputs may be made.

    Args:
        entry: the key's last entry, read before the inputs.
        inputs: STATE sequence of every row read, by subject; 0 for a missing row.
        incarnation: which STATE stream they count in.
        waited: seconds for which this waiter has seen `entry` unchanged.

    """
    if entry is None:
        return Verdict.GO
    if is_held(entry, waited=waited):
        return Verdict.WAIT
    if entry.incarnation == incarnation and any(
        inputs[subject] < seq for subject, seq in entry.inputs.items() if subject in inputs
    ):
        return Verdict.STALE
    return Verdict.GO


def merged_inputs(entry: Entry | None, inputs: Mapping[str, int], incarnation: str) -> dict[str, int]:
    """Return the inputs to record: ours in the order in which they were read, then the entry before's that are not read now.

    Without them a row that leaves the view and comes back could go backwards unnoticed. Rows of an earlier life of STATE
    are dropped, and so are missing rows.
    """
    kept = entry.inputs if entry is not None and entry.incarnation == incarnation else {}
    former = {subject: seq for subject, seq in kept.items() if subject not in inputs}
    return {subject: seq for subject, seq in {**inputs, **former}.items() if seq}
