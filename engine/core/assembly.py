"""Put a view together from records of STATE, or of history. Pure: the same records give the same view."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Protocol

import msgspec

from engine.core.view import Cluster, Row, View
from schemas import subjects
from schemas.clusters import ClusterRecord
from schemas.facts import decode_fact, decode_sync
from schemas.names import ClusterName, ObjectRef

DECODED = 4096
"""Decoded records of clusters and syncs kept, by their bytes: every load reads the same few. Not a cache of the fleet, which
is read anew each time."""

_record = msgspec.json.Decoder(ClusterRecord)


class Kept(Protocol):
    """A record: its sequence in STATE, and its bytes."""

    @property
    def seq(self) -> int:
        """Sequence in STATE."""

    @property
    def body(self) -> bytes:
        """Bytes of a fact or sync record."""


@lru_cache(maxsize=DECODED)
def _described(body: bytes) -> ClusterRecord:
    return _record.decode(decode_fact(body).data)


def cluster_of(name: ClusterName, record: Kept | None) -> Cluster:
    """Return a cluster as its record describes it; without one it has never reported."""
    if record is None:
        return Cluster(name=name)
    described = _described(record.body)
    status = described.status
    return Cluster(
        name=name,
        state=status.state,
        identity=status.identity,
        epoch=status.epoch,
        labels=described.metadata.labels,
        reason=status.reason,
        message=status.message,
        since=status.since,
        seq=record.seq,
    )


_sync_record = lru_cache(maxsize=DECODED)(decode_sync)
_sync_place = lru_cache(maxsize=DECODED)(subjects.parse_sync)


def synced_types(
    found: Mapping[str, Kept], wanted: Iterable[str], clusters: Iterable[Cluster]
) -> frozenset[tuple[ClusterName, str, str]]:
    """Return the types whose contents are known: a sync record of another identity or epoch says nothing (DESIGN §2.4).

    Args:
        found: records by subject.
        wanted: subjects to look at; those of facts are passed over.
        clusters: as they stand.

    """
    standing = {cluster.name: (cluster.identity, cluster.epoch) for cluster in clusters}
    synced = set()
    for subject in wanted:
        stored = found.get(subject)
        if stored is None or not subject.startswith(f"{subjects.SYNC}."):
            continue
        record = _sync_record(stored.body)
        if record.synced and standing.get(record.cluster) == (record.identity, record.epoch):
            synced.add(_sync_place(subject))
    return frozenset(synced)


def mentioned_types(found: Iterable[str], wanted: Iterable[str]) -> frozenset[tuple[ClusterName, str, str]]:
    """Return the types of which there is a sync record among the wanted subjects that were found, whatever it says."""
    there = set(found)
    return frozenset(_sync_place(one) for one in wanted if one in there and one.startswith(f"{subjects.SYNC}."))


def add_rows(view: View, found: Mapping[str, Kept], places: Iterable[ObjectRef]) -> None:
    """Put the facts of objects into a view."""
    for ref in places:
        record = found.get(subjects.fact(ref))
        if record is not None:
            view.rows[ref] = Row(record.seq, decode_fact(record.body))
