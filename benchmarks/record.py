"""The record: what looking back costs, how fast history replays, and what keeping it costs the ingest path.

A fleet of objects of 2.5 KB is written to a real broker, with many more facts behind them; then states are read at cuts, and
a snapshot is shown. Replay asks recorded decisions of the built-in `foo` again. Ingest publishes at a steady rate, alone,
with a checkpoint made meanwhile, and with three subscribers, in turns; the company is a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from benchmarks.figures import Figure, Report, Settings, figure, percentile, ratios
from benchmarks.procfs import cpu_seconds
from benchmarks.roles import Role
from crosscurrent.commands.events import Choice, EventsFormat, show_events
from crosscurrent.comparison import compare
from crosscurrent.recording import Slice, record
from crosscurrent.selection import Filter
from engine.core.history import Cut
from engine.runtime.checkpoints import make_checkpoint
from engine.runtime.clock import SystemClock
from engine.runtime.event_log import NatsEventLog
from engine.runtime.past import EVERYTHING, read_horizon, read_past
from engine.runtime.ports import EventLog, Message
from engine.sandbox.nats_server import NatsServer
from reconcilers.foo import foo
from schemas import subjects
from schemas.facts import Cause, FactId, FactType, encode_fact
from schemas.names import ClusterId, ClusterName, ObjectRef, Resource, ResourceVersion, Uid
from tests.builders import foo_body, foo_ref
from tests.record.engine_run import CLUSTERS, at_rest, working

NAME = "record"
KIND_OBJECTS = 1000
CLUSTER = ClusterName("c1")
BATCH = 1000
STEADY_RATE, STEADY_SHARE = 2000, 100
"""Facts a second of a very busy fleet, and how many of them go in one batch: a fraction of what two cores and a disk carry,
so that what is measured is whether anybody waits for another, and not who gets the processor."""
ALONE, CHECKPOINT, SUBSCRIBERS = COMPANIES = "alone", "with a checkpoint", "with 3 subscribers"
TYPE_SECONDS, FULL_SECONDS, SNAPSHOT_SECONDS, REPLAY_FACTS = 1.0, 10.0, 10.0, 5000.0


def run(settings: Settings) -> Report:
    """Measure everything; the large log is written once."""
    directory = settings.directory / NAME
    directory.mkdir(parents=True)
    return asyncio.run(_run(settings, directory))


async def _run(settings: Settings, directory: Path) -> Report:
    objects, facts = (5_000, 20_000) if settings.quick else (100_000, 1_000_000)
    found: dict[str, list[float]] = {}
    with NatsServer(directory / "history") as server:
        log = await NatsEventLog.connect(server.url, token=server.token)
        await log.prepare()
        settings.say(f"record: writing {objects:,} objects with {facts:,} facts behind them")
        sizes = await _write(log, objects, facts, settings)
        for number in range(settings.rounds):
            for name, seconds in [(name, await _timed(what)) for name, what in _looks(log, objects)]:
                found.setdefault(name, []).append(seconds)
            settings.say(f"record: round {number}: " + ", ".join(f"{n} {v[-1]:.2f} s" for n, v in found.items()))
        await log.close()
    rates = [await _replay(40 if settings.quick else 200, settings) for _ in range(settings.rounds)]
    published = await _ingest(directory, objects, settings)
    limits = {
        "one type of 1,000 objects": TYPE_SECONDS,
        "the whole fleet": FULL_SECONDS,
        "a snapshot": SNAPSHOT_SECONDS,
    }
    figures = [
        *(figure(f"state at a cut: {name}", found[name], "s", at_most=limits[name]) for name in list(limits)[:2]),
        figure("events --snapshot, all objects", found["a snapshot"], "s", at_most=SNAPSHOT_SECONDS),
        figure("making a checkpoint", found["a checkpoint"], "s"),
        figure("replay", rates, "facts/s", at_least=REPLAY_FACTS),
        *_publishing(published),
        *(figure(f"disk per 100,000 objects: {name}", size, "MiB") for name, size in sizes.items()),
    ]
    notes = (
        f"{objects:,} objects of {KIND_OBJECTS:,} a type, {facts:,} facts behind them, a checkpoint every 100,000 or so",
        f"publish: {STEADY_RATE:,} facts/s, {STEADY_SHARE} at once, fsync always; CPU is of the whole time that is published",
        "the checkpoint is of all objects and begins when a third is published; of the 3 subscribers one never reads",
    )
    return Report(f"{NAME} (history, replay, subscribers)", tuple(figures), notes)


def _publishing(published: Mapping[str, Sequence[Mapping[str, float]]]) -> Iterator[Figure]:
    """Iterate over what recording costs those who publish."""

    def of(company: str, what: str) -> list[float]:
        return [one[what] for one in published[company]]

    for company in COMPANIES:
        yield figure(f"publish {company}: achieved", of(company, "rate"), "facts/s")
        yield figure(f"publish {company}: stored, p50", of(company, "p50"), "ms")
        yield figure(f"publish {company}: stored, p99", of(company, "p99"), "ms")
        for who in ("publisher", "broker", "company"):
            yield figure(f"publish {company}: CPU of the {who}", of(company, who), "cores")
    for company in (CHECKPOINT, SUBSCRIBERS):
        for what in ("rate", "p50", "p99"):
            least = 0.99 if what == "rate" else None
            yield figure(f"ratio: {what} {company}", ratios(of(company, what), of(ALONE, what)), "x", at_least=least)


def _looks(log: EventLog, objects: int) -> Iterator[tuple[str, Callable[[], object]]]:
    async def at(filters: tuple[str, ...], expected: int) -> None:
        horizon = await read_horizon(log)
        cut = Cut(horizon.end.seq - 10, 0.0)
        past = await read_past(log, cut, filters, horizon)
        assert len(past.rows) == expected, (len(past.rows), expected)

    async def snapshot() -> None:
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            choice = Choice(filter=Filter.parse("*/*/*/*"), snapshot=True, follow=False)
            await show_events(log, choice, EventsFormat.JSON)
        assert shown.getvalue().count("\n") == objects

    async def checkpoint() -> None:
        await make_checkpoint(log, f"b{time.monotonic_ns()}", SystemClock())

    yield "one type of 1,000 objects", lambda: at((subjects.facts_of("c1", "example.dev", "kind1s"),), KIND_OBJECTS)
    yield "the whole fleet", lambda: at(EVERYTHING, objects)
    yield "a snapshot", snapshot
    yield "a checkpoint", checkpoint


async def _timed(what: Callable[[], object]) -> float:
    started = time.perf_counter()
    await what()  # type: ignore[misc]
    return time.perf_counter() - started


async def _write(log: EventLog, objects: int, facts: int, settings: Settings) -> dict[str, float]:
    """Write the fleet and its history, with checkpoints as a running engine makes them; return MiB per 100,000 objects."""
    share = 100_000 / objects / 2**20
    await _publish(log, range(objects), objects)
    sizes = {"FACTS, one fact each, before compression": (await log.extent("FACTS")).size * share}
    sizes["STATE"] = (await log.extent("STATE")).size * share
    for start in range(0, facts, 100_000):
        made = await make_checkpoint(log, f"w{start}", SystemClock())
        sizes["one checkpoint"] = made.size * share
        await _publish(log, range(objects + start, objects + min(facts, start + 100_000)), objects)
        settings.say(f"record: {start + 100_000:,} facts behind")
    return sizes


async def _publish(log: EventLog, numbers: range, objects: int) -> None:
    for start in range(numbers.start, numbers.stop, BATCH):
        await log.publish([_fact(number, objects) for number in range(start, min(start + BATCH, numbers.stop))])


def _fact(number: int, objects: int) -> Message:
    which = number % objects
    kind = Resource("example.dev", "v1", f"kind{which // KIND_OBJECTS}s")
    ref = ObjectRef(CLUSTER, kind.group, kind.plural, f"ns{which % 40}", f"object-{which}")
    body = {
        "apiVersion": kind.api_version,
        "kind": "Kind",
        "metadata": {
            "name": ref.name,
            "namespace": ref.namespace,
            "uid": f"uid-{which}",
            "labels": {"app": f"app-{which % 97}"},
        },
        "spec": {
            "containers": [{"name": f"c{i}", "image": f"registry/team/app:{number % 7919 + i}"} for i in range(20)]
        },
        "status": {"conditions": [{"type": f"Condition{i}", "status": "True", "at": number} for i in range(12)]},
    }
    fact_id = FactId(ClusterId("id"), 1, kind.group, kind.plural, Uid(f"uid-{which}"), ResourceVersion(str(number + 1)))
    data = msgspec.json.encode(body)
    encoded = encode_fact(
        fact_id, FactType.UPDATED, ref, kind, cause=Cause.OBSERVED, time="2026-01-01T00:00:00Z", data=data
    )
    return Message(subject=subjects.fact(ref), body=encoded, id=str(fact_id))


async def _replay(foos: int, settings: Settings) -> float:
    """Return how many recorded facts a second are replayed, decisions and all."""
    from engine.sandbox.memory_log import MemoryLog  # noqa: PLC0415 - here a place to record to, measured by nobody

    log = MemoryLog()
    async with working(log) as world:
        for replicas in (1, 2, 3):
            for number in range(foos):
                body = world.objects.get(foo_ref(f"foo-{number}")) or foo_body(f"foo-{number}")
                spec = {**body["spec"], "replicas": replicas}
                await world.put(foo_ref(f"foo-{number}"), {**body, "spec": spec})
            await at_rest(log, world)
    horizon = await read_horizon(log)
    wanted = Slice(Cut(0, 0.0), Cut(horizon.end.seq, float("inf")))
    recording = await record(log, wanted, CLUSTERS, horizon)
    started = time.perf_counter()
    compared = compare(recording, {"foo": foo})
    took = time.perf_counter() - started
    assert {one.verdict for one in compared} == {"equal"}
    settings.say(f"record: {len(recording.facts):,} facts and {len(compared):,} decisions replayed in {took:.2f} s")
    return len(recording.facts) / took


async def _ingest(directory: Path, objects: int, settings: Settings) -> dict[str, list[dict[str, float]]]:
    """Publish alone and in company, in turns on one broker; return what each turn has given."""
    place = directory / "ingest"
    seconds = 3.0 if settings.quick else 12.0
    found: dict[str, list[dict[str, float]]] = {company: [] for company in COMPANIES}
    with NatsServer(place) as server:
        log = await NatsEventLog.connect(server.url, token=server.token)
        await log.prepare()
        await _publish(log, range(objects), objects)
        told = {"nats": server.url, "token": server.token}
        with Role("record_company", told, place / "company.log") as beside:
            await asyncio.to_thread(beside.expect, "ready")
            pids = {"publisher": os.getpid(), "broker": server.process.pid, "company": beside.pid}
            at = objects
            for number in range(settings.rounds):
                for company in COMPANIES:
                    messages = [_fact(at + n, objects) for n in range(round(seconds * STEADY_RATE))]
                    at += len(messages)
                    found[company].append(await _turn(log, messages, company, beside, pids))
                shown = "; ".join(f"{company} {found[company][-1]['p99']:.1f} ms" for company in COMPANIES)
                settings.say(f"record: round {number}: publish, p99: {shown}")
        await log.close()
    return found


async def _turn(
    log: EventLog, messages: Sequence[Message], company: str, beside: Role, pids: Mapping[str, int]
) -> dict[str, float]:
    """Publish at the steady rate; return the rate achieved, milliseconds until a share is stored, and cores used."""
    if company == SUBSCRIBERS:
        await asyncio.to_thread(beside.ask, {"do": "listen"}, "listening")
    took = []
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    begun = time.perf_counter()
    for number, start in enumerate(range(0, len(messages), STEADY_SHARE)):
        if company == CHECKPOINT and start == len(messages) // 3 // STEADY_SHARE * STEADY_SHARE:
            beside.tell({"do": "checkpoint"})
        due = begun + number * STEADY_SHARE / STEADY_RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await log.publish(messages[start : start + STEADY_SHARE])
        took.append((time.perf_counter() - due) * 1000)
    seconds = time.perf_counter() - begun
    used = {name: (cpu_seconds(pid) - before[name]) / seconds for name, pid in pids.items()}
    if company == CHECKPOINT:
        await asyncio.to_thread(beside.expect, "made")
    if company == SUBSCRIBERS:
        heard = await asyncio.to_thread(beside.ask, {"do": "quiet"}, "heard")
        assert heard["heard"] >= 1.9 * len(messages), heard  # two of them hear everything, but for what is under way
    rate = len(messages) / seconds
    return {"rate": rate, "p50": percentile(took, 0.5), "p99": percentile(took, 0.99), **used}
