"""A broker that members may join, as the hub runs it, for the tests of both sides."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from engine.core.broker_trust import BrokerTrust
from engine.core.nkeys import KeyPair, Role
from engine.runtime.jetstream import Connection
from engine.runtime.log_credentials import Tls
from engine.sandbox.certificates import CertificateAuthority
from engine.sandbox.nats_server import Listener, NatsServer
from schemas import subjects
from schemas.names import ClusterName

TRUST = BrokerTrust(b"r" * 32)
NAME = "hub.test"


class MemberSigner:
    """The credential of a member, from the hub's own hands."""

    def __init__(self, cluster: str, number: int = 1, *, seconds: int = 3600, trust: BrokerTrust = TRUST) -> None:
        self.key = KeyPair(Role.USER, bytes([number]) * 32)
        now = int(time.time())
        self.text = trust.member(ClusterName(cluster), self.key.public, issued_at=now, seconds=seconds)

    def jwt(self) -> bytearray:
        return bytearray(self.text.encode())

    def sign(self, nonce: str) -> bytes:
        return base64.b64encode(self.key.sign(nonce.encode()))


class Hub:
    """The broker, and who may connect to it."""

    def __init__(self, directory: Path) -> None:
        authority = CertificateAuthority("hub")
        authority.issue(NAME, hosts=(NAME,)).write(directory, "hub")
        (directory / "ca.crt").write_bytes(authority.pem)
        (directory / "engine.creds").write_bytes(TRUST.engine_credentials(int(time.time())))
        self.tls = Tls(str(directory / "ca.crt"), NAME)
        self.credentials = str(directory / "engine.creds")
        self.server = NatsServer(
            directory / "nats",
            listener=Listener(
                bind="127.0.0.1",
                certificate=directory / "hub.crt",
                key=directory / "hub.key",
                accounts=TRUST.configuration(int(time.time())),
            ),
        )

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[Connection]:
        connection = await Connection.open(
            self.server.url, name="engine", credentials=self.credentials, tls=self.tls, timeout=5
        )
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def member(self, cluster: str, signer: MemberSigner | None = None) -> AsyncIterator[Connection]:
        connection = await Connection.open(
            self.server.url,
            name=cluster,
            credentials=signer or MemberSigner(cluster),
            tls=self.tls,
            inbox_prefix=subjects.member_inbox(cluster),
            timeout=5,
        )
        try:
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def running(*works: object) -> AsyncIterator[None]:
    """Run coroutines for as long as the block runs."""
    tasks = [asyncio.ensure_future(work) for work in works]  # type: ignore[call-overload]
    try:
        await asyncio.sleep(0.05)  # they subscribe
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
