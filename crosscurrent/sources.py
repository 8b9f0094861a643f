"""Where `get` reads from: STATE as it is, or as it was."""

from __future__ import annotations

from collections.abc import Sequence

from crosscurrent.cuts import say_standings, standing_documents
from crosscurrent.fleet import CLUSTER_FACTS, SYNC_RECORDS, TypeSync, read_types
from crosscurrent.objects import Row, Selection, Watched, row_of
from crosscurrent.output import note
from engine.core.history import Cut, Past, Standing
from engine.runtime.past import Horizon, read_past
from engine.runtime.ports import EventLog
from schemas import subjects
from schemas.facts import decode_sync


class Now:
    """STATE as it is."""

    def __init__(self, log: EventLog) -> None:
        self._event_log = log
        self._types: list[TypeSync] = []

    async def types(self) -> list[TypeSync]:
        """Return the types that watchers report, by cluster and name."""
        self._types = await read_types(self._event_log)
        return self._types

    async def rows(self, selection: Selection) -> list[Row]:
        """Return what is selected, by cluster, namespace and name."""
        return await Watched(self._event_log, selection).read()

    def warn(self, chosen: Sequence[Selection]) -> None:
        """Say what may be incomplete."""
        for item in self._types:
            if not item.synced and any(selection.concerns(item) for selection in chosen):
                name, cluster = item.group_resource, item.cluster
                note(f"warning: {name} of {cluster} is not synced ({item.reason}): it may be incomplete")

    def document(self) -> dict[str, object]:
        """Return what a list says besides its items."""
        return {}


class Then:
    """STATE as it was at a cut.

    Args:
        log: the record.
        cut: within the horizon.
        horizon: of the record.

    """

    def __init__(self, log: EventLog, cut: Cut, horizon: Horizon) -> None:
        self._event_log = log
        self._cut = cut
        self._horizon = horizon
        self._fleet = Past()
        self._asked: set[tuple[str, str]] = set()
        self._clusters: set[str] = set()

    async def types(self) -> list[TypeSync]:
        """Return the types that watchers had reported, by cluster and name."""
        wanted = [SYNC_RECORDS, CLUSTER_FACTS]
        self._fleet = await read_past(self._event_log, self._cut, wanted, self._horizon)
        found = []
        for subject, stored in self._fleet.rows.items():
            if subject.startswith(f"{subjects.SYNC}."):
                cluster, group, plural = subjects.parse_sync(subject)
                record = decode_sync(stored.body)
                found.append(TypeSync(cluster=cluster, group=group, plural=plural, record=record, stored=stored.time))
        return sorted(found, key=lambda item: (item.cluster, item.group_resource))

    async def rows(self, selection: Selection) -> list[Row]:
        """Return what was selected, by cluster, namespace and name."""
        past = await read_past(self._event_log, self._cut, selection.filters(), self._horizon)
        for subject, stored in past.rows.items():
            self._fleet.take(subject, stored)
        rows = (row_of(subject, stored.body, selection) for subject, stored in past.rows.items())
        return sorted((row for row in rows if row is not None), key=lambda row: row.ref)

    def warn(self, chosen: Sequence[Selection]) -> None:
        """Say which moment it is, and what is not certain of it."""
        self._asked = {(selection.group, selection.plural) for selection in chosen}
        self._clusters = {name for selection in chosen for name in selection.clusters}
        say_standings(self._cut, self._standings())

    def document(self) -> dict[str, object]:
        """Return what a list says besides its items."""
        return {"at": standing_documents(self._cut, self._standings())}

    def _standings(self) -> list[Standing]:
        found = self._fleet.standings(self._asked)
        return [one for one in found if not self._clusters or one.cluster in self._clusters]


Source = Now | Then
