"""A simulated cluster behind the engine's port, in one event loop: no sockets, so that time may be virtual."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import msgspec
from aiohttp import StreamReader, web
from aiohttp.http import HttpVersion11
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from engine.runtime.ports import Clock, ClusterUnreachable, Reply
from engine.sandbox.certificates import signing_key
from engine.sandbox.simulator.access import Access
from engine.sandbox.simulator.bootstrap import make_roles
from engine.sandbox.simulator.cluster import SimulatedCluster
from engine.sandbox.simulator.controllers import Controllers
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.escalation import Escalation
from engine.sandbox.simulator.faults import Faults
from engine.sandbox.simulator.gate import Gate
from engine.sandbox.simulator.http_server import ApiHandler
from engine.sandbox.simulator.identity import Authenticator, TokenSigner
from engine.sandbox.simulator.options import ADMINISTRATOR
from engine.sandbox.simulator.query_options import watch_options, watch_seconds
from engine.sandbox.simulator.request_info import parse_request
from engine.sandbox.simulator.webhooks import Webhooks
from schemas.names import ClusterName

TOKEN = "administrator"
BOOKMARK_SECONDS = 60.0
JSON_HEADERS = {"Content-Type": "application/json"}
_CONNECTION = SimpleNamespace(
    transport=None,
    ssl_context=None,
    peername=None,
    sockname=None,
    _reading_paused=False,
    pause_reading=lambda: None,
    resume_reading=lambda **_: None,
)
"""As much of a connection as a request that was read whole asks for."""
SIGNER = TokenSigner(signing_key())

Asked = tuple[str, str, Mapping[str, str]]
"""Method, path, parameters."""
Fault = Callable[[Asked], "Reply | str | None"]
"""What to do with a request: answer it, raise that it did not arrive (a text), or pass it on (None)."""


class Site:
    """One simulated cluster: its store, its API and its controllers."""

    def __init__(self, name: str, clock: Clock, seed: int) -> None:
        self.name = name
        self.cluster = SimulatedCluster(name, clock=clock.time, seed=seed, controllers=Controllers())
        make_roles(self.cluster)
        access = Access(self.cluster.store)
        gate = Gate(Escalation(access), Webhooks(self.cluster))
        self.cluster.admission = gate
        users = Authenticator({TOKEN: ADMINISTRATOR}, SIGNER, lambda *_: "", clock.time)
        self.handler = ApiHandler(self.cluster, users, access, Faults(seed=seed), gate, clock.time)

    @property
    def identity(self) -> str:
        return self.cluster.identity

    async def drive(self) -> None:
        """Let the controllers work when something is due, until cancelled."""
        wake = asyncio.Event()
        self.cluster.on_due = wake.set
        while True:
            wake.clear()
            more, due = self.cluster.run_due(), self.cluster.next_due()
            delay = 0.0 if more else None if due is None else max(0.0, due - self.cluster.clock())
            try:
                async with asyncio.timeout(delay):
                    await wake.wait()
            except TimeoutError:
                pass

    async def ask(
        self, method: str, path: str, body: bytes | None = None, content_type: str = "", accept: str = ""
    ) -> Reply:
        """Send one request to the API."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept": accept or "application/json"}
        loop = asyncio.get_running_loop()
        payload = StreamReader(_CONNECTION, 2**16, loop=loop)  # type: ignore[arg-type]
        if body is not None:
            headers |= {"Content-Type": content_type or "application/json", "Content-Length": str(len(body))}
            payload.feed_data(body)
        payload.feed_eof()
        raw = CIMultiDict(headers)
        message = RawRequestMessage(
            method, path, HttpVersion11, CIMultiDictProxy(raw), (), False, None, False, False, URL(path)
        )
        task = asyncio.current_task()
        request = web.BaseRequest(message, payload, _CONNECTION, None, task, loop)  # type: ignore[arg-type]
        answer = await self.handler(request)
        assert isinstance(answer, web.Response)
        return Reply(answer.status, bytes(answer.body or b""), dict(answer.headers))  # type: ignore[arg-type]


