"""Watches over HTTP: a subscription's events as lines of a stream that ends as the real server's do.

In: an `Exchange` that asks for a watch, already authorized. Out: the stream: initial events, changes in bursts,
bookmarks, and the end after timeoutSeconds. Which events there are is decided in `watching`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

import msgspec
from aiohttp import web

from engine.sandbox.simulator.cluster import SimulatedCluster
from engine.sandbox.simulator.exchange import Exchange
from engine.sandbox.simulator.faults import Faults
from engine.sandbox.simulator.negotiation import JSON, Target, Wanted
from engine.sandbox.simulator.options import WatchOptions
from engine.sandbox.simulator.query_options import watch_options, watch_seconds
from engine.sandbox.simulator.rendering import watched_object
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.watching import Subscription, WatchEvent

BOOKMARK_SECONDS: Final = 60.0
"""Between bookmarks: the real server's rhythm."""
_LAST_BOOKMARK_SECONDS: Final = 2.0
"""So long before its end a watch gets one more bookmark."""
_LEAST_SECONDS: Final = 1800.0
"""Of a watch that names no end: between this and twice as long."""
_BURST: Final = 500
"""Changes written at once: a stream's memory stays small, and other requests get their turn between bursts."""

_encode = msgspec.json.Encoder().encode


class WatchRequests:
    """Answers the watch requests of one cluster.

    Args:
        cluster: what is watched.
        faults: may make streams hang.
        now: seconds since 1970, for ages in tables.

    """

    def __init__(self, cluster: SimulatedCluster, faults: Faults, now: Callable[[], float]) -> None:
        self._cluster = cluster
        self._faults = faults
        self._now = now
        self._streams: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        """How many watches are open."""
        return len(self._streams)

    def cut(self) -> int:
        """Break every open stream off, as a failing network does, and return how many there were."""
        streams = list(self._streams)
        for task in streams:
            task.cancel()
        return len(streams)

    async def answer(self, exchange: Exchange, rtype: ResourceType) -> web.StreamResponse:
        """Answer a watch until it ends.

        Raises:
            ApiError: when it cannot even begin.
            CancelledError: when the stream is broken off.

        """
        query = exchange.info.query
        form = exchange.wanted_of_watch()
        seconds = watch_seconds(query) or random.uniform(1, 2) * _LEAST_SECONDS  # noqa: S311 - not a secret
        options = watch_options(query)
        if exchange.info.name:  # the old form of the path, which names one object
            options = replace(options, field_selector=f"metadata.name={exchange.info.name}")
        wake = asyncio.Event()
        subscription = self._cluster.watch(rtype, exchange.info.namespace, options, on_change=wake.set)
        task = exchange.request.task
        self._streams.add(task)
        try:
            response = web.StreamResponse(headers=exchange.headers(JSON))
            exchange.warn(response)
            await response.prepare(exchange.request)
            lines = _plain_lines if form.target is Target.OBJECT else _Converter(exchange, rtype, form, self._now)
            await self._stream(exchange, response, subscription, lines, wake, seconds, options)
            await response.write_eof()
        finally:
            self._streams.discard(task)
            subscription.close()
        return response

    async def _stream(
        self,
        exchange: Exchange,
        response: web.StreamResponse,
        subscription: Subscription,
        lines: Callable[[Iterable[WatchEvent]], bytes],
        wake: asyncio.Event,
        seconds: float,
        options: WatchOptions,
    ) -> None:
        end = time.monotonic() + seconds
        bookmark_at = self._first_bookmark(seconds) if options.allow_bookmarks else end
        await self._send(exchange, response, lines(subscription.initial))
        subscription.initial.clear()
        while True:
            wake.clear()
            while subscription.pending:
                await self._send(exchange, response, lines(subscription.take(_BURST)))
            now = time.monotonic()
            if subscription.ended or now >= end:
                return
            if now >= bookmark_at and not wake.is_set():
                await self._send(exchange, response, lines([subscription.bookmark(self._cluster.store.rv)]))
                bookmark_at = self._first_bookmark(end - now)
            try:
                async with asyncio.timeout(min(end, bookmark_at) - time.monotonic()):
                    await wake.wait()
            except TimeoutError:
                pass

    async def _send(self, exchange: Exchange, response: web.StreamResponse, data: bytes) -> None:
        if self._faults.active:
            await self._faults.hold(exchange.info)
        if data:
            await response.write(data)

    @staticmethod
    def _first_bookmark(seconds: float) -> float:
        """Return when the next bookmark of a watch is due that lasts some seconds more."""
        last = seconds - _LAST_BOOKMARK_SECONDS
        return time.monotonic() + (last if 0 < last < BOOKMARK_SECONDS else BOOKMARK_SECONDS)


def _plain_lines(events: Iterable[WatchEvent]) -> bytes:
    return b"".join([event.line() for event in events])


class _Converter:
    """Makes lines of events whose objects are wanted as tables or as metadata."""

    def __init__(self, exchange: Exchange, rtype: ResourceType, form: Wanted, now: Callable[[], float]) -> None:
        self._include = (exchange.info.query.get("includeObject") or ("",))[0]
        self._rtype = rtype
        self._form = form
        self._now = now
        self._columns = True

    def __call__(self, events: Iterable[WatchEvent]) -> bytes:
        return b"".join([self._line(event) for event in events])

    def _line(self, event: WatchEvent) -> bytes:
        if event.type == "ERROR":
            return event.line()
        shown = watched_object(
            self._rtype, event.object, self._form, include=self._include, now=self._now(), columns=self._columns
        )
        self._columns = False
        return b"" if shown is None else _encode({"type": event.type, "object": shown}) + b"\n"
