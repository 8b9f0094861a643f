"""One simulated API server as a request handler: who asks, may they, and who answers.

In: aiohttp's requests. Out: its responses. In order: faults, authentication, impersonation, authorization, dispatch to
objects, watches, reviews and documents. Sockets and TLS are in `listener`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from aiohttp import web

from engine.sandbox.simulator import errors
from engine.sandbox.simulator.access import Access, Attributes, forbidden
from engine.sandbox.simulator.cluster import SimulatedCluster
from engine.sandbox.simulator.discovery import AGGREGATED, Discovery, Document, wants_aggregated
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.exchange import TEXT, Exchange
from engine.sandbox.simulator.faults import AnswerLost, Faults
from engine.sandbox.simulator.http_objects import ObjectRequests, Reviewer, not_allowed
from engine.sandbox.simulator.http_watch import WatchRequests
from engine.sandbox.simulator.identity import ANONYMOUS, AUTHENTICATED, Authenticator
from engine.sandbox.simulator.negotiation import JSON
from engine.sandbox.simulator.openapi import OPENAPI_V2_TYPE, OpenApi, openapi_v2
from engine.sandbox.simulator.options import User
from engine.sandbox.simulator.request_info import RequestInfo, parse_request
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.reviews import Reviews
from engine.sandbox.simulator.strategies import PODS
from engine.sandbox.simulator.subresources import NEED_A_NODE, subresource_verbs

_HEALTH: Final = {"healthz", "livez", "readyz"}
_NOT_FOUND: Final = "404 page not found\n"

_log = structlog.get_logger(__name__)


class ApiHandler:
    """Answers the requests to one simulated cluster.

    Args:
        cluster: what answers about objects.
        authenticator: says who asks.
        access: says what they may do.
        faults: what goes wrong.
        reviewer: asks admission webhooks.
        now: seconds since 1970, as the cluster's clock has it.

    """

    def __init__(
        self,
        cluster: SimulatedCluster,
        authenticator: Authenticator,
        access: Access,
        faults: Faults,
        reviewer: Reviewer,
        now: Callable[[], float],
    ) -> None:
        self._access = access
        self.watches = WatchRequests(cluster, faults, now)
        self._cluster = cluster
        self._authenticator = authenticator
        self._faults = faults
        self._objects = ObjectRequests(cluster, reviewer, now)
        self._discovery = Discovery(cluster.types)
        self._openapi = OpenApi(cluster.types, cluster.version)
        self._reviews = Reviews(cluster, access, authenticator)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        info = parse_request(request.method, request.raw_path)
        exchange = Exchange(request, info, ANONYMOUS)
        try:
            if self._faults.active:
                await self._faults.before(info)
            response = await self._answer(exchange)
            if self._faults.active:
                await self._faults.after(info)
        except ApiError as error:
            return exchange.respond_error(error)
        except AnswerLost:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - as the real server's panic handler
            _log.exception("a request broke the simulator", method=request.method, path=info.path)
            return exchange.respond_error(errors.internal_error(f"{type(error).__name__}: {error}"))
        return response

    async def _answer(self, exchange: Exchange) -> web.StreamResponse:
        info = exchange.info
        exchange.user = self._user(exchange.request)
        self._access.check(exchange.user, info)
        if not info.is_resource:
            return self._document(exchange)
        rtype = self._cluster.types.find(info.group, info.version, info.resource)
        if rtype is None:
            if not self._discovery.serves(info.group, info.version) or self._is_custom(info.group):
                return exchange.respond_text(_NOT_FOUND, code=404)
            raise errors.unknown_path()
        exchange.is_custom = rtype.custom
        exchange.deprecation = rtype.warning
        _check_path(rtype, info)
        if not rtype.namespaced and info.namespace:
            exchange.info = msgspec.structs.replace(info, namespace="")  # of a Namespace, the path tells its name twice
        if rtype.key == PODS and info.subresource == "log":
            self._cluster.get(rtype, info.namespace, info.name)
            return exchange.respond_text("")  # nothing runs, so nothing was said
        if info.verb == "watch":
            return await self.watches.answer(exchange, rtype)
        if self._reviews.concerns(rtype, info.subresource):
            return await self._reviews.answer(exchange, rtype)
        return await self._objects.answer(exchange, rtype)

    def _is_custom(self, group: str) -> bool:
        """Return whether a group is one of custom resources alone, of which Go's library tells the rest."""
        return all(one.custom for one in self._cluster.types if one.group == group)

    def _user(self, request: web.BaseRequest) -> User:
        transport = request.transport
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        headers = request.headers
        user = self._authenticator.user(headers.get("Authorization", ""), tls)
        wanted = headers.get("Impersonate-User")
        if wanted is None:
            return user
        groups = headers.getall("Impersonate-Group", [])
        for resource, names in (("users", [wanted]), ("groups", groups)):
            for name in names:
                asked = Attributes("impersonate", resource=resource, name=name)
                allowed, problems = self._access.decide(user, asked)
                if not allowed:
                    raise forbidden(user, asked, problems)
        return User(wanted, groups=tuple(dict.fromkeys([*groups, AUTHENTICATED])))

    def _document(self, exchange: Exchange) -> web.Response:
        """Answer a path that is no resource."""
        if exchange.request.method not in {"GET", "HEAD"}:
            raise not_allowed()
        parts = [part for part in exchange.info.path.split("/") if part]
        match parts:
            case []:
                paths = [*self._discovery.paths(), *(f"/{one}" for one in sorted(_HEALTH)), "/openapi/v3", "/version"]
                return exchange.respond_json({"paths": paths})
            case ["version"]:
                return exchange.respond_json(_version(self._cluster.version))
            case [check] if check in _HEALTH:
                return _health(exchange, check)
            case ["openapi", "v2"]:
                return exchange.respond_raw(openapi_v2(self._cluster.version), OPENAPI_V2_TYPE)
            case ["openapi", "v3", *rest]:
                return self._openapi_document(exchange, "/".join(rest))
            case ["api" | "apis", *rest] if len(rest) <= 2:
                return self._discovery_document(exchange, parts[0], rest)
            case _:
                return exchange.respond_text(_NOT_FOUND, code=404)

    def _discovery_document(self, exchange: Exchange, root: str, rest: list[str]) -> web.Response:
        if not rest and wants_aggregated(exchange.accept):
            return _cached(exchange, self._discovery.aggregated(core=root == "api"), AGGREGATED)
        document: Document | None = None
        if root == "api" and not rest:
            return exchange.respond_json(self._discovery.versions(exchange.request.host))
        if root == "api" and len(rest) == 1:
            document = self._discovery.resources("", rest[0])
        elif not rest:
            document = self._discovery.groups()
        elif len(rest) == 2:
            document = self._discovery.resources(rest[0], rest[1])
        elif (group := self._discovery.group(rest[0])) is not None:
            return exchange.respond_json(group)
        if document is None:
            return exchange.respond_text(_NOT_FOUND, code=404)
        return exchange.respond(document.body)

    def _openapi_document(self, exchange: Exchange, path: str) -> web.Response:
        if not path:
            return exchange.respond_raw(self._openapi.index().body, TEXT)  # JSON all the same
        document = self._openapi.document(path)
        if document is None:
            return exchange.respond_raw(b"", JSON, code=404)
        return _cached(exchange, document, JSON)


