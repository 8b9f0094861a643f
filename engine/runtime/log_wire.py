"""The bytes of the NATS protocol that the event log needs, and nothing else: pure functions, tested without a broker.

Headers stay bytes: of the dozen that a record carries three or four are wanted, and cutting those out costs a third of
reading them all into a dictionary.
"""

from __future__ import annotations

import math
import time
from functools import lru_cache

import msgspec

from engine.runtime.ports import Message, Record

_VERSION = b"NATS/1.0\r\n"
_NS = 1_000_000_000


class Answer(msgspec.Struct, frozen=True):
    """What came back on a reply subject."""

    headers: bytes
    body: bytes

    @property
    def status(self) -> int:
        """The broker's status (503: nobody listens, 408, 404, ...); 0 for an ordinary message."""
        return status_of(self.headers)


class PubError(msgspec.Struct, frozen=True):
    """Why the broker did not store something."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class PubAck(msgspec.Struct, frozen=True):
    """The broker's answer to a publish: the sequence of what was stored (the last one of a batch)."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    count: int = 0
    error: PubError | None = None


class Outgoing(msgspec.Struct, frozen=True):
    """A message ready for the wire, but for what a batch adds."""

    subject: bytes
    headers: bytes
    """Header lines, each ended by CRLF; may be empty."""
    body: bytes


class Place(msgspec.Struct, frozen=True):
    """What the ack subject of a delivered message says of it."""

    delivered: int
    stream_seq: int
    consumer_seq: int
    stored_ns: int
    pending: int
    """How many more messages the consumer has for its readers."""


_ack = msgspec.json.Decoder(PubAck)


def publish(subject: bytes, body: bytes, *, reply: bytes = b"", headers: bytes = b"") -> bytes:
    """Return the protocol command for one message.

    Args:
        subject: where to.
        body: payload.
        reply: subject for the answer, if one is wanted.
        headers: header lines, each ended by CRLF.

    """
    route = b"%b %b" % (subject, reply) if reply else subject
    if not headers:
        return b"PUB %b %d\r\n%b\r\n" % (route, len(body), body)
    size = len(headers) + 12
    return b"HPUB %b %d %d\r\nNATS/1.0\r\n%b\r\n%b\r\n" % (route, size, size + len(body), headers, body)


def outgoing(message: Message, *, extra: bytes = b"") -> Outgoing:
    """Return a message with the headers that its fields ask for, and `extra` header lines behind them."""
    headers = extra
    if message.ttl:
        headers = b"Nats-TTL: %ds\r\n%b" % (math.ceil(message.ttl), headers)
    if message.id:
        headers = b"Nats-Msg-Id: %b\r\n%b" % (message.id.encode(), headers)
    return Outgoing(message.subject.encode(), headers, message.body)


def wire_size(item: Outgoing) -> int:
    """Return how many bytes count against the broker's limit, with room for what a batch or precondition adds."""
    return len(item.body) + len(item.headers) + 128


def status_of(headers: bytes) -> int:
    """Return the status in a header block, 0 if it has none."""
    if headers[8:9] != b" ":
        return 0
    return int(headers[9:12])


def header(headers: bytes, name: bytes) -> bytes:
    """Return a header's value, empty if it is not there. `name` is spelt as the broker spells it."""
    start = headers.find(b"\r\n%b: " % name)
    if start < 0:
        return b""
    start += len(name) + 4
    return headers[start : headers.find(b"\r\n", start)]


def stored_record(headers: bytes, body: bytes) -> Record:
    """Return the record that a direct get answered with. The broker's own headers follow those of the message."""
    find = headers.find
    start = headers.rfind(b"\r\nNats-Subject: ") + 16
    end = find(b"\r\n", start)
    subject = headers[start:end].decode()
    start = find(b"Nats-Sequence: ", end) + 15
    end = find(b"\r\n", start)
    seq = int(headers[start:end])
    start = find(b"Nats-Time-Stamp: ", end) + 17
    stamp = headers[start : find(b"\r\n", start)].decode()
    return Record(
        subject=subject,
        seq=seq,
        body=body,
        id=header(headers, b"Nats-Msg-Id").decode(),
        time=stamp,
        origin=_origin(headers),
    )


def delivered_record(subject: bytes, place: Place, headers: bytes, body: bytes) -> Record:
    """Return the record that a consumer delivered."""
    message_id = header(headers, b"Nats-Msg-Id").decode() if headers else ""
    return Record(
        subject=subject.decode(),
        seq=place.stream_seq,
        body=body,
        id=message_id,
        time=rfc3339(place.stored_ns),
        origin=_origin(headers) if headers else 0,
    )


def _origin(headers: bytes) -> int:
    """Return the sequence in the stream that this message was sourced from: `<stream> <sequence> <filters...>`."""
    _, _, rest = header(headers, b"Nats-Stream-Source").partition(b" ")
    return int(rest.partition(b" ")[0]) if rest else 0


def place_of(ack_subject: bytes) -> Place | None:
    """Read `$JS.ACK.<stream>.<consumer>.<delivered>.<sseq>.<cseq>.<time>.<pending>`, with or without a domain in front.

    Returns None for anything else: a status message's subject, for one.
    """
    if not ack_subject.startswith(b"$JS.ACK."):
        return None
    tokens = ack_subject.split(b".")
    # Nine tokens, or, with domain and account hash, eleven or twelve: a random token may close it.
    first = 4 if len(tokens) == 9 else 6
    delivered, sseq, cseq, stored, pending = tokens[first : first + 5]
    return Place(int(delivered), int(sseq), int(cseq), int(stored), int(pending))


def pub_ack(body: bytes) -> PubAck:
    """Read the answer to a publish; what is not one counts as a refusal."""
    try:
        return _ack.decode(body)
    except msgspec.DecodeError:
        return PubAck(error=PubError(0, 0, f"not an acknowledgement: {body[:80]!r}"))


def rfc3339(nanoseconds: int) -> str:
    """Return a time since the epoch as RFC 3339 UTC with nanoseconds."""
    seconds, fraction = divmod(nanoseconds, _NS)
    return f"{_whole_second(seconds)}.{fraction:09d}Z"


@lru_cache(maxsize=1000)
def _whole_second(seconds: int) -> str:
    """Return a second as text: several consumers of a process are at different times, each with many records a second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
