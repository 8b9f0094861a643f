"""A member's side of joining: makes the key, asks for the credential with it, and renews it before it ends.

In: the files of a mounted Secret (`hub`, `cluster`, `token`, `ca.crt`), the cluster's identity. Out: a `Signer` for the
connection to the hub. The private key is made here and kept in a Secret of the member's own cluster, so that the agent may be
started anew without another token; it goes nowhere else. The token is read each time that it is shown.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode, standard_b64encode
from pathlib import Path

import msgspec
import structlog

from engine.core.api_errors import Status
from engine.core.backoff import Backoff, draw, failed
from engine.core.nkeys import SEED_BYTES, KeyPair, NotAKey, Role
from engine.core.renewal import renewal
from engine.core.secrecy import SECRETS
from engine.runtime import api_calls
from engine.runtime.jetstream import Connection
from engine.runtime.log_credentials import Tls
from engine.runtime.ports import Clock, ClusterApi, EventLogError
from schemas import subjects
from schemas.members import JoinAnswer, JoinAsk, Orders, encode, join_answers
from schemas.names import ClusterId, ClusterName

SEED = "seed"
MANAGER = "crosscurrent/agent"
REQUEST_SECONDS = 5.0
RETRY_CAP_SECONDS = 30.0
"""Between two tries to join: what was refused may be put right on the other side."""
_MAX_FILE = 64 * 1024

_log = structlog.get_logger(__name__)


class JoinFailed(Exception):
    """Raised when something of ours is missing or the hub refuses; says what to do."""


class JoinFiles(msgspec.Struct, frozen=True):
    """The directory where the join Secret is mounted."""

    directory: Path

    def read(self, name: str) -> str:
        """Return a file's text, empty where it is missing.

        Raises:
            JoinFailed: when it cannot be read.

        """
        path = self.directory / name
        try:
            if not path.exists():
                return ""
            with path.open() as file:
                return file.read(_MAX_FILE).strip()
        except (OSError, UnicodeDecodeError) as problem:
            raise JoinFailed(f"{path} cannot be read: {problem}") from problem

    def need(self, name: str) -> str:
        """Return a file's text.

        Raises:
            JoinFailed: when it is missing or empty.

        """
        if not (text := self.read(name)):
            raise JoinFailed(f"{self.directory / name} is missing: the Secret with what the hub gave out must hold it")
        return text

    def hub(self) -> tuple[str, Tls]:
        """Return where the hub's broker is, and how it is known.

        Raises:
            JoinFailed: when that is missing, or would not be encrypted.

        """
        url = self.need("hub")
        if not url.startswith("tls://"):
            raise JoinFailed(
                f"{self.directory / 'hub'}: {url!r} is not tls://HOST:PORT: a token is not shown in the clear"
            )
        return url, Tls(str(self.directory / "ca.crt") if self.read("ca.crt") else "", self.read("name"))


async def load_key(api: ClusterApi, namespace: str, name: str) -> KeyPair:
    """Return the agent's key from its Secret, made and put there the first time.

    Raises:
        JoinFailed: when the Secret cannot be read or written.

    """
    found = await api_calls.get_object(api, SECRETS, namespace, name, timeout=REQUEST_SECONDS)
    if isinstance(found, Status):
        raise JoinFailed(f"get secrets {namespace}/{name}: {found.message}")
    kept = (found.get("data") or {}).get(SEED)
    if kept:
        try:
            return KeyPair.read(b64decode(kept).decode())
        except (NotAKey, ValueError) as problem:
            raise JoinFailed(f"secrets {namespace}/{name}: {SEED} is not an nkey seed") from problem
    key = KeyPair(Role.USER, secrets.token_bytes(SEED_BYTES))
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": found["metadata"]["uid"],
            "resourceVersion": found["metadata"]["resourceVersion"],
        },
        "data": {SEED: b64encode(key.text.encode()).decode()},
    }
    written = await api_calls.apply(api, SECRETS, body, manager=MANAGER, force=True, timeout=REQUEST_SECONDS)
    if isinstance(written, Status):
        raise JoinFailed(f"patch secrets {namespace}/{name}: {written.message}")
    return key


class Membership:
    """The credential of one member (a `Signer`).

    Args:
        files: what the hub gave out.
        key: the agent's.
        identity: of the member.
        clock: time.
        seed: of all jitter.

    """

    def __init__(self, files: JoinFiles, key: KeyPair, identity: ClusterId, clock: Clock, *, seed: int) -> None:
        self.cluster = ClusterName(files.need("cluster"))
        self.orders = Orders()
        self._files, self._key, self._identity, self._clock, self._seed = files, key, identity, clock, seed
        self._answer = JoinAnswer()
        self._renew_at = 0.0

    def jwt(self) -> bytearray:
        """Return the JWT that says who we are."""
        return bytearray(self._answer.jwt.encode())

    def sign(self, nonce: str) -> bytes:
        """Return the signature of the broker's nonce, base64."""
        return standard_b64encode(self._key.sign(nonce.encode()))

    async def join(self) -> None:
        """Get a credential; tries until it has one."""
        tries, backoff = 0, Backoff(cap=RETRY_CAP_SECONDS)
        while True:
            try:
                answer = await self._ask()
                break
            except (JoinFailed, EventLogError) as problem:
                tries += 1
                jitter = draw(self._seed, tries)
                backoff, seconds = failed(backoff, self._clock.monotonic(), jitter)
                _log.warning("not joined", cluster=self.cluster, problem=str(problem), retry_in=round(seconds, 1))
                await self._clock.sleep(seconds)
        self._answer, self.orders = answer, answer.orders
        seed = draw(self._seed, int(self._clock.monotonic()))
        self._renew_at = renewal(self._clock.monotonic(), answer.seconds, seed)
        _log.info("joined", cluster=self.cluster, key=self._key.public, seconds=answer.seconds)

    async def keep(self) -> None:
        """Renew the credential whenever it is time, until the hub orders something else; the next connection uses it."""
        orders = self.orders
        while self.orders == orders:
            await self._clock.sleep(max(0.0, self._renew_at - self._clock.monotonic()))
            await self.join()

    async def _ask(self) -> JoinAnswer:
        """Ask as a stranger: so too where the credential has ended while the hub was away."""
        url, tls = self._files.hub()
        ask = JoinAsk(
            cluster=self.cluster, identity=self._identity, key=self._key.public, token=self._files.read("token")
        )
        connection = await Connection.open(
            url, name=f"crosscurrent joins {self.cluster}", tls=tls, inbox_prefix=subjects.JOIN_INBOX
        )
        try:
            found = await connection.request(subjects.JOIN, encode(ask))
        finally:
            await connection.close()
        try:
            answer = join_answers.decode(found.body)
        except msgspec.DecodeError as problem:
            raise JoinFailed(f"{url}: the hub's answer cannot be understood: {problem}") from problem
        if not answer.jwt:
            raise JoinFailed(f"{url} refuses {self.cluster}: {answer.reason}: {answer.message}")
        return answer
