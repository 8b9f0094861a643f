"""The streams of DESIGN §5 as values: what each keeps, and the configuration that asks the broker for it.

Pure: nothing here talks to a broker. `engine.runtime.log_setup` creates and migrates; `engine.sandbox.memory_log` obeys the
same table, so that the fake and the real thing cannot drift apart in what they keep.
"""

from __future__ import annotations

from typing import Any

import msgspec

from schemas import subjects

FACTS = "FACTS"
STATE = "STATE"
INDEX = "INDEX"
REQUESTS = "REQUESTS"
DECISIONS = "DECISIONS"
TIMERS = "TIMERS"

DUPLICATE_WINDOW_SECONDS = 600.0
"""For how long FACTS remembers ids: longer than any retry of a publish. An id costs the broker about 216 bytes, so ten
minutes of 5,000 facts a second are 650 MB at most; a watcher that was paused for longer resumes from STATE (DESIGN §5)."""
SHORT_WINDOW_SECONDS = 120.0
"""The other streams' window: the broker's own default. Their writers use preconditions or are idempotent."""
CHECKPOINTS = "CHECKPOINTS"
DECISIONS_KEPT = 16
"""Entries per key: `why` shows the recent past; the last one is the lock."""
NANOSECONDS = 1_000_000_000

Json = dict[str, Any]


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What one stream keeps."""

    name: str
    subjects: tuple[str, ...] = ()
    """Filters of the subjects it takes; empty for a stream that only sources another."""
    source: str = ""
    """Name of the stream it follows."""
    per_subject: int = -1
    """Messages kept per subject, the oldest go first; -1: all."""
    max_age: float = 0.0
    """Seconds after which messages go; 0: never."""
    work_queue: bool = False
    """Whether an acknowledged message is removed."""
    compressed: bool = False
    """s2: 6x smaller, but a random read costs 10x as much; only for streams that are read in order."""
    schedules: bool = False
    """Whether the broker runs its messages' schedules."""
    rollup: bool = False
    """Whether a message may drop its subject's earlier ones."""
    duplicate_window: float = SHORT_WINDOW_SECONDS

    def config(self, replicas: int) -> Json:
        """Return the part of the broker's stream configuration that we insist on, for `replicas` copies."""
        config: Json = {
            "name": self.name,
            "retention": "workqueue" if self.work_queue else "limits",
            "storage": "file",
            "discard": "old",
            "num_replicas": replicas,
            "max_msgs_per_subject": self.per_subject,
            "max_age": round(self.max_age * NANOSECONDS),
            "compression": "s2" if self.compressed else "none",
            "duplicate_window": round(self._window() * NANOSECONDS),
            "allow_direct": True,
            "allow_msg_ttl": True,
            "allow_atomic": not self.source,  # what is published to it is published in batches
            "allow_msg_schedules": self.schedules,
            "allow_rollup_hdrs": self.rollup or self.schedules,
        }
        if self.subjects:
            config["subjects"] = list(self.subjects)
        if self.source:
            config["sources"] = [{"name": self.source}]
            if replicas == 1:
                # Its tail may be lost in a crash: the broker sources it again, with the same sequences. Without this, each
                # sourced message costs an fsync where the broker syncs always: STATE then follows 6x slower (measured).
                config["persist_mode"] = "async"
        return config

    def takes(self, subject: str) -> bool:
        """Return whether a message with this subject may be published to it."""
        return subject.startswith(tuple([pattern[:-1] for pattern in self.subjects]))

    def _window(self) -> float:
        # The broker refuses a window longer than the age limit.
        return min(self.duplicate_window, self.max_age) if self.max_age else self.duplicate_window


def stream_specs(*, fact_days: float) -> dict[str, StreamSpec]:
    """Return every stream by name, in the order in which they are to be created (a source before its follower).

    Args:
        fact_days: days for which FACTS keeps history.

    """
    specs = (
        StreamSpec(
            name=FACTS,
            subjects=(f"{subjects.FACTS}.>", f"{subjects.SYNC}.>"),
            max_age=fact_days * 86400,
            compressed=True,
            duplicate_window=DUPLICATE_WINDOW_SECONDS,
        ),
        StreamSpec(name=STATE, source=FACTS, per_subject=1),
        StreamSpec(
            name=INDEX,
            subjects=(
                f"{subjects.OWNERS}.>",
                f"{subjects.OWNED}.>",
                f"{subjects.DEPENDENTS}.>",
                f"{subjects.SUSPECTS}.>",
            ),
            per_subject=1,
        ),
        StreamSpec(name=REQUESTS, subjects=(f"{subjects.REQUESTS}.>",), per_subject=1, work_queue=True),
        StreamSpec(name=DECISIONS, subjects=(f"{subjects.DECISIONS}.>",), per_subject=DECISIONS_KEPT, rollup=True),
        StreamSpec(
            name=TIMERS,
            subjects=(f"{subjects.TIMERS}.>", f"{subjects.DUE}.>"),
            per_subject=1,
            # A work queue, so that a fired timer goes when it is acknowledged; nobody consumes the waiting ones.
            work_queue=True,
            schedules=True,
        ),
        # A checkpoint older than the facts behind it can answer nothing; see `engine.runtime.checkpoints`.
        StreamSpec(
            name=CHECKPOINTS,
            subjects=(f"{subjects.CHECKPOINTS}.>",),
            per_subject=1,
            max_age=fact_days * 86400 * 1.5,  # never before the facts behind it
        ),
    )
    return {spec.name: spec for spec in specs}
