"""What a reconciler reads besides its own objects and their dependents, and whom a change of that wakes. Pure.

A type is read at one kind of place, which the requested object's own place gives. So the same rule, read forwards, says
what to load for a request, and backwards, which requests a change concerns.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from schemas import subjects
from schemas.names import CLUSTER_SCOPED, ClusterName, ObjectRef, Resource


class At(StrEnum):
    """Where objects of a type are read, seen from the requested object."""

    NAME = "name"
    """The one with the same namespace and name in the same cluster."""
    NAMESPACE = "namespace"
    """The one in its namespace that is named as the namespace, in the same cluster."""
    CLUSTER = "cluster"
    """All of the type in the same cluster: for types of which there are few."""
    NAMESPACES = "namespaces"
    """The cluster-scoped one that is named as its namespace, in every cluster: Namespaces above all."""


class Related(msgspec.Struct, frozen=True):
    """A type and where it is read."""

    resource: Resource
    at: At

    def places(self, request: ObjectRef, clusters: Iterable[ClusterName]) -> list[ObjectRef]:
        """Return the objects to load for a request."""
        kind, space = self.resource, request.namespace
        match self.at:
            case At.NAME:
                return [ObjectRef(request.cluster, kind.group, kind.plural, space, request.name)]
            case At.NAMESPACE:
                return [ObjectRef(request.cluster, kind.group, kind.plural, space, space)] if space else []
            case At.NAMESPACES:
                where = clusters if space else ()
                return [ObjectRef(cluster, kind.group, kind.plural, CLUSTER_SCOPED, space) for cluster in where]
            case At.CLUSTER:
                return []

    def pattern(self, request: ObjectRef) -> str:
        """Return the filter of facts to load for a request, where they have no names that are known; else empty."""
        if self.at is not At.CLUSTER:
            return ""
        return subjects.facts_of(request.cluster, self.resource.group, self.resource.plural)

    def wakes(self, changed: ObjectRef, watched: Iterable[Resource]) -> list[str]:
        """Return filters of the facts of the objects, of the watched types, that a change concerns."""
        return [self._concerned(changed, kind) for kind in watched]

    def _concerned(self, changed: ObjectRef, kind: Resource) -> str:
        match self.at:
            case At.NAME:
                return subjects.fact(
                    ObjectRef(changed.cluster, kind.group, kind.plural, changed.namespace, changed.name)
                )
            case At.NAMESPACE:
                return subjects.facts_in(changed.cluster, kind.group, kind.plural, changed.namespace or changed.name)
            case At.NAMESPACES:
                return subjects.facts_in("*", kind.group, kind.plural, changed.name)
            case At.CLUSTER:
                return subjects.facts_of(changed.cluster, kind.group, kind.plural)
