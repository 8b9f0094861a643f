"""One request of a script as a value.

Each server gives other uids and versions, so a script says them as references, which each replay resolves from the answers
that it has had. A reference is a string in a body or query:

    @uid configmaps/a       uid of the object last seen under that name
    @version configmaps/a   its resourceVersion
    @stale configmaps/a     the first resourceVersion seen under that name
    @continue               the token of the last list that was cut
    {"@seen": "configmaps/a", …}   the whole object last seen, with the rest merged in as by a merge patch
"""

from __future__ import annotations

from typing import Any

import msgspec

Json = dict[str, Any]

SEEN = "@seen"

UNKNOWN_UID = "00000000-0000-4000-8000-000000000000"
UNKNOWN_VERSION = "1"
UNKNOWN_TOKEN = "unknown"


class Operation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request. `{ns}` in the path is the script's namespace; `raw` is sent instead of `body` if it is there."""

    method: str
    path: str
    body: Any = None
    content_type: str = "application/json"
    query: dict[str, Any] = {}
    accept: str = "application/json"
    raw: str | None = None


class Script(msgspec.Struct, frozen=True):
    """Requests in order, and what is watched meanwhile: path and query of each watch."""

    namespace: str
    operations: tuple[Operation, ...]
    watches: tuple[tuple[str, dict[str, str]], ...]
    collections: tuple[str, ...]
    sentinels: tuple[Operation, ...]
    """Creations at the end, one per watched collection, that every watch of it sees: where its stream may be cut."""


class Memory:
    """What one server has said so far, for references."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._objects: dict[str, Json] = {}
        self._first: dict[str, str] = {}
        self._token = UNKNOWN_TOKEN

    def learn(self, operation: Operation, answer: Any) -> None:
        """Note an answer's object or continue token."""
        if not isinstance(answer, dict) or not isinstance(metadata := answer.get("metadata"), dict):
            return
        if "continue" in metadata:
            self._token = metadata["continue"]
        if "uid" not in metadata or answer.get("kind") in {"Scale", "PartialObjectMetadata"}:
            return
        if "dryRun" in operation.query and operation.method == "POST":
            return  # it is not there
        key = f"{collection_of(operation.path)}/{metadata['name']}"
        self._objects[key] = answer
        self._first.setdefault(key, metadata.get("resourceVersion", UNKNOWN_VERSION))

    def resolve(self, value: Any) -> Any:
        """Return a value with its references, and the namespace, put in."""
        match value:
            case {"@seen": str(key), **rest}:
                named = self._named(key)
                base = self._objects.get(named, {"metadata": {"name": named.rpartition("/")[2]}})
                return merged(base, self.resolve(rest))
            case dict():
                return {key: self.resolve(one) for key, one in value.items()}
            case list():
                return [self.resolve(one) for one in value]
            case str() if value.startswith("@"):
                return self._reference(value)
            case str():
                return self._named(value)
        return value

    def _named(self, text: str) -> str:
        return text.replace("{ns}", self._namespace)

    def _reference(self, reference: str) -> str:
        what, _, key = self._named(reference).partition(" ")
        metadata = self._objects.get(key, {}).get("metadata", {})
        match what:
            case "@uid":
                return str(metadata.get("uid", UNKNOWN_UID))
            case "@version":
                return str(metadata.get("resourceVersion", UNKNOWN_VERSION))
            case "@stale":
                return self._first.get(key, UNKNOWN_VERSION)
            case "@continue":
                return self._token
        return reference


def collection_of(path: str) -> str:
    """Return the plural that a path is about: of `/api/v1/namespaces/{ns}/pods/a/status`, pods."""
    parts = path.partition("?")[0].strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] not in {"status", "finalize"}:
        rest = rest[2:]
    return rest[0] if rest else ""


def merged(base: Any, patch: Any) -> Any:
    """Return `base` with an RFC 7386 merge patch applied."""
    if not isinstance(patch, dict):
        return patch
    result = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
