"""One object as `CLUSTER RESOURCE [NAMESPACE/]NAME`, the way `why` and `what-if` are told which."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from crosscurrent.errors import UsageError, UserError, did_you_mean
from crosscurrent.fleet import TypeSync
from crosscurrent.resources import resolve
from crosscurrent.targets import NO_NAMESPACE
from schemas.clusters import CLUSTERS
from schemas.names import ClusterName, ObjectRef

CLUSTER_SCOPED = {
    ("", "namespaces"),
    ("", "nodes"),
    ("", "persistentvolumes"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("storage.k8s.io", "storageclasses"),
    (CLUSTERS.group, CLUSTERS.plural),
}
"""Types whose objects need no `_/` before their name; discovery, which knows them all, is not in the record."""


def check_cluster(cluster: str, known: Collection[str]) -> None:
    """Check that a cluster is there.

    Raises:
        UserError: when it is not; lists those that are.

    """
    if cluster not in known:
        advice = did_you_mean(cluster, sorted(known)) or f"clusters: {', '.join(sorted(known)) or 'none'}"
        raise UserError(f"no cluster {cluster!r}", advice)


def place_of(cluster: str, resource: str, name: str, namespace: str | None, types: Sequence[TypeSync]) -> ObjectRef:
    """Return the object that is meant.

    Args:
        cluster: its cluster.
        resource: its type, as `get` understands it.
        name: `NAME`, `NAMESPACE/NAME`, or `_/NAME` of what has no namespace.
        namespace: `-n`; None: `default`.
        types: that watchers report.

    Raises:
        UserError: when there is no such cluster or type.
        UsageError: when the name means nothing, or names two namespaces.

    """
    check_cluster(cluster, {str(item.cluster) for item in types})
    group, plural = resolve(resource, types)
    space, slash, rest = name.rpartition("/")
    if not rest or (slash and not space) or "/" in space:
        raise UsageError(f"{name!r} is neither NAME nor NAMESPACE/NAME", "write _/NAME for what has no namespace")
    if slash and namespace and namespace != space:
        raise UsageError(f"{name!r} and -n {namespace} name two namespaces")
    if not slash and not namespace and (group, plural) in CLUSTER_SCOPED:
        space = NO_NAMESPACE
    space = space or namespace or "default"
    return ObjectRef(ClusterName(cluster), group, plural, "" if space == NO_NAMESPACE else space, rest)
