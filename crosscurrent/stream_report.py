"""What the broker says of our streams and consumers, for `doctor`: read, compared with what they should be, not mended."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from crosscurrent.findings import Finding, Level
from engine.runtime.jetstream import Connection, Json
from engine.runtime.log_setup import differences, stream_info
from engine.runtime.streams import STATE, stream_specs

STALE_LAG = 10_000
"""Facts that STATE may trail by: a third of a second of the broker's rate. It trails by a millisecond when all is well."""
MANY_PENDING = 10_000
"""Messages that may wait at a consumer before it is worth saying: a second or two of one worker's rate."""


class ConsumerReport(msgspec.Struct, frozen=True):
    """One durable consumer."""

    stream: str
    name: str
    pending: int
    """Not handed out yet."""
    working: int
    """Handed out, not acknowledged."""
    pulls: int
    """Requests for messages that wait there: 0 means that nobody is listening."""


class StreamReport(msgspec.Struct, frozen=True):
    """All streams."""

    missing: tuple[str, ...]
    different: tuple[tuple[str, tuple[str, ...]], ...]
    """(stream, settings that are not as they should be)."""
    lag: int
    """Facts that STATE has not read yet."""
    messages: int
    consumers: tuple[ConsumerReport, ...]


async def read_streams(connection: Connection, *, replicas: int, fact_days: float) -> StreamReport:
    """Ask the broker.

    Raises:
        EventLogError: when it does not answer.

    """
    missing, different, consumers, lag, messages = [], [], [], 0, 0
    for name, spec in stream_specs(fact_days=fact_days).items():
        info = await stream_info(connection, name)
        if info is None:
            missing.append(name)
            continue
        wanted = spec.config(replicas)
        wanted.pop("sources", None)  # where STATE begins to read is the healer's business
        if keys := tuple(sorted(differences(wanted, info["config"]))):
            different.append((name, keys))
        messages += int(info["state"]["messages"])
        if name == STATE:
            lag = sum(int(source.get("lag", 0)) for source in info.get("sources") or ())
        consumers += [_consumer(name, item) for item in await _consumers(connection, name)]
    return StreamReport(tuple(missing), tuple(different), lag, messages, tuple(consumers))


def stream_findings(report: StreamReport) -> Iterator[Finding]:
    """Say what is wrong with the streams."""
    for name in report.missing:
        yield Finding(
            Level.WRONG, f"stream {name}", "is missing", "`crosscurrent up` makes it and watchers fill it again"
        )
    for name, keys in report.different:
        yield Finding(
            Level.WRONG,
            f"stream {name}",
            f"is configured otherwise than it should be: {', '.join(keys)}",
            "starting `crosscurrent up` with this configuration migrates it",
        )
    if not report.missing and not report.different:
        yield Finding(Level.FINE, "broker", f"reachable; 7 streams as they should be, {report.messages} messages")
    if report.lag > STALE_LAG:
        yield Finding(
            Level.WRONG,
            "STATE",
            f"is {report.lag} facts behind FACTS",
            "watchers heal it within a minute",
        )
    for consumer in report.consumers:
        yield _consumer_finding(consumer)


def _consumer_finding(consumer: ConsumerReport) -> Finding:
    check = f"consumer {consumer.name} of {consumer.stream}"
    text = f"{consumer.pending} waiting, {consumer.working} being worked on"
    if consumer.pending and not consumer.pulls and not consumer.working:
        return Finding(Level.WRONG, check, f"{text}, nobody takes them", "is any `crosscurrent reconcile` running?")
    if consumer.pending > MANY_PENDING:
        return Finding(Level.WRONG, check, text, "run more workers: `workers`, or more `crosscurrent reconcile`")
    return Finding(Level.FINE, check, text)


def _consumer(stream: str, info: Json) -> ConsumerReport:
    return ConsumerReport(
        stream=stream,
        name=str(info["name"]),
        pending=int(info.get("num_pending", 0)),
        working=int(info.get("num_ack_pending", 0)),
        pulls=int(info.get("num_waiting", 0)),
    )


async def _consumers(connection: Connection, stream: str) -> list[Json]:
    """Return the durable consumers of a stream; those of passing readers have no durable name."""
    found: list[Json] = []
    while True:
        page = await connection.api(f"CONSUMER.LIST.{stream}", {"offset": len(found)})
        consumers = page.get("consumers") or []
        found += consumers
        if not consumers or len(found) >= int(page.get("total", 0)):
            return [info for info in found if info.get("config", {}).get("durable_name")]
