"""The built-in types: their schemas, which come from a real kube-apiserver, and what its Go code adds to them."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from engine.sandbox.simulator.builtin.data import data
from engine.sandbox.simulator.resource_types import ResourceType, ScalePaths, Subresource
from engine.sandbox.simulator.schema import OBJECT_META, Definitions, Schema

__all__ = ["load", "object_meta"]

_CREATE_ON_UPDATE = {
    ("", "endpoints"),
    ("", "events"),
    ("", "limitranges"),
    ("", "services"),
    ("coordination.k8s.io", "leases"),
    ("events.k8s.io", "events"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("rbac.authorization.k8s.io", "roles"),
}
_CONDITIONAL_UPDATE = {
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("coordination.k8s.io", "leases"),
    ("policy", "poddisruptionbudgets"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "volumeattachments"),
}
_DEPRECATED = {
    ("", "endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}
_SCALE_SELECTOR = ".status.selector"


@cache
def _definitions() -> Definitions:
    return Definitions(data()["definitions"])


def object_meta() -> Schema:
    """Return the schema of every object's metadata."""
    return _definitions().schema(OBJECT_META)


def definition(name: str) -> Schema:
    """Return a definition by its name in the data file, such as `api.autoscaling.v1.Scale`.

    Raises:
        KeyError: when there is none of this name.

    """
    return _definitions().schema(name)


@cache
def load() -> tuple[ResourceType, ...]:
    """Return the built-in types. They are shared by all clusters of the process; schemas are compiled when first used."""
    return tuple(_resource_type(one) for one in data()["types"])


def _resource_type(raw: dict[str, Any]) -> ResourceType:
    key = (raw["group"], raw["resource"])
    subresources = tuple(
        Subresource(one["name"], one.get("group", ""), one["version"], one["kind"], tuple(one["verbs"]))
        for one in raw.get("subresources", ())
    )
    names = {one.name for one in subresources}
    return ResourceType(
        group=raw["group"],
        version=raw["version"],
        resource=raw["resource"],
        singular=raw["singular"],
        kind=raw["kind"],
        list_kind=f"{raw['kind']}List",
        namespaced=raw["namespaced"],
        load_schema=partial(definition, raw["schema"]),
        short_names=tuple(raw.get("shortNames", ())),
        categories=tuple(raw.get("categories", ())),
        verbs=tuple(raw["verbs"]),
        has_status="status" in names,
        scale=ScalePaths(label_selector=_SCALE_SELECTOR) if "scale" in names else None,
        subresources=subresources,
        storage_version=raw["version"],
        unconditional_update=key not in _CONDITIONAL_UPDATE,
        create_on_update=key in _CREATE_ON_UPDATE,
        warning=_DEPRECATED.get(key, ""),
    )
