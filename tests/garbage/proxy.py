"""A fault proxy in front of one API server: the engine goes through it, the tests go around it.

On the loopback interface, with TLS and under a name of its own where it is to lose either; towards the API server it is
the engine's user, with a client certificate, so that the audit log tells the engine's requests from everybody else's. Any
number of faults may be in force, each of which concerns the requests that it has something to say about; nothing else is
touched when one begins or ends.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from engine.sandbox.api_servers import ApiServer
from engine.sandbox.certificates import CertificateAuthority

ENGINE = "crosscurrent-engine"
"""User name of the engine in every audit log."""
Verdict = web.Response | str | float | Callable[[], None] | None
Fault = Callable[[web.Request], Verdict]
"""What to do with a request: answer it, `hang`, `stall` (say 200 and then nothing), `reset`, delay it for seconds, or pass
it on (None), or pass it on, do something and lose the answer (a function). For another thread than the tests'."""


class Proxy:
    """One cluster's proxy.

    Args:
        cluster: whom it leads to.
        directory: for keys.
        unresolved: directory that makes its name unknown, see `tests/garbage/resolver`.
        secured: whether it is reached by TLS and by name, which costs this process as much again as all that it does.

    Attributes:
        cluster: whom it leads to now; see `lead_to` (XGC-10).
        requests: everything that was asked, method and path.
        disturbed: whether watches were cut, or connections refused, since somebody last looked.
        sound: whether nothing is wrong with the cluster as a whole.

    """

    def __init__(self, cluster: ApiServer, directory: Path, unresolved: Path, *, secured: bool = False) -> None:
        self.name, self.cluster = cluster.name, cluster
        self.requests: list[tuple[str, str]] = []
        self.disturbed = False
        self._host = f"{cluster.name}.xgc.test"
        self._directory, self._lost = directory, unresolved / self._host
        self._faults: dict[object, Fault] = {}
        self._broken = 0
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._authority = CertificateAuthority(f"{cluster.name}-proxy")
        self._secured = secured
        self._served = self._serving(self._authority, "trusted") if secured else None
        self._untrusted = self._serving(CertificateAuthority("somebody-else"), "untrusted")
        self._loop = asyncio.new_event_loop()
        self._streams: dict[asyncio.Task[Any], tuple[web.Request, Fault | None]] = {}
        """Open watches and held requests, and which fault holds them."""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"proxy of {cluster.name}", daemon=True)
        self._site: web.TCPSite | None = None
        self.port = 0

    @property
    def kubeconfig(self) -> dict[str, Any]:
        authority = base64.b64encode(self._authority.pem).decode()
        plain = {"server": f"http://127.0.0.1:{self.port}"}
        secured = {"server": f"https://{self._host}:{self.port}", "certificate-authority-data": authority}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": self.name, "cluster": secured if self._secured else plain}],
            "users": [{"name": "engine", "user": {"token": "the-proxy-knows-who-it-is"}}],
            "contexts": [{"name": self.name, "context": {"cluster": self.name, "user": "engine"}}],
            "current-context": self.name,
        }

    @property
    def sound(self) -> bool:
        return not self._broken

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(20)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(20)

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[None]:
        """Let single requests fail for the length of a `with`; no watch notices."""
        self._faults[key := object()] = fault
        try:
            yield
        finally:
            del self._faults[key]

    @contextmanager
    def outage(self, fault: Fault, *, cuts: Fault | None = None, whole: bool = True) -> Iterator[None]:
        """Let requests fail, cut the watches that this concerns, and at the end those that it holds.

        Args:
            fault: what is wrong.
            cuts: says something of the watches to cut; by default the fault itself is asked.
            whole: whether it is the cluster's trouble; False: of some type that nobody else depends on just now.

        """
        self._faults[key := object()] = fault
        with self._disturbance(whole=whole):
            self._cut(lambda request, _: (cuts or fault)(request) is not None)
            try:
                yield
            finally:
                del self._faults[key]
                self._cut(lambda _, held: held is fault)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse connections, and cut those there are."""
        with self._disturbance():
            self._do(self._listen(None, on=False))
            try:
                yield
            finally:
                self._do(self._listen(self._served))

    @contextmanager
    def mistrusted(self) -> Iterator[None]:
        """Show a certificate that nobody trusts."""
        assert self._secured
        with self._disturbance():
            self._do(self._listen(self._untrusted))
            try:
                yield
            finally:
                self._do(self._listen(self._served))

    @contextmanager
    def unresolved(self) -> Iterator[None]:
        """Be known under no name any more; nor reached by those who remember where the name led to."""
        assert self._secured
        self._lost.touch()
        with self.refusing():
            try:
                yield
            finally:
                self._lost.unlink()

    @contextmanager
    def leading_to(self, cluster: ApiServer) -> Iterator[None]:
        """Lead to another cluster."""
        before, self.cluster = self.cluster, cluster
        with self._disturbance():
            self._cut(lambda *_: True)
            try:
                yield
            finally:
                self.cluster = before
                self._cut(lambda *_: True)

    @contextmanager
    def _disturbance(self, *, whole: bool = True) -> Iterator[None]:
        self.disturbed = True
        self._broken += whole
        try:
            yield
        finally:
            self._broken -= whole

    def _do(self, doing: Any) -> None:
        asyncio.run_coroutine_threadsafe(doing, self._loop).result(20)

    def _cut(self, concerned: Callable[[web.Request, Fault | None], bool]) -> None:
        async def cut() -> None:
            for task, (request, held) in list(self._streams.items()):
                if concerned(request, held):
                    task.cancel()

        self._do(cut())

    async def _listen(self, context: ssl.SSLContext | None, *, on: bool = True) -> None:
        """Take connections with this certificate, or none, on the same port; cut those there are."""
        if self._site is not None:
            await self._site.stop()
        for connection in list(self._runner.server.connections if self._runner.server else ()):
            connection.force_close()
        self._site = None
        if on:
            self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=context)
            await self._site.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
        application = web.Application(client_max_size=1 << 26)
        application.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = runner = web.AppRunner(application, shutdown_timeout=0.2, handler_cancellation=True)
        await runner.setup()
        self._site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._served)
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
        verdict, by = self._verdict(request)
        if isinstance(verdict, web.Response):
            return verdict
        if verdict == "reset":
            return self._reset(request)
        if isinstance(verdict, float):
            await asyncio.sleep(verdict)
        if callable(verdict):
            await self._pass_on(request)
            verdict()
            return self._reset(request)
        task = asyncio.current_task()
        assert task is not None
        held = verdict in ("hang", "stall")
        if held or "watch" in request.query:
            self._streams[task] = (request, by)
        try:
            return await (self._hold(request, verdict) if held else self._pass_on(request))
        except aiohttp.ClientError:
            return self._reset(request)
        except asyncio.CancelledError:
            if task not in self._streams:
                raise
            task.uncancel()
            return self._reset(request)
        finally:
            self._streams.pop(task, None)

    def _verdict(self, request: web.Request) -> tuple[Verdict, Fault | None]:
        for fault in list(self._faults.values()):
            if (verdict := fault(request)) is not None:
                return verdict, fault
        return None, None

    def _reset(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    async def _hold(self, request: web.Request, verdict: object) -> web.StreamResponse:
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
            if "watch" not in request.query:  # what is whole is answered in one piece
                return web.Response(status=answer.status, headers=kept, body=await answer.read())
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    def _context(self) -> ssl.SSLContext:
        """Return what the engine's user shows to the cluster that this leads to now."""
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

    def _serving(self, authority: CertificateAuthority, name: str) -> ssl.SSLContext:
        stem = f"{self.name}-{name}"
        authority.issue("proxy", hosts=(self._host,)).write(self._directory, stem)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._directory / f"{stem}.crt", self._directory / f"{stem}.key")
        return context


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
