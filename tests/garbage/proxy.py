"""A fault proxy in front of one API server: the engine goes through it, the tests go around it.

Plain HTTP on the loopback interface; towards the API server it is the engine's user, with a client certificate of its own, so
that the audit log tells the engine's requests from everybody else's.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from engine.sandbox.api_servers import ApiServer

ENGINE = "crosscurrent-engine"
"""User name of the engine in every audit log."""
Fault = Callable[[web.Request], "web.Response | str | float | None"]
"""What to do with a request: answer it, `hang`, `stall`, `reset`, delay it for seconds, or pass it on (None)."""


class Proxy:
    """One cluster's proxy.

    Attributes:
        fault: decides on each request; replace it at any time. Open watches are cut when it is.
        cluster: whom it leads to; replace it and another cluster answers (XGC-10).

    """

    def __init__(self, cluster: ApiServer, directory: Path) -> None:
        self.name, self.cluster = cluster.name, cluster
        self.requests: list[tuple[str, str]] = []
        self._directory = directory
        self._fault: Fault | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._loop = asyncio.new_event_loop()
        self._streams: set[asyncio.Task[Any]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"proxy of {cluster.name}", daemon=True)
        self.port = 0
        self.disturbed = False
        """Whether its streams were cut since somebody last looked."""

    @property
    def kubeconfig(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": self.name, "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "engine", "user": {"token": "the-proxy-knows-who-it-is"}}],
            "contexts": [{"name": self.name, "context": {"cluster": self.name, "user": "engine"}}],
            "current-context": self.name,
        }

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(20)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(20)

    def set(self, fault: Fault | None) -> None:
        """Change the fault, and cut what streams, as it may concern that too."""
        if fault is None and self._fault is None:
            return
        self.disturbed = True

        def change() -> None:
            self._fault = fault
            for task in list(self._streams):
                task.cancel()

        self._loop.call_soon_threadsafe(change)

    def listen(self, *, on: bool) -> None:
        """Refuse connections, or take them again, on the same port."""

        async def change() -> None:
            if on:
                self._site = web.TCPSite(self._runner, "127.0.0.1", self.port)
                await self._site.start()
            else:
                await self._site.stop()
            for connection in list(self._runner.server.connections if self._runner.server else ()):
                connection.force_close()

        asyncio.run_coroutine_threadsafe(change(), self._loop).result(10)

    def lead_to(self, cluster: ApiServer) -> None:
        """Lead to another cluster from now on."""
        self.cluster = cluster
        self.set(lambda _: None)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
        application = web.Application(client_max_size=1 << 26)
        application.router.add_route("*", "/{tail:.*}", self._handle)
        runner = web.AppRunner(application, shutdown_timeout=0.2, handler_cancellation=True)
        await runner.setup()
        self._runner = runner
        self._site = web.TCPSite(runner, "127.0.0.1", 0)
        await self._site.start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stopping.wait()
        for task in list(self._streams):
            task.cancel()
        await self._session.close()
        await runner.cleanup()
        await asyncio.sleep(0.1)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        verdict = self._fault(request) if self._fault else None
        if isinstance(verdict, web.Response):
            return verdict
        if verdict == "reset":
            return self._cut(request)
        if isinstance(verdict, float):
            await asyncio.sleep(verdict)
        task = asyncio.current_task()
        assert task is not None
        streams = "watch" in request.query or verdict in ("hang", "stall")
        if streams:
            self._streams.add(task)
        try:
            return await (self._hang(request, verdict) if verdict in ("hang", "stall") else self._pass_on(request))
        except aiohttp.ClientError:
            return self._cut(request)
        except asyncio.CancelledError:
            if not streams:
                raise
            task.uncancel()
            return self._cut(request)
        finally:
            self._streams.discard(task)

    def _cut(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    async def _hang(self, request: web.Request, verdict: object) -> web.StreamResponse:
        """Say nothing, or say 200 and then nothing."""
        response = web.StreamResponse(status=200, headers={"Content-Type": "application/json"})
        if verdict == "stall":
            await response.prepare(request)
        await asyncio.sleep(3600)
        return response

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        headers = {
            name: value for name, value in request.headers.items() if name in ("Accept", "Content-Type", "User-Agent")
        }
        body = await request.read() if request.can_read_body else None
        url = f"{self.cluster.url}{request.raw_path}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with self._session.request(
            request.method, url, data=body, headers=headers, ssl=self._context(), timeout=timeout
        ) as answer:
            kept = {n: v for n, v in answer.headers.items() if n in ("Content-Type", "Retry-After")}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    def _context(self) -> ssl.SSLContext:
        name = self.cluster.name
        if name not in self._contexts:
            config = self.cluster.certificate_kubeconfig(ENGINE, groups=["system:masters"])
            user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
            paths = []
            for part in ("client-certificate-data", "client-key-data"):
                path = self._directory / f"{self.name}-to-{name}-{part}.pem"
                path.write_bytes(base64.b64decode(user[part]))
                paths.append(str(path))
            trusted = base64.b64decode(cluster["certificate-authority-data"]).decode()
            context = ssl.create_default_context(cadata=trusted)
            context.load_cert_chain(*paths)
            self._contexts[name] = context
        return self._contexts[name]


def status(code: int, reason: str, **details: Any) -> web.Response:
    """A Status as an API server sends it."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": reason,
    }
    return web.json_response({**body, "details": details}, status=code)
