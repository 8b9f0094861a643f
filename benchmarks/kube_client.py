"""The benchmarks' own asynchronous client of an API server: nothing of the engine, so that it judges from outside."""

from __future__ import annotations

import ssl
from typing import Any

import aiohttp

Json = dict[str, Any]


def session(access: Json) -> aiohttp.ClientSession:
    """Return a session for one cluster; see `Fleet.access`."""
    context = ssl.create_default_context(cafile=access["ca"])
    context.load_cert_chain(access["certificate"], access["key"])
    return aiohttp.ClientSession(
        base_url=access["url"],
        connector=aiohttp.TCPConnector(ssl=context, limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        read_bufsize=2**21,
    )
