"""Credentials that change while the engine runs: tokens, plugins, certificates (SEC-21, SEC-24, W-13, W-29)."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import tempfile
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.runtime import cluster_api, credentials
from engine.runtime.cluster_api import KubernetesApi
from engine.runtime.context_file import ContextFile
from engine.runtime.credentials import CredentialSource, run_plugin
from engine.runtime.kubeconfig import Context
from engine.runtime.ports import CredentialsRejected, Reply
from engine.sandbox.certificates import CertificateAuthority
from schemas.config import ClusterConfig
from schemas.names import ClusterName
from tests.runtime.raw_server import Exchange, Handler, RawServer

V1 = "client.authentication.k8s.io/v1"


@asynccontextmanager
async def opened(context: Context) -> AsyncIterator[KubernetesApi]:
    api = await KubernetesApi.open(ClusterName("raw"), context)
    try:
        yield api
    finally:
        await api.close()


def wants(token: Callable[[], str]) -> Handler:
    """A server that lets one token in."""

    async def serve(exchange: Exchange) -> None:
        right = exchange.headers.get("authorization") == f"Bearer {token()}"
        await exchange.answer(200 if right else 401)

    return serve


def plugin(path: Path, body: str, **more: Any) -> dict[str, Any]:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return {"apiVersion": V1, "command": str(path), **more}


def credential(token: str = "t", **status: Any) -> str:
    return json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": {"token": token, **status}})


async def get(api: KubernetesApi) -> int:
    return (await api.request("GET", "/version", timeout=5)).status


@pytest.fixture
def look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_api, "LOOK_SECONDS", 0.0)


async def test_a_token_file_is_read_without_its_newline(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    user = {"tokenFile": str(tmp_path / "token"), "token": "ignored"}
    async with RawServer(wants(lambda: "first")) as server, opened(server.context(user=user)) as api:
        assert await get(api) == 200


async def test_a_rotated_token_is_taken_up_at_the_next_look(tmp_path: Path, look_always: None) -> None:
    file, valid = tmp_path / "token", "first"
    file.write_text(valid)
    async with RawServer(wants(lambda: valid)) as server, opened(server.context(user={"tokenFile": str(file)})) as api:
        assert await get(api) == 200
        valid = "second"
        file.write_text(valid)
        assert await get(api) == 200
        assert len(server.requests) == 2, "no request was refused on the way"


async def test_a_kubeconfig_that_is_written_anew_is_taken_over_and_one_that_is_broken_is_not(
    tmp_path: Path, look_always: None
) -> None:
    """Another token, another server: whatever rotates credentials, no one is restarted."""
    file, valid = tmp_path / "kubeconfig", "first"
    config = ClusterConfig(name=ClusterName("raw"), kubeconfig="kubeconfig")

    def write(server: RawServer, token: str) -> None:
        context = {"name": "c", "context": {"cluster": "c", "user": "c"}}
        user = {"name": "c", "user": {"token": token}}
        document = {"clusters": [{"name": "c", "cluster": server.context().cluster}], "users": [user]}
        replacement = tmp_path / "new"
        replacement.write_text(json.dumps({**document, "contexts": [context], "current-context": "c"}))
        replacement.replace(file)

    async with RawServer(wants(lambda: valid)) as server, RawServer(wants(lambda: valid)) as other:
        write(server, valid)
        current = ContextFile(config, tmp_path, {})
        api = await KubernetesApi.open(config.name, current.context, current=current)
        try:
            assert await get(api) == 200
            valid = "second"
            write(server, valid)
            assert await get(api) == 200
            file.write_text("clusters: [")
            assert await get(api) == 200
            file.unlink()
            assert await get(api) == 200
            valid = "third"
            write(other, valid)
            assert await get(api) == 200  # never the new token to the old server
            assert len(other.requests) == 1
        finally:
            await api.close()


async def test_a_refused_token_is_read_again_at_once_and_the_request_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_api, "RENEW_SECONDS", 0.0)
    file, valid = tmp_path / "token", "first"
    file.write_text(valid)
    async with RawServer(wants(lambda: valid)) as server, opened(server.context(user={"tokenFile": str(file)})) as api:
        assert await get(api) == 200
        valid = "second"
        file.write_text(valid)
        replies = await asyncio.gather(*(api.request("GET", "/version", timeout=5) for _ in range(10)))
        assert {reply.status for reply in replies} == {200}
        valid = "third"
        file.write_text(valid)
        stream = api.stream("/api/v1/configmaps", params={"watch": "true"}, idle_timeout=2)
        first = await anext(stream)
        assert isinstance(first, Reply)
        assert first.status == 200
        await stream.aclose()


async def test_a_token_that_cannot_be_renewed_is_refused_once(tmp_path: Path) -> None:
    async with RawServer(wants(lambda: "other")) as server, opened(server.context(user={"token": "t"})) as api:
        assert await get(api) == 401
        assert await get(api) == 401
        assert len(server.requests) == 2


async def test_a_token_file_that_vanishes_for_a_moment_does_no_harm(tmp_path: Path, look_always: None) -> None:
    file = tmp_path / "token"
    file.write_text("t")
    async with RawServer(wants(lambda: "t")) as server, opened(server.context(user={"tokenFile": str(file)})) as api:
        assert await get(api) == 200
        file.unlink()
        assert await get(api) == 200


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "token cannot be read: No such file"), ("", "token is empty"), ("a\nb", "holds characters that no token")],
)
async def test_without_a_usable_token_nothing_is_sent(tmp_path: Path, content: str | None, says: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    async with RawServer(wants(lambda: "t")) as server, opened(server.context(user={"tokenFile": str(file)})) as api:
        for _ in range(2):
            with pytest.raises(CredentialsRejected, match=says):
                await get(api)
        with pytest.raises(CredentialsRejected, match=says):
            await anext(api.stream("/x", params={}, idle_timeout=2))
        assert not server.requests


async def test_a_password_is_sent_as_basic_authentication() -> None:
    async def serve(exchange: Exchange) -> None:
        await exchange.answer(200 if exchange.headers["authorization"] == "Basic dTpw" else 401)

    async with RawServer(serve) as server, opened(server.context(user={"username": "u", "password": "p"})) as api:
        assert await get(api) == 200


async def test_impersonation_is_passed_on() -> None:
    user = {"as": "jane", "as-uid": "7", "as-groups": ["a", "b"], "as-user-extra": {"x/y": ["1", "2"]}}
    async with RawServer(lambda exchange: exchange.answer()) as server, opened(server.context(user=user)) as api:
        assert await get(api) == 200
        sent = [field for field in server.requests[0].fields if field[0].startswith("impersonate")]
        assert sent == [
            ("impersonate-user", "jane"),
            ("impersonate-uid", "7"),
            ("impersonate-group", "a"),
            ("impersonate-group", "b"),
            ("impersonate-extra-x%2fy", "1"),
            ("impersonate-extra-x%2fy", "2"),
        ]


# Plugins.


async def test_a_plugin_sees_what_its_kubeconfig_gives_it_and_nothing_else_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_TOKEN", "secret")
    said = tmp_path / "said"
    made = plugin(
        tmp_path / "p",
        f"env > {said}; echo \"$@\" >> {said}; echo '{credential()}'",
        args=["get", "token; rm -rf x"],
        env=[{"name": "PROFILE", "value": "prod"}],
        provideClusterInfo=True,
    )
    status = await run_plugin(made, {"server": "https://x", "certificate-authority-data": "Y2E="})
    assert status["token"] == "t"
    seen = said.read_text()
    assert "PROFILE=prod" in seen
    assert "NATS_TOKEN" not in seen
    assert "get token; rm -rf x" in seen
    assert '"interactive":false' in seen
    assert '"server":"https://x"' in seen


async def test_a_plugins_token_is_used_until_it_expires(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    soon = (datetime.now(UTC) + timedelta(seconds=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for expires, expected in ((later, 1), (soon, 3), (None, 1)):
        runs.write_text("")
        answer = credential(expirationTimestamp=expires)
        user = {"exec": plugin(tmp_path / "p", f"echo run >> {runs}; echo '{answer}'")}
        source = CredentialSource(Context(name="p", cluster={"server": "https://x"}, user=user))
        for _ in range(3):
            assert (await source.read()).user == {"token": "t"}
        assert len(runs.read_text().split()) == expected
        await source.read(renew=True)
        assert len(runs.read_text().split()) == expected + 1


async def test_a_refused_plugin_token_makes_the_plugin_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_api, "RENEW_SECONDS", 0.0)
    (tmp_path / "answer").write_text(credential("first"))
    valid = "first"
    user = {"exec": plugin(tmp_path / "p", f"cat {tmp_path / 'answer'}")}
    async with RawServer(wants(lambda: valid)) as server, opened(server.context(user=user)) as api:
        assert await get(api) == 200
        valid = "second"
        (tmp_path / "answer").write_text(credential(valid))
        assert await get(api) == 200
        (tmp_path / "answer").write_text("broken")
        valid = "third"
        with pytest.raises(CredentialsRejected, match="printed no ExecCredential"):
            await get(api)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("echo no network >&2; exit 3", "failed with 3: no network"),
        ("echo hello", "printed no ExecCredential"),
        ("echo '{}'", "printed no ExecCredential"),
        ('echo \'{"kind": "ExecCredential", "apiVersion": "v0", "status": {}}\'', "speaks v0, not client.auth"),
        (f"echo '{credential('')}'", "gave neither a token nor a client certificate"),
    ],
)
async def test_a_plugin_that_fails_says_how(tmp_path: Path, body: str, says: str) -> None:
    user = {"exec": plugin(tmp_path / "p", body)}
    source = CredentialSource(Context(name="p", cluster={"server": "https://x"}, user=user))
    with pytest.raises(CredentialsRejected, match=says):
        await source.read()


async def test_a_plugin_that_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(CredentialsRejected, match="cannot be run: No such file"):
        await run_plugin({"apiVersion": V1, "command": str(tmp_path / "nope")}, {})


async def test_a_plugin_that_talks_much_on_stderr_does_not_hang(tmp_path: Path) -> None:
    made = plugin(tmp_path / "p", f"head -c 2000000 /dev/zero >&2; echo '{credential()}'")
    assert (await run_plugin(made, {}))["token"] == "t"


async def test_a_plugin_that_hangs_is_killed_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "PLUGIN_SECONDS", 0.3)
    child = tmp_path / "child"
    made = plugin(tmp_path / "p", f"sleep 100 & echo $! > {child}; wait")
    with pytest.raises(CredentialsRejected, match=r"did not answer within 0\.3 s"):
        await run_plugin(made, {})
    pid = int(child.read_text())
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        await asyncio.sleep(0.02)
    os.kill(pid, 9)
    pytest.fail("the plugin's child lived on")


async def test_a_slow_plugin_is_waited_for_by_later_requests(tmp_path: Path) -> None:
    """A request gives up by its own timeout, but the plugin's run goes on: else it would never come to an end."""
    runs = tmp_path / "runs"
    user = {"exec": plugin(tmp_path / "p", f"echo run >> {runs}; sleep 0.5; echo '{credential()}'")}
    async with RawServer(wants(lambda: "t")) as server, opened(server.context(user=user)) as api:
        started = time.monotonic()
        while True:
            try:
                reply = await api.request("GET", "/version", timeout=0.15)
            except cluster_api.ClusterUnreachable:
                assert time.monotonic() - started < 5
                continue
            assert reply.status == 200
            break
    assert runs.read_text().split() == ["run"]


