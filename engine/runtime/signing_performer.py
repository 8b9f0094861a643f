"""Signs the owners that a reconciler's dependents name, so that the collector knows them for the engine's own (SEC-05).

The signature goes into an annotation of its own beside the owners. It holds for one object at one place with one list of
owners; it is added on the way out, so that reconcilers stay pure and the key stays out of DECISIONS.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from engine.core.grants import SIGNATURE_ANNOTATION, sign
from engine.core.ownership import OWNERS_ANNOTATION
from engine.runtime.fleet_directory import FleetDirectory
from engine.runtime.performer import Performer
from engine.runtime.ports import EventLogError, Performed, Seen
from schemas.actions import Action, Apply, Create
from schemas.names import ClusterId, ObjectRef


class SigningPerformer:
    """Performs through another performer; one per process."""

    def __init__(self, performer: Performer, directory: FleetDirectory, key: bytes) -> None:
        """Sign with `key`; `directory` knows the clusters' identities."""
        self._performer, self._directory, self._key = performer, directory, key

    async def perform(
        self,
        actions: Sequence[Action],
        *,
        manager: str,
        deadline: float,
        first_apply: Collection[ObjectRef],
        expect: Mapping[ObjectRef, Seen],
    ) -> Performed:
        """Carry actions out; see `Performer.perform`."""
        try:
            identities = {name: status.identity for name, status in (await self._directory.clusters()).items()}
        except EventLogError:
            identities = {}  # unsigned, a dependent is only ever kept for longer
        signed = [_signed(action, identities.get(action.ref.cluster, ClusterId("")), self._key) for action in actions]
        return await self._performer.perform(
            signed, manager=manager, deadline=deadline, first_apply=first_apply, expect=expect
        )


def _signed(action: Action, cluster: ClusterId, key: bytes) -> Action:
    if not isinstance(action, Apply | Create) or not cluster or not key:
        return action
    metadata = action.body.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    owners = annotations.get(OWNERS_ANNOTATION)
    if not isinstance(owners, str):
        return action
    signature = sign(key, owners, cluster, action.ref)
    metadata = {**metadata, "annotations": {**annotations, SIGNATURE_ANNOTATION: signature}}
    return msgspec.structs.replace(action, body={**action.body, "metadata": metadata})
