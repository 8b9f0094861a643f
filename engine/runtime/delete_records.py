"""The records of the collector's deletes, on their way to FACTS (SEC-27): who, what, and on which evidence.

The next delete does not wait for a record, the key's `closed` entry does; should the process die in between, the `open` entry
names what was about to be collected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache

import structlog

from engine.core.collection import Ownership, Standing
from engine.core.evidence import Absent, Look
from engine.runtime.ports import Clock, EventLog, EventLogError, Message
from engine.runtime.rounds import Rounds
from schemas.actions import Collect
from schemas.deletions import Deletion, DeletionMeta, DeletionSpec, OwnerEvidence, deletion_fact
from schemas.names import ClusterId, ResourceVersion

RECORD_SECONDS = 30 * 86400.0
"""How long STATE keeps the record of a delete; FACTS keeps it as long as everything else."""

_log = structlog.get_logger(__name__)


class DeleteRecords:
    """Publishes records; one per process."""

    def __init__(self, log: EventLog, clock: Clock, by: str) -> None:
        """Publish to `log`, as deletes `by` an engine and its field manager."""
        self._event_log, self._clock, self._by = log, clock, by
        self._rounds = Rounds(self._publish, "records of deletes")
        self._stored: asyncio.Future[None] | None = None
        """Of the newest round."""

    def add(
        self,
        action: Collect,
        version: ResourceVersion,
        place: tuple[ClusterId, int],
        *,
        propagation: str,
        reason: str,
        ownerships: Iterable[Ownership],
        unanswered: bool = False,
    ) -> None:
        """Record a delete that has just been made, or may have been.

        Args:
            action: what was deleted.
            version: read live, and the precondition of the delete.
            place: identity and epoch of its cluster.
            propagation: how it was deleted.
            reason: why.
            ownerships: what was found of its owners.
            unanswered: whether no answer came.

        """
        record = Deletion(
            metadata=DeletionMeta(action.uid, action.ref.namespace),
            spec=DeletionSpec(
                object=str(action.ref),
                uid=action.uid,
                resource_version=version,
                propagation=propagation,
                by=self._by,
                time=_rfc3339(self._clock.time()),
                reason=reason,
                owners=tuple(_evidence(one, action) for one in ownerships),
                unanswered=unanswered,
            ),
        )
        _log.debug("deleted", object=record.spec.object, uid=action.uid, reason=reason)
        subject, fact_id, body = deletion_fact(action.ref, *place, record)
        self._stored = self._rounds.add([Message(subject=subject, body=body, id=fact_id, ttl=RECORD_SECONDS)])

    async def stored(self, deadline: float) -> None:
        """Wait until all records so far are stored, or could not be, or until monotonic time `deadline`."""
        if self._stored is not None:
            await asyncio.wait([self._stored], timeout=max(0.0, deadline - self._clock.monotonic()))

    async def _publish(self, records: Sequence[Message]) -> None:
        try:
            await self._event_log.publish(records)
        except EventLogError as error:
            places = [record.subject for record in records]
            _log.error("records of deletes could not be published", records=places, error=str(error))


def _evidence(one: Ownership, action: Collect) -> OwnerEvidence:
    return OwnerEvidence(
        owner=str(one.reference),
        cluster=one.reference.cluster_id,
        uid=one.reference.uid,
        standing=one.standing.value,
        looks=_looks_told(one.evidence.looks) if isinstance(one.evidence, Absent) else (),
        intent=one.reference.uid in action.observed or one.standing is Standing.WAITING,
    )


@lru_cache(maxsize=1000)
def _looks_told(looks: tuple[Look, ...]) -> tuple[str, ...]:
    """Return what was found of an owner, in words; one proof serves thousands of its dependents."""
    told = []
    for look in looks:
        found = (
            f"{look.found} at {look.version}" if look.found else "NotFound" if look.served else "definition NotFound"
        )
        told.append(f"{_rfc3339(look.at)} {found}")
    return tuple(told)


def _rfc3339(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
