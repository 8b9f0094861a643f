"""What becomes of servers that hang, lie, cut off or never stop: an answer or `ClusterUnreachable`, in bounded time."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from engine.runtime import http_session
from engine.runtime.cluster_api import KubernetesApi
from engine.runtime.kubeconfig import Context
from engine.runtime.ports import ClusterUnreachable, Reply
from schemas.names import ClusterName
from tests.runtime.raw_server import Exchange, RawServer

WATCH: Any = {"params": {"watch": "true"}, "idle_timeout": 2.0}
PATH = "/api/v1/configmaps"


@asynccontextmanager
async def opened(context: Context, **options: Any) -> AsyncIterator[KubernetesApi]:
    api = await KubernetesApi.open(ClusterName("raw"), context, **options)
    try:
        yield api
    finally:
        await api.close()


async def ok(exchange: Exchange) -> None:
    await exchange.answer()


async def collect(api: KubernetesApi, **options: Any) -> list[bytes]:
    lines: list[bytes] = []
    async with aclosing(api.stream(PATH, **{**WATCH, **options})) as stream:
        first = await anext(stream)
        assert isinstance(first, Reply)
        async for item in stream:
            assert isinstance(item, list)
            lines += item
    return lines


@pytest.fixture
def deaf() -> Iterator[socket.socket]:
    """A socket that is listened on and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_server_that_never_answers_is_unreachable_in_time(deaf: socket.socket, scheme: str) -> None:
    server = f"{scheme}://127.0.0.1:{deaf.getsockname()[1]}"
    async with opened(Context(name="deaf", cluster={"server": server}, user={}), connect_timeout=0.3) as api:
        for seconds in (0.2, 0.5):
            started = time.monotonic()
            with pytest.raises(ClusterUnreachable):
                await api.request("GET", "/version", timeout=seconds)
            assert time.monotonic() - started < seconds + 0.2
        started = time.monotonic()
        with pytest.raises(ClusterUnreachable):
            await anext(api.stream(PATH, params={"watch": "true"}, idle_timeout=0.3))
        assert time.monotonic() - started < 0.6


async def test_a_port_that_nobody_listens_on_is_unreachable_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with opened(Context(name="none", cluster={"server": f"http://127.0.0.1:{port}"}, user={})) as api:
        with pytest.raises(
            ClusterUnreachable, match=r"raw: GET /version: cannot connect to 127\.0\.0\.1:\d+: .*refused"
        ):
            await api.request("GET", "/version", timeout=2)


async def test_a_name_that_leads_to_a_link_local_address_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 443))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    context = Context(name="rebound", cluster={"server": "https://api.example.com"}, user={})
    async with opened(context) as api:
        with pytest.raises(ClusterUnreachable, match="link-local"):
            await api.request("GET", "/version", timeout=2)


async def test_a_server_that_does_not_speak_http_is_unreachable() -> None:
    async def garbage(exchange: Exchange) -> None:
        await exchange.write(b"\x00\x01 hello\r\n\r\n")
        exchange.abort()

    async with RawServer(garbage) as server, opened(server.context()) as api:
        with pytest.raises(ClusterUnreachable):
            await api.request("GET", "/version", timeout=2)
        with pytest.raises(ClusterUnreachable):
            await collect(api)


async def test_an_answer_that_is_cut_off_is_no_answer() -> None:
    async def cut(exchange: Exchange) -> None:
        await exchange.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"kind":')
        exchange.abort()

    async with RawServer(cut) as server, opened(server.context()) as api:
        with pytest.raises(ClusterUnreachable) as raised:
            await api.request("DELETE", "/version", timeout=2)
        assert raised.value.sent, "it may have been carried out"


async def test_it_is_told_whether_a_request_may_have_been_carried_out(deaf: socket.socket) -> None:
    async def late(exchange: Exchange) -> None:
        await asyncio.sleep(10)
        await exchange.answer()

    async def sent(context: Context, seconds: float, *, connections: int = 1, others: int = 0) -> bool:
        async with opened(context, connections=connections, connect_timeout=0.2) as api:
            before = [asyncio.create_task(api.request("GET", "/slow", timeout=5)) for _ in range(others)]
            await asyncio.sleep(0.05)
            with pytest.raises(ClusterUnreachable) as raised:
                await api.request("DELETE", "/version", timeout=seconds)
            for one in before:
                one.cancel()
            await asyncio.gather(*before, return_exceptions=True)
            return raised.value.sent

    async with RawServer(late) as server:
        assert await sent(server.context(), 0.3), "no answer in time"
        assert not await sent(server.context(), 0.3, others=1), "it waited for a connection"
        refused = server.context()
    assert not await sent(refused, 1), "nobody listens"


