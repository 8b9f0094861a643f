"""OpenAPI v3 of what a cluster serves: the index and a document per group and version.

In: the type registry, and the data file of the built-in types. Out: documents, made on request and once per state of the
registry. Enough for kubectl: schemas with descriptions for `explain` and `edit`, merge keys for `apply` and `diff`, and
paths whose parameters say what the server can do. Answers, lists and security are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from engine.sandbox.simulator.builtin.data import data
from engine.sandbox.simulator.discovery import Document
from engine.sandbox.simulator.negotiation import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from engine.sandbox.simulator.resource_types import ResourceType, TypeRegistry

_encode = msgspec.json.Encoder().encode

Json = dict[str, Any]

_PREFIX: Final = "io.k8s."
"""What the data file leaves out of the names of definitions."""
_OBJECT_META: Final = "apimachinery.pkg.apis.meta.v1.ObjectMeta"
_OURS: Final = "x-go"
"""What the data file adds for ourselves."""


def _parameter(name: str) -> Json:
    return {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}


_WRITE_PARAMETERS: Final = [_parameter(name) for name in ("dryRun", "fieldManager", "fieldValidation")]
"""Their presence tells kubectl that the server validates fields itself, and can do dry runs."""


OPENAPI_V2_TYPE: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def openapi_v2(version: str) -> bytes:
    """Return an OpenAPI v2 document, in the protobuf that Go clients want, that describes nothing.

    kubectl asks for it when it meets a kind that the v3 documents do not have, and needs to be told so.
    """
    title, number = b"Kubernetes", version.encode()
    info = b"\x0a" + bytes([len(title)]) + title + b"\x12" + bytes([len(number)]) + number
    return b"\x0a\x032.0" + b"\x12" + bytes([len(info)]) + info


class OpenApi:
    """The OpenAPI documents of one cluster.

    Args:
        types: what it serves.
        version: of Kubernetes.

    """

    def __init__(self, types: TypeRegistry, version: str) -> None:
        self._types = types
        self._version = version
        self._documents: dict[str, Document] = {}
        self._generation = -1

    def index(self) -> Document:
        """Return the document of `/openapi/v3`: where each group and version has its own."""
        paths: dict[str, list[ResourceType]] = {}
        for rtype in self._types:
            paths.setdefault(_document_path(rtype), []).append(rtype)
        urls = {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={_fingerprint(types)}"}
            for path, types in sorted(paths.items())
        }
        body = _encode({"paths": urls})
        return Document(body, _etag(body))

    def document(self, path: str) -> Document | None:
        """Return the document of a group and version, such as `apis/apps/v1`; None when it is not served."""
        if self._generation != self._types.generation:
            self._documents.clear()
            self._generation = self._types.generation
        found = self._documents.get(path)
        if found is None:
            types = [rtype for rtype in self._types if _document_path(rtype) == path]
            if not types:
                return None
            body = _encode(self._made(types))
            found = self._documents[path] = Document(body, _etag(body))
        return found

    def _made(self, types: list[ResourceType]) -> Json:
        paths: Json = {}
        for rtype in types:
            paths |= _paths(rtype)
        return {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": self._version},
            "paths": paths,
            "components": {"schemas": _schemas(types)},
        }


def _document_path(rtype: ResourceType) -> str:
    return f"apis/{rtype.group_version}" if rtype.group else f"api/{rtype.version}"


def _fingerprint(types: Iterable[ResourceType]) -> str:
    """Return what changes when a document does: built-in schemas are all of one version."""
    seen = [(rtype.resource, rtype.openapi_schema) for rtype in types]
    return hashlib.sha256(_encode([data()["version"], seen])).hexdigest().upper()


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest().upper()}"'


def _paths(rtype: ResourceType) -> Json:
    scope = "namespaces/{namespace}/" if rtype.namespaced else ""
    root = f"/{_document_path(rtype)}/{scope}{rtype.resource}"
    patches = (JSON_PATCH, MERGE_PATCH, *(() if rtype.custom else (STRATEGIC_MERGE_PATCH,)), APPLY_PATCH)
    collection, item = {}, {}
    if "list" in rtype.verbs:
        collection["get"] = _operation(rtype, "list", [])
    if "create" in rtype.verbs:
        collection["post"] = _operation(rtype, "post", _WRITE_PARAMETERS)
    if "get" in rtype.verbs:
        item["get"] = _operation(rtype, "get", [])
    if "update" in rtype.verbs:
        item["put"] = _operation(rtype, "put", _WRITE_PARAMETERS)
    if "patch" in rtype.verbs:
        content = {media: {"schema": {"type": "object"}} for media in patches}
        operation = _operation(rtype, "patch", [*_WRITE_PARAMETERS, _parameter("force")])
        item["patch"] = {**operation, "requestBody": {"content": content, "required": True}}
    return {root: collection} | ({f"{root}/{{name}}": item} if item else {})


def _operation(rtype: ResourceType, action: str, parameters: list[Json]) -> Json:
    kind = {"group": rtype.group, "version": rtype.version, "kind": rtype.kind}
    return {
        "parameters": parameters,
        "responses": {},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind,
    }


def _schemas(types: list[ResourceType]) -> Json:
    """Return the schemas of types and all that they refer to."""
    definitions = data()["definitions"]
    roots = {(one["group"], one["version"], one["kind"]): one["schema"] for one in data()["types"]}
    schemas: Json = {}
    wanted: list[str] = []
    for rtype in types:
        kind = {"group": rtype.group, "version": rtype.version, "kind": rtype.kind}
        marked = {"x-kubernetes-group-version-kind": [kind]}
        if rtype.custom:
            schemas[_custom_name(rtype)] = _custom_schema(rtype) | marked
            wanted.append(_OBJECT_META)
        else:
            root = roots[rtype.group, rtype.version, rtype.kind]
            schemas[_PREFIX + root] = _published(definitions[root]) | marked
            wanted += _references(definitions[root])
    while wanted:
        name = wanted.pop()
        if _PREFIX + name not in schemas:
            schemas[_PREFIX + name] = _published(definitions[name])
            wanted += _references(definitions[name])
    return dict(sorted(schemas.items()))


def _custom_name(rtype: ResourceType) -> str:
    reverse = ".".join(reversed(rtype.group.split(".")))
    return f"{reverse}.{rtype.version}.{rtype.kind}"


def _custom_schema(rtype: ResourceType) -> Json:
    schema = rtype.openapi_schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    header = data()["definitions"]["api.core.v1.ConfigMap"]["properties"]
    properties = {name: _published(header[name]) for name in ("apiVersion", "kind", "metadata")}
    return {**schema, "properties": {**(schema.get("properties") or {}), **properties}}


def _published(schema: Any) -> Any:
    """Return a definition of the data file as OpenAPI has it."""
    if isinstance(schema, list):
        return [_published(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found: Json = {}
    for key, value in schema.items():
        if key == "$ref":
            found["allOf"] = [{"$ref": f"#/components/schemas/{_PREFIX}{value}"}]
        elif key == "properties":
            found[key] = {name: _published(child) for name, child in value.items()}
        elif key == "default":
            found[key] = value
        elif key != _OURS:
            found[key] = _published(value)
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for one in schema:
            yield from _references(one)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            elif key != "default":
                yield from _references(value)
