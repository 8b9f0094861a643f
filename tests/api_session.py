"""An API server as a client sees it on the wire: requests, whole answers and watch streams, nothing interpreted.

The suites that hold the simulator to a real kube-apiserver use it on both, so it takes a kubeconfig and knows no server.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp

APPLY = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
JSON = "application/json"

ANSWER_SECONDS = 30.0
"""A busy two-core machine answers in milliseconds to a second."""

WATCH_SECONDS = 15.0
"""For one event that is due."""

LARGE_BODY_BYTES = 2**19

LONGEST_LINE_BYTES = 2**23

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. `body` is the parsed JSON, or the text of anything else."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        return str(self.body.get("reason", ""))

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))

    @property
    def details(self) -> Json:
        return dict(self.body.get("details", {}))

    @property
    def causes(self) -> list[tuple[str, str, str]]:
        """(reason, message, field) of each cause."""
        causes = self.details.get("causes", ())
        return [(one.get("reason", ""), one.get("message", ""), one.get("field", "")) for one in causes]

    @property
    def metadata(self) -> Json:
        return dict(self.body["metadata"])

    @property
    def version(self) -> str:
        return str(self.body["metadata"]["resourceVersion"])

    @property
    def uid(self) -> str:
        return str(self.body["metadata"]["uid"])

    @property
    def names(self) -> list[str]:
        """Names of a list's items."""
        return [item["metadata"]["name"] for item in self.body["items"]]

    def failed(self) -> tuple[int, str]:
        """(code, reason) of a Status."""
        assert self.body["kind"] == "Status", self.body
        assert self.body["code"] == self.status
        return self.status, self.reason


