"""Pull requests, shared by everything that reads from a consumer: how one is written, and what its end says."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from engine.runtime import log_wire as wire
from engine.runtime.jetstream import Connection

PULL_BYTES = 16 * 1024 * 1024
"""Limit of one pull, so that a few hundred of the largest objects do not fill memory; never below two messages."""

_NS = 1_000_000_000
_HEARTBEAT = 100
_NOT_FILLED = {404, 408}
_CONFLICT = 409
_FATAL = (b"deleted", b"leadership", b"shutdown", b"exceeded", b"push")
"""Words in a 409 that mean more than that a pull has ended; "Batch Completed" or a limit of bytes is no trouble."""


class Ended(NamedTuple):
    """What a status message on a pull's inbox says."""

    unfilled: int
    """Messages that were asked for and will not come."""
    problem: str
    """Why the consumer must be attached to anew; empty if it need not be."""


def pull_command(
    connection: Connection, stream: str, consumer: str, inbox: str, count: int, expires: float, heartbeat: float
) -> bytes:
    """Return the command that asks a consumer for messages.

    Args:
        connection: the door.
        stream: the consumer's stream.
        consumer: its name.
        inbox: where to.
        count: at most so many.
        expires: seconds after which the request ends; 0: at once when there is nothing more.
        heartbeat: seconds between signs of life while the request waits.

    """
    request: dict[str, object] = {"batch": count, "max_bytes": max(PULL_BYTES, 2 * connection.max_payload)}
    if expires:
        request |= {"expires": round(expires * _NS), "idle_heartbeat": round(heartbeat * _NS)}
    else:
        request["no_wait"] = True
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}".encode()
    return wire.publish(subject, msgspec.json.encode(request), reply=inbox.encode())


def ended_pull(headers: bytes) -> Ended:
    """Read a status message."""
    status = wire.status_of(headers)
    if status == _HEARTBEAT:
        return Ended(0, "")
    line = headers.partition(b"\r\n")[0]
    unfilled = int(wire.header(headers, b"Nats-Pending-Messages") or 0)
    if status in _NOT_FILLED:
        return Ended(unfilled, "")
    if status == _CONFLICT and not any(word in line.lower() for word in _FATAL):
        return Ended(unfilled, "")
    return Ended(unfilled, f"the consumer answers {line[9:].decode(errors='replace')}")