async def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_session, "MAX_REPLY_BYTES", 100_000)

    async def endless(exchange: Exchange) -> None:
        await exchange.start_stream()
        while True:
            await exchange.chunk(b"x" * 10_000)

    async with RawServer(endless) as server, opened(server.context()) as api:
        with pytest.raises(ClusterUnreachable, match="longer than 100000 bytes"):
            await api.request("GET", "/version", timeout=2)


async def test_redirects_are_answers_and_are_not_followed() -> None:
    async def elsewhere(exchange: Exchange) -> None:
        await exchange.answer(307, b"", Location="http://169.254.169.254/latest")

    async with RawServer(elsewhere) as server, opened(server.context()) as api:
        assert (await api.request("GET", "/version", timeout=2)).status == 307
        assert len(server.requests) == 1


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with RawServer(ok) as server, opened(server.context()) as api:
        assert (await api.request("GET", "/version", timeout=2)).status == 200


async def test_a_proxy_of_the_kubeconfig_is_used() -> None:
    context = Context(name="p", cluster={"server": "http://127.0.0.1:1"}, user={})
    async with RawServer(ok) as proxy:
        context.cluster["proxy-url"] = proxy.url
        async with opened(context) as api:
            assert (await api.request("GET", "/version", timeout=2)).status == 200
        assert proxy.requests[0].target == "http://127.0.0.1:1/version"


async def test_what_a_request_carries() -> None:
    async with RawServer(ok) as server, opened(server.context(user={"token": "t"})) as api:
        params = {"labelSelector": "a=b,c in (d)", "limit": "1"}
        reply = await api.request("PATCH", "/x%2Fy", params=params, body=b"{}", content_type="a/b", timeout=2)
        assert (reply.status, reply.body, reply.headers["content-type"]) == (200, b"{}", "application/json")
        [sent] = server.requests
        assert sent.target == "/x%2Fy?labelSelector=a%3Db%2Cc%20in%20%28d%29&limit=1"
        assert sent.headers["user-agent"].startswith("crosscurrent/")
        assert sent.headers["accept-encoding"] == "identity"
        assert sent.headers["authorization"] == "Bearer t"
        assert sent.headers["content-type"] == "a/b"
        assert (sent.method, sent.body) == ("PATCH", b"{}")


@pytest.mark.parametrize("path", ["version", "/a b", "/a\r\nHost: x", "/ü"])
async def test_a_path_that_is_not_encoded_is_refused(path: str) -> None:
    async with RawServer(ok) as server, opened(server.context()) as api:
        with pytest.raises(ValueError, match="percent-encoded"):
            await api.request("GET", path, timeout=2)
        assert not server.requests