class WatchStream:
    """The events of one open watch."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self, seconds: float = WATCH_SECONDS) -> Json | None:
        """Return the next event, {"type", "object"}; None once the server has ended the stream.

        Raises:
            TimeoutError: when nothing comes in time.

        """
        async with asyncio.timeout(seconds):
            line = await self._response.content.readline()
        return json.loads(line) if line else None

    async def take(self, count: int, seconds: float = WATCH_SECONDS) -> list[Json]:
        """Return so many events."""
        return [event for _ in range(count) if (event := await self.next(seconds)) is not None]

    async def until(self, enough: Callable[[Json], bool], seconds: float = WATCH_SECONDS) -> list[Json]:
        """Return the events up to the first that is `enough`, which is the last of them."""
        events: list[Json] = []
        while (event := await self.next(seconds)) is not None:
            events.append(event)
            if enough(event):
                return events
        raise AssertionError(f"the watch ended after {events}")

    async def rest(self, seconds: float = WATCH_SECONDS) -> list[Json]:
        """Return the events until the server ends the stream."""
        events: list[Json] = []
        while (event := await self.next(seconds)) is not None:
            events.append(event)
        return events


class ApiSession:
    """One identity at one API server. Close it, or use it as an async context manager."""

    def __init__(self, url: str, context: ssl.SSLContext | None, *, token: str = "") -> None:
        self.url = url
        self.context = context
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._connector = _Connector(ssl=context if context is not None else True, limit=0)
        self._http = aiohttp.ClientSession(
            url,
            headers=headers,
            connector=self._connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_SECONDS),
            read_bufsize=LONGEST_LINE_BYTES // 2,
        )

    @classmethod
    def of(cls, kubeconfig: Mapping[str, Any]) -> Self:
        """Return a session for the only cluster and user of a kubeconfig."""
        cluster = kubeconfig["clusters"][0]["cluster"]
        user = kubeconfig["users"][0]["user"]
        return cls(cluster["server"], tls_context(kubeconfig), token=user.get("token", ""))

    def bearing(self, token: str) -> ApiSession:
        """Return a session of another identity at the same server; empty: anonymous."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return ApiSession(self.url, context, token=token)

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = JSON,
        accept: str = JSON,
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> Answer:
        """Send one request; `body` may be bytes, to be sent as they are.

        Raises:
            TimeoutError: when no answer comes in time.

        """
        payload = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        # aiohttp wants large bodies as files, so that it need not write them in one go.
        data = io.BytesIO(payload) if payload is not None and len(payload) > LARGE_BODY_BYTES else payload
        sent = {"Accept": accept, **({"Content-Type": content_type} if payload is not None else {}), **(headers or {})}
        skipped = () if "Content-Type" in sent else ("Content-Type",)
        async with (
            asyncio.timeout(ANSWER_SECONDS),
            self._http.request(
                method, with_query(path, query), data=data, headers=sent, skip_auto_headers=skipped
            ) as response,
        ):
            text = await response.text()
        is_json = "json" in response.content_type
        warnings = tuple(response.headers.getall("Warning", ()))
        return Answer(response.status, json.loads(text) if is_json and text else text, response.headers, warnings)

    async def get(self, path: str, **query: Any) -> Answer:
        return await self.request("GET", path, **query)

    async def post(self, path: str, body: Any, **options: Any) -> Answer:
        return await self.request("POST", path, body, **options)

    async def put(self, path: str, body: Any, **options: Any) -> Answer:
        return await self.request("PUT", path, body, **options)

    async def patch(self, path: str, body: Any, content_type: str = MERGE_PATCH, **options: Any) -> Answer:
        return await self.request("PATCH", path, body, content_type=content_type, **options)

    async def apply(self, path: str, body: Any, manager: str = "applier", **options: Any) -> Answer:
        return await self.request("PATCH", path, body, content_type=APPLY, fieldManager=manager, **options)

    async def delete(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.request("DELETE", path, body, **options)

    @asynccontextmanager
    async def watch(self, path: str, *, accept: str = JSON, **query: Any) -> AsyncIterator[WatchStream]:
        """Open a watch on a collection.

        Raises:
            WatchRefused: when the answer is not a stream.

        """
        async with self._http.get(with_query(path, {"watch": "true", **query}), headers={"Accept": accept}) as response:
            if response.status != 200:
                text = await response.text()
                raise WatchRefused(Answer(response.status, json.loads(text), response.headers))
            try:
                yield WatchStream(response)
            finally:
                if response.connection is not None and response.connection.transport is not None:
                    response.connection.transport.abort()

    async def close(self) -> None:
        await self._http.close()
        await abort(self._connector.transports)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Connector(aiohttp.TCPConnector):
    """Remembers its connections: a session that is closed knows nothing of those that it left after an answer."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.transports: set[asyncio.Transport] = set()

    async def _create_connection(self, *arguments: Any) -> Any:
        protocol = await super()._create_connection(*arguments)
        if isinstance(protocol.transport, asyncio.Transport):
            self.transports.add(protocol.transport)
        return protocol


async def abort(transports: Iterable[asyncio.Transport]) -> None:
    """Drop connections, in whatever stage they are: to part over TLS in peace may outlive the test's event loop."""
    for transport in transports:
        transport.abort()
    await asyncio.sleep(0)  # lets the loop close the sockets


class WatchRefused(Exception):
    """Raised when a watch is answered with a Status."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {answer.body}")
        self.answer = answer


def with_query(path: str, query: Mapping[str, Any]) -> str:
    """Return a path with query parameters; booleans as `true` and `false`, lists as repeated ones."""
    given = {key: str(value).lower() if isinstance(value, bool) else value for key, value in query.items()}
    return f"{path}{'&' if '?' in path else '?'}{urlencode(given, doseq=True)}" if given else path


def tls_context(kubeconfig: Mapping[str, Any]) -> ssl.SSLContext:
    """Return what trusts a kubeconfig's authority and holds its client certificate, if it has one."""
    authority = base64.b64decode(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"])
    context = ssl.create_default_context(cadata=authority.decode())
    user = kubeconfig["users"][0]["user"]
    if "client-certificate-data" in user:
        with tempfile.TemporaryDirectory() as directory:
            files = [Path(directory, name) for name in ("crt", "key")]
            for file, entry in zip(files, ("client-certificate-data", "client-key-data"), strict=True):
                file.write_bytes(base64.b64decode(user[entry]))
            context.load_cert_chain(*files)
    return context
