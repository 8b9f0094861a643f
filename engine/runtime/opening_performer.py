"""Opens the sealed values of Secrets that a reconciler copies, on the way out (SEC-13): the last moment before the request.

Decisions hold the sealed form, and so do the streams. What an action does not name the source of is never opened: whoever can
read a sealed value and write it into an object of theirs gets it back as it was.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence

import msgspec

from engine.core.outcomes import conflict
from engine.core.sealing import NotSealed, Place, Sealer
from engine.core.secrecy import is_secret
from engine.runtime.fleet_directory import FleetDirectory
from engine.runtime.ports import EventLogError, Performed, Seen
from engine.runtime.signing_performer import SigningPerformer
from schemas.actions import Action, Apply, Outcome
from schemas.names import ClusterId, ClusterName, ObjectRef


class OpeningPerformer:
    """Performs through another performer; one per process."""

    def __init__(self, performer: SigningPerformer, directory: FleetDirectory, key: bytes) -> None:
        """Open what was sealed with `key`; empty: nothing can be."""
        self._performer, self._directory = performer, directory
        self._sealer = Sealer(key) if key else None

    async def perform(
        self,
        actions: Sequence[Action],
        *,
        manager: str,
        deadline: float,
        first_apply: Collection[ObjectRef],
        expect: Mapping[ObjectRef, Seen],
    ) -> Performed:
        """Carry actions out; see `Performer.perform`. What cannot be opened is not sent, and the rest is."""
        identities: dict[ClusterName, ClusterId] = {}
        if any(isinstance(action, Apply) and action.secret_from for action in actions):
            try:
                identities = {name: status.identity for name, status in (await self._directory.clusters()).items()}
            except EventLogError:
                identities = {}  # nothing can be opened now; it is tried again
        ready = [self._opened(action, identities) for action in actions]
        performed = await self._performer.perform(
            [one for one in ready if not isinstance(one, Outcome)],
            manager=manager,
            deadline=deadline,
            first_apply=first_apply,
            expect=expect,
        )
        outcomes = iter(performed.outcomes)
        told = tuple(one if isinstance(one, Outcome) else next(outcomes) for one in ready)
        return Performed(told, performed.objects)

    def _opened(self, action: Action, identities: Mapping[ClusterName, ClusterId]) -> Action | Outcome:
        if not isinstance(action, Apply) or action.secret_from is None:
            return action
        source = action.secret_from
        if not is_secret(action.ref.group, action.ref.resource):
            return conflict(action, "NotASecret", "values of a Secret are copied into Secrets only")
        place = Place.of(identities.get(source.cluster, ClusterId("")), source)
        try:
            if self._sealer is None:
                message = "there is no key to open values with"
                raise NotSealed(message)
            values = {
                key: b64encode(self._sealer.open(value, place)).decode()
                for key, value in (action.body.get("data") or {}).items()
            }
        except NotSealed as problem:
            return conflict(action, "NotSealed", f"{source} cannot be copied: {problem}")
        return msgspec.structs.replace(action, body={**action.body, "data": values}, secret_from=None)
