"""The one door to NATS: a connection that never hangs, never closes for good, and says what went wrong.

Built on `nats_client`, which connects. What is added here, and why:

- what the client buffers while disconnected would be sent much later; here it is dropped and whoever waits is told at once;
- a connection can be up and deaf: pings every second find that, and a watch of our own finds a ping task that has died;
- the client does not count headers against the payload limit, and the server then cuts the connection; callers check
  `max_payload` against headers and body.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, Self

import msgspec
import structlog

from engine.runtime import log_wire as wire
from engine.runtime.log_credentials import Signer, Tls, connect_options
from engine.runtime.log_errors import NoAnswer, NobodyListens, Refused
from engine.runtime.log_wire import Answer
from engine.runtime.nats_client import Client, NatsError, Route, Transport
from engine.runtime.ports import EventLogError

CONNECT_TIMEOUT_SECONDS = 10.0
"""How long `open` tries before it says that there is no broker."""
REQUEST_TIMEOUT_SECONDS = 5.0
"""An answer takes under a millisecond, or up to a second while the broker recovers a large store."""
RECONNECT_WAIT_SECONDS = 0.1
"""Between two attempts to connect again: a restarted broker is found at once, an absent one costs nothing."""
PING_SECONDS = 1
PINGS_OUTSTANDING = 2
DEAF_SECONDS = 4.0
"""Silence after which our own watch reconnects: pings are answered every second, so by then nats-py should have."""
CLOSE_TIMEOUT_SECONDS = 2.0

Json = dict[str, Any]

_log = structlog.get_logger(__name__)


class Listener(Protocol):
    """Whoever waits for messages on a reply subject."""

    def received(self, tail: bytes, headers: bytes, body: bytes) -> None:
        """Take one message; `tail` is what followed the reply subject, empty if nothing did."""

    def lost(self) -> None:
        """Learn that the connection was lost: nothing more will come."""


class _Single:
    """Waits for one message."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def received(self, tail: bytes, headers: bytes, body: bytes) -> None:  # noqa: ARG002 - the port's signature
        if not self.future.done():
            self.future.set_result(Answer(headers, body))

    def lost(self) -> None:
        if not self.future.done():
            self.future.set_exception(NoAnswer("the connection to the broker was lost"))


class Subscription:
    """Interest in a subject; see `Connection.subscribe`."""

    def __init__(
        self, connection: Connection, unsubscribe: Callable[[], Awaitable[None]], forget: Callable[[], object]
    ) -> None:
        """Made by `Connection.subscribe`."""
        self._connection = connection
        self._unsubscribe = unsubscribe
        self._forget = forget

    async def end(self, *, drain: bool = False) -> None:
        """Take no more messages; with `drain`, hand over those that are already under way."""
        try:
            await self._unsubscribe()
            if drain and self._connection.is_up:
                await self._connection.round_trip(1.0)
        except NoAnswer:
            pass  # the connection is gone, and what was under way with it
        finally:
            self._forget()


