"""Clusters without HTTP for tests: a clock that is told the time, and short ways to ask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.sandbox.simulator.cluster import SimulatedCluster
from engine.sandbox.simulator.controllers import Controllers
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.options import WatchOptions
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.store import object_key
from engine.sandbox.simulator.watching import Subscription

Json = dict[str, Any]

START = 1_700_000_000.0
NO_CONTROLLERS = Controllers(garbage_collector=False, namespaces=False)


class Clock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Cluster(SimulatedCluster):
    """A cluster with a clock of its own."""

    def __init__(self, controllers: Controllers | None = None, *, data_dir: Path | None = None, **options: Any) -> None:
        self.time = Clock()
        super().__init__("test", clock=self.time, seed=1, controllers=controllers, data_dir=data_dir, **options)
        self.settle()

    def settle(self) -> None:
        """Let controllers do what is due."""
        while self.run_due():
            pass

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with everything done when it is due."""
        end = self.time.now + seconds
        self.settle()
        while (due := self.next_due()) is not None and due <= end:
            self.time.now = max(self.time.now, due)
            self.settle()
        self.time.now = end
        self.settle()

    def type(self, resource: str, group: str = "", version: str = "") -> ResourceType:
        """Return a type by its plural name."""
        versions = self.types.versions((group, resource))
        return next(one for one in versions if version in {"", one.version})

    def names(self, resource: str, group: str = "", namespace: str = "") -> list[str]:
        """Return the names of the objects of a type."""
        return [one.name for one in self.list(self.type(resource, group), namespace).items]

    def make(self, resource: str, name: str, group: str = "", namespace: str = "default", **body: Any) -> Json:
        """Create an object and return it; keyword `metadata` adds to its metadata."""
        rtype = self.type(resource, group)
        metadata = {"name": name, **body.pop("metadata", {})}
        whole = {"apiVersion": rtype.group_version, "kind": rtype.kind, "metadata": metadata, **body}
        return self.create(rtype, namespace if rtype.namespaced else "", "", whole).object

    def look(self, resource: str, name: str, group: str = "", namespace: str = "default") -> Json | None:
        """Return an object, or None."""
        rtype = self.type(resource, group)
        found = self.store.get(rtype.key, object_key(namespace if rtype.namespaced else "", name))
        return found.object if found else None

    def merge(self, resource: str, name: str, patch: Json, group: str = "", namespace: str = "default") -> Json:
        """Patch an object and return it."""
        rtype = self.type(resource, group)
        return self.patch(rtype, namespace if rtype.namespaced else "", name, patch).object


def refusal(action: Callable[[], object]) -> ApiError:
    """Return the refusal that an action meets."""
    with pytest.raises(ApiError) as caught:
        action()
    return caught.value


def watched(subscription: Subscription) -> list[tuple[str, str, str]]:
    """Return what a watch has to tell: event, name and resourceVersion."""
    events = [*subscription.initial]
    subscription.initial.clear()
    while subscription.pending:
        events += subscription.take()
    return [
        (one.type, one.object["metadata"].get("name", ""), one.object["metadata"]["resourceVersion"]) for one in events
    ]


def watch_from_now(cluster: Cluster, resource: str, group: str = "", **options: Any) -> Subscription:
    """Watch a type from the present on."""
    return cluster.watch(
        cluster.type(resource, group), "", WatchOptions(resource_version=str(cluster.store.rv), **options)
    )


def definition(
    plural: str = "foos", kind: str = "Foo", group: str = "example.com", *versions: Json, scope: str = "Namespaced"
) -> Json:
    """Return a custom resource definition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "kind": kind, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": list(versions) or [version("v1")],
        },
    }


def version(name: str, *, served: bool = True, storage: bool = True, **more: Any) -> Json:
    """Return a version of a definition, with spec and status, and both subresources."""
    spec = {"type": "object", "properties": {"a": {"type": "string"}, "replicas": {"type": "integer"}}}
    status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "name": name,
        "served": served,
        "storage": storage,
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
        },
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
        **more,
    }


def define(cluster: Cluster, body: Json | None = None) -> None:
    """Create a definition and wait until it is served."""
    rtype = cluster.type("customresourcedefinitions", "apiextensions.k8s.io")
    cluster.create(rtype, "", "", body or definition())
    cluster.settle()
