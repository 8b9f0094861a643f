"""The calls that the engine makes to an API server, on any `ClusterApi`: paths, parameters, and answers as values.

Every call returns what it was asked for or a `Status` that says why not; no answer is a Status too (`Unreachable`,
`Unauthorized`). Reads ask for metadata where only metadata is used: half the bytes. Writes ask for the whole object, so that
a key sees at once what the server made of its intent; not for what may hold values of Secrets, which go no further than is
needed (DESIGN §2.8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from engine.core.api_errors import Status, read_status, unreachable
from engine.core.live_object import ListedMetadata, Metadata
from engine.core.secrecy import may_hold_secrets
from engine.runtime.ports import ClusterApi, ClusterUnreachable, CredentialsRejected, Reply
from schemas.actions import Json
from schemas.names import ClusterId, ObjectRef, Resource, ResourceVersion, Uid

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
"""JSON is YAML; the server's name for server-side apply."""
MERGE_PATCH = "application/merge-patch+json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
"""Servers that cannot do it (some aggregated ones) answer with whole objects, which are read the same way."""
IDENTITY_NAMESPACE = "kube-system"


class Head(msgspec.Struct, frozen=True):
    """An object, of which only the metadata is looked at."""

    metadata: Metadata = Metadata()


class ListedHead(msgspec.Struct, frozen=True):
    """An object in a list, of which only the metadata is looked at."""

    metadata: ListedMetadata = ListedMetadata()


class Written(msgspec.Struct, frozen=True):
    """An object as the server answered a write."""

    metadata: Metadata
    body: bytes = b""
    """The whole of it; empty for what may hold values of a Secret."""


