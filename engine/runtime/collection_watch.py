"""Follows one small collection of a cluster, whole objects, for what runs before and beside watchers: the registry.

In: a LIST, then a watch from there. Out: all objects, whenever one changes. Not here: facts, checkpoints, many types; that
is what watchers are for, and this is how they learn whom to watch.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from engine.core.api_errors import read_status
from engine.core.backoff import Backoff, failed
from engine.runtime.api_calls import collection_path
from engine.runtime.ports import Clock, ClusterApi, ClusterUnreachable, CredentialsRejected, Reply
from schemas.actions import Json
from schemas.names import Resource

REQUEST_SECONDS = 5.0
RETRY_SECONDS = 2.0
"""Longest pause after a failure: a hub that is back is heard again within this."""
WATCH_SECONDS = 290
"""The server ends a watch by itself after this; balancers on the way let go of older ones."""
SHORT_SECONDS = 1.0
"""A watch that ends before this is not opened again without a pause."""
IDLE_SECONDS = 90.0
"""Servers send a bookmark every minute: silence for longer is a dead connection."""
PAGE = 500
MAX_OBJECTS = 20_000
"""More than that is no list of clusters."""


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    metadata: _Meta
    items: list[Json] | None = None


class _Line(msgspec.Struct):
    type: str
    object: Json


class _Failed(Exception):
    """Raised when the collection cannot be read; the message names verb, resource and cluster."""


_lists = msgspec.json.Decoder(_List)
_lines = msgspec.json.Decoder(_Line)


class CollectionWatch:
    """One collection in one namespace."""

    def __init__(
        self,
        api: ClusterApi,
        clock: Clock,
        resource: Resource,
        namespace: str,
        selectors: dict[str, str] | None = None,
    ) -> None:
        """Take what to follow.

        Args:
            api: of the cluster.
            clock: time.
            resource: type.
            namespace: where.
            selectors: `labelSelector` and `fieldSelector`, as the API takes them.

        """
        self._api, self._clock = api, clock
        self._path = collection_path(resource, namespace)
        self._what = f"{resource.plural} {namespace} in {api.name}"
        self._selectors = selectors or {}
        self._objects: dict[str, Json] = {}
        """By uid."""
        self._version = ""

    async def run(self, changed: Callable[[Sequence[Json]], None], trouble: Callable[[str], None]) -> None:
        """Follow until cancelled.

        Args:
            changed: takes all objects, whenever there is another set.
            trouble: takes why the collection cannot be read just now; empty: it can.

        """
        backoff = Backoff(cap=RETRY_SECONDS)
        while True:
            try:
                if not self._version:
                    await self._list()
                    changed(tuple(self._objects.values()))
                trouble("")
                started = self._clock.monotonic()
                await self._watch(changed)
                if self._clock.monotonic() - started < SHORT_SECONDS:
                    raise self._failed("watch", "the server ends it at once")
                backoff = Backoff(cap=RETRY_SECONDS)
            except _Failed as error:
                trouble(str(error))
                jitter = random.random()  # noqa: S311 - spreads load
                backoff, seconds = failed(backoff, self._clock.monotonic(), jitter)
                await self._clock.sleep(seconds)

    async def _list(self) -> None:
        found: dict[str, Json] = {}
        params = {**self._selectors, "limit": str(PAGE)}
        while True:
            try:
                reply = await self._api.request("GET", self._path, params=params, timeout=REQUEST_SECONDS)
            except (ClusterUnreachable, CredentialsRejected) as error:
                raise self._failed("list", str(error)) from error
            page = self._page(reply)
            found |= {_uid(one): one for one in page.items or ()}
            if len(found) > MAX_OBJECTS:
                raise self._failed("list", f"more than {MAX_OBJECTS} objects")
            if not page.metadata.continue_:
                break
            params["continue"] = page.metadata.continue_
        self._objects, self._version = found, page.metadata.resource_version

    def _page(self, reply: Reply) -> _List:
        if reply.status != 200:
            raise self._failed("list", read_status(reply.status, reply.body).message)
        try:
            return _lists.decode(reply.body)
        except msgspec.DecodeError as error:
            raise self._failed("list", "the answer is no list") from error

    async def _watch(self, changed: Callable[[Sequence[Json]], None]) -> None:
        params = {**self._selectors, "watch": "true", "resourceVersion": self._version}
        params |= {"allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        try:
            async with aclosing(self._api.stream(self._path, params=params, idle_timeout=IDLE_SECONDS)) as stream:  # type: ignore[type-var]
                async for part in stream:
                    if isinstance(part, Reply):
                        self._opened(part)
                    elif self._take(part):
                        changed(tuple(self._objects.values()))
        except (ClusterUnreachable, CredentialsRejected) as error:
            raise self._failed("watch", str(error)) from error

    def _opened(self, reply: Reply) -> None:
        if reply.status != 200:
            self._version = ""  # most likely too old; listing again is right whatever it was
            raise self._failed("watch", read_status(reply.status, reply.body).message)

    def _take(self, lines: Sequence[bytes]) -> bool:
        """Apply lines of the watch; return whether an object changed."""
        news = False
        for raw in lines:
            try:
                line = _lines.decode(raw)
                version = str(line.object["metadata"]["resourceVersion"]) if line.type != "ERROR" else ""
            except (msgspec.DecodeError, KeyError, TypeError) as error:
                self._version = ""
                raise self._failed("watch", "a line is no watch event") from error
            self._version = version
            if line.type == "ERROR":
                raise self._failed("watch", str(line.object.get("message", "the server ended it")))
            if line.type == "DELETED":
                news |= self._objects.pop(_uid(line.object), None) is not None
            elif line.type in ("ADDED", "MODIFIED"):
                self._objects[_uid(line.object)] = line.object
                news = True
        return news

    def _failed(self, verb: str, why: str) -> _Failed:
        return _Failed(f"{verb} {self._what}: {why}")


def _uid(body: Json) -> str:
    metadata: dict[str, Any] = body.get("metadata") or {}
    return str(metadata.get("uid") or metadata.get("name") or "")
