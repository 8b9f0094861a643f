"""The mass-delete breaker at work: suspects in INDEX, trips and approvals in custom resources of the owners' clusters.

An owner that a list lacked is written down as a suspect as soon as the mapper sees that, any other before its first dependent
is deleted; it is waited for `settle_seconds`, so that those that went with it are written down as well, and counted with them
(`engine.core.brake`). A trip is a `DeletionBrake` in the owners' cluster, read live: it outlives this process and the broker.
Approved (`spec.approved: true`), it lets its scope pass for a window from then, and for as long as the suspects are over the
limits; then it is removed. What cannot be read or written holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import structlog

from engine.core.api_errors import Status
from engine.core.brake import Limits, Scope, ScopeKind, Suspect, Trip, count_known, scopes_of, trips
from engine.core.history import seconds
from engine.runtime import api_calls
from engine.runtime.ports import Clock, ClusterApi, EventLog, EventLogError, Message, WrongLastSequence
from engine.runtime.shared_reads import SharedReads
from schemas import subjects
from schemas.names import ClusterId, ClusterName, ObjectRef, Resource, Uid

DELETION_BRAKES = Resource("crosscurrent.dev", "v1alpha1", "deletionbrakes")
SUSPECTS_SECONDS = 0.5
"""How long a count of the suspects is used."""
KNOWN_SECONDS = 60.0
"""How long a count of the known owners is used: it walks the whole index, and only its size matters."""
STANDING_SECONDS = 1.0
"""How long a list of the standing brakes is used."""
TIMEOUT_SECONDS = 2.0
MANAGER = "crosscurrent/garbage"

_ALL = "all"
"""The one key of what is counted over the whole fleet."""

_log = structlog.get_logger(__name__)


class Hold(msgspec.Struct, frozen=True):
    """Why a delete must wait."""

    reason: str
    message: str
    retry_after: float = 0.0


class _Spec(msgspec.Struct, frozen=True):
    scope: str = ""
    approved: bool = False


class _Managed(msgspec.Struct, frozen=True, rename={"fields": "fieldsV1"}):
    time: str = ""
    fields: msgspec.Raw = msgspec.Raw(b"{}")


class _Brake(msgspec.Struct, frozen=True):
    class Meta(msgspec.Struct, frozen=True, rename="camel"):
        name: str
        uid: Uid
        deletion_timestamp: str | None = None
        managed_fields: tuple[_Managed, ...] = ()

    metadata: Meta
    spec: _Spec = _Spec()

    @property
    def set_at(self) -> float:
        """Wall time at which `spec.approved` was last set, seconds since the epoch."""
        times = [one.time for one in self.metadata.managed_fields if b'"f:approved"' in bytes(one.fields) and one.time]
        return max(map(seconds, times), default=0.0)


class _Brakes(msgspec.Struct, frozen=True):
    items: list[_Brake]


_brakes = msgspec.json.Decoder(_Brakes)


class Brakes:
    """Holds or passes deletes; one per process."""

    def __init__(
        self,
        log: EventLog,
        apis: Mapping[ClusterName, ClusterApi | None],
        clock: Clock,
        limits: Limits,
        settle: float,
    ) -> None:
        """Take where suspects are counted and trips are kept.

        Args:
            log: INDEX holds the suspects.
            apis: the owners' clusters.
            clock: time.
            limits: when to trip.
            settle: seconds for which an owner is suspected before its first dependent goes.

        """
        self._event_log, self._apis, self._clock = log, apis, clock
        self._limits, self._settle = limits, settle
        self._suspects: SharedReads[str, list[Suspect]] = SharedReads(clock, SUSPECTS_SECONDS)
        self._known: SharedReads[str, Counter[Scope]] = SharedReads(clock, KNOWN_SECONDS)
        self._standing: SharedReads[ClusterName, list[_Brake] | Status] = SharedReads(
            clock, STANDING_SECONDS, keeps=lambda answer: not isinstance(answer, Status)
        )

    async def hold(
        self, owner: ObjectRef, *, restored: bool, identities: Mapping[ClusterId, ClusterName]
    ) -> Hold | None:
        """Return why dependents of an owner that is inferred to be absent must stay, or None.

        Args:
            owner: the owner.
            restored: whether it was last seen before its cluster's present epoch.
            identities: names of the clusters, by identity.

        """
        try:
            since = await self._suspect(owner)
            age = self._clock.time() - since
            if age < self._settle:
                return Hold(
                    "Settling", f"{owner} is absent, and nobody saw it go: waiting whether others went too", 0.5
                )
            found = await self._count(owner, identities)
        except EventLogError as error:
            return Hold("SuspectsUnknown", str(error))
        if restored:
            here = Scope(ScopeKind.CLUSTER, owner.cluster)
            found = [*found, Trip(here, 1, 0, "restored: its cluster has gone back in time since it was last seen")]
        standing = await self._list(owner.cluster)
        if isinstance(standing, Status):
            return Hold("BrakesUnknown", f"the brakes of {owner.cluster} cannot be read: {standing.message}")
        return await self._judge(owner, found, standing)

    async def _judge(self, owner: ObjectRef, found: Sequence[Trip], standing: Sequence[_Brake]) -> Hold | None:
        by_scope = {brake.spec.scope: brake for brake in standing if brake.metadata.deletion_timestamp is None}
        # All of them at once, so that whoever approves sees all that there is to approve.
        new = [await self._trip(owner.cluster, trip) for trip in found if str(trip.scope) not in by_scope]
        if new:
            return new[0]
        mine = [str(scope) for scope in scopes_of(owner.cluster, owner.group_resource)]
        held = [by_scope[scope] for scope in mine if scope in by_scope]
        for brake in held:
            if not brake.spec.approved:
                return _tripped(brake.metadata.name, owner.cluster)
        over = {str(trip.scope) for trip in found}
        for brake in held:
            # Those that were held for long are not all counted any more when the first of them comes by again.
            lately = self._clock.time() - brake.set_at < self._limits.window_seconds
            if brake.spec.scope not in over and not lately:
                await self._rearm(owner.cluster, brake)
        return None

    async def _suspect(self, owner: ObjectRef) -> float:
        """Write an owner down as a suspect, and return since when it is one."""
        now = self._clock.time()
        since = await suspect(self._event_log, owner, now, self._limits.window_seconds)
        if since == now:
            self._suspects.forget(_ALL)
        return since

    async def _count(self, owner: ObjectRef, identities: Mapping[ClusterId, ClusterName]) -> list[Trip]:
        suspects = await self._suspects.read(_ALL, self._list_suspects)
        known = Counter[Scope]()
        if len(suspects) > self._limits.absolute:
            known = await self._known.read(_ALL, lambda: self._count_known(identities))
        scopes = scopes_of(owner.cluster, owner.group_resource)
        return trips(suspects, known, self._limits, now=self._clock.time(), scopes=scopes)

    async def _list_suspects(self) -> list[Suspect]:
        found = []
        async for record in self._event_log.scan("INDEX", [f"{subjects.SUSPECTS}.>"]):
            ref = subjects.parse_suspect(record.subject)
            found.append(Suspect(ref.cluster, ref.group_resource, float(record.body)))
        return found

    async def _count_known(self, identities: Mapping[ClusterId, ClusterName]) -> Counter[Scope]:
        owners = set()
        async for record in self._event_log.scan("INDEX", [f"{subjects.DEPENDENTS}.>"], headers_only=True):
            identity, place, _ = subjects.parse_dependent(record.subject)
            if identity in identities:
                owners.add(place.on(identities[identity]))
        return count_known((place.cluster, place.group_resource) for place in owners)

    async def _list(self, cluster: ClusterName) -> list[_Brake] | Status:
        async def ask() -> list[_Brake] | Status:
            api = self._apis.get(cluster)
            if api is None:
                return Status(code=0, reason="Unreachable", message="there is no connection to it")
            path = api_calls.collection_path(DELETION_BRAKES)
            answer = await api_calls.call(api, "GET", path, _brakes, timeout=TIMEOUT_SECONDS)
            return answer if isinstance(answer, Status) else answer.items

        return await self._standing.read(cluster, ask)

    async def _trip(self, cluster: ClusterName, trip: Trip) -> Hold:
        self._standing.forget(cluster)
        api = self._apis.get(cluster)
        name = str(trip.scope).lower().replace(":", "-")
        if api is not None:
            at = datetime.fromtimestamp(int(self._clock.time()), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            spec = {"scope": str(trip.scope), "counted": trip.counted, "known": trip.known, "limit": trip.limit}
            body = {
                "apiVersion": DELETION_BRAKES.api_version,
                "kind": "DeletionBrake",
                "metadata": {"name": name},
                "spec": {**spec, "trippedAt": at, "approved": False},
            }
            answer = await api_calls.create(api, DELETION_BRAKES, body, manager=MANAGER, timeout=TIMEOUT_SECONDS)
            if not isinstance(answer, Status):
                _log.error("breaker tripped", scope=str(trip.scope), counted=trip.counted, limit=trip.limit)
            elif answer.reason != "AlreadyExists":
                _log.error("breaker tripped, which cannot be recorded", scope=str(trip.scope), error=answer.message)
        return _tripped(name, cluster)

    async def _rearm(self, cluster: ClusterName, brake: _Brake) -> None:
        api = self._apis.get(cluster)
        self._standing.forget(cluster)
        if api is not None:
            await api_calls.delete(
                api,
                DELETION_BRAKES,
                "",
                brake.metadata.name,
                uid=brake.metadata.uid,
                version=None,
                propagation="Background",
                timeout=TIMEOUT_SECONDS,
            )
            _log.info("breaker armed again", scope=brake.spec.scope)


async def suspect(log: EventLog, owner: ObjectRef, now: float, window_seconds: float) -> float:
    """Write an owner down as one that is inferred to be absent, for the breaker's window; return since when it is."""
    subject = subjects.suspect(owner)
    try:
        await log.append("INDEX", Message(subject=subject, body=repr(now).encode(), ttl=window_seconds), expect_last=0)
    except WrongLastSequence:
        stored = (await log.last("INDEX", [subject])).get(subject)
        return float(stored.body) if stored is not None else now
    return now


def _tripped(name: str, cluster: ClusterName) -> Hold:
    return Hold(
        "BrakeTripped",
        f"too many owners went missing: look at DeletionBrake {name} in {cluster}, and set spec.approved to true to go on",
        5.0,
    )
