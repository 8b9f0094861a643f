"""The objects that cases make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.sandbox.api_servers import ApiServer
from schemas.names import ClusterName, ObjectRef

OWNERS = "crosscurrent.dev/owners"
CASCADE = "crosscurrent.dev/cascade"
MERGE = "application/merge-patch+json"
Json = dict[str, Any]

KINDS = {
    "ConfigMap": ("v1", "configmaps", True),
    "Secret": ("v1", "secrets", True),
    "Gadget": ("xgc.dev/v1", "gadgets", True),
    "Sprocket": ("xgc.dev/v1", "sprockets", True),
    "Widget": ("xgc.dev/v1", "widgets", False),
    "Fleeting": ("fleeting.dev/v1", "fleetings", True),
    "Foo": ("samplecontroller.k8s.io/v1alpha1", "foos", True),
    "Deployment": ("apps/v1", "deployments", True),
    "Brittle": ("brittle.dev/v1", "brittles", True),
}


@dataclass(frozen=True)
class Object:
    """An object that a case made."""

    cluster: ApiServer
    kind: str
    namespace: str
    name: str
    uid: str

    @property
    def path(self) -> str:
        return f"{collection(self.kind, self.namespace)}/{self.name}"

    @property
    def plural(self) -> str:
        return KINDS[self.kind][1]

    @property
    def place(self) -> tuple[str, str, str]:
        """Where it is in an audit log."""
        return self.plural, self.namespace, self.name

    @property
    def ref(self) -> ObjectRef:
        """Where it is in the streams."""
        version = KINDS[self.kind][0]
        group = version.partition("/")[0] if "/" in version else ""
        return ObjectRef(ClusterName(self.cluster.name), group, self.plural, self.namespace, self.name)

    def __str__(self) -> str:
        return f"{self.cluster.name}: {self.kind} {self.namespace}/{self.name}"


def collection(kind: str, namespace: str) -> str:
    """Return the path of a kind's objects in a namespace."""
    version, plural, namespaced = KINDS[kind]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return f"{root}/namespaces/{namespace}/{plural}" if namespaced else f"{root}/{plural}"


def label_of(body: Json) -> str:
    """Return the label by which the collector finds a dependent; empty: it has none."""
    labels = (body.get("metadata") or {}).get("labels") or {}
    return next((key for key in labels if key.startswith("owner.crosscurrent.dev/")), "")
