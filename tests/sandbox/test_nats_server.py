"""The embedded broker: quick, private, on the same port and store through any end, and plain about what is wrong."""

from __future__ import annotations

import json
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.js import JetStreamContext

from engine.sandbox.nats_server import MAX_PAYLOAD_BYTES, NatsServer
from engine.sandbox.processes import PortTaken, SandboxError

pytestmark = pytest.mark.broker


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "store") as running:
        yield running


@asynccontextmanager
async def jetstream(server: NatsServer) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(server.url, token=server.token)
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def publish_one(server: NatsServer) -> None:
    async with jetstream(server) as stream:
        await stream.add_stream(name="KEPT", subjects=["kept"])
        await stream.publish("kept", b"1")


async def count(server: NatsServer) -> int:
    async with jetstream(server) as stream:
        return (await stream.stream_info("KEPT")).state.messages


def greeting(server: NatsServer, token: str) -> str:
    """Return what the server answers to a connection with this token."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.recv(4096)
        options = json.dumps({"auth_token": token, "verbose": False})
        connection.sendall(f"CONNECT {options}\r\nPING\r\n".encode())
        return connection.recv(4096).decode()


def test_it_is_ready_in_well_under_a_second(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "store")
    started = time.monotonic()
    with server:
        assert time.monotonic() - started < 0.8


def test_only_who_has_the_token_gets_in(server: NatsServer) -> None:
    assert greeting(server, server.token) == "PONG\r\n"
    assert "Authorization Violation" in greeting(server, "guess")
    assert server.token not in server.url
    assert server.token not in " ".join(server.process.argv)


def test_other_users_cannot_read_store_or_configuration(server: NatsServer) -> None:
    assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((server.directory / "nats-server.conf").stat().st_mode) == 0o600


async def test_messages_may_be_as_large_as_any_object(server: NatsServer) -> None:
    async with jetstream(server) as stream:
        await stream.add_stream(name="LARGE", subjects=["large"])
        assert (await stream.publish("large", b"x" * (MAX_PAYLOAD_BYTES - 1024))).seq == 1


@pytest.mark.parametrize("end", [NatsServer.stop, NatsServer.kill], ids=["stop", "kill"])
async def test_streams_are_there_again_on_the_same_port(server: NatsServer, end: Callable[[NatsServer], None]) -> None:
    url = server.url
    await publish_one(server)
    end(server)
    assert not server.process.running
    server.start()
    assert server.url == url
    assert await count(server) == 1


async def test_a_restart_keeps_token_and_streams(server: NatsServer) -> None:
    await publish_one(server)
    server.restart()
    assert await count(server) == 1


async def test_a_wiped_store_is_empty(server: NatsServer) -> None:
    await publish_one(server)
    with pytest.raises(SandboxError, match="is running: stop it before"):
        server.wipe()
    server.kill()
    server.wipe()
    server.start()
    async with jetstream(server) as stream:
        assert await stream.streams_info() == []


def test_a_paused_server_does_not_answer_until_it_goes_on(server: NatsServer) -> None:
    server.pause()
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.2) as connection:
        with pytest.raises(TimeoutError):
            connection.recv(1)
        server.resume()
        connection.settimeout(5)
        assert connection.recv(4) == b"INFO"


def test_a_taken_port_is_named(server: NatsServer, tmp_path: Path) -> None:
    second = NatsServer(tmp_path / "second", port=server.port)
    with pytest.raises(PortTaken, match=f"port {server.port} of 127.0.0.1 is taken"):
        second.start()
    assert server.process.running


@pytest.mark.parametrize("sync", ["always", "2m"])
def test_it_starts_with_either_kind_of_sync(tmp_path: Path, sync: str) -> None:
    with NatsServer(tmp_path / "store", sync=sync) as server:
        assert server.process.running


def test_a_setting_that_it_refuses_is_shown_in_its_own_words(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "store", sync="sometimes")
    with pytest.raises(SandboxError, match="sync_interval"):
        server.start()