async def test_streams_leave_room_for_requests_and_requests_wait_their_turn() -> None:
    free = asyncio.Event()

    async def serve(exchange: Exchange) -> None:
        if "watch" in exchange.target:
            await exchange.start_stream()
            await asyncio.sleep(10)
        elif exchange.target == "/slow":
            await free.wait()
        await exchange.answer()

    async with RawServer(serve) as server, opened(server.context(), connections=2) as api:
        streams = [api.stream(PATH, **WATCH) for _ in range(150)]
        assert {item.status for item in await asyncio.gather(*map(anext, streams)) if isinstance(item, Reply)} == {200}
        assert (await api.request("GET", "/version", timeout=2)).status == 200
        slow = [asyncio.create_task(api.request("GET", "/slow", timeout=5)) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(ClusterUnreachable, match=r"all 2 connections stayed busy within 0\.1 s"):
            await api.request("GET", "/version", timeout=0.1)
        free.set()
        assert [reply.status for reply in await asyncio.gather(*slow)] == [200, 200]
        await asyncio.gather(*(stream.aclose() for stream in streams))


async def test_lines_come_whole_however_the_stream_is_cut_into_chunks() -> None:
    text = b"".join(b'{"n":%d,"x":"%s"}\n' % (n, b"y" * (n % 70)) for n in range(200))

    async def serve(exchange: Exchange) -> None:
        await exchange.start_stream()
        for start in range(0, len(text), 37):
            await exchange.chunk(text[start : start + 37])
            if start % 5 == 0:
                await asyncio.sleep(0)
        await exchange.end_stream()

    async with RawServer(serve) as server, opened(server.context()) as api:
        assert await collect(api) == text.splitlines()


async def test_a_long_line_is_put_together_and_a_longer_one_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.start_stream()
        for _ in range(30):
            await exchange.chunk(b"x" * 100_000)
        await exchange.chunk(b"\nshort\n")
        await exchange.end_stream()

    async with RawServer(serve) as server, opened(server.context()) as api:
        assert [len(line) for line in await collect(api)] == [3_000_000, 5]
        monkeypatch.setattr(http_session, "MAX_LINE_BYTES", 1_000_000)
        with pytest.raises(ClusterUnreachable, match="longer than 1000000 bytes"):
            await collect(api)


async def test_a_stream_that_ends_inside_a_line_is_lost() -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.start_stream()
        await exchange.chunk(b'{"a":1}\n{"b":')
        await asyncio.sleep(0.05)
        await exchange.end_stream()

    lines: list[bytes] = []
    async with RawServer(serve) as server, opened(server.context()) as api:
        stream = api.stream(PATH, **WATCH)
        assert isinstance(await anext(stream), Reply)
        lines += await anext(stream)  # type: ignore[arg-type]
        with pytest.raises(ClusterUnreachable, match="in the middle of a line"):
            await anext(stream)
    assert lines == [b'{"a":1}']


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_stream_whose_connection_is_lost_is_lost(how: str) -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.start_stream()
        await exchange.chunk(b'{"a":1}\n')
        await asyncio.sleep(0.05)
        exchange.abort() if how == "reset" else exchange.writer.close()
        await asyncio.sleep(1)

    async with RawServer(serve) as server, opened(server.context()) as api:
        with pytest.raises(ClusterUnreachable):
            await collect(api)


async def test_a_stream_that_goes_silent_is_lost_after_the_idle_timeout() -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.start_stream()
        for _ in range(3):
            await exchange.chunk(b'{"a":1}\n')
            await asyncio.sleep(0.15)
        await asyncio.sleep(10)

    async with RawServer(serve) as server, opened(server.context()) as api:
        started = time.monotonic()
        with pytest.raises(ClusterUnreachable, match=r"nothing arrived for 0\.3 s"):
            await collect(api, idle_timeout=0.3)
        assert 0.5 < time.monotonic() - started < 1.2


async def test_a_slow_reader_is_not_a_silent_server() -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.start_stream()
        for _ in range(40):
            await exchange.chunk(b"x" * 99_999 + b"\n")
        await exchange.end_stream()

    got = 0
    async with RawServer(serve) as server, opened(server.context()) as api:
        stream = api.stream(PATH, params={"watch": "true"}, idle_timeout=0.3)
        assert isinstance(await anext(stream), Reply)
        async for item in stream:
            assert isinstance(item, list)
            got += len(item)
            await asyncio.sleep(0.1)
    assert got == 40


async def test_a_refused_watch_gives_the_whole_refusal() -> None:
    async def gone(exchange: Exchange) -> None:
        await exchange.answer(410, b'{"kind":"Status","code":410}', Retry_After="3")

    async with RawServer(gone) as server, opened(server.context()) as api:
        items = [item async for item in api.stream(PATH, **WATCH)]
        assert [(i.status, i.body, i.headers["Retry-After"]) for i in items if isinstance(i, Reply)] == [
            (410, b'{"kind":"Status","code":410}', "3")
        ]


async def test_closing_ends_what_is_under_way() -> None:
    async def hang(exchange: Exchange) -> None:
        if "watch" in exchange.target:
            await exchange.start_stream()
        await asyncio.sleep(10)

    async with RawServer(hang) as server, opened(server.context()) as api:
        request = asyncio.create_task(api.request("GET", "/version", timeout=5))
        stream = api.stream(PATH, **WATCH)
        assert isinstance(await anext(stream), Reply)
        await asyncio.sleep(0.05)
        await api.close()
        for waiting in (request, anext(stream)):
            with pytest.raises(ClusterUnreachable):
                await waiting


async def test_a_server_with_a_foreign_certificate_is_unreachable(tmp_path: Any) -> None:
    from engine.sandbox.certificates import CertificateAuthority

    mine, foreign = CertificateAuthority("mine"), CertificateAuthority("foreign")
    foreign.issue("x", hosts=("127.0.0.1",)).write(tmp_path, "server")
    (tmp_path / "ca.crt").write_bytes(mine.pem)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    async with RawServer(ok, tls=tls) as server:
        context = server.context(**{"certificate-authority": str(tmp_path / "ca.crt")})
        async with opened(context) as api:
            with pytest.raises(
                ClusterUnreachable,
                match=r"the certificate of 127\.0\.0\.1:\d+ is not accepted: .*certificate verify failed",
            ):
                await api.request("GET", "/version", timeout=2)


def test_the_library_is_imported_only_when_a_cluster_is_opened() -> None:
    code = "import sys, engine.runtime.cluster_api, engine.runtime.performer; assert 'kubernetes_asyncio' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_library_comes_without_its_models_and_whole_for_whoever_else_imports_it() -> None:
    code = """
import sys
from engine.runtime.cluster_api import _library
library = _library()
assert not [name for name in sys.modules if name.startswith("kubernetes_asyncio")]
import kubernetes_asyncio
assert kubernetes_asyncio.client.CoreV1Api and kubernetes_asyncio.config.new_client_from_config
assert library is _library()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
