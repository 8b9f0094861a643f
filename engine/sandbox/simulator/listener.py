"""One API server's port: TLS, connections, and a loop that lets the cluster's controllers work when they are due.

In: an `ApiHandler` and a cluster. Out: a port that serves until it is closed, and then refuses connections. Belongs to
one event loop.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio import AbstractServer, Task
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from engine.sandbox.processes import PortTaken
from engine.sandbox.simulator.bodies import BODY_LIMIT
from engine.sandbox.simulator.cluster import SimulatedCluster
from engine.sandbox.simulator.http_server import ApiHandler

_IDLE_SECONDS: Final = 180.0
"""For how long an idle connection is kept; clients close theirs after 90 s."""
_DRAIN_SECONDS: Final = 1.0
_HEADER_BYTES: Final = 64 * 1024
"""Longest request line and header: selectors and continue tokens come in the line."""
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: a client certificate out of its time gets a 401, not an alert of the TLS layer."""


class Listener:
    """Serves one cluster at one port.

    Args:
        handler: answers requests.
        cluster: whose controllers are driven while the port is open; None: somebody else drives them.
        context: of TLS.
        host: address to listen at.
        port: to listen at.
        on_close: awaited when the port is closed.

    """

    def __init__(
        self,
        handler: ApiHandler,
        cluster: SimulatedCluster | None,
        context: ssl.SSLContext,
        host: str,
        port: int,
        *,
        on_close: Callable[[], Awaitable[None]],
    ) -> None:
        self.handler = handler
        self._cluster = cluster
        self._context = context
        self._host = host
        self._port = port
        self._on_close = on_close
        self._web: web.Server | None = None
        self._server: AbstractServer | None = None
        self._driver: Task[None] | None = None

    @property
    def open(self) -> bool:
        """Whether the port is served."""
        return self._server is not None

    async def start(self) -> None:
        """Serve.

        Raises:
            PortTaken: when another process holds the port.

        """
        if self._server is not None:
            return
        loop = asyncio.get_running_loop()
        served: web.Server = web.Server(
            self._handle,
            request_factory=_request,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=_IDLE_SECONDS,
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
        )
        try:
            self._server = await loop.create_server(served, self._host, self._port, ssl=self._context)
        except OSError as error:
            raise PortTaken(f"cannot listen at {self._host}:{self._port}: {error.strerror or error}") from error
        self._web = served
        if self._cluster is not None:
            self._driver = loop.create_task(_drive(self._cluster), name=f"controllers of {self._cluster.name}")

    async def stop(self) -> None:
        """Stop accepting, let requests under way finish for a second, and end watches."""
        await self._close(_DRAIN_SECONDS)

    async def kill(self) -> None:
        """Refuse connections from now on, and cut those there are."""
        if self._web is not None:
            for connection in self._web.connections:
                if connection.transport is not None:
                    connection.transport.abort()
        await self._close(0.0)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer, unless the port was closed while this connection was still being made."""
        if self._server is None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        return await self.handler(request)

    async def _close(self, seconds: float) -> None:
        served, server, driver = self._web, self._server, self._driver
        self._web = self._server = self._driver = None
        if served is None or server is None:
            return
        server.close()
        if driver is not None:
            driver.cancel()
        self.handler.watches.cut()
        await served.shutdown(seconds)
        await self._on_close()


async def _drive(cluster: SimulatedCluster) -> None:
    """Run the controllers of a cluster whenever something is due."""
    wake = asyncio.Event()
    cluster.on_due = wake.set
    while True:
        wake.clear()
        more = cluster.run_due()
        due = cluster.next_due()
        delay = 0.0 if more else None if due is None else max(0.0, due - cluster.clock())
        try:
            async with asyncio.timeout(delay):
                await wake.wait()
        except TimeoutError:
            pass


def server_context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Return the TLS context of a server that lets clients show certificates of an authority.

    Args:
        certificate: PEM file.
        key: PEM file.
        authority: PEM file.

    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= _NO_CHECK_TIME
    return context


def _request(message: Any, payload: Any, protocol: RequestHandler, writer: Any, task: Task[None]) -> web.BaseRequest:
    """Return a request whose body may be as large as ours, so that refusing it is up to us."""
    return web.BaseRequest(message, payload, protocol, writer, task, task.get_loop(), client_max_size=BODY_LIMIT)
