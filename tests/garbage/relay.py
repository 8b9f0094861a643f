"""The process that the fault proxies run in: relays requests to API servers, and asks the tests about those they care for.

A process of its own, because the tests' own threads would hold up every request of the engine's. What it is told and what it
asks are JSON documents, one a line, over a Unix socket that it inherits (`tests.garbage.proxy` is the other end):

    commands    {"do": name of a method of `Relay`, "id": number, ...its arguments}, answered by {"done": id, "result": ...}
    questions   {"ask": number, "cluster", "method", "path", "query"}, answered by {"verdict": number, "is": ...}

A verdict is null (pass it on), "reset", a number (delay it for so many seconds), {"code", "text", "type"} (answer that),
{"hold": how, "by": fault} (let it wait; `stall` says 200 first), or {"then": number}: pass it on, tell the tests and wait
until they have done what they do then, and lose the answer.
It asks about a request only if the path holds what some fault is about.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import ssl
import sys
from typing import Any

import aiohttp
from aiohttp import web

Json = dict[str, Any]
KEPT_REQUEST_HEADERS = ("Accept", "Content-Type", "User-Agent")
KEPT_ANSWER_HEADERS = ("Content-Type", "Retry-After")
LINE_LIMIT = 1 << 26
"""Bytes of a document: an answer may be a whole list of objects."""


class Front:
    """What stands in front of one cluster: where it listens and whither it leads."""

    def __init__(self, relay: Relay, name: str) -> None:
        """Belong to `relay`."""
        self._relay, self.name = relay, name
        self.requests: list[tuple[str, str]] = []
        self.parts: dict[int, str] = {}
        """What a path must hold for a fault to be asked about it, by the fault's number."""
        self.streams: dict[int, tuple[asyncio.Task[Any], Json]] = {}
        """Open watches and held requests, by number, and what to tell of each."""
        self._numbers = itertools.count()
        self._url, self._context = "", ssl.create_default_context()
        self._site: web.TCPSite | None = None
        self.port = 0

    async def start(self) -> None:
        """Prepare, without listening yet."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
        application = web.Application(client_max_size=LINE_LIMIT)
        application.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(application, shutdown_timeout=0.2, handler_cancellation=True)
        await self._runner.setup()

    async def stop(self) -> None:
        """End everything that is open."""
        for task, _ in list(self.streams.values()):
            task.cancel()
        await self._session.close()
        await self._runner.cleanup()

    def lead(self, url: str, authority: str, certificate: str, key: str) -> None:
        """Lead to an API server, as the user of a client certificate; the three are paths."""
        self._url, self._context = url, ssl.create_default_context(cafile=authority)
        self._context.load_cert_chain(certificate, key)

    async def listen(self, certificate: str, key: str) -> int:
        """Take connections, by TLS if there is a certificate, on the same port as before; cut those there are."""
        await self.refuse()
        context = None
        if certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate, key)
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=context)
        await self._site.start()
        self.port = self._runner.addresses[0][1]
        return self.port

    async def refuse(self) -> None:
        """Take no connections, and cut those there are."""
        if self._site is not None:
            await self._site.stop()
            self._site = None
        for connection in list(self._runner.server.connections if self._runner.server else ()):
            connection.force_close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        verdict: Any = None
        if any(part in request.path for part in self.parts.values()):
            verdict = await self._relay.ask(self._told(request))
        match verdict:
            case "reset":
                return _reset(request)
            case {"code": int(code), "text": str(text), "type": str(kind)}:
                return web.Response(status=code, text=text, content_type=kind) if text else web.Response(status=code)
            case {"then": number}:
                await self._pass_on(request)
                await self._relay.ask({"then": number})
                return _reset(request)
            case float() | int():
                await asyncio.sleep(verdict)
        held = verdict if isinstance(verdict, dict) else {}
        if not held and "watch" not in request.query:
            return await self._passed_on(request)
        return await self._stream(request, held)

    def _told(self, request: web.Request) -> Json:
        return {"cluster": self.name, "method": request.method, "path": request.path, "query": dict(request.query)}

    async def _stream(self, request: web.Request, held: Json) -> web.StreamResponse:
        """Hold a request, or pass a watch on, until it is cut."""
        task, number = asyncio.current_task(), next(self._numbers)
        assert task is not None
        self.streams[number] = (task, self._told(request) | {"by": held.get("by")})
        try:
            return await (self._hold(request, held["hold"]) if held else self._passed_on(request))
        except asyncio.CancelledError:
            if number not in self.streams:
                raise
            task.uncancel()
            return _reset(request)
        finally:
            self.streams.pop(number, None)

    async def _hold(self, request: web.Request, how: str) -> web.StreamResponse:
        response = web.StreamResponse(status=200, headers={"Content-Type": "application/json"})
        if how == "stall":
            await response.prepare(request)
        await asyncio.sleep(3600)
        return response

    async def _passed_on(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._pass_on(request)
        except aiohttp.ClientError:
            return _reset(request)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name in KEPT_REQUEST_HEADERS}
        body = await request.read() if request.can_read_body else None
        url = f"{self._url}{request.raw_path}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with self._session.request(
            request.method, url, data=body, headers=headers, ssl=self._context, timeout=timeout
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name in KEPT_ANSWER_HEADERS}
            if "watch" not in request.query:  # what is whole is answered in one piece
                return web.Response(status=answer.status, headers=kept, body=await answer.read())
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


def _reset(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


class Relay:
    """All fronts, and the line to the tests. Its public methods but `ask` and `run` are commands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk over these two."""
        self._reader, self._writer = reader, writer
        self._fronts: dict[str, Front] = {}
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count()
        self._doing: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Do as the tests say until they hang up."""
        while line := await self._reader.readline():
            said = json.loads(line)
            if "verdict" in said:
                future = self._asked.pop(said["verdict"])
                if not future.done():  # whoever sent that request may have died
                    future.set_result(said["is"])
            else:
                self._doing.add(task := asyncio.create_task(self._do(said)))
                task.add_done_callback(self._doing.discard)
        for front in self._fronts.values():
            await front.stop()

    async def ask(self, question: Json) -> Any:
        """Return what the tests say to a question."""
        number, verdict = next(self._numbers), asyncio.get_running_loop().create_future()
        self._asked[number] = verdict
        self._say({"ask": number, **question})
        return await verdict

    async def open(self, cluster: str) -> None:
        """Prepare the front of a cluster."""
        front = self._fronts[cluster] = Front(self, cluster)
        await front.start()

    async def listen(self, cluster: str, certificate: str = "", key: str = "") -> int:
        """Take connections; returns the port."""
        return await self._fronts[cluster].listen(certificate, key)

    async def refuse(self, cluster: str) -> None:
        """Refuse connections."""
        await self._fronts[cluster].refuse()

    async def lead(self, cluster: str, url: str, authority: str, certificate: str, key: str) -> None:
        """Lead to an API server."""
        self._fronts[cluster].lead(url, authority, certificate, key)

    async def watch_for(self, cluster: str, fault: int, part: str) -> None:
        """Ask about requests whose path holds this from now on."""
        self._fronts[cluster].parts[fault] = part

    async def forget(self, cluster: str, fault: int) -> None:
        """Ask no more on this fault's behalf."""
        del self._fronts[cluster].parts[fault]

    async def streams(self, cluster: str) -> list[Json]:
        """Return the open watches and the requests that are held."""
        return [told | {"number": number} for number, (_, told) in self._fronts[cluster].streams.items()]

    async def cut(self, cluster: str, numbers: list[int]) -> None:
        """Cut some of them."""
        for number in numbers:
            if found := self._fronts[cluster].streams.get(number):
                found[0].cancel()

    async def requests(self, cluster: str, after: int) -> list[tuple[str, str]]:
        """Return what was asked since so many requests."""
        return self._fronts[cluster].requests[after:]

    async def _do(self, said: Json) -> None:
        number, name = said.pop("id"), said.pop("do")
        self._say({"done": number, "result": await getattr(self, name)(**said)})

    def _say(self, what: Json) -> None:
        self._writer.write(json.dumps(what).encode() + b"\n")


async def main(descriptor: int) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=descriptor), limit=LINE_LIMIT)
    await Relay(reader, writer).run()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
