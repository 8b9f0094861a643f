"""Creating and migrating streams and consumers: compare with what is there, change only what differs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import structlog

from engine.runtime.jetstream import Connection, Json
from engine.runtime.log_errors import Refused
from engine.runtime.ports import EventLogError
from engine.runtime.streams import NANOSECONDS, StreamSpec
from schemas.subjects import FACTS as FACT_SUBJECTS
from schemas.subjects import SYNC as SYNC_SUBJECTS

MAX_ACK_PENDING = 20_000
"""Messages handed out by one consumer to all workers together: far more than they hold, or the slowest would stop all."""
MAX_WAITING = 4096
"""Pulls that wait at one consumer: a worker keeps up to four."""
ABANDONED_SECONDS = 7 * 86400
"""A consumer that nobody has pulled from for so long goes: mappers of old code. Created again it starts from the beginning,
which is right for all that we consume: STATE's latest, what is left in REQUESTS, what is due in TIMERS."""
ATTEMPTS = 3
"""Others may create, change or delete the same stream at the same moment."""

ANCHOR = "anchor"
"""Metadata of STATE: how often it was anchored anew."""
ANCHORED_TO = "anchored-to"
"""Metadata of STATE: which FACTS it follows, by its `created`."""
ANCHORED_BEHIND = "anchored-behind"
"""Metadata of STATE: its own last sequence when it was anchored; only what came later stems from there."""

STREAM_NOT_FOUND = 10059
CONSUMER_NOT_FOUND = 10014
_NAME_IN_USE = 10058
_SUBJECTS_OVERLAP = 10065
_NO_PEERS = {10005, 10074}
_STATIC_WORDS = ("can not", "cannot", "not allowed")

_log = structlog.get_logger(__name__)


async def prepare_streams(connection: Connection, specs: Iterable[StreamSpec], *, replicas: int) -> list[str]:
    """Create or migrate streams, in order; return the names of those that were created.

    Raises:
        EventLogError: when one cannot be made as its spec asks, saying which and why.

    """
    return [spec.name for spec in specs if await _prepare(connection, spec, replicas)]


async def stream_info(connection: Connection, name: str) -> Json | None:
    """Return what the broker knows of a stream, None when there is none.

    Raises:
        EventLogError: when the broker does not say.

    """
    try:
        return await connection.api(f"STREAM.INFO.{name}")
    except Refused as problem:
        if problem.err_code == STREAM_NOT_FOUND:
            return None
        raise


async def _prepare(connection: Connection, spec: StreamSpec, replicas: int) -> bool:
    """Create or migrate one stream; return whether it was created."""
    for attempt in range(ATTEMPTS):
        try:
            info = await stream_info(connection, spec.name)
            if info is None:
                return await _create(connection, spec, replicas)
            await _migrate(connection, spec, replicas, info["config"])
        except Refused as problem:
            gone_or_made_meanwhile = problem.err_code in {STREAM_NOT_FOUND, _NAME_IN_USE}
            if not gone_or_made_meanwhile or attempt == ATTEMPTS - 1:
                raise EventLogError(_explain(spec, replicas, problem)) from problem
            await asyncio.sleep(0.05)
        else:
            return False
    return False


async def _create(connection: Connection, spec: StreamSpec, replicas: int) -> bool:
    config = spec.config(replicas)
    if spec.source:
        source = await stream_info(connection, spec.source)
        if source is not None:
            config |= anchor(spec.source, source, number=0, start=max(1, source["state"]["first_seq"]))
    answer = await connection.api(f"STREAM.CREATE.{spec.name}", config)
    _check_version(spec, config, answer["config"])
    created = bool(answer.get("did_create", True))
    if created:
        _log.info("stream created", stream=spec.name)
    return created


async def _migrate(connection: Connection, spec: StreamSpec, replicas: int, current: Json) -> None:
    wanted = spec.config(replicas)
    wanted.pop("persist_mode", None)  # for life
    sources = [source["name"] for source in current.get("sources", [])]
    if spec.source and sources == [spec.source]:
        del wanted["sources"]  # where it starts belongs to `log_heal`
    changes = differences(wanted, current)
    if changes:
        answer = await connection.api(f"STREAM.UPDATE.{spec.name}", {**current, **changes})
        _check_version(spec, wanted, answer["config"])
        _log.info("stream migrated", stream=spec.name, changed=sorted(changes))


def differences(wanted: Mapping[str, object], current: Mapping[str, object]) -> Json:
    """Return what of `wanted` is otherwise in `current`; the broker leaves out what is false, zero or empty."""
    return {key: value for key, value in wanted.items() if current.get(key) != value and (value or current.get(key))}


