"""What imports read besides themselves: the grant that each one's spec names, in another cluster.

The mapper keeps, in INDEX, which imports look at which place for a grant, whether there is one or not; so a grant that comes,
changes or goes wakes those, and nobody else. The loader puts the grant into the view. Places are entered as owners are: by
cluster (its alias: specs know no identities) and name, instead of identity and uid.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from engine.core.authoring import Reconciler
from engine.core.importing import IMPORTS, SERVICE_ACCOUNT_GRANTS, grant_ref, read_wanted
from engine.core.related import Related
from engine.runtime.mapper import MAPPERS_IN_FLIGHT, Mapper
from engine.runtime.owner_index import ABSENT, INDEX, OwnerIndex, Owners
from engine.runtime.ports import Clock, EventLog, Record
from engine.runtime.view_loader import Fence, Loaded, ViewLoader
from schemas import subjects
from schemas.actions import Request
from schemas.clusters import CLUSTERS
from schemas.facts import decode_fact
from schemas.names import ClusterId, ClusterName, ObjectRef, Resource, Uid


class ImportMapper(Mapper):
    """Maps imports and grants to imports."""

    def __init__(self, log: EventLog, reconciler: Reconciler, clusters: Collection[ClusterName]) -> None:
        super().__init__(log, reconciler, clusters)
        self._places = OwnerIndex(log, reconciler.name)

    async def run(self, ack_wait: float) -> None:
        """Map until cancelled."""
        kinds = (IMPORTS, SERVICE_ACCOUNT_GRANTS)
        filters = [subjects.facts_of("*", kind.group, kind.plural) for kind in (*kinds, CLUSTERS)]
        filters += [subjects.sync("*", kind.group, kind.plural) for kind in kinds]
        await self._event_log.consume(
            "STATE", self.durable, filters, self.handle, concurrency=MAPPERS_IN_FLIGHT, ack_wait=ack_wait
        )

    def _concerned_by(self, group: str, plural: str) -> Sequence[Resource]:
        grants = (group, plural) == (SERVICE_ACCOUNT_GRANTS.group, SERVICE_ACCOUNT_GRANTS.plural)
        return (IMPORTS,) if grants else super()._concerned_by(group, plural)

    async def _fact(self, record: Record, ref: ObjectRef, *, patient: bool = False) -> None:
        if (ref.group, ref.resource) == (SERVICE_ACCOUNT_GRANTS.group, SERVICE_ACCOUNT_GRANTS.plural):
            await self._request(await self._readers(ref), record)
            return
        if (ref.group, ref.resource) != (IMPORTS.group, IMPORTS.plural):
            await super()._fact(record, ref, patient=patient)
            return
        # Entered before it is asked for: a grant that comes later finds it, one that came earlier is read.
        places = _places_of(record)
        indexed = await self._places.update(ref, places)
        await self._request(await self._unforeseen(record, [ref]), record)
        if indexed.former:
            await self._places.forget(ref, places, indexed)
        if indexed.changed:
            await self._catch_up(record)

    async def _readers(self, grant: ObjectRef) -> list[ObjectRef]:
        found = await self._event_log.last(INDEX, [subjects.owned_by(*_place(grant))])
        readers = (subjects.parse_owner(record.subject)[2] for record in found.values() if record.body != ABSENT)
        return [reader for reader in readers if reader.cluster in self._clusters]


class ImportLoader(ViewLoader):
    """Loads views of imports."""

    def __init__(self, log: EventLog, clock: Clock, clusters: Collection[ClusterName], *, look_seconds: float) -> None:
        """Read through `log`; see `ViewLoader`.

        Args:
            log: the streams.
            clock: time.
            clusters: that take part.
            look_seconds: between two looks at a Secret and its account.

        """
        super().__init__(log, clock, clusters)
        self._look_seconds = look_seconds

    async def load(
        self, request: Request, types: Sequence[Resource], fence: Fence, reads: Sequence[Related] = ()
    ) -> Loaded:
        """Return what is known for a request."""
        loaded = await super().load(request, (*types, SERVICE_ACCOUNT_GRANTS), fence, reads)
        loaded.view.look_seconds = self._look_seconds
        found = loaded.view.get(request.object)
        wanted = read_wanted(found.body) if found is not None else ""
        if not isinstance(wanted, str):
            await self.add(loaded, [grant_ref(wanted)])
        return loaded


def _places_of(record: Record) -> Owners:
    """Return where an import looks for its grant."""
    fact = decode_fact(record.body)
    body = None if fact.deleted else msgspec.json.decode(fact.data)
    wanted = read_wanted(body) if isinstance(body, dict) else ""
    if isinstance(wanted, str):
        return {}
    ref = grant_ref(wanted)
    return {_place(ref): ref}


def _place(grant: ObjectRef) -> tuple[ClusterId, Uid]:
    return ClusterId(grant.cluster), Uid(f"{grant.namespace}/{grant.name}")
