"""SEC-21 to SEC-24: what a kubeconfig that somebody else wrote cannot make us do, and where our tokens are."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import tempfile
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.runtime.addresses import Addresses, read_from_clusters
from engine.runtime.cluster_api import KubernetesApi
from engine.runtime.credentials import on_disk
from engine.runtime.kubeconfig import Context, KubeconfigError
from engine.runtime.ports import ClusterUnreachable
from engine.runtime.secret_clusters import read_kubeconfig
from engine.sandbox.certificates import CertificateAuthority
from schemas.names import ClusterName
from tests.runtime.raw_server import Exchange, RawServer

NOWHERE = read_from_clusters([])
"""The rule without exceptions."""
TOKEN = "a-token-of-ours"


async def ok(exchange: Exchange) -> None:
    await exchange.answer()


async def get(context: Context, addresses: Addresses) -> int:
    api = await KubernetesApi.open(ClusterName("c"), context, addresses=addresses)
    try:
        return (await api.request("GET", "/version", timeout=5)).status
    finally:
        await api.close()


def encoded(raw: bytes) -> str:
    return b64encode(raw).decode()


def from_secret(*, user: dict[str, Any] | None = None, **cluster: Any) -> Context:
    """Read a kubeconfig as the registry reads one from a Secret."""
    document = {
        "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1", **cluster}}],
        "users": [{"name": "c", "user": user or {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "current-context": "c",
    }
    raw = yaml.safe_dump(document).encode()
    return read_kubeconfig({"kubeconfig": encoded(raw)}, "kubeconfig", "get secrets fleet/c in hub", NOWHERE)


@pytest.mark.parametrize(
    "user",
    [
        {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh"}},
        {"auth-provider": {"name": "gcp"}},
        {"tokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token"},
        {"client-key": "/etc/ssl/private/key.pem"},
    ],
)
def test_sec_21_a_kubeconfig_from_a_secret_runs_no_program_and_names_no_file(user: dict[str, Any]) -> None:
    with pytest.raises(KubeconfigError, match="get secrets fleet/c in hub"):
        from_secret(user=user)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "0.0.0.0",
        "169.254.169.254",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "[::ffff:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "224.0.0.1",
    ],
)
def test_sec_22_a_kubeconfig_from_a_secret_leads_to_no_address_of_ours_or_of_the_cloud(host: str) -> None:
    with pytest.raises(KubeconfigError, match="may not be connected to"):
        from_secret(server=f"https://{host}")


@pytest.mark.parametrize("host", ["0x7f000001", "localhost", "rebound.example.com"])
async def test_sec_22_the_address_that_is_judged_is_the_address_that_is_connected_to(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and odd spellings pass the first look; the socket is made for an address, and that one is judged."""
    real = socket.getaddrinfo

    def resolve(name: Any, *rest: Any, **more: Any) -> Any:
        return real("127.0.0.1" if name == "rebound.example.com" else name, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with RawServer(ok) as server:
        context = Context(name="c", cluster={"server": f"http://{host}:{server.port}"}, user={"token": TOKEN})
        with pytest.raises(ClusterUnreachable, match="an address of this machine, which may not be connected to"):
            await get(context, NOWHERE)
        assert not server.requests
        assert await get(context, read_from_clusters(["127.0.0.0/8", "::1/128"])) == 200


@pytest.mark.parametrize("host", ["2130706433", "127.1"])
async def test_sec_22_an_address_in_an_odd_spelling_is_none(host: str) -> None:
    async with RawServer(ok) as server:
        context = Context(name="c", cluster={"server": f"http://{host}:{server.port}"}, user={})
        with pytest.raises(ClusterUnreachable, match="not a canonical IPv4 address"):
            await get(context, NOWHERE)
        assert not server.requests


async def test_sec_22_a_name_that_is_rebound_after_the_first_answer_is_judged_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = ["127.0.0.2", "127.0.0.1"]
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *rest, **more: real(answers[0], *rest, **more))

    async def close(exchange: Exchange) -> None:
        await exchange.answer(Connection="close")

    async with RawServer(close) as server:
        context = Context(name="c", cluster={"server": f"http://api.example.com:{server.port}"}, user={})
        first = read_from_clusters(["127.0.0.1/32"])
        with pytest.raises(ClusterUnreachable, match="an address of this machine"):
            await get(context, first)
        del answers[0]
        assert await get(context, first) == 200
        answers[0] = "127.0.0.2"
        with pytest.raises(ClusterUnreachable, match="an address of this machine"):
            await get(context, first)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "cluster",
    [
        {"server": "http://10.0.0.1"},
        {"server": "http://127.0.0.1"},
        {"insecure-skip-tls-verify": True},
        {"proxy-url": "http://10.0.0.2:3128"},
    ],
)
def test_sec_23_a_kubeconfig_from_a_secret_has_no_way_around_tls(cluster: dict[str, Any]) -> None:
    with pytest.raises(KubeconfigError):
        from_secret(**cluster)


async def test_sec_23_a_server_that_does_not_speak_tls_is_never_spoken_to_without() -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(4096))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    context = Context(name="c", cluster={"server": f"https://127.0.0.1:{port}"}, user={"token": TOKEN})
    try:
        with pytest.raises(ClusterUnreachable):
            await get(context, read_from_clusters(["127.0.0.0/8"]))
    finally:
        server.close()
        await server.wait_closed()
    assert heard
    assert all(data[:1] == b"\x16" and TOKEN.encode() not in data for data in heard), "a TLS handshake and nothing else"


def test_sec_24_keys_are_on_disk_for_a_moment_and_for_us_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        section = on_disk({"client-key-data": "a2V5", "token": TOKEN}, tmp_path)
    finally:
        os.umask(before)
    assert Path(section["client-key"]).stat().st_mode & 0o777 == 0o600
    assert not any(TOKEN.encode() in path.read_bytes() for path in tmp_path.iterdir()), "tokens stay in memory"


async def test_sec_24_nothing_of_a_credential_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    made = tempfile.TemporaryDirectory
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def noted(*rest: Any, **more: Any) -> Any:
        directory = made(*rest, **more)
        seen.append(Path(directory.name).stat().st_mode & 0o777)
        return directory

    monkeypatch.setattr("engine.runtime.cluster_api.TemporaryDirectory", noted)
    authority = CertificateAuthority("test")
    pair = authority.issue("server", hosts=("127.0.0.1",))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for name, content in (("tls.crt", pair.certificate), ("tls.key", pair.key)):
        (tmp_path / name).write_bytes(content)
    tls.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    mine = {"tls.crt", "tls.key"}
    async with RawServer(ok, tls=tls) as server:
        context = server.context(
            user={"client-certificate-data": encoded(pair.certificate), "client-key-data": encoded(pair.key)},
            **{"certificate-authority-data": encoded(authority.pem)},
        )
        assert await get(context, Addresses()) == 200
    assert seen == [0o700]
    assert {path.name for path in tmp_path.iterdir()} == mine
