"""A member's API server as the hub has it (the port `ClusterApi`): requests travel over NATS to the member's agent.

In: what workers ask of any cluster. Out: `calls.<cluster>`, which nobody but that member's agent hears, and its answers. No
credential of the member is here. An agent that is away is an API server that does not answer; nothing is kept for later.

Each request names a ticket of the agent's clock and ends with its timeout by that clock too (`engine.core.freshness`), so
what a lease promises about direct requests holds for these. Streams are not here: a member watches for itself. The agent has
two connections to its API server, and each `MemberApi` uses one of them: what takes two looks elsewhere takes them here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import msgspec

from engine.core.freshness import TICKET_SECONDS
from engine.runtime.jetstream import Connection
from engine.runtime.log_errors import NobodyListens
from engine.runtime.ports import Clock, ClusterUnreachable, CredentialsRejected, EventLogError, Reply
from schemas import subjects
from schemas.members import (
    Borrow,
    Call,
    CallAnswer,
    CallAsk,
    Called,
    Hello,
    Lent,
    NotCalled,
    Ticket,
    call_answers,
    encode,
)
from schemas.names import ClusterName

TRIES = 2
"""A ticket may be of an agent that has been started anew since: its answer holds a new one."""


class MemberApi:
    """One member's API server.

    Args:
        name: the cluster's.
        connection: to the hub's broker, as the engine.
        clock: time.
        look: which of the agent's connections to its API server, 0 or 1.

    """

    def __init__(self, name: ClusterName, connection: Connection, clock: Clock, look: int = 0) -> None:
        self._name, self._connection, self._clock, self._look = name, connection, clock, look
        self._subject = subjects.calls(name)
        self._ticket: tuple[Ticket, float] | None = None
        """The last one, and when it came."""

    @property
    def name(self) -> ClusterName:
        """The cluster's name."""
        return self._name

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout: float,
    ) -> Reply:
        """Have one request sent and return the answer; see the port."""
        until = self._clock.monotonic() + timeout
        for _ in range(TRIES):
            ticket, came = await self._have_ticket(until)
            now = self._clock.monotonic()
            call = Call(
                ticket=ticket,
                held=now - came,
                timeout=until - now,
                method=method,
                path=path,
                params=dict(params) if params else None,
                body=body,
                content_type=content_type,
                accept=accept,
                look=self._look,
            )
            answer = await self._ask(call, f"{method} {path}", until)
            match answer:
                case Called():
                    return Reply(answer.status, answer.body, answer.headers)
                case NotCalled(rejected=True):
                    raise CredentialsRejected(answer.message)
                case NotCalled():
                    raise ClusterUnreachable(answer.message)
        message = f"{self._name}: {method} {path}: its agent got the request too late"
        raise ClusterUnreachable(message)

    async def borrow(self, *, timeout: float) -> Lent:
        """Return a token of the member's, for whoever watches its API server from here.

        Raises:
            ClusterUnreachable: when the agent does not answer.
            CredentialsRejected: when it lends none.

        """
        answer = await self._ask(Borrow(), "borrow a token", self._clock.monotonic() + timeout)
        match answer:
            case Lent():
                return answer
            case NotCalled():
                raise CredentialsRejected(answer.message)
        message = f"{self._name}: its agent answered something else than was asked"
        raise ClusterUnreachable(message)

    def stream(
        self, path: str, *, params: Mapping[str, str], idle_timeout: float
    ) -> AsyncIterator[Reply | list[bytes]]:
        """Refuse: a member watches for itself."""
        raise NotImplementedError(path, params, idle_timeout)

    def refresh(self) -> None:
        """Do nothing: what the registry says of a member changes nothing here."""

    async def close(self) -> None:
        """Do nothing: the connection belongs to others."""

    async def _have_ticket(self, until: float) -> tuple[Ticket, float]:
        if self._ticket is None or self._clock.monotonic() - self._ticket[1] > TICKET_SECONDS:
            await self._ask(Hello(), "hello", until)
        if self._ticket is None:
            message = f"{self._name}: its agent gave no ticket"
            raise ClusterUnreachable(message)
        return self._ticket

    async def _ask(self, ask: CallAsk, what: str, until: float) -> CallAnswer:
        body = encode(ask)
        if len(body) > self._connection.max_payload:
            message = f"{self._name}: {what}: {len(body)} bytes are more than the broker takes"
            raise ClusterUnreachable(message)
        try:
            rest = max(0.0, until - self._clock.monotonic())
            answer = call_answers.decode((await self._connection.request(self._subject, body, timeout=rest)).body)
        except NobodyListens as problem:
            message = f"{self._name}: its agent is not connected"
            raise ClusterUnreachable(message) from problem
        except (EventLogError, msgspec.DecodeError) as problem:
            message = f"{self._name}: {what}: no answer from its agent: {problem}"
            raise ClusterUnreachable(message, sent=True) from problem
        if not isinstance(answer, Lent):
            self._ticket = (answer.ticket, self._clock.monotonic())
        return answer
