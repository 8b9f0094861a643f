"""Which types a cluster serves, by aggregated discovery: two requests (Kubernetes 1.27 and later)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from engine.core.secrecy import always_holds_secrets
from engine.core.watch_wire import decode_status
from engine.runtime.ports import ClusterApi, ClusterUnreachable, CredentialsRejected
from schemas.names import Resource

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
"""Accept header. A server that does not know it answers with another kind."""
TIMEOUT_SECONDS = 30.0
ALL = "*/*"
TWICE_SERVED = frozenset({("events.k8s.io", "events")})
"""(group, plural) of types whose objects are those of another type: `*/*` leaves them out."""


class Served(msgspec.Struct, frozen=True, order=True):
    """A resource type as discovery names it."""

    resource: Resource
    kind: str = ""

    @property
    def path(self) -> str:
        """Where all its objects are listed and watched."""
        return self.within("")

    def within(self, namespace: str) -> str:
        """Return where its objects of one namespace are listed; of all, where that is empty."""
        group, version, plural = self.resource.group, self.resource.version, self.resource.plural
        place = f"namespaces/{namespace}/{plural}" if namespace else plural
        return f"/apis/{group}/{version}/{place}" if group else f"/api/{version}/{place}"


class DiscoveryFailed(Exception):
    """Raised when the served types cannot be told; nothing may be concluded from that (G19)."""


class Discovered(msgspec.Struct, frozen=True):
    """What a cluster serves."""

    types: tuple[Served, ...]
    """Those that can be listed and watched, in the server's order of preference."""
    unsure: frozenset[str]
    """`group/version` that the server could not ask at the moment; whether they have types is not known."""


async def discover(api: ClusterApi) -> Discovered:
    """Ask a cluster what it serves.

    Raises:
        DiscoveryFailed: when it does not answer, refuses, answers in another form, or serves nothing at all.

    """
    core = await _get(api, "/api")
    groups = await _get(api, "/apis")
    types: list[Served] = []
    unsure: set[str] = set()
    for group in (*core, *groups):
        for version in group.versions:
            where = f"{group.metadata.name}/{version.version}" if group.metadata.name else version.version
            if version.freshness != "Current":
                unsure.add(where)
            types.extend(
                Served(
                    Resource(group.metadata.name, version.version, found.resource),
                    found.responseKind.kind if found.responseKind else "",
                )
                for found in version.resources or ()
                if {"list", "watch"} <= set(found.verbs or ())
            )
    if not types:
        message = "the server names no type that can be watched"
        raise DiscoveryFailed(message)
    return Discovered(tuple(types), frozenset(unsure))


def wanted(patterns: Sequence[str], served: Iterable[Served]) -> list[Served]:
    """Return the served types that the patterns ask for, in order and once each.

    `*/*` takes each (group, plural) in the version that the server prefers; Secrets and FederatedSecrets only if they are
    named (SEC-13).
    """
    served = tuple(served)
    by_resource = {found.resource: found for found in served}
    chosen = {}
    for pattern in patterns:
        if pattern != ALL:
            found = by_resource.get(Resource.parse(pattern))
            if found is not None:
                chosen[found.resource.group, found.resource.plural] = found
    if ALL in patterns:
        for found in served:
            place = (found.resource.group, found.resource.plural)
            if not always_holds_secrets(*place) and place not in TWICE_SERVED:
                chosen.setdefault(place, found)
    return list(chosen.values())


async def _get(api: ClusterApi, path: str) -> list[_Group]:
    try:
        reply = await api.request("GET", path, accept=AGGREGATED, timeout=TIMEOUT_SECONDS)
    except (ClusterUnreachable, CredentialsRejected) as error:
        raise DiscoveryFailed(str(error)) from error
    if reply.status != 200:
        message = f"GET {path}: {reply.status} {decode_status(reply.body).message}"
        raise DiscoveryFailed(message)
    try:
        answer = _decoder.decode(reply.body)
    except msgspec.DecodeError as error:
        raise DiscoveryFailed(str(error)) from error
    if answer.kind != "APIGroupDiscoveryList":
        message = f"GET {path}: {answer.kind} where APIGroupDiscoveryList was expected (Kubernetes before 1.27?)"
        raise DiscoveryFailed(message)
    return answer.items or []


class _Kind(msgspec.Struct):
    kind: str = ""


class _Resource(msgspec.Struct):
    resource: str
    responseKind: _Kind | None = None  # noqa: N815 - Kubernetes' spelling
    verbs: list[str] | None = None


class _Version(msgspec.Struct):
    version: str
    resources: list[_Resource] | None = None
    freshness: str = "Current"


class _Metadata(msgspec.Struct):
    name: str = ""


class _Group(msgspec.Struct):
    metadata: _Metadata
    versions: list[_Version]


class _Answer(msgspec.Struct):
    kind: str = ""
    items: list[_Group] | None = None


_decoder = msgspec.json.Decoder(_Answer)
