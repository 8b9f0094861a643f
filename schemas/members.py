"""What a member cluster's agent and the hub say to each other over NATS, as MessagePack: bodies are bytes, and stay so.

Three conversations, each a question and an answer:
    join    from anybody to `crosscurrent.join`: `JoinAsk`, `JoinAnswer`
    log     from a member to `members.<cluster>`: a `LogAsk`, a `LogAnswer`
    calls   from the hub to `calls.<cluster>`: a `CallAsk`, a `CallAnswer`
"""

from __future__ import annotations

import msgspec

from schemas.names import ClusterId, ClusterName


class JoinAsk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Asks for a credential: the first with the token, later ones with the key alone."""

    cluster: ClusterName
    identity: ClusterId
    """UID of its `kube-system` namespace."""
    key: str
    """Public nkey, made by the agent, which keeps the private one."""
    token: str = ""

    def __repr__(self) -> str:
        return f"JoinAsk({self.cluster!r}, {self.identity!r}, {self.key!r})"


class Orders(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the hub wants of a member."""

    resources: tuple[str, ...] = ()
    """Types to watch, as `apps/v1/deployments`."""
    labels: dict[str, str] = {}
    """Of the cluster's record."""
    retry_seconds: float = 30.0
    """Longest wait before what failed is tried again."""
    tombstone_seconds: float = 0.0
    """How long tombstones are kept."""
    watch: bool = True
    """Whether the agent watches; else the hub does, with a token that the agent hands it."""


class JoinAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A credential, or why there is none."""

    jwt: str = ""
    seconds: int = 0
    """For how long it is good, from now on: so the member's clock does not matter."""
    orders: Orders = Orders()
    reason: str = ""
    """CamelCase; empty where there is a credential."""
    message: str = ""


class LogMessage(msgspec.Struct, frozen=True, array_like=True):
    """A message to publish."""

    subject: str
    body: bytes
    id: str
    ttl: float = 0.0


class LogRecord(msgspec.Struct, frozen=True, array_like=True):
    """A stored message."""

    subject: str
    seq: int
    body: bytes
    id: str
    time: str
    origin: int = 0


class Publish(msgspec.Struct, frozen=True, tag="publish"):
    """Publish to FACTS."""

    messages: list[LogMessage]
    late: bool = False
    """Whether some may have been stored already, or have been overtaken: they waited, or their answer was lost."""
    lives: tuple[str, ...] = ()
    """Of FACTS and STATE when they were made: in a stream that was made anew they would vouch for what it lacks."""


class Kept(msgspec.Struct, frozen=True):
    """What a member keeps on its own disk: one question that is to be put to the hub."""

    messages: list[LogMessage]
    lives: tuple[str, ...]


class Last(msgspec.Struct, frozen=True, tag="last"):
    """Read the last record of some subjects of STATE, exact ones."""

    subjects: list[str]


class Scan(msgspec.Struct, frozen=True, tag="scan"):
    """Begin to read the last records of STATE under some filters."""

    filters: list[str]
    headers_only: bool


class More(msgspec.Struct, frozen=True, tag="more"):
    """Go on with a scan."""

    scan: str


class Life(msgspec.Struct, frozen=True, tag="life"):
    """Ask which life a stream is in, and which healing pass the log has come to."""

    stream: str


LogAsk = Publish | Last | Scan | More | Life


class Published(msgspec.Struct, frozen=True, tag="published"):
    """All of it is stored."""


class Records(msgspec.Struct, frozen=True, tag="records"):
    """Records; where `scan` is not empty, there are more."""

    records: list[LogRecord]
    scan: str = ""


class Lives(msgspec.Struct, frozen=True, tag="lives"):
    """Which life of the stream it is."""

    incarnation: str
    healed: str
    """Changes when STATE may lack facts: then everything is to be published again."""


class LogFailed(msgspec.Struct, frozen=True, tag="failed"):
    """It did not work."""

    message: str
    too_large: bool = False
    outlived: bool = False
    """Whether the streams are not those any more for which it was meant."""


LogAnswer = Published | Records | Lives | LogFailed


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """A moment by an agent's clock, see `engine.core.freshness`."""

    run: str
    """Of the agent's process: its clock means nothing to another."""
    at: float


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """Ask for a ticket."""


class Call(msgspec.Struct, frozen=True, kw_only=True, tag="call"):
    """One request to the member's API server."""

    ticket: Ticket
    held: float
    """Seconds for which the hub has had the ticket."""
    timeout: float
    """Seconds from sending this to the end of the exchange: nothing of it may happen later."""
    method: str
    path: str
    params: dict[str, str] | None = None
    body: bytes | None = None
    content_type: str = ""
    accept: str = ""
    look: int = 0
    """Which of the agent's connections to its API server, 0 or 1: a proof of absence takes both."""


class Borrow(msgspec.Struct, frozen=True, tag="borrow"):
    """Ask for a token of the member's, for a hub that talks to its API server itself."""


CallAsk = Hello | Call | Borrow


class Greeted(msgspec.Struct, frozen=True, tag="greeted"):
    """A ticket; the answer too to a call that comes too late, or from another agent's time: nothing of it was done."""

    ticket: Ticket


class Called(msgspec.Struct, frozen=True, kw_only=True, tag="called"):
    """What the API server answered."""

    ticket: Ticket
    status: int
    body: bytes
    headers: dict[str, str] = {}


class NotCalled(msgspec.Struct, frozen=True, kw_only=True, tag="not-called"):
    """No answer came from the API server."""

    ticket: Ticket
    message: str
    rejected: bool = False
    """Whether the agent has no credentials to ask with."""


class Lent(msgspec.Struct, frozen=True, kw_only=True, tag="lent"):
    """A token, and where to use it. In memory only, on both sides."""

    server: str
    authority: bytes
    token: str
    seconds: float

    def __repr__(self) -> str:
        return f"Lent({self.server!r}, seconds={self.seconds})"


CallAnswer = Greeted | Called | NotCalled | Lent

_encoder = msgspec.msgpack.Encoder()
join_asks = msgspec.msgpack.Decoder(JoinAsk)
join_answers = msgspec.msgpack.Decoder(JoinAnswer)
log_asks: msgspec.msgpack.Decoder[LogAsk] = msgspec.msgpack.Decoder(LogAsk)
log_answers: msgspec.msgpack.Decoder[LogAnswer] = msgspec.msgpack.Decoder(LogAnswer)
kept: msgspec.msgpack.Decoder[Kept] = msgspec.msgpack.Decoder(Kept)
call_asks: msgspec.msgpack.Decoder[CallAsk] = msgspec.msgpack.Decoder(CallAsk)
call_answers: msgspec.msgpack.Decoder[CallAnswer] = msgspec.msgpack.Decoder(CallAnswer)


def encode(value: msgspec.Struct) -> bytes:
    """Return the bytes of a question or answer."""
    return _encoder.encode(value)
