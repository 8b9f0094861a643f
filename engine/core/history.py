"""The state of the fleet at a cut, folded from facts. Pure.

A cut is a sequence of FACTS, one order over all clusters: everything up to it has happened, nothing behind it. That makes it
consistent for us, and as current for each cluster as its watcher was then; `standings` says how current that was, and what
of it is not certain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from schemas import subjects
from schemas.clusters import CLUSTERS, ClusterRecord, ClusterState, ClusterStatus
from schemas.facts import SyncType, decode_fact, decode_sync
from schemas.names import ClusterName

_CLUSTERS = subjects.facts_of("*", CLUSTERS.group, CLUSTERS.plural)


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A fact or sync record as it is in history."""

    seq: int
    """Its sequence in FACTS."""
    time: str
    """When the broker stored it, RFC 3339."""
    body: bytes


class Cut(msgspec.Struct, frozen=True):
    """A moment: everything up to this sequence of FACTS."""

    seq: int
    time: float
    """Wall time that was asked for, or when that sequence was stored; seconds since the epoch."""


class Doubt(msgspec.Struct, frozen=True):
    """One thing that is not certain of a cluster at a cut."""

    what: str
    """A resource type, `deployments.apps`, or empty for the cluster as a whole."""
    why: str


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How far the state at a cut may be believed for one cluster."""

    cluster: ClusterName
    watermark: str
    """When the broker stored this cluster's newest record of those read, RFC 3339: what happened there later is not in it."""
    doubts: tuple[Doubt, ...] = ()
    """Gaps, types that were not synced, a cluster that did not answer: there, what is missing was not absent but unknown."""


class Past:
    """Rows folded from history: the last record of every subject up to a point.

    Records must be taken in order; rows of a checkpoint before every fact behind it.
    """

    def __init__(self, rows: Mapping[str, Stored] = {}) -> None:
        """Begin with rows, none by default."""
        self.rows: dict[str, Stored] = dict(rows)
        self._watermarks: dict[str, str] = {}
        """Time of the newest record, by the cluster's token."""
        for subject, stored in self.rows.items():
            self._mark(subject, stored.time)

    def take(self, subject: str, stored: Stored) -> None:
        """Put a record in the place of what was known of its subject."""
        self.rows[subject] = stored
        self._mark(subject, stored.time)

    def _mark(self, subject: str, time: str) -> None:
        token = subject.split(".", 2)[1]
        if time > self._watermarks.get(token, ""):
            self._watermarks[token] = time

    def standings(self, types: Iterable[tuple[str, str]] | None = None) -> list[Standing]:
        """Return what is known of each cluster, by name.

        Args:
            types: (group, plural) that matter; None: all.

        """
        wanted = None if types is None else set(types)
        statuses = self.clusters()
        doubts: dict[ClusterName, list[Doubt]] = {name: _cluster_doubts(status) for name, status in statuses.items()}
        for subject, stored in self.rows.items():
            if not subject.startswith(f"{subjects.SYNC}."):
                continue
            cluster, group, plural = subjects.parse_sync(subject)
            found = doubts.setdefault(cluster, [])
            if wanted is None or (group, plural) in wanted:
                found += _type_doubts(f"{plural}.{group}" if group else plural, stored.body, statuses.get(cluster))
        return [
            Standing(
                cluster=name,
                watermark=self._watermarks.get(subjects.escape(name), ""),
                doubts=tuple(sorted(doubts[name], key=lambda doubt: doubt.what)),
            )
            for name in sorted(doubts)
        ]

    def clusters(self) -> dict[ClusterName, ClusterStatus]:
        """Return how every cluster stood."""
        found = {}
        for subject, stored in self.rows.items():
            if not subjects.matches(_CLUSTERS, subject):
                continue
            fact = decode_fact(stored.body)
            if not fact.deleted:
                found[subjects.parse_fact(subject).cluster] = _record.decode(fact.data).status
        return found


def seconds(time: str) -> float:
    """Return a stored time, RFC 3339, as seconds since the epoch."""
    return datetime.fromisoformat(time).timestamp()


def _cluster_doubts(status: ClusterStatus) -> list[Doubt]:
    if status.state is ClusterState.LIVE:
        return []
    why = " ".join(filter(None, (status.state.value, f"since {status.since}" if status.since else "", status.reason)))
    return [Doubt("", why)]


def _type_doubts(name: str, body: bytes, status: ClusterStatus | None) -> list[Doubt]:
    record = decode_sync(body)
    if not record.synced:
        word = "was being listed" if record.type is SyncType.STARTED else "gap"
        return [Doubt(name, f"{word}: {record.data.reason}" if record.data.reason else word)]
    if status is not None and (status.identity, status.epoch) != (record.identity, record.epoch):
        return [Doubt(name, f"was last synced in epoch {record.epoch}, before epoch {status.epoch} began")]
    return []


_record = msgspec.json.Decoder(ClusterRecord)
