"""OpenAPI v3 of what a cluster serves: the index and a document per group and version.

In: the type registry. Out: documents, made on request and once per state of the registry. Enough for kubectl: schemas
with descriptions for `explain` and `edit`, merge keys for `apply` and `diff`, and paths whose parameters say what the
server can do.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from engine.sandbox.simulator.discovery import Document
from engine.sandbox.simulator.resource_types import ResourceType, TypeRegistry

_encode = msgspec.json.Encoder().encode

Json = dict[str, Any]

_FIELD_VALIDATION: Final[Json] = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
"""Its presence tells kubectl that the server validates fields itself."""


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
        self._refresh()
        paths = {}
        for rtype in self._types:
            path = _document_path(rtype)
            document = self.document(path)
            if document is not None:
                digest = document.etag.strip('"')
                paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
        body = _encode({"paths": paths})
        return Document(body, _etag(body))

    def document(self, path: str) -> Document | None:
        """Return the document of a group and version, such as `apis/apps/v1`; None when it is not served."""
        self._refresh()
        found = self._documents.get(path)
        if found is None:
            types = [rtype for rtype in self._types if _document_path(rtype) == path]
            if not types:
                return None
            body = _encode(self._made(types))
            found = self._documents[path] = Document(body, _etag(body))
        return found

    def _refresh(self) -> None:
        if self._generation != self._types.generation:
            self._documents.clear()
            self._generation = self._types.generation

    def _made(self, types: list[ResourceType]) -> Json:
        paths: Json = {}
        for rtype in types:
            paths |= _paths(rtype)
        return {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": self._version},
            "paths": paths,
            "components": {"schemas": {}},
        }


def _document_path(rtype: ResourceType) -> str:
    return f"apis/{rtype.group_version}" if rtype.group else f"api/{rtype.version}"


def _paths(rtype: ResourceType) -> Json:
    scope = "namespaces/{namespace}/" if rtype.namespaced else ""
    root = f"/{_document_path(rtype)}/{scope}{rtype.resource}"
    kind = {"group": rtype.group, "version": rtype.version, "kind": rtype.kind}
    operation = {"parameters": [_FIELD_VALIDATION], "x-kubernetes-group-version-kind": kind, "responses": {}}
    item = {verb: {**operation, "x-kubernetes-action": verb} for verb in ("patch", "put")}
    return {root: {"post": {**operation, "x-kubernetes-action": "post"}}, f"{root}/{{name}}": item}


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest().upper()}"'
