"""Where a federated object goes: the clusters that take part, its own placement, and that of its namespace. Pure.

A cluster takes part if it is configured. If there are KubeFedClusters where the federated object is, only those that are
named there do, and their labels are added to the configured ones: so clusters join, leave and are labelled with kubectl, as
in kubefed. What is not known yet, because a type has not been read, selects nothing and removes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from engine.core.view import KubeObject, View
from reconcilers.federation.forms import GROUP, NAMESPACES, OLD_GROUP, VERSIONS, Federated, is_cluster_scoped
from reconcilers.federation.selection import Labels, Placement
from schemas.federation import FederationConfig
from schemas.names import ClusterName, ObjectRef, Resource

KUBEFED_CLUSTERS = Resource("core.kubefed.io", "v1beta1", "kubefedclusters")
SYSTEM_NAMESPACES = ("default", "kube-")
"""Never made and never deleted: the namespace `default`, and all that begin with `kube-`."""

Members = Mapping[ClusterName, Labels]
"""The clusters that take part, with their labels."""


class Selected(msgspec.Struct, frozen=True, kw_only=True):
    """Where a federated object goes.

    `status` is that of its condition Placed; None: it cannot be told yet, and everything stays as it is.
    """

    clusters: tuple[ClusterName, ...] = ()
    status: bool | None = True
    reason: str = "Placed"
    message: str = ""
    inside: frozenset[ClusterName] = frozenset()
    """Where its namespace lets it go."""


def members(view: View, parent: KubeObject) -> Members | None:
    """Return the clusters that take part, by name; None while that cannot be told.

    That a type is not served is believed only once the federated object's own type has been read to its end: a stream that
    was made anew holds nothing of any type at first, and nothing may be deselected by that.
    """
    home = parent.cluster
    if (home, parent.ref.group, parent.ref.resource) not in view.synced:
        return None
    registered = {found.name: found.labels for found in view.all(KUBEFED_CLUSTERS, home)}
    if not registered and view.serves(home, KUBEFED_CLUSTERS) is None:
        return None
    return {
        name: {**cluster.labels, **registered.get(name, {})}
        for name, cluster in sorted(view.clusters.items())
        if not registered or name in registered
    }


def select(view: View, parent: KubeObject, form: Federated, known: Members, config: FederationConfig) -> Selected:
    """Return where a federated object goes.

    Raises:
        Malformed: when the placement of its FederatedNamespace cannot be understood.

    """
    if form.target.plural == NAMESPACES.plural and is_system(parent.name):
        message = f"{parent.name} is a system namespace, which is neither made nor changed nor deleted"
        return Selected(status=False, reason="SystemNamespace", message=message)
    inside = frozenset(known)
    if not is_cluster_scoped(parent):
        space = federated_namespace(view, parent)
        if space is None:
            if any(view.serves(parent.cluster, kind) is None for kind in _spaces()):
                return Selected(status=None, reason="NotRead", message="FederatedNamespaces have not been read yet")
            if config.namespaces == "required":
                message = f"there is no FederatedNamespace {parent.namespace}"
                return Selected(status=False, reason="NamespaceNotFederated", message=message)
        else:
            where = f"FederatedNamespace {space.name}: spec.placement"
            inside = frozenset(Placement.read(space.spec.get("placement"), where).select(known))
    chosen = tuple(name for name in form.placement.select(known) if name in inside)
    if unknown := form.placement.unknown(known):
        message = f"there is no cluster {', '.join(unknown)}; there are {', '.join(known) or 'none'}"
        return Selected(clusters=chosen, inside=inside, status=False, reason="UnknownCluster", message=message)
    if not chosen:
        return Selected(inside=inside, reason="NothingSelected", message="no cluster is selected")
    return Selected(clusters=chosen, inside=inside, message=f"in {', '.join(chosen)}")


def federated_namespace(view: View, parent: KubeObject) -> KubeObject | None:
    """Return the FederatedNamespace that a federated object is in."""
    for kind in _spaces():
        ref = ObjectRef(parent.cluster, kind.group, kind.plural, parent.namespace, parent.namespace)
        if (found := view.get(ref)) is not None:
            return found
    return None


def is_system(namespace: str) -> bool:
    """Return whether a namespace is Kubernetes' own."""
    exact, prefix = SYSTEM_NAMESPACES
    return namespace == exact or namespace.startswith(prefix)


def _spaces() -> tuple[Resource, ...]:
    return tuple(Resource(group, VERSIONS[group], f"federated{NAMESPACES.plural}") for group in (GROUP, OLD_GROUP))
