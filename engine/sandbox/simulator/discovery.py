"""What a cluster serves, told to clients: aggregated discovery and the older documents.

In: the type registry. Out: documents, made once per state of the registry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from engine.sandbox.simulator.negotiation import parameters_of
from engine.sandbox.simulator.resource_types import ResourceType, Subresource, TypeRegistry
from engine.sandbox.simulator.subresources import subresources_of

AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""The Content-Type of aggregated discovery; clients compare it as a whole."""
_AGGREGATED_PARAMETERS: Final = {"g": "apidiscovery.k8s.io", "v": "v2", "as": "APIGroupDiscoveryList"}

_VERBS_OF_CUSTOM: Final = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")

_encode = msgspec.json.Encoder().encode

Json = dict[str, Any]


class Document(msgspec.Struct, frozen=True):
    """A document, encoded.

    Attributes:
        body: JSON.
        etag: changes with the body.

    """

    body: bytes
    etag: str


def wants_aggregated(accept: str) -> bool:
    """Return whether an Accept header asks for aggregated discovery."""
    return any(_AGGREGATED_PARAMETERS.items() <= parameters.items() for parameters in parameters_of(accept))


class Discovery:
    """The discovery documents of one cluster.

    Args:
        types: what it serves.

    """

    def __init__(self, types: TypeRegistry) -> None:
        self._types = types
        self._documents: dict[str, Document] = {}
        self._generation = -1

    def aggregated(self, *, core: bool) -> Document:
        """Return everything below `/api` (core) or `/apis` in one document."""
        return self._made(f"aggregated {core}", lambda: self._aggregated(core=core))

    def versions(self, address: str) -> Json:
        """Return the document of `/api`."""
        return {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        }

    def groups(self) -> Document:
        """Return the document of `/apis`."""
        return self._made("groups", self._groups)

    def group(self, name: str) -> Json | None:
        """Return the document of `/apis/GROUP`, None when it is not served."""
        versions = self._group_versions().get(name)
        return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if name and versions else None

    def resources(self, group: str, version: str) -> Document | None:
        """Return the document of one group and version, None when it is not served."""
        if version not in self._group_versions().get(group, ()):
            return None
        return self._made(f"resources {group}/{version}", lambda: self._resources(group, version))

    def serves(self, group: str, version: str) -> bool:
        """Return whether a group and version is served."""
        return version in self._group_versions().get(group, ())

    def paths(self) -> list[str]:
        """Return the paths of all groups and versions."""
        found = ["/api", "/api/v1", "/apis"]
        for group, versions in self._group_versions().items():
            if group:
                found += [f"/apis/{group}", *(f"/apis/{group}/{version}" for version in versions)]
        return sorted(found)

    def _made(self, name: str, make: Callable[[], Json]) -> Document:
        if self._generation != self._types.generation:
            self._documents.clear()
            self._generation = self._types.generation
        document = self._documents.get(name)
        if document is None:
            body = _encode(make())
            document = Document(body, f'"{hashlib.sha256(body).hexdigest().upper()}"')
            self._documents[name] = document
        return document

    def _group_versions(self) -> Mapping[str, list[str]]:
        """Return the versions of each group, the preferred one first."""
        found: dict[str, list[str]] = {}
        for rtype in self._types:
            versions = found.setdefault(rtype.group, [])
            if rtype.version not in versions:
                versions.append(rtype.version)
        for versions in found.values():
            versions.sort(key=version_priority, reverse=True)
        return found

    def _of(self, group: str, version: str) -> list[ResourceType]:
        return sorted(
            (one for one in self._types if (one.group, one.version) == (group, version)), key=lambda one: one.resource
        )

    def _aggregated(self, *, core: bool) -> Json:
        items = []
        for group, versions in self._group_versions().items():
            if (group == "") is not core:
                continue
            listed = [
                {
                    "version": version,
                    "resources": [_aggregated_resource(one) for one in self._of(group, version)],
                    "freshness": "Current",
                }
                for version in versions
            ]
            items.append({"metadata": {"name": group} if group else {}, "versions": listed})
        return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}

    def _groups(self) -> Json:
        listed = [_group(name, versions) for name, versions in self._group_versions().items() if name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}

    def _resources(self, group: str, version: str) -> Json:
        found = []
        for one in self._of(group, version):
            found.append(_resource(one))
            found += [_subresource(one, sub) for sub in subresources_of(one)]
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{group}/{version}" if group else version,
            "resources": found,
        }


def version_priority(version: str) -> tuple[int, int, int, str]:
    """Return by what versions are ordered: v2 before v1 before v1beta2 before v1beta1 before v1alpha1 before others."""
    digits, stage, number = version.removeprefix("v"), "", ""
    for word in ("alpha", "beta"):
        if word in digits:
            digits, stage, number = (*digits.partition(word)[:2], digits.partition(word)[2])
    if not version.startswith("v") or not digits.isdigit() or (stage and not number.isdigit()):
        return (0, 0, 0, version)
    return ({"alpha": 1, "beta": 2, "": 3}[stage], int(digits), int(number or 0), "")


def _group(name: str, versions: Iterable[str]) -> Json:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resource(rtype: ResourceType) -> Json:
    document: Json = {
        "name": rtype.resource,
        "singularName": rtype.singular,
        "namespaced": rtype.namespaced,
        "kind": rtype.kind,
        "verbs": _verbs(rtype),
    }
    if rtype.short_names:
        document["shortNames"] = list(rtype.short_names)
    if rtype.categories:
        document["categories"] = list(rtype.categories)
    return document


def _verbs(rtype: ResourceType) -> list[str]:
    """Return a type's verbs in the order in which the server tells them."""
    return sorted(rtype.verbs, key=_VERBS_OF_CUSTOM.index) if rtype.custom else list(rtype.verbs)


def _subresource(rtype: ResourceType, sub: Subresource) -> Json:
    document: Json = {"name": f"{rtype.resource}/{sub.name}", "singularName": "", "namespaced": rtype.namespaced}
    if (sub.group, sub.version) != (rtype.group, rtype.version):
        document |= {"group": sub.group, "version": sub.version}
    return document | {"kind": sub.kind, "verbs": list(sub.verbs)}


def _aggregated_resource(rtype: ResourceType) -> Json:
    document: Json = {
        "resource": rtype.resource,
        "responseKind": _response_kind(rtype, rtype.group, rtype.version, rtype.kind),
        "scope": "Namespaced" if rtype.namespaced else "Cluster",
        "singularResource": rtype.singular,
        "verbs": _verbs(rtype),
    }
    if rtype.short_names:
        document["shortNames"] = list(rtype.short_names)
    if rtype.categories:
        document["categories"] = list(rtype.categories)
    subresources = [
        {
            "subresource": sub.name,
            "responseKind": _response_kind(rtype, sub.group, sub.version, sub.kind),
            "verbs": list(sub.verbs),
        }
        for sub in subresources_of(rtype)
    ]
    return document | ({"subresources": subresources} if subresources else {})


def _response_kind(rtype: ResourceType, group: str, version: str, kind: str) -> Json:
    """Return a kind as the real server tells it: built-in types leave out what goes without saying."""
    if not rtype.custom and (group, version) == (rtype.group, rtype.version):
        group = version = ""
    return {"group": group, "version": version, "kind": kind}
