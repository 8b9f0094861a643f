"""The acting half of a member's agent: carries out the hub's requests to the member's API server, with the member's rights.

In: `CallAsk`s on `calls.<cluster>`. Out: one answer each. What the hub may do here is what the agent's ServiceAccount may do,
and only that: the member's own RBAC decides. A request is sent only within the time that it has left
(`engine.core.freshness`): one that waited in a paused agent is not carried out, as another worker may have the key by now.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from engine.core.freshness import remaining
from engine.runtime import log_wire as wire
from engine.runtime.jetstream import Connection
from engine.runtime.ports import Clock, ClusterApi, ClusterUnreachable, CredentialsRejected
from schemas import subjects
from schemas.members import (
    Borrow,
    Call,
    CallAnswer,
    CallAsk,
    Called,
    Greeted,
    Hello,
    Lent,
    NotCalled,
    Ticket,
    call_asks,
    encode,
)
from schemas.names import ClusterName

CALLS = 128
"""At once; more than all workers together have budget for."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_HEADERS = ("Content-Type", "Retry-After")
"""What the engine reads of an answer's headers."""

Lend = Callable[[], Awaitable[Lent | str]]
"""Gives a token for the hub, or says why it has none."""

_log = structlog.get_logger(__name__)


class MemberCalls:
    """Serves the calls of one member.

    Args:
        connection: to the hub's broker, as the member.
        cluster: its name.
        apis: its API server, by two connections: a proof that something is gone takes a look by each.
        clock: time.
        lend: gives the hub a token.

    """

    def __init__(
        self,
        connection: Connection,
        cluster: ClusterName,
        apis: tuple[ClusterApi, ClusterApi],
        clock: Clock,
        lend: Lend,
    ) -> None:
        self._connection, self._cluster, self._apis, self._clock, self._lend = connection, cluster, apis, clock, lend
        self._run = secrets.token_hex(8)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until cancelled."""
        # As a queue: where two agents run for a moment, each call is carried out by one of them.
        subscription = await self._connection.subscribe(subjects.calls(self._cluster), self._route, queue="agent")
        try:
            await asyncio.Event().wait()
        finally:
            await subscription.end()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _route(self, _subject: bytes, reply: bytes, _headers: bytes, body: bytes) -> None:
        try:
            ask = call_asks.decode(body)
        except msgspec.DecodeError as problem:
            self._answer(reply, NotCalled(ticket=self._ticket(), message=f"the agent does not understand: {problem}"))
            return
        if len(self._tasks) >= CALLS:
            self._answer(reply, NotCalled(ticket=self._ticket(), message=f"{self._cluster}: its agent is busy"))
            return
        task = asyncio.create_task(self._serve(reply, ask), name=f"call of {self._cluster}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _ticket(self) -> Ticket:
        return Ticket(self._run, self._clock.monotonic())

    def _answer(self, reply: bytes, answer: CallAnswer) -> None:
        encoded = encode(answer)
        if len(encoded) > self._connection.max_payload:
            message = f"{self._cluster}: an answer of {len(encoded)} bytes is more than the broker takes"
            encoded = encode(NotCalled(ticket=self._ticket(), message=message))
        self._connection.write(wire.publish(reply, encoded))

    async def _serve(self, reply: bytes, ask: CallAsk) -> None:
        match ask:
            case Hello():
                answer: CallAnswer = Greeted(self._ticket())
            case Borrow():
                answer = await self._borrow()
            case Call():
                answer = await self._call(ask)
        self._answer(reply, answer)

    async def _call(self, ask: Call) -> CallAnswer:
        rest = remaining(ask.ticket, ask.held, ask.timeout, run=self._run, now=self._clock.monotonic())
        if rest <= 0:
            return Greeted(self._ticket())
        if ask.method not in METHODS:
            return NotCalled(ticket=self._ticket(), message=f"{self._cluster}: no call is a {ask.method}")
        if ask.look not in range(len(self._apis)):
            return NotCalled(ticket=self._ticket(), message=f"{self._cluster}: there is no connection {ask.look}")
        try:
            reply = await self._apis[ask.look].request(
                ask.method,
                ask.path,
                params=ask.params,
                body=ask.body,
                content_type=ask.content_type,
                accept=ask.accept,
                timeout=rest,
            )
        except CredentialsRejected as problem:
            return NotCalled(ticket=self._ticket(), message=str(problem), rejected=True)
        except (ClusterUnreachable, ValueError) as problem:
            return NotCalled(ticket=self._ticket(), message=str(problem))
        headers = {name: reply.headers[name] for name in _HEADERS if name in reply.headers}
        return Called(ticket=self._ticket(), status=reply.status, body=reply.body, headers=headers)

    async def _borrow(self) -> CallAnswer:
        lent = await self._lend()
        if isinstance(lent, Lent):
            _log.info("token handed to the hub", cluster=self._cluster, seconds=lent.seconds)
            return lent
        return NotCalled(ticket=self._ticket(), message=f"{self._cluster}: {lent}", rejected=True)
