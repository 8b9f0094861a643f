"""nats-py's client with its hot paths and its sudden deaths replaced; the one module that knows nats-py.

It does connecting, TLS, authentication and reconnecting. On the hot paths its own ways are passed by: every message would
cost a parsed header dictionary, an object, a queue and a task. Measured and read in nats-py 2.16:

- its `_close` on most `-ERR` lines is for good; here every one but a permission violation leads to a new connection;
- closing a connection whose peer is gone waits for TCP to give up, minutes later; here it is aborted;
- a pong for a ping that was given up ends its read loop, and a ping overtakes what was written before it; here neither;
- its flusher takes a queue, two futures and two turns of the loop for every write; here one turn's writes go out at its end;
- it waits by `wait_for`, which before Python 3.12 loses a cancellation that comes together with the answer, and its flush
  swallows every one: a task of ours would go on, and so would an attempt to connect that nobody wants any more, for ever
  where the broker refuses it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import nats.aio.client
import structlog
from nats.aio.transport import TcpTransport
from nats.errors import Error as NatsError

Route = Callable[[bytes, bytes, bytes, bytes], None]
"""Takes (subject, reply, headers, body) of each message of a subscription, in order. Must not block."""

__all__ = ["Client", "NatsError", "Route", "Transport"]

_log = structlog.get_logger(__name__)


class Transport(TcpTransport):
    """Closes at once: a peer that is gone never takes what is still buffered."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    async def connect(self, uri: Any, buffer_size: int, connect_timeout: int) -> None:
        """Connect anew."""
        self.close()  # what an attempt that failed halfway has left
        await super().connect(uri, buffer_size, connect_timeout)

    def close(self) -> None:
        """Let go of the socket."""
        if self._io_writer is not None:
            self._io_writer.transport.abort()

    def __bool__(self) -> bool:
        return True  # before the first connection too, or the client would replace it by its own


class Client(nats.aio.client.Client):
    """nats-py's client with its hot paths and its sudden deaths replaced."""

    def __init__(self, on_violation: Callable[[str], None]) -> None:
        super().__init__()
        self.routes: dict[int, Route] = {}
        self.heard = time.monotonic()
        self.given_up = False
        """Set once no connection is wanted any more: a cancellation alone may get lost."""
        self._on_violation = on_violation
        self._writing = False

    async def _connect_to_server(self, s: Any) -> None:
        if self.given_up:
            raise asyncio.CancelledError
        await super()._connect_to_server(s)

    async def _process_connect_init(self) -> None:
        await super()._process_connect_init()
        if self.given_up:
            for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
                if task is not None:
                    task.cancel()
            raise asyncio.CancelledError

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self.heard = time.monotonic()
        route = self.routes.get(sid)
        if route is None:
            return
        try:
            route(subject, reply, headers or b"", data)
        except Exception:  # noqa: BLE001 - one bad message must not end the read loop for all
            _log.exception("message not understood", subject=subject.decode(errors="replace"))

    async def _process_pong(self) -> None:
        self.heard = time.monotonic()
        self._pings_outstanding = 0
        self._pongs_received += 1
        future = self._pongs.pop(0) if self._pongs else None
        if future is not None and not future.done():
            future.set_result(True)

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        self.ping(future or asyncio.get_running_loop().create_future())

    async def _flush_pending(self, force_flush: bool = False) -> None:  # noqa: ARG002 - the client's signature
        self._write_soon()

    async def _process_err(self, err_msg: str) -> None:
        if "permissions violation" in err_msg:
            self._on_violation(err_msg)
        else:
            await self._process_op_err(NatsError(f"nats: {err_msg}"))

    def push(self, data: bytes) -> None:
        """Queue whole protocol commands; they are written together in the next turn of the loop."""
        if not self.is_connected:
            return
        self._pending.append(data)
        self._pending_data_size += len(data)
        self._write_soon()

    def ping(self, pong: asyncio.Future[bool]) -> None:
        """Ask for an answer that comes behind those to everything that was written."""
        self._pongs.append(pong)
        self.push(b"PING\r\n")

    def _write_soon(self) -> None:
        if not self._writing:
            self._writing = True
            asyncio.get_running_loop().call_soon(self._write_pending)

    def _write_pending(self) -> None:
        self._writing = False
        if self._pending and self.is_connected and self._transport is not None:
            pending, self._pending, self._pending_data_size = self._pending, [], 0
            self._transport.writelines(pending)

    def hang_up(self) -> None:
        """Let go of the socket, whatever state the client is in."""
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]

    def drop_pending(self) -> None:
        """Forget what was not written yet."""
        self._pending.clear()
        self._pending_data_size = 0
