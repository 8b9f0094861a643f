"""The record of a cluster: what its watcher knows of it, published as a fact like any other.

Subject: `facts.<cluster>.crosscurrent%2Edev.clusters._.<cluster>`; published when the cluster engages and whenever
something in it but the times changes, so that workers are woken by a change of the cluster set and by nothing else.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from schemas.names import ClusterId, ClusterName, ObjectRef, Resource

CLUSTERS = Resource("crosscurrent.dev", "v1alpha1", "clusters")
DISENGAGED = "Disengaged"
"""Reason of a record whose cluster nobody watches any more."""


class ClusterState(StrEnum):
    """Health of a cluster (DESIGN §9)."""

    LIVE = "live"
    SUSPECT = "suspect"
    """Not answering, or refusing our credentials: what is known of it is old, and nothing is proven by it."""
    QUARANTINED = "quarantined"
    """Answers, but as another cluster or with an older state: a new epoch is being read, nothing may be deleted."""
    REJOINING = "rejoining"
    """Answers again; its types are being listed."""


class ClusterStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the watcher knows."""

    state: ClusterState
    identity: ClusterId = ClusterId("")
    """Empty until the cluster has answered once."""
    epoch: int = 0
    version: str = ""
    """The API server's version, e.g. `v1.36.3`."""
    reason: str = ""
    """CamelCase reason of a state other than live: Unreachable, Unauthorized, Forbidden, IdentityChanged, Restored,
    Disengaged, ...; of a live cluster: RegistryProblem, where its next credentials cannot be used."""
    message: str = ""
    since: str = ""
    """When this state began, RFC 3339 UTC."""


class ClusterMeta(msgspec.Struct, frozen=True, omit_defaults=True):
    """metadata of the record."""

    name: ClusterName
    uid: ClusterId = ClusterId("")
    labels: dict[str, str] = {}


class ClusterRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The record, in the form of a Kubernetes object."""

    apiVersion: Literal["crosscurrent.dev/v1alpha1"] = "crosscurrent.dev/v1alpha1"  # noqa: N815 - Kubernetes' spelling
    kind: Literal["Cluster"] = "Cluster"
    metadata: ClusterMeta
    status: ClusterStatus


def cluster_ref(name: ClusterName) -> ObjectRef:
    """Return where the record of a cluster lives."""
    return ObjectRef(name, CLUSTERS.group, CLUSTERS.plural, "", name)