class Page(msgspec.Struct, frozen=True):
    """One page of a list."""

    class Meta(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
        """`metadata` of a list."""

        resource_version: ResourceVersion = ResourceVersion("")
        continue_: str = msgspec.field(name="continue", default="")
        remaining_item_count: int = 0
        """Objects after this page; 0 also where there is a selector."""

    kind: str
    metadata: Meta = Meta()
    items: list[ListedHead] | None = None
    """Null when there are none and only metadata was asked for (seen in 1.36); use `objects`."""

    @property
    def objects(self) -> list[ListedHead]:
        """The objects on this page."""
        return self.items or []


class ServerVersion(msgspec.Struct, frozen=True, rename="camel"):
    """What `/version` says, as far as it is used."""

    git_version: str
    major: str = ""
    minor: str = ""


Answer = TypeVar("Answer")

_encoder = msgspec.json.Encoder()


def collection_path(resource: Resource, namespace: str = "") -> str:
    """Return the path of a type's objects: in one namespace, or everywhere."""
    base = f"/apis/{_escape(resource.group)}" if resource.group else "/api"
    scope = f"/namespaces/{_escape(namespace)}" if namespace else ""
    return f"{base}/{_escape(resource.version)}{scope}/{_escape(resource.plural)}"


def object_path(resource: Resource, namespace: str, name: str, subresource: str = "") -> str:
    """Return the path of an object, or of a subresource of it."""
    path = f"{collection_path(resource, namespace)}/{_escape(name)}"
    return f"{path}/{subresource}" if subresource else path


def resource_of(ref: ObjectRef, api_version: str) -> Resource:
    """Return the type of an object, in the version that an action names."""
    return Resource(ref.group, api_version.rpartition("/")[2], ref.resource)


async def call(
    api: ClusterApi,
    method: str,
    path: str,
    decoder: msgspec.json.Decoder[Answer],
    *,
    timeout: float,
    params: Mapping[str, str] | None = None,
    body: Json | None = None,
    content_type: str = JSON,
    accept: str = JSON,
) -> Answer | Status:
    """Send one request and return its decoded answer, or why there is none.

    Args:
        api: the cluster.
        method: HTTP method.
        path: percent-encoded.
        decoder: of a 2xx answer.
        timeout: seconds for the whole exchange.
        params: query parameters.
        body: to send, as JSON.
        content_type: of the body.
        accept: media type asked for.

    """
    reply = await _send(
        api, method, path, timeout=timeout, params=params, body=body, content_type=content_type, accept=accept
    )
    if isinstance(reply, Status):
        return reply
    return read_answer(reply, decoder)


def read_answer(reply: Reply, decoder: msgspec.json.Decoder[Answer], *, secret: bool = False) -> Answer | Status:
    """Return the decoded body of a 2xx answer, else its Status; what cannot be decoded did not come from an API server.

    With `secret`, no value of a refused body gets into the Status's message.
    """
    if not 200 <= reply.status < 300:
        return read_status(reply.status, reply.body, reply.headers.get("Retry-After"), secret=secret)
    try:
        return decoder.decode(reply.body)
    except (msgspec.DecodeError, RecursionError):
        message = f"HTTP {reply.status}, and not as an API server answers"
        return Status(code=reply.status, reason="NotKubernetes", message=message, authentic=False)


async def get(api: ClusterApi, resource: Resource, namespace: str, name: str, *, timeout: float) -> Metadata | Status:
    """Read an object's metadata, live (a quorum read)."""
    path = object_path(resource, namespace, name)
    head = await call(api, "GET", path, _heads, timeout=timeout, accept=METADATA)
    return _metadata(head)


async def get_object(
    api: ClusterApi, resource: Resource, namespace: str, name: str, *, timeout: float
) -> Json | Status:
    """Read a whole object, live."""
    return await call(api, "GET", object_path(resource, namespace, name), _objects, timeout=timeout)


async def list_page(
    api: ClusterApi,
    resource: Resource,
    namespace: str = "",
    *,
    timeout: float,
    label_selector: str = "",
    limit: int = 500,
    resume: str = "",
) -> Page | Status:
    """Read one page of a type's metadata, live: without a resourceVersion, so from a quorum.

    Args:
        api: the cluster.
        resource: the type.
        namespace: empty for all.
        timeout: seconds.
        label_selector: as kubectl's `-l`.
        limit: objects per page.
        resume: `continue_` of the page before.

    """
    params = {"limit": str(limit)}
    if label_selector:
        params["labelSelector"] = label_selector
    if resume:
        params["continue"] = resume
    path = collection_path(resource, namespace)
    return await call(api, "GET", path, _pages, timeout=timeout, params=params, accept=METADATA_LIST)


async def apply(
    api: ClusterApi,
    resource: Resource,
    body: Json,
    *,
    manager: str,
    force: bool,
    timeout: float,
    subresource: str = "",
) -> Written | Status:
    """Server-side apply; `body` holds apiVersion, kind and metadata.name, and uid and resourceVersion as preconditions.

    A uid that does not match is 422 (field immutable), or 409 where there is no object; a resourceVersion that does not
    match is 409, but is *ignored* where there is no object. So send the uid whenever there must be one (seen in 1.36).
    """
    metadata = body["metadata"]
    path = object_path(resource, metadata.get("namespace", ""), metadata["name"], subresource)
    params = {"fieldManager": manager, "force": "true" if force else "false"}
    return await _write(api, "PATCH", path, body, resource, timeout=timeout, params=params, content_type=APPLY)


async def patch(
    api: ClusterApi, resource: Resource, namespace: str, name: str, body: Json, *, manager: str, timeout: float
) -> Written | Status:
    """JSON merge patch; `metadata.uid` and `metadata.resourceVersion` in it are preconditions."""
    path = object_path(resource, namespace, name)
    params = {"fieldManager": manager}
    return await _write(api, "PATCH", path, body, resource, timeout=timeout, params=params, content_type=MERGE_PATCH)


async def create(api: ClusterApi, resource: Resource, body: Json, *, manager: str, timeout: float) -> Written | Status:
    """Create an object under the name that `body` gives it."""
    path = collection_path(resource, body["metadata"].get("namespace", ""))
    return await _write(api, "POST", path, body, resource, timeout=timeout, params={"fieldManager": manager})


async def delete(
    api: ClusterApi,
    resource: Resource,
    namespace: str,
    name: str,
    *,
    uid: Uid,
    version: ResourceVersion | None,
    propagation: str,
    grace_seconds: int | None = None,
    timeout: float,
) -> Status | None:
    """Delete an object on the condition that it has this uid, and this resourceVersion if one is given."""
    preconditions = {"uid": uid} if version is None else {"uid": uid, "resourceVersion": version}
    body: Json = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": preconditions,
        "propagationPolicy": propagation,
    }
    if grace_seconds is not None:
        body["gracePeriodSeconds"] = grace_seconds
    answer = await call(api, "DELETE", object_path(resource, namespace, name), _anything, timeout=timeout, body=body)
    return answer if isinstance(answer, Status) else None


async def server_version(api: ClusterApi, *, timeout: float) -> ServerVersion | Status:
    """Ask which Kubernetes it is."""
    return await call(api, "GET", "/version", _versions, timeout=timeout)


async def identity(api: ClusterApi, *, timeout: float) -> ClusterId | Status:
    """Ask which cluster it is: the uid of its `kube-system` namespace (DESIGN §2.4)."""
    found = await get(api, Resource("", "v1", "namespaces"), "", IDENTITY_NAMESPACE, timeout=timeout)
    return found if isinstance(found, Status) else ClusterId(found.uid)


