"""Names: clusters, resources, objects. Every key of the engine is built from these."""

from __future__ import annotations

import re
from typing import NewType

import msgspec

ClusterName = NewType("ClusterName", str)
"""The configured name of a cluster: an alias, unique within one configuration."""
_CLUSTER_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")

ClusterId = NewType("ClusterId", str)
"""A cluster's identity: the UID of its `kube-system` namespace (DESIGN §2.4)."""

Uid = NewType("Uid", str)
ResourceVersion = NewType("ResourceVersion", str)
"""Comparable only within one resource of one cluster in one epoch; see `newer`."""

CLUSTER_SCOPED = ""
"""The namespace of an object that has none. In subjects it is written `_`."""


def is_cluster_name(text: str) -> bool:
    """Return whether a cluster may be called so: letters, digits, '-', '_' and '.', at most 63 characters."""
    return _CLUSTER_NAME.fullmatch(text) is not None


class Resource(msgspec.Struct, frozen=True, order=True):
    """A served resource type: group (`""` for core), version, plural name."""

    group: str
    version: str
    plural: str

    @classmethod
    def parse(cls, text: str) -> Resource:
        """Read `apps/v1/deployments` or, for the core group, `v1/configmaps`.

        Raises:
            ValueError: when the text has neither of the two forms.

        """
        parts = text.split("/")
        if len(parts) == 2:
            parts = ["", *parts]
        if len(parts) != 3 or not parts[1] or not parts[2]:
            message = f"{text!r} is not GROUP/VERSION/PLURAL (core group: VERSION/PLURAL)"
            raise ValueError(message)
        return cls(*parts)

    @property
    def api_version(self) -> str:
        """`group/version`, or just the version for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """`deployments.apps`, or `configmaps` for the core group: kubectl's form."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def __str__(self) -> str:
        return f"{self.api_version}/{self.plural}"


class ObjectRef(msgspec.Struct, frozen=True, order=True):
    """Where an object lives. The version is left out: it does not change which object is meant."""

    cluster: ClusterName
    group: str
    resource: str
    namespace: str
    name: str

    def on(self, cluster: ClusterName) -> ObjectRef:
        """Return the same place in another cluster."""
        return ObjectRef(cluster, self.group, self.resource, self.namespace, self.name)

    @property
    def group_resource(self) -> str:
        """`deployments.apps`, or `configmaps` for the core group: kubectl's form."""
        return f"{self.resource}.{self.group}" if self.group else self.resource

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.cluster}: {self.group_resource} {place}"


def newer(candidate: ResourceVersion | str, current: ResourceVersion | str) -> bool:
    """Return whether `candidate` is later than `current` (same resource, cluster and epoch).

    KEP-5504, stable since Kubernetes 1.35: positive decimal integers without leading zeros, up to 2^128, so compare
    length, then text. Where either is not of that form (some aggregated APIs) only equality means something, and any
    different version is taken as newer: the reader then looks again, which is harmless.
    """
    if comparable(candidate) and comparable(current):
        return (len(candidate), candidate) > (len(current), current)
    return candidate != current


def comparable(version: ResourceVersion | str) -> bool:
    """Return whether a resourceVersion has KEP-5504's form."""
    return version.isascii() and version.isdigit() and version[0] != "0"
