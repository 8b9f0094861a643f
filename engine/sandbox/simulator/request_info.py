"""What a request asks for, from its method and URL alone.

In: HTTP method and target. Out: a `RequestInfo`: verb, type, namespace, name, as
`k8s.io/apiserver/pkg/endpoints/request` reads them. Whether the type is served, and whether the caller may, is decided
later.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, unquote

import msgspec

_VERBS: Final = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_OF_COLLECTIONS: Final = {"get": "list", "delete": "deletecollection"}
_OF_NAMESPACES: Final = frozenset({"status", "finalize"})
"""Third path segments that are subresources of a namespace, where others are resources inside it."""

Query = dict[str, list[str]]
"""Parameters in order, each with all of its values."""


class RequestInfo(msgspec.Struct, frozen=True):
    """One request.

    Attributes:
        verb: create, get, list, watch, update, patch, delete or deletecollection; of other paths: the method in lower case.
        path: decoded, without the query.
        query: decoded parameters.
        is_resource: whether the path names a resource; if not, all below are empty.
        group: API group; empty: core.
        version: such as v1.
        resource: plural name.
        subresource: such as status; empty: the object itself.
        namespace: empty: none, or all.
        name: empty: the collection.

    """

    verb: str
    path: str
    query: Query
    is_resource: bool = False
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


def parse_request(method: str, target: str) -> RequestInfo:
    """Return what a request asks for.

    Args:
        method: in capitals.
        target: path and query as on the wire.

    """
    path, _, raw_query = target.partition("?")
    if "%" in path:
        path = unquote(path)
    query = parse_query(raw_query) if raw_query else {}
    parts = [part for part in path.split("/") if part]
    group, rest = ("", parts[1:]) if parts[:1] == ["api"] else ("", [])
    if parts[:1] == ["apis"] and len(parts) > 1:
        group, rest = parts[1], parts[2:]
    if len(rest) < 2:
        return RequestInfo(method.lower(), path, query)
    return _resource_request(_VERBS.get(method, ""), path, query, group, rest)


def parse_query(text: str) -> Query:
    """Return the parameters of a query string."""
    query: Query = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        query.setdefault(key, []).append(value)
    return query


def is_true(query: Query, name: str) -> bool:
    """Return whether a boolean parameter is set; anything but an explicit no is a yes, as the server reads it."""
    values = query.get(name)
    return values is not None and values[0] not in {"0", "false", "False", "FALSE", "f", "F"}


def _resource_request(verb: str, path: str, query: Query, group: str, rest: list[str]) -> RequestInfo:
    version, parts = rest[0], rest[1:]
    watches = parts[0] == "watch" and len(parts) > 1  # the old form, /api/v1/watch/pods, which is still served
    if watches:
        parts = parts[1:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _OF_NAMESPACES:
            parts = parts[2:]
    name = parts[1] if len(parts) > 1 else ""
    subresource = "/".join(parts[2:])
    if watches:
        verb = "watch"
    elif not name:
        verb = _OF_COLLECTIONS.get(verb, verb)
        if verb == "list" and is_true(query, "watch"):
            verb = "watch"
    return RequestInfo(verb, path, query, True, group, version, parts[0], subresource, namespace, name)