def _check_path(rtype: ResourceType, info: RequestInfo) -> None:
    """Refuse what a type's paths do not have: other subresources, scopes and methods."""
    in_namespace = bool(info.namespace) and (info.resource != "namespaces")
    if in_namespace and not rtype.namespaced:
        raise errors.unknown_path()
    if rtype.namespaced and not in_namespace and info.name:
        raise errors.unknown_path()
    verbs = rtype.verbs
    if info.subresource:
        name = info.subresource.partition("/")[0]
        verbs = subresource_verbs(rtype, name)
        if not verbs:
            raise errors.not_found(rtype, info.name) if rtype.custom else errors.unknown_path()
        if name in NEED_A_NODE:
            raise errors.service_unavailable(
                f"nothing runs in a simulated cluster: {rtype.resource}/{name} needs a node"
            )
    allowed = info.verb in verbs
    if rtype.custom:
        if info.verb in {"update", "patch"} and not info.name:
            raise errors.bad_request("name must be provided")
    elif info.verb == "create":
        allowed = allowed and bool(info.name) is bool(info.subresource)
    elif info.verb in {"update", "patch"}:
        allowed = allowed and bool(info.name)
    if info.verb in {"create", "deletecollection"} and rtype.namespaced and not in_namespace:
        allowed = False
    if not allowed:
        raise not_allowed()


def _cached(exchange: Exchange, document: Document, media_type: str) -> web.Response:
    """Answer with a document that clients keep and ask for again by its ETag."""
    if exchange.request.headers.get("If-None-Match") == document.etag:
        response = exchange.respond_raw(b"", media_type, code=304)
    else:
        response = exchange.respond_raw(document.body, media_type)
    response.headers["Cache-Control"] = "public"
    response.headers["ETag"] = document.etag
    response.headers.add("Vary", "Accept")
    return response


def _health(exchange: Exchange, check: str) -> web.Response:
    if "verbose" in exchange.info.query:
        return exchange.respond_raw(f"[+]ping ok\n{check} check passed\n".encode(), TEXT)
    return exchange.respond_text("ok")


def _version(version: str) -> dict[str, str]:
    major, minor, *_ = version.removeprefix("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": version,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    }
