"""Who may refer to an owner: grants in the owner's cluster, and the engine's own signature (SEC-05, SEC-07). Pure.

A reference from another cluster counts only if an `OwnerGrant` beside the owner names the dependent's cluster and namespace,
or if the engine itself wrote it, which its signature on the dependent shows. `reference` lets the dependent be collected,
`block` lets it hold up the owner besides. Grants for cluster-scoped owners are in `kube-system`, where only administrators
write.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from engine.core.ownership import OwnerReference
from schemas.names import ClusterId, ObjectRef, Resource

OWNER_GRANTS = Resource("crosscurrent.dev", "v1alpha1", "ownergrants")
SIGNATURE_ANNOTATION = "crosscurrent.dev/owners-signature"
CLUSTER_SCOPED_GRANTS = "kube-system"
"""Where grants for cluster-scoped owners are."""
ANY = "*"


class Verb(StrEnum):
    """What a grant allows."""

    REFERENCE = "reference"
    BLOCK = "block"


class From(msgspec.Struct, frozen=True):
    """Whose references: the dependents of a namespace of a cluster."""

    cluster: str
    """Identity or configured name; `*` for any."""
    namespace: str = ""
    """Empty: cluster-scoped dependents; `*`: any."""


class To(msgspec.Struct, frozen=True):
    """References to what."""

    kind: str
    group: str = ""
    name: str = ""
    """Empty: all of that kind."""


class Grant(msgspec.Struct, frozen=True, rename="camel"):
    """`spec` of an OwnerGrant."""

    from_: tuple[From, ...] = msgspec.field(name="from", default=())
    to: tuple[To, ...] = ()
    verbs: tuple[Verb, ...] = (Verb.REFERENCE,)


def read_grants(bodies: Iterable[dict[str, Any]]) -> list[Grant]:
    """Return the grants of listed OwnerGrants; one that cannot be read grants nothing."""
    found = []
    for body in bodies:
        try:
            found.append(msgspec.convert(body.get("spec"), Grant))
        except msgspec.ValidationError:
            continue
    return found


def grants_namespace(owner: OwnerReference) -> str:
    """Return the namespace in the owner's cluster whose grants concern it."""
    return owner.namespace or CLUSTER_SCOPED_GRANTS


def verbs_granted(
    grants: Iterable[Grant], owner: OwnerReference, cluster: ClusterId, dependent: ObjectRef
) -> frozenset[Verb]:
    """Return what the grants beside an owner allow a dependent, which is in the cluster with this identity."""
    found: set[Verb] = set()
    for grant in grants:
        to = any(
            (one.group, one.kind) == (owner.group, owner.kind) and one.name in ("", owner.name) for one in grant.to
        )
        if to and any(_is_from(one, cluster, dependent) for one in grant.from_):
            found |= set(grant.verbs)
    return frozenset(found)


def sign(key: bytes, owners: str, cluster: ClusterId, dependent: ObjectRef) -> str:
    """Return the engine's signature on a dependent's owners: it holds for this object at this place only.

    Args:
        key: the engine's secret.
        owners: the annotation `crosscurrent.dev/owners`, to the letter.
        cluster: identity of the dependent's cluster.
        dependent: the dependent.

    """
    parts = (owners, cluster, dependent.group, dependent.resource, dependent.namespace, dependent.name)
    return hmac.new(key, msgspec.json.encode(parts), "sha256").hexdigest()


def is_signed(key: bytes, owners: str, signature: str, cluster: ClusterId, dependent: ObjectRef) -> bool:
    """Return whether the engine itself wrote a dependent's owners."""
    return bool(key and signature) and hmac.compare_digest(sign(key, owners, cluster, dependent), signature)


def _is_from(source: From, cluster: ClusterId, dependent: ObjectRef) -> bool:
    return source.cluster in (ANY, cluster, dependent.cluster) and source.namespace in (ANY, dependent.namespace)