# Certificates.


def serving(authority: CertificateAuthority, clients: CertificateAuthority, directory: Path) -> ssl.SSLContext:
    authority.issue("server", hosts=("127.0.0.1",)).write(directory, "server")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=clients.pem.decode())
    tls.load_cert_chain(directory / "server.crt", directory / "server.key")
    tls.verify_mode = ssl.CERT_REQUIRED
    return tls


async def test_changed_certificates_are_taken_up_without_a_restart(tmp_path: Path, look_always: None) -> None:
    def users() -> list[str]:
        return [str(exchange.writer.get_extra_info("peercert")["subject"]) for exchange in server.requests]

    server_ca, clients_ca = CertificateAuthority("server"), CertificateAuthority("clients")
    (tmp_path / "ca.crt").write_bytes(server_ca.pem)
    clients_ca.issue("first").write(tmp_path, "client")
    user = {"client-certificate": str(tmp_path / "client.crt"), "client-key": str(tmp_path / "client.key")}
    trust = {"certificate-authority": str(tmp_path / "ca.crt")}
    server = RawServer(lambda exchange: exchange.answer(), tls=serving(server_ca, clients_ca, tmp_path))
    async with server, opened(server.context(user=user, **trust)) as api:
        assert await get(api) == 200
        second = clients_ca.issue("second")
        (tmp_path / "client.crt").write_bytes(second.certificate)
        assert await get(api) == 200, "a certificate whose key is not there yet is not used"
        (tmp_path / "client.key").write_bytes(second.key)
        assert await get(api) == 200
        assert ["first" in user for user in users()] == [True, True, False]
        other = CertificateAuthority("other")
        (tmp_path / "ca.crt").write_bytes(other.pem)
        with pytest.raises(cluster_api.ClusterUnreachable, match="certificate verify failed"):
            await get(api)


async def test_certificates_that_cannot_be_used_are_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    context = Context(
        name="c", cluster={"server": "https://127.0.0.1:1", "certificate-authority": str(tmp_path / "ca.crt")}, user={}
    )
    async with opened(context) as api:
        with pytest.raises(CredentialsRejected, match="certificates cannot be used"):
            await get(api)


async def test_embedded_keys_are_not_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = CertificateAuthority("both")
    pair = authority.issue("user")
    user = {
        "client-certificate-data": b64encode(pair.certificate).decode(),
        "client-key-data": b64encode(pair.key).decode(),
    }
    tls = serving(authority, authority, tmp_path)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    async with RawServer(lambda exchange: exchange.answer(), tls=tls) as server:
        context = server.context(user=user, **{"certificate-authority-data": b64encode(authority.pem).decode()})
        async with opened(context) as api:
            assert await get(api) == 200
        assert "user" in str(server.requests[0].writer.get_extra_info("peercert"))
    assert not [*temporary.iterdir()]