def _check_version(spec: StreamSpec, wanted: Json, given: Json) -> None:
    """Raise when a setting did not arrive: an older broker ignores what it does not know, silently."""
    missing = differences(wanted, given)
    missing.pop("sources", None)
    missing.pop("metadata", None)
    if missing:
        message = (
            f"stream {spec.name}: the broker does not know {', '.join(sorted(missing))}: nats-server 2.12 is needed"
        )
        raise EventLogError(message)


def _explain(spec: StreamSpec, replicas: int, problem: Refused) -> str:
    reason = f"stream {spec.name}: {problem.description}"
    if problem.err_code == _SUBJECTS_OVERLAP:
        return f"{reason}: another stream takes {' or '.join(spec.subjects)}; use a broker or account without it"
    if problem.err_code in _NO_PEERS:
        return f"{reason}: the broker cannot keep {replicas} replicas; lower nats.replicas or add servers"
    if any(word in problem.description for word in _STATIC_WORDS):
        return f"{reason}; it cannot be migrated: delete the stream, it is rebuilt from the clusters"
    return reason


def may_pass(problem: EventLogError) -> bool:
    """Return whether waiting cures this: no answer, no leader, a stream that `heal` will make again."""
    if isinstance(problem, Refused):
        return problem.code == 503 or problem.err_code == STREAM_NOT_FOUND
    return True


# --- the anchor: from where STATE sources FACTS ---


def anchor(source: str, info: Json, *, number: int, start: int, behind: int = 0) -> Json:
    """Return the part of a stream's configuration that lets it source `source` from `start` on.

    Args:
        source: name of the stream to follow.
        info: what the broker says of that stream.
        number: how often the follower has been anchored anew. The broker remembers positions by the source's filters and
            transforms, and keeps to what it remembers whatever start is asked for; so each anchoring writes the same
            filters in another way.
        start: first sequence wanted.
        behind: the follower's own last sequence.

    """
    settings: Json = {"name": source, "opt_start_seq": start}
    if number:
        settings["subject_transforms"] = _unchanged_subjects(number)
    metadata = {ANCHOR: str(number), ANCHORED_TO: str(info["created"]), ANCHORED_BEHIND: str(behind)}
    return {"sources": [settings], "metadata": metadata}


def _unchanged_subjects(number: int) -> list[Json]:
    """Return transforms that change nothing, written in one of 30 ways (number 31 is like 1: by then, long forgotten)."""
    number = (number - 1) % 30
    pair = [_unchanged(FACT_SUBJECTS, number % 5), _unchanged(SYNC_SUBJECTS, number // 5 % 3)]
    return pair[::-1] if number >= 15 else pair


def _unchanged(head: str, stars: int) -> Json:
    """Map `head.>` to itself with `stars` tokens spelt out; the shortest subjects have one more."""
    names = [f"{{{{wildcard({index})}}}}" for index in range(1, stars + 1)]
    return {"src": ".".join([head, *["*"] * stars, ">"]), "dest": ".".join([head, *names, ">"])}


# --- consumers ---


async def ensure_consumer(
    connection: Connection, stream: str, durable: str, filters: Sequence[str], *, ack_wait: float
) -> None:
    """Create a durable consumer, or bring the one that is there up to date.

    One that stands beyond the end of its stream is deleted and created anew: the stream was set back or re-created under
    it, and it would deliver nothing until the sequences had caught up.

    Raises:
        Refused: when the broker will not have it.
        EventLogError: when it does not answer.

    """
    config: Json = {
        "name": durable,
        "durable_name": durable,
        "ack_policy": "explicit",
        "ack_wait": round(ack_wait * NANOSECONDS),
        "max_deliver": -1,
        "max_ack_pending": MAX_ACK_PENDING,
        "max_waiting": MAX_WAITING,
        "deliver_policy": "all",
        "filter_subjects": list(filters),
        "inactive_threshold": ABANDONED_SECONDS * NANOSECONDS,
    }
    body = {"stream_name": stream, "config": config}
    info = await connection.api(f"CONSUMER.CREATE.{stream}.{durable}", body)
    if await drop_if_beyond(connection, stream, info):
        await connection.api(f"CONSUMER.CREATE.{stream}.{durable}", body)


async def drop_if_beyond(connection: Connection, stream: str, info: Json, last: int | None = None) -> bool:
    """Delete a consumer that stands beyond the end of its stream; return whether it did."""
    position = max(int(info["delivered"]["stream_seq"]), int(info["ack_floor"]["stream_seq"]))
    if last is None or position > last:  # a sequence read before the consumer's may be older than it
        last = int((await connection.api(f"STREAM.INFO.{stream}"))["state"]["last_seq"])
    if position <= last:
        return False
    _log.warning("consumer beyond the end of its stream", stream=stream, consumer=info["name"], at=position, last=last)
    try:
        await connection.api(f"CONSUMER.DELETE.{stream}.{info['name']}")
    except Refused as problem:
        if problem.err_code != CONSUMER_NOT_FOUND:
            raise
    return True
