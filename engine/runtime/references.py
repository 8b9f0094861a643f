"""What each of a dependent's references is worth, asked live: engine, cluster, grant, evidence (docs/garbage-collection.md).

A grant is looked for before anything is asked about the owner, so that a reference which nobody granted causes no request
whose outcome its writer could tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from engine.core.api_errors import Status
from engine.core.cascade import UNREGISTRATIONS
from engine.core.collection import Dependent, Ownership, Standing, standing_of
from engine.core.evidence import Unknown
from engine.core.grants import (
    OWNER_GRANTS,
    SIGNATURE_ANNOTATION,
    Grant,
    Verb,
    grants_namespace,
    is_signed,
    read_grants,
    verbs_granted,
)
from engine.core.live_object import Metadata
from engine.core.ownership import ADMIRALTY_ENGINE, OWNERS_ANNOTATION, OwnerReference, all_references
from engine.runtime import api_calls
from engine.runtime.fleet_directory import FleetDirectory
from engine.runtime.ports import Clock, ClusterApi
from engine.runtime.prover import Prover
from engine.runtime.shared_reads import SharedReads
from schemas.names import ClusterId, ClusterName, ObjectRef, Uid

GRANTS_SECONDS = 2.0
"""How long the grants of a namespace are used: what was taken back may count for so long."""
TIMEOUT_SECONDS = 2.0


class _Grants(msgspec.Struct, frozen=True):
    items: list[dict[str, Any]]


_grants = msgspec.json.Decoder(_Grants)


class _Unregistration(msgspec.Struct, frozen=True):
    class Spec(msgspec.Struct, frozen=True, rename="camel"):
        cluster_id: str = msgspec.field(name="clusterID")
        policy: str = "Orphan"

    spec: Spec


class _Unregistrations(msgspec.Struct, frozen=True):
    items: list[_Unregistration]


_unregistrations = msgspec.json.Decoder(_Unregistrations)


class References:
    """Judges references; one per process."""

    def __init__(
        self,
        apis: Mapping[ClusterName, ClusterApi | None],
        directory: FleetDirectory,
        prover: Prover,
        clock: Clock,
        *,
        engine: str,
        key: bytes,
    ) -> None:
        """Take whom to ask.

        Args:
            apis: the clusters.
            directory: which of them has which identity.
            prover: examines owners.
            clock: time.
            engine: id of this engine.
            key: the engine's signing key; empty: nothing counts as signed.

        """
        self._apis, self._directory, self._prover = apis, directory, prover
        self._engine, self._key = engine, key
        self._read: SharedReads[tuple[ClusterName, str], list[Grant] | Status] = SharedReads(
            clock, GRANTS_SECONDS, keeps=lambda answer: not isinstance(answer, Status)
        )

    async def judge(
        self, live: Metadata, ref: ObjectRef, dependent: Dependent, observed: frozenset[Uid]
    ) -> list[Ownership]:
        """Return what each of a dependent's references means.

        Args:
            live: its metadata as just read.
            ref: where it is.
            dependent: the same, as the rules see it.
            observed: owners whose deletion was seen by a watch in the present epoch.

        Raises:
            EventLogError: when it cannot be told which cluster is which.

        """
        references = await self.references(live)
        if not await self._all_homes_known(references):
            # A cluster that has just reported may be missing from what is remembered of them, and nothing would ask again.
            self._directory.forget()
            references = await self.references(live)
        if len(references) == 1:  # nearly always: no task of its own
            return [await self._judge(references[0], live, ref, dependent, observed)]
        return list(await asyncio.gather(*(self._judge(one, live, ref, dependent, observed) for one in references)))

    async def references(self, live: Metadata) -> tuple[OwnerReference, ...]:
        """Return the references that a live object names."""
        identities = {name: status.identity for name, status in (await self._directory.clusters()).items()}
        return all_references({"annotations": live.annotations}, identities)

    async def _all_homes_known(self, references: Iterable[OwnerReference]) -> bool:
        named = await self._directory.named()
        ours = (one for one in references if one.engine in (self._engine, ADMIRALTY_ENGINE))
        return all(one.cluster_id in named for one in ours)

    async def verbs(
        self, reference: OwnerReference, home: ClusterName, live: Metadata, ref: ObjectRef, cluster: ClusterId
    ) -> frozenset[Verb] | Status:
        """Return what a reference may do: everything if the engine wrote it, else what is granted; a Status if unknown."""
        notes = live.annotations or {}
        text, signature = notes.get(OWNERS_ANNOTATION, ""), notes.get(SIGNATURE_ANNOTATION, "")
        if reference.engine != ADMIRALTY_ENGINE and is_signed(self._key, text, signature, cluster, ref):
            return frozenset(Verb)
        grants = await self._granted(home, grants_namespace(reference))
        return grants if isinstance(grants, Status) else verbs_granted(grants, reference, cluster, ref)

    async def _judge(
        self,
        reference: OwnerReference,
        live: Metadata,
        ref: ObjectRef,
        dependent: Dependent,
        observed: frozenset[Uid],
    ) -> Ownership:
        if reference.engine not in (self._engine, ADMIRALTY_ENGINE):
            return Ownership(reference, Standing.FOREIGN)
        home = (await self._directory.named()).get(reference.cluster_id)
        if home is None:
            return await self._unregistered(reference, ref.cluster)
        verbs = await self.verbs(reference, home, live, ref, dependent.cluster)
        if isinstance(verbs, Status):
            message = f"the grants in {home} cannot be read: {verbs.message}"
            return Ownership(reference, Standing.UNKNOWN, Unknown("GrantsUnknown", message), message)
        if Verb.REFERENCE not in verbs:
            return Ownership(reference, Standing.UNGRANTED)
        if reference.namespace and not dependent.namespace:
            return Ownership(reference, Standing.MISPLACED)
        evidence = await self._prover.examine(reference, home, observed=reference.uid in observed)
        message = f"{evidence.reason}: {evidence.message}" if isinstance(evidence, Unknown) else ""
        return Ownership(reference, standing_of(reference, evidence, dependent), evidence, message)

    async def _unregistered(self, reference: OwnerReference, cluster: ClusterName) -> Ownership:
        """Return what a reference to an unknown cluster means: nothing, until an administrator of the dependent's says so."""
        if reference.cluster_id in {status.identity for status in (await self._directory.clusters()).values()}:
            message = "two of the configured clusters claim to be its cluster"
            return Ownership(reference, Standing.UNKNOWN, Unknown("OwnerClusterContested", message), message)
        message = "its cluster is not one of the configured ones"
        unknown = Ownership(reference, Standing.UNKNOWN, Unknown("OwnerClusterUnknown", message), message)
        api = self._apis.get(cluster)
        if api is None:
            return unknown
        path = api_calls.collection_path(UNREGISTRATIONS)
        answer = await api_calls.call(api, "GET", path, _unregistrations, timeout=TIMEOUT_SECONDS)
        if isinstance(answer, Status):
            return unknown
        policies = {one.spec.policy for one in answer.items if one.spec.cluster_id == reference.cluster_id}
        if policies == {"Orphan"}:
            return Ownership(reference, Standing.ORPHANING)
        return Ownership(reference, Standing.DANGLING) if policies == {"Delete"} else unknown

    async def _granted(self, home: ClusterName, namespace: str) -> list[Grant] | Status:
        async def ask() -> list[Grant] | Status:
            api = self._apis.get(home)
            if api is None:
                return Status(code=0, reason="Unreachable", message=f"there is no connection to {home}")
            path = api_calls.collection_path(OWNER_GRANTS, namespace)
            answer = await api_calls.call(api, "GET", path, _grants, timeout=TIMEOUT_SECONDS)
            return answer if isinstance(answer, Status) else read_grants(answer.items)

        return await self._read.read((home, namespace), ask)
