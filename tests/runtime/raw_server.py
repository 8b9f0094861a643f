"""A server on the loopback interface whose bytes a test writes itself, for what no well-behaved server does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Self

from engine.runtime.kubeconfig import Context

Handler = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """One request, and the connection to answer it on."""

    def __init__(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        line, *fields = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = line.split(" ", 2)
        pairs = [field.split(": ", 1) for field in fields if field]
        self.headers = {name.lower(): value for name, value in pairs}
        self.fields = [(name.lower(), value) for name, value in pairs]
        self.body = b""
        self.writer = writer

    async def write(self, *chunks: bytes) -> None:
        self.writer.write(b"".join(chunks))
        await self.writer.drain()

    async def answer(self, status: int = 200, body: bytes = b"{}", **headers: str) -> None:
        fields = {"Content-Type": "application/json", "Content-Length": str(len(body))} | headers
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        await self.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode(), body)

    async def start_stream(self) -> None:
        await self.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")

    async def chunk(self, data: bytes) -> None:
        await self.write(f"{len(data):x}\r\n".encode(), data, b"\r\n")

    async def end_stream(self) -> None:
        await self.write(b"0\r\n\r\n")

    def abort(self) -> None:
        self.writer.transport.abort()


class RawServer:
    """Calls a handler for each request; `requests` holds what came."""

    def __init__(self, handler: Handler, *, tls: ssl.SSLContext | None = None) -> None:
        self.handler = handler
        self.tls = tls
        self.requests: list[Exchange] = []
        self.port = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def context(self, *, user: dict[str, Any] | None = None, **cluster: Any) -> Context:
        return Context(name="raw", cluster={"server": self.url, **cluster}, user=user or {})

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
                exchange = Exchange(head, writer)
                exchange.body = await reader.readexactly(int(exchange.headers.get("content-length", "0")))
                self.requests.append(exchange)
                await self.handler(exchange)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
