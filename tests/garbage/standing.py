"""What the streams of the running system say of clusters and objects."""

from __future__ import annotations

from collections.abc import Sequence

from engine.runtime.ports import EventLog
from schemas import subjects
from schemas.clusters import ClusterState, ClusterStatus
from schemas.decisions import decode_entry
from schemas.facts import decode_fact
from schemas.names import ObjectRef
from tests.e2e.system import System


class Standing:
    """Looks into the streams of a running system; for any thread."""

    def __init__(self, system: System) -> None:
        self._system = system

    def status(self, cluster: str) -> ClusterStatus:
        """Return a cluster's record; an empty one while there is none."""
        view = self._system.views().get(cluster)
        return (
            view.status if view is not None and view.status is not None else ClusterStatus(state=ClusterState.SUSPECT)
        )

    def live(self) -> set[str]:
        """Return the clusters that answer and have been read, but for types that come and go."""
        return {
            name
            for name, view in self._system.views().items()
            if view.state == "live" and all(one.group == "fleeting.dev" for one in view.unsynced)
        }

    def decided(self, ref: ObjectRef) -> str:
        """Return the collector's last word on an object, for people who wonder why nothing happens."""

        async def look(log: EventLog) -> str:
            subject = subjects.keyed(subjects.DECISIONS, "garbage", ref)
            record = (await log.last("DECISIONS", [subject])).get(subject)
            if record is None:
                return f"{ref}: no decision"
            entry = decode_entry(record.body)
            told = [f"{one.action} {one.ref}: {one.result.value} {one.reason} {one.message}" for one in entry.outcomes]
            held = [f"{one.slot} {one.ref}: {one.attempts} tries, {one.reason} {one.message}" for one in entry.targets]
            return "\n".join([f"{ref}: {entry.state.value} at {record.time} {entry.reason}", *told[:5], *held[:5]])

        return self._system.read(look)

    def versions(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, str]:
        """Return the resourceVersion that STATE holds of some objects."""

        async def look(log: EventLog) -> dict[ObjectRef, str]:
            found = await log.last("STATE", [subjects.fact(ref) for ref in refs])
            facts = {ref: found.get(subjects.fact(ref)) for ref in refs}
            return {ref: decode_fact(one.body).resourceversion for ref, one in facts.items() if one is not None}

        return self._system.read(look)
