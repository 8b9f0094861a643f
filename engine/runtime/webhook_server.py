"""The webhook's HTTPS server: one path, reviews in, answers out."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from engine.runtime.automount_review import MAX_BYTES, Automount

PATH = "/mutate-pods"


@asynccontextmanager
async def serving(automount: Automount, listening: socket.socket, tls: ssl.SSLContext) -> AsyncIterator[None]:
    """Serve for as long as the block runs.

    Args:
        automount: answers.
        listening: where.
        tls: whose certificate may be replaced meanwhile.

    """

    async def review(request: web.Request) -> web.Response:
        try:
            answer = await automount.review(await request.read())
        except msgspec.DecodeError:
            return web.Response(status=400, text="not an AdmissionReview of admission.k8s.io/v1\n")
        return web.Response(body=answer, content_type="application/json")

    application = web.Application(client_max_size=MAX_BYTES)
    application.add_routes([web.post(PATH, review)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=10.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listening, ssl_context=tls).start()
        yield
    finally:
        await runner.cleanup()