class Connection:
    """One connection to a broker or cluster of brokers, re-made whenever it breaks. Made by `open`."""

    def __init__(self, servers: str, inbox_prefix: str) -> None:
        """Prepare for `servers`, as they may be shown in messages; `open` connects."""
        self.servers = servers
        self.generation = 0
        """How often it has been connected; it changes when messages may have been missed."""
        self._client = Client(self._violated)
        self._inbox_prefix = inbox_prefix
        self._inbox = f"{inbox_prefix}.{secrets.token_hex(8)}.".encode()
        self._tokens = itertools.count(1)
        self._listeners: dict[bytes, Listener] = {}
        self._on_change: set[Callable[[bool], None]] = set()
        self._up = asyncio.Event()
        self._lost_at = 0.0
        self._refusal = ""
        self._rejected: asyncio.Future[None] | None = None
        self._watch: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        name: str,
        token: str = "",
        credentials: str | Signer = "",
        tls: Tls | None = None,
        inbox_prefix: str = "_INBOX",
        timeout: float = CONNECT_TIMEOUT_SECONDS,
    ) -> Self:
        """Connect.

        Args:
            url: `nats://host:4222`, `tls://...`; several, separated by commas; may hold `user:password@` or `token@`.
            name: of this client, for the broker's listings.
            token: authenticates, unless the url does.
            credentials: path of a credentials file (JWT and nkey), or what stands for one.
            tls: how the broker is known; None: as the url says.
            inbox_prefix: of reply subjects; a user with restricted subscriptions has one of its own.
            timeout: seconds to try for.

        Raises:
            EventLogError: when nothing answers in time or the broker refuses us.

        """
        servers, options = connect_options(url, token=token, credentials=credentials, tls=tls)
        self = cls(",".join(servers), inbox_prefix)
        if not any(server.startswith("ws") for server in servers):
            self._client._transport = Transport()  # noqa: SLF001 - nats-py has no other way to pass one
        self._rejected = asyncio.get_running_loop().create_future()
        connecting = asyncio.create_task(
            self._connect(servers, name=name, **options), name=f"connect to {self.servers}"
        )
        try:
            await asyncio.wait({connecting, self._rejected}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._give_up(connecting)
            raise
        self._rejected.cancel()
        if not connecting.done() or connecting.exception():
            await self._give_up(connecting)
            problem = None if connecting.cancelled() else connecting.exception()
            why = str(self._refusal or problem or "no answer")
            if "reset by peer" in why or "Broken pipe" in why:
                # A refusal that the broker's hanging up has overtaken looks like this.
                why += "; it hung up while we introduced ourselves: wrong authorization, or no NATS server?"
            raise EventLogError(f"no broker at {self.servers}: {why}") from problem
        self._watch = asyncio.create_task(self._watch_for_silence(), name=f"watch of {self.servers}")
        return self

    async def _give_up(self, connecting: asyncio.Task[None]) -> None:
        """End an attempt to connect; its socket goes, so that it ends soon, whatever it waits for."""
        self._client.given_up = True
        connecting.cancel()
        await self.close()
        await asyncio.gather(connecting, return_exceptions=True)

    async def _connect(self, servers: list[str], **options: Any) -> None:
        await self._client.connect(
            servers=servers,
            error_cb=self._failed,
            disconnected_cb=self._disconnected,
            reconnected_cb=self._connected,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT_SECONDS,  # type: ignore[arg-type]  # it sleeps for any number
            connect_timeout=2,
            ping_interval=PING_SECONDS,
            max_outstanding_pings=PINGS_OUTSTANDING,
            **options,
        )
        await self.subscribe(f"{self._inbox.decode()}>", self._deliver)
        await self._connected()

    # --- what the rest of the log uses ---

    @property
    def max_payload(self) -> int:
        """The broker's limit for headers and body of one message, bytes."""
        return int(self._client.max_payload)

    @property
    def is_up(self) -> bool:
        """Whether there is a connection right now, and everyone has been told of it."""
        return self._up.is_set() and bool(self._client.is_connected)

    async def wait_up(self, timeout: float) -> None:
        """Return when there is a connection.

        Raises:
            NoAnswer: when there is none for `timeout` seconds.

        """
        if self.is_up:
            return
        try:
            async with asyncio.timeout(timeout):
                await self._up.wait()
        except TimeoutError:
            raise NoAnswer(f"no connection to the broker at {self.servers}: {self._refusal or 'lost'}") from None

    def write(self, commands: bytes) -> None:
        """Send whole protocol commands made by `log_wire.publish`. Dropped when there is no connection."""
        if self._up.is_set():
            self._client.push(commands)

    def listen(self, listener: Listener) -> bytes:
        """Return a reply subject of its own for `listener`; it may be extended by `.tail`. End it with `forget`."""
        token = b"%x" % next(self._tokens)
        self._listeners[token] = listener
        return self._inbox + token

    def forget(self, reply: bytes) -> None:
        """Stop listening on a reply subject."""
        self._listeners.pop(reply[len(self._inbox) :], None)

    def on_change(self, callback: Callable[[bool], None]) -> Callable[[], None]:
        """Call `callback` with False when the connection is lost and True when it is back; return how to stop that."""
        self._on_change.add(callback)
        return lambda: self._on_change.discard(callback)

    async def request(
        self, subject: str, body: bytes = b"", *, headers: bytes = b"", timeout: float = REQUEST_TIMEOUT_SECONDS
    ) -> Answer:
        """Send one message and return the first answer.

        Raises:
            NoAnswer: when none came within `timeout` seconds, the wait for a connection included.
            NobodyListens: when the broker knows no one behind the subject.

        """
        await self.wait_up(timeout)
        single = _Single()
        reply = self.listen(single)
        try:
            self.write(wire.publish(subject.encode(), body, reply=reply, headers=headers))
            async with asyncio.timeout(timeout):
                answer = await single.future
        except TimeoutError:
            raise NoAnswer(f"{subject}: no answer from the broker within {timeout:g} s{self._hint()}") from None
        finally:
            self.forget(reply)
        if answer.status == 503:
            raise NobodyListens(f"{subject}: no stream or consumer is there, or JetStream is not running")
        return answer

    async def api(self, subject: str, body: Json | None = None, *, timeout: float = REQUEST_TIMEOUT_SECONDS) -> Json:
        """Call JetStream's API, e.g. `STREAM.INFO.FACTS`, and return its answer.

        Raises:
            Refused: when the answer is an error.
            NoAnswer: when there is none.
            NobodyListens: when JetStream is not running.

        """
        encoded = msgspec.json.encode(body) if body is not None else b""
        answer = await self.request(f"$JS.API.{subject}", encoded, timeout=timeout)
        decoded: Json = msgspec.json.decode(answer.body)
        if error := decoded.get("error"):
            raise Refused(subject, error.get("code", 0), error.get("err_code", 0), error.get("description", ""))
        return decoded

    def inbox(self) -> str:
        """Return a subject of our own, for `subscribe`."""
        return f"{self._inbox_prefix}.{secrets.token_hex(11)}"

    async def subscribe(self, subject: str, route: Route, *, queue: str = "") -> Subscription:
        """Pass every message on `subject` to `route`, over reconnections too; of a `queue`'s subscribers, one gets it.

        Raises:
            NoAnswer: when the connection is lost just then.

        """
        try:
            subscription = await self._client.subscribe(subject, queue)
        except OSError as problem:  # it writes by itself where the client has noticed the loss only in part
            raise NoAnswer(f"{subject}: the connection to the broker was lost: {problem}") from problem
        sid: int = subscription._id  # noqa: SLF001 - the number that messages carry
        self._client.routes[sid] = route

        async def unsubscribe() -> None:
            with contextlib.suppress(NatsError, OSError):  # closed: the subscription is gone as well
                await subscription.unsubscribe()

        return Subscription(self, unsubscribe, lambda: self._client.routes.pop(sid, None))

    async def round_trip(self, timeout: float) -> None:
        """Return when the broker has handled everything that was written.

        Raises:
            NoAnswer: when it has not within `timeout` seconds.

        """
        if not self._client.is_connected:
            raise NoAnswer(f"no connection to the broker at {self.servers}")
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._client.ping(pong)
        try:
            async with asyncio.timeout(timeout):
                await pong
        except TimeoutError:
            raise NoAnswer(f"no answer from the broker within {timeout:g} s") from None

    async def close(self) -> None:
        """Write out what is queued and disconnect, within two seconds; a broker that does not answer is left without that."""
        if self._watch is not None:
            self._watch.cancel()
        self._on_change.clear()
        try:
            if self._client.is_connected:
                await self.round_trip(CLOSE_TIMEOUT_SECONDS / 2)
        except NoAnswer as problem:
            _log.debug("closed without a farewell", reason=str(problem))
        finally:
            self._client.given_up = True
        closing = asyncio.create_task(self._client.close(), name=f"farewell to {self.servers}")
        try:
            await asyncio.wait({closing}, timeout=CLOSE_TIMEOUT_SECONDS / 2)
        finally:
            closing.cancel()
            self._client.hang_up()  # whatever it still waits for ends with that
        await asyncio.gather(closing, return_exceptions=True)
        # The loop closes an aborted socket in its next turn, and one under TLS in the one after that.
        for _ in range(2):
            await asyncio.sleep(0)
        self._lose()

    # --- what the client tells us ---

    def _deliver(self, subject: bytes, _reply: bytes, headers: bytes, body: bytes) -> None:
        token, _, tail = subject[len(self._inbox) :].partition(b".")
        listener = self._listeners.get(token)
        if listener is not None:
            listener.received(tail, headers, body)

    async def _connected(self) -> None:
        if self._lost_at:
            _log.info("broker is back", servers=self.servers, seconds=round(time.monotonic() - self._lost_at, 2))
        self.generation += 1
        self._lost_at, self._refusal = 0.0, ""
        self._client.heard = time.monotonic()
        self._up.set()
        for callback in tuple(self._on_change):
            callback(True)

    async def _disconnected(self) -> None:
        if not self._lost_at and not self._client.is_closed:
            _log.warning("broker lost", servers=self.servers)
        self._lost_at = self._lost_at or time.monotonic()
        self._client.drop_pending()
        self._lose()

    def _lose(self) -> None:
        self._up.clear()
        listeners, self._listeners = self._listeners, {}
        for listener in listeners.values():
            listener.lost()
        for callback in tuple(self._on_change):
            callback(False)

    async def _failed(self, problem: Exception) -> None:
        before, self._refusal = self._refusal, str(problem) or type(problem).__name__
        rejected = "authorization" in self._refusal.lower() or "authentication" in self._refusal.lower()
        if rejected and self._rejected is not None and not self._rejected.done():
            self._rejected.set_result(None)
        if before != self._refusal:
            _log.debug("connection problem", servers=self.servers, problem=self._refusal)

    def _violated(self, message: str) -> None:
        self._refusal = message
        _log.error("broker refuses a subject", servers=self.servers, problem=message)

    def _hint(self) -> str:
        return f" ({self._refusal})" if self._refusal else ""

    async def _watch_for_silence(self) -> None:
        """Reconnect when nothing has been heard for long, twice in a row: after a pause of ours the socket is read first."""
        suspicious = False
        while True:
            await asyncio.sleep(PING_SECONDS)
            silent = self._client.is_connected and time.monotonic() - self._client.heard > DEAF_SECONDS
            if silent and suspicious:
                _log.warning("broker is silent, connecting anew", servers=self.servers)
                await self._client.force_reconnect()
            suspicious = silent