async def serves(api: ClusterApi, resource: Resource, *, timeout: float) -> list[Resource] | Status:
    """Return every version in which a type is served, by discovery; empty proves that it is not, as no 404 does.

    Args:
        api: the cluster.
        resource: the type; its version does not matter.
        timeout: seconds for each of the requests, one and one for each version of the group.

    """
    if resource.group:
        groups = await call(api, "GET", "/apis", _groups, timeout=timeout)
        if isinstance(groups, Status):
            return groups
        versions = [one.version for group in groups.groups if group.name == resource.group for one in group.versions]
    else:
        versions = ["v1"]
    found = []
    for version in versions:
        path = f"/apis/{_escape(resource.group)}/{version}" if resource.group else f"/api/{version}"
        listed = await call(api, "GET", path, _resources, timeout=timeout)
        if isinstance(listed, Status):
            return listed
        if any(one.name == resource.plural for one in listed.resources):
            found.append(Resource(resource.group, version, resource.plural))
    return found


async def type_of(api: ClusterApi, group: str, version: str, kind: str, *, timeout: float) -> Resource | Status | None:
    """Return the type that a kind means, by discovery: in this version, else in another; None proves that none is served.

    Args:
        api: the cluster.
        group: of the kind, empty for core.
        version: preferred.
        kind: as in `kind: ConfigMap`.
        timeout: seconds for each of the requests, one and one for each version of the group.

    """
    versions = [version]
    if group:
        groups = await call(api, "GET", "/apis", _groups, timeout=timeout)
        if isinstance(groups, Status):
            return groups
        served = [one.version for found in groups.groups if found.name == group for one in found.versions]
        versions = sorted(served, key=lambda one: one != version)
    for one in versions:
        path = f"/apis/{_escape(group)}/{_escape(one)}" if group else f"/api/{_escape(one)}"
        listed = await call(api, "GET", path, _resources, timeout=timeout)
        if isinstance(listed, Status):
            return listed
        for found in listed.resources:
            if found.kind == kind and "/" not in found.name:
                return Resource(group, one, found.name)
    return None


async def _write(
    api: ClusterApi,
    method: str,
    path: str,
    body: Json,
    resource: Resource,
    *,
    timeout: float,
    params: Mapping[str, str],
    content_type: str = JSON,
) -> Written | Status:
    secret = may_hold_secrets(resource.group, resource.plural)
    accept = METADATA if secret else JSON
    reply = await _send(
        api, method, path, timeout=timeout, params=params, body=body, content_type=content_type, accept=accept
    )
    if isinstance(reply, Status):
        return reply
    head = read_answer(reply, _heads, secret=secret)
    metadata = _metadata(head)
    return metadata if isinstance(metadata, Status) else Written(metadata, b"" if secret else reply.body)


async def _send(
    api: ClusterApi,
    method: str,
    path: str,
    *,
    timeout: float,
    params: Mapping[str, str] | None,
    body: Json | None,
    content_type: str,
    accept: str,
) -> Reply | Status:
    data = None if body is None else _encoder.encode(body)
    try:
        return await api.request(
            method, path, params=params, body=data, content_type=content_type, accept=accept, timeout=timeout
        )
    except ClusterUnreachable as error:
        return unreachable(str(error), sent=error.sent)
    except CredentialsRejected as error:
        return Status(code=0, reason="Unauthorized", message=str(error), authentic=False)


def _metadata(head: Head | Status) -> Metadata | Status:
    if isinstance(head, Status):
        return head
    if not head.metadata.uid:  # every stored object has one: something else answered, e.g. with `{}`
        return Status(code=200, reason="NotKubernetes", message="the answer is no object", authentic=False)
    return head.metadata


def _escape(segment: str) -> str:
    return quote(segment, safe="")


class _Version(msgspec.Struct, frozen=True):
    version: str


class _Group(msgspec.Struct, frozen=True):
    name: str
    versions: list[_Version] = []


class _Groups(msgspec.Struct, frozen=True, tag_field="kind", tag="APIGroupList"):
    groups: list[_Group]


class _Resource(msgspec.Struct, frozen=True):
    name: str
    kind: str = ""


class _Resources(msgspec.Struct, frozen=True, tag_field="kind", tag="APIResourceList"):
    resources: list[_Resource]


_heads = msgspec.json.Decoder(Head)
_objects = msgspec.json.Decoder(dict[str, Any])
_anything = msgspec.json.Decoder(Any)
_pages = msgspec.json.Decoder(Page)
_versions = msgspec.json.Decoder(ServerVersion)
_groups = msgspec.json.Decoder(_Groups)
_resources = msgspec.json.Decoder(_Resources)
