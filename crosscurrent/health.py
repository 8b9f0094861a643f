"""Probes and metrics over HTTP: /livez, /readyz, /healthz (with ?verbose, as API servers answer), /metrics.

Ports are taken before anything else is started, and kept: a port that is free when looked at and taken when needed would
fail in the middle of a start.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from crosscurrent.errors import PortTaken

if TYPE_CHECKING:
    from aiohttp import web
    from prometheus_client import CollectorRegistry

Check = Callable[[], Awaitable[str]]
"""Returns what is wrong, empty when nothing is."""
LOOPBACK = "127.0.0.1"
_BACKLOG = 16
"""Probes and scrapes come one at a time."""


def take_port(port: int, *, host: str, purpose: str, advice: str) -> socket.socket:
    """Return a listening socket.

    Args:
        port: 0 for a free one.
        host: address to listen on.
        purpose: what needs it, for the message.
        advice: what to change.

    Raises:
        PortTaken: when it cannot be had.

    """
    listening = socket.socket()
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        why = "is taken by another process" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        raise PortTaken(f"{purpose}: port {port} of {host} {why}", advice) from error
    listening.setblocking(False)
    return listening


def take_ports(probe_port: int, metrics_port: int, *, host: str) -> tuple[socket.socket | None, socket.socket | None]:
    """Return listening sockets for probes and metrics, None where the port is 0.

    Raises:
        PortTaken: when one cannot be had; the other is given back.

    """
    advice = "give another {0} (in the configuration, or {1}), or 0 for none"
    probe = metrics = None
    if probe_port:
        probe = take_port(
            probe_port,
            host=host,
            purpose="probes",
            advice=advice.format("probe_port", "CROSSCURRENT_PROBE_PORT"),
        )
    try:
        if metrics_port:
            metrics = take_port(
                metrics_port,
                host=host,
                purpose="metrics",
                advice=advice.format("metrics_port", "CROSSCURRENT_METRICS_PORT"),
            )
    except PortTaken:
        if probe:
            probe.close()
        raise
    return probe, metrics


@asynccontextmanager
async def probes(
    listening: socket.socket | None, *, live: Mapping[str, Check], ready: Mapping[str, Check]
) -> AsyncIterator[None]:
    """Serve probes on a socket for as long as the block runs; with None, do nothing.

    Args:
        listening: from `take_ports`.
        live: checks of /livez; failing means: restart me.
        ready: checks of /readyz, in addition.

    """
    if listening is None:
        yield
        return
    from aiohttp import web  # noqa: PLC0415 - 0.3 s that only servers pay

    async def livez(request: web.Request) -> web.Response:
        return await _answer(request, live)

    async def readyz(request: web.Request) -> web.Response:
        return await _answer(request, {**live, **ready})

    application = web.Application()
    application.add_routes([web.get("/livez", livez), web.get("/healthz", livez), web.get("/readyz", readyz)])
    async with _serving(application, listening):
        yield


@asynccontextmanager
async def metrics(
    listening: socket.socket | None, registry: CollectorRegistry, before: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[None]:
    """Serve /metrics on a socket for as long as the block runs; with None, do nothing.

    Args:
        listening: from `take_ports`.
        registry: what to show.
        before: called before each answer, to bring the registry up to date.

    """
    if listening is None:
        yield
        return
    from aiohttp import web  # noqa: PLC0415
    from prometheus_client import exposition  # noqa: PLC0415

    async def show(request: web.Request) -> web.Response:
        if before:
            await before()
        encode, content_type = exposition.choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    application = web.Application()
    application.add_routes([web.get("/metrics", show)])
    async with _serving(application, listening):
        yield


@asynccontextmanager
async def _serving(application: web.Application, listening: socket.socket) -> AsyncIterator[None]:
    from aiohttp import web  # noqa: PLC0415

    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield
    finally:
        await runner.cleanup()


async def _answer(request: web.Request, checks: Mapping[str, Check]) -> web.Response:
    """Answer as kube-apiserver does: `ok`, or every check when one fails or ?verbose is given."""
    from aiohttp import web  # noqa: PLC0415

    problems = {name: await check() for name, check in checks.items()}
    failed = any(problems.values())
    probe = request.path.strip("/")
    if not failed and "verbose" not in request.query:
        return web.Response(text="ok")
    lines = [f"[-]{name} failed: {problem}" if problem else f"[+]{name} ok" for name, problem in problems.items()]
    lines.append(f"{probe} check {'failed' if failed else 'passed'}")
    return web.Response(text="\n".join(lines) + "\n", status=503 if failed else 200)
