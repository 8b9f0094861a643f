"""Requests about objects, except watches: from a decoded request to the cluster and back to an answer.

In: an `Exchange` whose path names a served type, already authorized. Out: responses; refusals are raised. A write is
run step by step, so that webhooks may be asked between its steps while other requests go on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Final, Protocol, TypeVar

from aiohttp import web

from engine.sandbox.simulator import errors
from engine.sandbox.simulator.bodies import Body
from engine.sandbox.simulator.cluster import SimulatedCluster
from engine.sandbox.simulator.deletion import check_delete_options
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.exchange import Exchange
from engine.sandbox.simulator.negotiation import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_MERGE_PATCH,
)
from engine.sandbox.simulator.options import AdmissionRequest, AdmissionVerdict, Answer, DeleteOptions, WriteOptions
from engine.sandbox.simulator.query_options import (
    list_options,
    write_options,
)
from engine.sandbox.simulator.rendering import list_bytes, object_bytes
from engine.sandbox.simulator.request_bodies import decode_patch, read_delete_options, read_object
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.strategies import JOBS

_PATCH_TYPES: Final = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)
_PATCH_TYPES_OF_CUSTOM: Final = (JSON_PATCH, MERGE_PATCH, APPLY_PATCH)

_ORPHANED_PODS: Final = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
    "propagationPolicy=Orphan to suppress this warning"
)

_Result = TypeVar("_Result")


class Reviewer(Protocol):
    """Asks admission webhooks."""

    async def review(self, request: AdmissionRequest) -> AdmissionVerdict:
        """Return what they say.

        Raises:
            ApiError: when they refuse, or cannot be asked and must be.

        """


class ObjectRequests:
    """Answers requests about the objects of one cluster.

    Args:
        cluster: what is asked.
        reviewer: asks webhooks.
        now: seconds since 1970, for ages in tables.

    """

    def __init__(self, cluster: SimulatedCluster, reviewer: Reviewer, now: Callable[[], float]) -> None:
        self._cluster = cluster
        self._reviewer = reviewer
        self._now = now
        self._handlers: dict[str, Callable[[Exchange, ResourceType], Awaitable[web.Response]]] = {
            "get": self._get,
            "list": self._list,
            "create": self._create,
            "update": self._replace,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }

    async def answer(self, exchange: Exchange, rtype: ResourceType) -> web.Response:
        """Answer a request.

        Raises:
            ApiError: when it is refused.

        """
        handler = self._handlers.get(exchange.info.verb)
        if handler is None:
            raise not_allowed()
        exchange.wanted()  # what cannot be answered is not even begun
        return await handler(exchange, rtype)

    async def _get(self, exchange: Exchange, rtype: ResourceType) -> web.Response:
        info = exchange.info
        version = (info.query.get("resourceVersion") or ("",))[0]
        answer = self._cluster.get(
            rtype, info.namespace, info.name, subresource=info.subresource, resource_version=version
        )
        return self._respond(exchange, rtype, answer)

    async def _list(self, exchange: Exchange, rtype: ResourceType) -> web.Response:
        form = exchange.wanted()
        answer = self._cluster.list(rtype, exchange.info.namespace, list_options(exchange.info.query))
        include = (exchange.info.query.get("includeObject") or ("",))[0]
        return exchange.respond(list_bytes(rtype, answer, form, include=include, now=self._now()))

    async def _create(self, exchange: Exchange, rtype: ResourceType) -> web.Response:
        info = exchange.info
        body = await read_object(exchange, rtype.kind)
        options = self._options("CreateOptions", exchange, body)
        name = "" if rtype.custom else info.name  # a path that says one is taken all the same
        steps = self._cluster.steps.create(rtype, info.namespace, name, body.value, options)
        return self._respond(exchange, rtype, await self._run(steps))

    async def _replace(self, exchange: Exchange, rtype: ResourceType) -> web.Response:
        info = exchange.info
        body = await read_object(exchange, rtype.kind)
        options = self._options("UpdateOptions", exchange, body)
        steps = self._cluster.steps.replace(rtype, info.namespace, info.name, body.value, options)
        return self._respond(exchange, rtype, await self._run(steps))

    async def _patch(self, exchange: Exchange, rtype: ResourceType) -> web.Response:
        info = exchange.info
        patch_type = exchange.content_type.partition(";")[0].strip()
        if patch_type not in _PATCH_TYPES:
            raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
        if rtype.custom and patch_type == STRATEGIC_MERGE_PATCH:
            raise errors.unsupported_media_type(_PATCH_TYPES_OF_CUSTOM)
        data = await exchange.body()
        try:
            body = decode_patch(patch_type, data)
        except ApiError:
            if patch_type != APPLY_PATCH:
                self._cluster.get(rtype, info.namespace, info.name)  # what is not there is looked for first
            raise
        options = self._options("PatchOptions", exchange, body, is_apply=patch_type == APPLY_PATCH)
        steps = self._cluster.steps.patch(rtype, info.namespace, info.name, body.value, options, patch_type=patch_type)
        return self._respond(exchange, rtype, await self._run(steps))

    async def _delete(self, exchange: Exchange, rtype: ResourceType) -> web.Response:
        info = exchange.info
        options = await read_delete_options(exchange)
        warnings = delete_warnings(rtype, options)
        steps = self._cluster.steps.delete(rtype, info.namespace, info.name, options)
        return self._respond(exchange, rtype, await self._run(steps, warnings), warnings)

    async def _delete_collection(self, exchange: Exchange, rtype: ResourceType) -> web.Response:
        form = exchange.wanted()
        selection = list_options(exchange.info.query)
        options = await read_delete_options(exchange)
        warnings = delete_warnings(rtype, options)
        steps = self._cluster.steps.delete_collection(rtype, exchange.info.namespace, options, selection)
        answer = await self._run(steps, warnings)
        include = (exchange.info.query.get("includeObject") or ("",))[0]
        return exchange.respond(list_bytes(rtype, answer, form, include=include, now=self._now()), warnings=warnings)

    def _options(self, kind: str, exchange: Exchange, body: Body, *, is_apply: bool = False) -> WriteOptions:
        return write_options(
            kind,
            exchange.info.query,
            user=exchange.user,
            user_agent=exchange.user_agent,
            subresource=exchange.info.subresource,
            duplicates=body.duplicates,
            body=body.raw,
            is_apply=is_apply,
        )

    async def _run(
        self, steps: Generator[AdmissionRequest, AdmissionVerdict, _Result], warnings: tuple[str, ...] = ()
    ) -> _Result:
        """Run a write to its end, asking webhooks whenever it wants that; a refusal gives these warnings, too."""
        try:
            request = next(steps)
            while True:
                try:
                    verdict = await self._reviewer.review(request)
                except ApiError as refusal:
                    request = steps.throw(refusal)
                else:
                    request = steps.send(verdict)
        except StopIteration as end:
            result: _Result = end.value
            return result
        except ApiError as error:
            error.warnings = (*warnings, *error.warnings)
            raise

    def _respond(
        self, exchange: Exchange, rtype: ResourceType, answer: Answer, warnings: tuple[str, ...] = ()
    ) -> web.Response:
        include = (exchange.info.query.get("includeObject") or ("",))[0]
        body = object_bytes(rtype, answer, exchange.wanted(), include=include, now=self._now())
        return exchange.respond(body, code=answer.code, warnings=(*warnings, *answer.warnings))


def not_allowed() -> ApiError:
    """Return the 405 for a path that is served, but not with this method."""
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def delete_warnings(rtype: ResourceType, options: DeleteOptions) -> tuple[str, ...]:
    """Return what a delete is warned of, once its options make sense."""
    check_delete_options(options)
    silent = options.propagation_policy is not None or options.orphan_dependents is not None
    return () if silent or rtype.key != JOBS else (_ORPHANED_PODS,)
