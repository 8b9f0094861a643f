"""The audit record of a delete across clusters: a fact of its own (SEC-27).

Subject: `facts.<cluster>.crosscurrent%2Edev.deletions.<namespace>.<uid>`, so that `crosscurrent events` and any NATS client
sees what was deleted, and on which evidence. FACTS keeps them as long as everything else.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.facts import Cause, FactId, FactType, encode_fact
from schemas.names import ClusterId, ObjectRef, Resource, ResourceVersion, Uid
from schemas.subjects import fact

DELETIONS = Resource("crosscurrent.dev", "v1alpha1", "deletions")


class OwnerEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was found of one owner."""

    owner: str
    cluster: ClusterId
    uid: Uid
    standing: str
    """`dangling`: proven absent; `waiting`: in a foreground deletion."""
    looks: tuple[str, ...] = ()
    """Each look of the proof: time, and what was found."""
    intent: bool = False
    """Whether its deletion was seen or asked for, rather than inferred."""


class DeletionSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who deleted what, and why it might."""

    object: str
    uid: Uid
    resource_version: ResourceVersion = msgspec.field(name="resourceVersion")
    """Read live, and the precondition of the delete."""
    propagation: str
    by: str
    """The engine and its field manager."""
    time: str
    reason: str
    owners: tuple[OwnerEvidence, ...]
    unanswered: bool = False
    """Whether no answer came to the request: it may have been carried out, and is made again if the object is there."""


class DeletionMeta(msgspec.Struct, frozen=True):
    """metadata of the record."""

    name: Uid
    namespace: str = ""


class Deletion(msgspec.Struct, frozen=True, kw_only=True):
    """The record, in the form of a Kubernetes object."""

    apiVersion: Literal["crosscurrent.dev/v1alpha1"] = "crosscurrent.dev/v1alpha1"  # noqa: N815 - Kubernetes' spelling
    kind: Literal["Deletion"] = "Deletion"
    metadata: DeletionMeta
    spec: DeletionSpec


def deletion_ref(ref: ObjectRef, uid: Uid) -> ObjectRef:
    """Return the place of the record of the deletion of an object."""
    return ObjectRef(ref.cluster, DELETIONS.group, DELETIONS.plural, ref.namespace, uid)


def deletion_fact(ref: ObjectRef, identity: ClusterId, epoch: int, record: Deletion) -> tuple[str, str, bytes]:
    """Return subject, id and bytes of the fact of a deletion.

    Args:
        ref: the deleted object.
        identity: of its cluster.
        epoch: of its cluster.
        record: what to say.

    """
    spec = record.spec
    place = deletion_ref(ref, spec.uid)
    fact_id = FactId(identity, epoch, DELETIONS.group, DELETIONS.plural, spec.uid, spec.resource_version)
    body = encode_fact(
        fact_id, FactType.ADDED, place, DELETIONS, cause=Cause.OBSERVED, time=spec.time, data=_encoder.encode(record)
    )
    return fact(place), str(fact_id), body


_encoder = msgspec.json.Encoder()
