"""The HTTP session under a cluster's API: sockets that notice dead peers, a careful resolver, bodies with limits."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncGenerator

import aiohttp
from aiohttp.abc import ResolveResult

from engine.runtime.addresses import DECLARED, Addresses

MAX_LINE_BYTES = 8 * 1024 * 1024
"""Longest line of a stream; etcd takes objects of 1.5 MiB, so a longer line is no watch event."""
MAX_REPLY_BYTES = 256 * 1024 * 1024
"""Longest answer to a request; pages are asked for in hundreds of objects, a hundredth of this."""
READ_BUFFER_BYTES = 512 * 1024
"""Read ahead of a slow consumer, per stream, before TCP is made to wait."""
KEEPALIVE_SECONDS = 45.0
"""Idle connections are dropped before load balancers (60 s) and API servers (90 s) do it in the middle of a request."""
TCP_PROBE_SECONDS, TCP_PROBES = 10, 3
TCP_UNACKNOWLEDGED_SECONDS = 30
"""Half-open connections: idle ones are probed, and written ones given up, within about 40 s (W-16); Linux takes 13 min."""


def new_session(addresses: Addresses = DECLARED) -> aiohttp.ClientSession:
    """Return a session without proxy from the environment, cookies or decompression (SEC-23); the caller closes it.

    Its pool has no limit: watches hold a connection each, and those who send requests count them.

    Args:
        addresses: what it may connect to; each address is judged as its socket is made, however it was found (SEC-22).

    """

    def make(address: aiohttp.AddrInfoType) -> socket.socket:
        host = str(address[4][0])
        if refusal := addresses.refusal(host):
            message = f"{host} is {refusal}, which may not be connected to"
            raise OSError(errno.EACCES, message)
        return _socket(address)

    connector = aiohttp.TCPConnector(
        limit=0, keepalive_timeout=KEEPALIVE_SECONDS, resolver=_Resolver(addresses), socket_factory=make
    )
    return aiohttp.ClientSession(
        connector=connector,
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=READ_BUFFER_BYTES,
    )


async def read_body(response: aiohttp.ClientResponse) -> bytes:
    """Return the whole body.

    Raises:
        aiohttp.ClientPayloadError: when the connection is lost in it, or it is longer than `MAX_REPLY_BYTES`.

    """
    length = response.content_length
    if length is not None and length <= MAX_REPLY_BYTES:
        return await response.read()
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_REPLY_BYTES:
            message = f"the answer is longer than {MAX_REPLY_BYTES} bytes"
            raise aiohttp.ClientPayloadError(message)
    return b"".join(chunks)


async def read_lines(response: aiohttp.ClientResponse) -> AsyncGenerator[list[bytes], None]:
    """Split a stream into lists of whole lines, without their ends.

    Splits whole chunks, because most hold many whole lines; a line in many chunks is joined once, at its end (a long line
    would otherwise be copied for every chunk).

    Raises:
        aiohttp.ClientPayloadError: when the connection is lost, or a line is cut off or longer than `MAX_LINE_BYTES`.

    """
    pending: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        lines = chunk.split(b"\n")
        tail = lines.pop()
        if lines:
            if pending:
                lines[0] = b"".join((*pending, lines[0]))
                pending, size = [], 0
            if b"" in lines:
                lines = [line for line in lines if line]
            if lines:
                yield lines
        if tail:
            pending.append(tail)
            size += len(tail)
            if size > MAX_LINE_BYTES:
                message = f"a line is longer than {MAX_LINE_BYTES} bytes"
                raise aiohttp.ClientPayloadError(message)
    if pending:
        message = "the stream ended in the middle of a line"
        raise aiohttp.ClientPayloadError(message)


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": TCP_PROBE_SECONDS,
        "TCP_KEEPINTVL": TCP_PROBE_SECONDS,
        "TCP_KEEPCNT": TCP_PROBES,
        "TCP_USER_TIMEOUT": TCP_UNACKNOWLEDGED_SECONDS * 1000,
    }
    for option, value in options.items():
        if hasattr(socket, option):  # not all systems have all of them
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made


class _Resolver(aiohttp.ThreadedResolver):
    """Looks names up, and refuses those that lead, with any of their addresses, where they may not (SEC-22)."""

    def __init__(self, addresses: Addresses) -> None:
        super().__init__()
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            found = await super().resolve(host, port, family)
        except UnicodeError as error:  # a label that is empty or too long
            message = f"{host!r} is no host name"
            raise OSError(errno.EINVAL, message) from error
        for entry in found:
            if refusal := self._addresses.refusal(entry["host"]):
                message = f"{host} resolves to {refusal}, which may not be connected to"
                raise OSError(errno.EACCES, message)
        return found