class SimulatedApi:
    """One connection to whatever is behind a cluster's address (the port `ClusterApi`).

    Attributes:
        fault: decides on each request and, when it is set by `break_with`, on open watches.

    """

    def __init__(self, name: str, address: Address, clock: Clock) -> None:
        self._name, self._address, self._clock = ClusterName(name), address, clock

    @property
    def name(self) -> ClusterName:
        return self._name

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout: float,
    ) -> Reply:
        await asyncio.sleep(0.001)
        if (answer := await self._address.verdict((method, path, params or {}), timeout)) is not None:
            return answer
        query = f"?{urlencode(params)}" if params else ""
        return await self._address.site.ask(method, f"{path}{query}", body, content_type, accept)

    async def stream(
        self, path: str, *, params: Mapping[str, str], idle_timeout: float
    ) -> AsyncGenerator[Reply | list[bytes], None]:
        await asyncio.sleep(0.001)
        if (answer := await self._address.verdict(("GET", path, params), idle_timeout)) is not None:
            yield answer
            return
        site = self._address.site
        info = parse_request("GET", f"{path}?{urlencode(params)}")
        rtype = site.cluster.types.find(info.group, info.version, info.resource)
        if rtype is None:
            yield Reply(404, b"404 page not found\n", {"Content-Type": "text/plain"})
            return
        wake = asyncio.Event()
        try:
            watch = site.cluster.watch(rtype, info.namespace, watch_options(info.query), on_change=wake.set)
        except ApiError as error:
            yield Reply(error.code, msgspec.json.encode(error.status()), JSON_HEADERS)
            return
        ends = self._clock.monotonic() + (watch_seconds(info.query) or 1800.0)
        with self._address.watching(path, params, wake) as cut:
            yield Reply(200, b"", JSON_HEADERS)
            if watch.initial:
                yield [event.line().rstrip(b"\n") for event in watch.initial]
            while not watch.ended:
                while watch.pending:
                    if lines := [event.line().rstrip(b"\n") for event in watch.take()]:
                        yield lines
                if self._clock.monotonic() >= ends:
                    return
                wake.clear()
                try:
                    async with asyncio.timeout(BOOKMARK_SECONDS):
                        await wake.wait()
                except TimeoutError:
                    yield [watch.bookmark(site.cluster.store.rv).line().rstrip(b"\n")]
                if cut.is_set():
                    watch.close()
                    message = f"{self._name}: watch: connection reset by peer"
                    raise ClusterUnreachable(message)

    async def close(self) -> None:
        """Nothing is kept."""


class Address:
    """Where a cluster is reached: a site, and what is wrong on the way to it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.asked: list[Asked] = []
        self._fault: Fault | None = None
        self._watches: dict[asyncio.Event, tuple[Asked, asyncio.Event]] = {}

    def break_with(self, fault: Fault | None) -> None:
        """Let requests fail from now on, and cut the watches that this concerns; None: nothing is wrong any more."""
        self._fault = fault
        self._cut(lambda asked: fault is not None and fault(asked) is not None)

    def lead_to(self, site: Site) -> None:
        """Lead to another cluster."""
        self.site = site
        self._cut(lambda _: True)

    def cut(self) -> None:
        """Cut every watch."""
        self._cut(lambda _: True)

    async def verdict(self, asked: Asked, timeout: float) -> Reply | None:
        """Return the answer that a fault gives; None: there is none.

        Raises:
            ClusterUnreachable: when the request does not arrive, at once or, `half-open`, after its time.

        """
        self.asked.append(asked)
        found = self._fault(asked) if self._fault else None
        if isinstance(found, str):
            if found == "half-open":
                await asyncio.sleep(timeout)
            raise ClusterUnreachable(found)
        return found

    def watching(self, path: str, params: Mapping[str, str], wake: asyncio.Event) -> _Watching:
        """Note an open watch, for the length of a `with`; the event that it gives says that the watch is cut."""
        return _Watching(self._watches, ("GET", path, params), wake)

    def _cut(self, concerned: Callable[[Asked], bool]) -> None:
        for cut, (asked, wake) in list(self._watches.items()):
            if concerned(asked):
                cut.set()
                wake.set()


class _Watching:
    def __init__(
        self, watches: dict[asyncio.Event, tuple[Asked, asyncio.Event]], asked: Asked, wake: asyncio.Event
    ) -> None:
        self._watches, self._asked, self._wake, self._cut = watches, asked, wake, asyncio.Event()

    def __enter__(self) -> asyncio.Event:
        self._watches[self._cut] = (self._asked, self._wake)
        return self._cut

    def __exit__(self, *_: object) -> None:
        del self._watches[self._cut]


def status(code: int, reason: str, **details: Any) -> Reply:
    """A Status as an API server sends it."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return Reply(code, msgspec.json.encode({**body, "message": reason, "details": details}), JSON_HEADERS)
