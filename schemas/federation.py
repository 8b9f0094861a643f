"""Settings of the reconciler `federation`, as the configuration file holds them (docs/federation.md)."""

from __future__ import annotations

from typing import Literal

import msgspec

Adoption = Literal["adopt", "refuse", "report"]

DEFAULT_TYPES = (
    "v1/configmaps",
    "v1/namespaces",
    "v1/serviceaccounts",
    "v1/services",
    "apps/v1/deployments",
    "apps/v1/replicasets",
    "apps/v1/statefulsets",
    "batch/v1/jobs",
    "networking.k8s.io/v1/ingresses",
    "rbac.authorization.k8s.io/v1/clusterroles",
)


class FederationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is federated, and how."""

    types: tuple[str, ...] = DEFAULT_TYPES
    """Types that may be federated, as `apps/v1/deployments`; each is watched in every cluster, and so is `federated` and
    its plural where a cluster serves that. The default is kubefed's, less `v1/secrets`: with that all Secrets of all clusters
    are watched, so somebody has to ask for it."""
    namespaces: Literal["optional", "required"] = "optional"
    """Whether what is in a namespace goes anywhere while there is no FederatedNamespace for it: `required` as in kubefed."""
    adopt: Adoption = "refuse"
    """What becomes of objects that exist already where a federated one is to be: taken over, left alone, or left alone with
    the differences told. What kubefed made (`kubefed.io/managed: "true"`) is always taken over."""
