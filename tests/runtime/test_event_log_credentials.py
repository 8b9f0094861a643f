"""Connecting with a credentials file to a broker in operator mode: every signature is checked by the real server."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.runtime.event_log import NatsEventLog
from engine.runtime.ports import EventLogError, Message
from engine.sandbox.nats_server import find_nats_server
from engine.sandbox.processes import ChildProcess, free_port

pytestmark = pytest.mark.broker

OPERATOR, ACCOUNT, USER = 14 << 3, 0 << 3, 20 << 3
SEED = 18 << 3


class Key:
    """An nkey: an Ed25519 key with a prefix for what it is."""

    def __init__(self, kind: int) -> None:
        self._kind = kind
        self._private = Ed25519PrivateKey.generate()

    @property
    def public(self) -> str:
        raw = self._private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return _encode(bytes([self._kind]) + raw)

    @property
    def seed(self) -> str:
        raw = self._private.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        )
        return _encode(bytes([SEED | self._kind >> 5, (self._kind & 31) << 3]) + raw)

    def jwt(self, subject: Key, name: str, **nats: object) -> str:
        claims = {"jti": name, "iat": int(time.time()), "iss": self.public, "sub": subject.public, "name": name}
        claims["nats"] = {"version": 2, **nats}
        parts = [{"typ": "JWT", "alg": "ed25519-nkey"}, claims]
        text = b".".join(_base64url(json.dumps(part).encode()) for part in parts)
        return (text + b"." + _base64url(self._private.sign(text))).decode()


def _encode(raw: bytes) -> str:
    checksum = binascii.crc_hqx(raw, 0).to_bytes(2, "little")
    return base64.b32encode(raw + checksum).decode().rstrip("=")


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


LIMITS = dict.fromkeys(
    (
        "subs",
        "data",
        "payload",
        "imports",
        "exports",
        "conn",
        "leaf",
        "mem_storage",
        "disk_storage",
        "streams",
        "consumer",
    ),
    -1,
)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A broker that trusts one operator, and the credentials of a user of one of its accounts."""
    operator, system, account, user = Key(OPERATOR), Key(ACCOUNT), Key(ACCOUNT), Key(USER)
    limits = {**LIMITS, "wildcards": True}
    no_storage = {**limits, "mem_storage": 0, "disk_storage": 0}
    port = free_port()
    config = {
        "host": "127.0.0.1",
        "port": port,
        "jetstream": {"store_dir": str(tmp_path / "store")},
        "operator": operator.jwt(operator, "operator", type="operator"),
        "system_account": system.public,
        "resolver": "MEMORY",
        "resolver_preload": {
            system.public: operator.jwt(system, "system", type="account", limits=no_storage),
            account.public: operator.jwt(account, "account", type="account", limits=limits),
        },
    }
    (tmp_path / "broker.conf").write_text(json.dumps(config))
    jwt = account.jwt(user, "user", type="user", subs=-1, data=-1, payload=-1)
    credentials = tmp_path / "user.creds"
    credentials.write_text(
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    command = (str(find_nats_server()), "--config", str(tmp_path / "broker.conf"))
    process = ChildProcess("broker", command, tmp_path / "broker.log", ready=lambda: True, start_timeout=10.0)
    process.start()
    yield f"nats://127.0.0.1:{port}", credentials
    process.kill()


async def test_a_credentials_file_opens_the_log(broker: tuple[str, Path]) -> None:
    url, credentials = broker
    log = await NatsEventLog.connect(url, credentials=str(credentials))
    await log.prepare()
    await log.publish([Message(subject="facts.c1.core.pods.ns.a", body=b"{}")])
    assert await log.last_sequence("FACTS") == 1
    await log.close()


async def test_without_credentials_or_with_those_of_another_the_broker_says_no(
    broker: tuple[str, Path], tmp_path: Path
) -> None:
    url, credentials = broker
    with pytest.raises(EventLogError, match=r"(?i)authorization"):
        await NatsEventLog.connect(url, timeout=5)
    text = credentials.read_text()
    seed = text.rpartition("BEGIN USER NKEY SEED-----\n")[2].split("\n")[0]
    (tmp_path / "other.creds").write_text(text.replace(seed, Key(USER).seed))
    with pytest.raises(EventLogError, match=r"(?i)authorization"):
        await NatsEventLog.connect(url, credentials=str(tmp_path / "other.creds"), timeout=5)
