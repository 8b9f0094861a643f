"""The record: what looking back costs, how fast history replays, and what keeping it costs the ingest path.

A fleet of objects of 2.5 KB is written to a real broker, with many more facts behind them; then states are read at cuts, and
a snapshot is shown. Replay asks recorded decisions of the built-in `foo` again. Ingest publishes the same facts alone, with
checkpoints as they fall due, and with three subscribers besides, in turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec

from benchmarks.figures import Report, Settings, figure, ratios
from crosscurrent.commands.events import Choice, EventsFormat, show_events
from crosscurrent.comparison import compare
from crosscurrent.recording import Slice, record
from crosscurrent.selection import Filter
from engine.core.history import Cut
from engine.runtime.checkpoints import Checkpointer, make_checkpoint
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
    published: dict[str, list[float]] = {"alone": [], "with checkpoints": [], "with subscribers": []}
    for _ in range(settings.rounds):
        for company, rounds in published.items():
            rounds.append(await _ingest(directory, 10_000 if settings.quick else 200_000, company))
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
        *(figure(f"publish {company}", values, "facts/s") for company, values in published.items()),
        figure("ratio: with checkpoints", ratios(published["with checkpoints"], published["alone"]), "x"),
        figure("ratio: with subscribers", ratios(published["with subscribers"], published["alone"]), "x"),
        *(figure(f"disk per 100,000 objects: {name}", size, "MiB") for name, size in sizes.items()),
    ]
    notes = (
        f"{objects:,} objects of {KIND_OBJECTS:,} a type, {facts:,} facts behind them, a checkpoint every 100,000 or so",
        "publish: fsync always; subscribers share the process, so their own CPU is in the ratio",
    )
    return Report(f"{NAME} (history, replay, subscribers)", tuple(figures), notes)


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


async def _ingest(directory: Path, facts: int, company: str) -> float:
    """Return how many facts a second are published, alone or in company."""
    with NatsServer(directory / f"ingest-{time.monotonic_ns()}") as server:
        log = await NatsEventLog.connect(server.url, token=server.token)
        await log.prepare()
        messages = [_fact(number, KIND_OBJECTS) for number in range(facts)]
        async with contextlib.nullcontext() if company == "alone" else _company(log, server, company):
            started = time.perf_counter()
            for start in range(0, facts, BATCH):
                await log.publish(messages[start : start + BATCH])
            took = time.perf_counter() - started
        await log.close()
    return facts / took


@contextlib.asynccontextmanager
async def _company(log: EventLog, server: NatsServer, company: str) -> AsyncIterator[None]:
    """Make checkpoints when they fall due; with subscribers, let three have everything, one of which never reads."""
    reader = await NatsEventLog.connect(server.url, token=server.token)

    async def listen() -> None:
        async for _ in reader.follow("FACTS", EVERYTHING):
            pass

    async def stop_listening() -> None:
        async for _ in reader.follow("FACTS", EVERYTHING):
            await asyncio.Event().wait()

    async def keep() -> None:
        keeper = Checkpointer(log, SystemClock(), fact_days=7.0)
        while True:
            await keeper.look()
            await asyncio.sleep(1.0)

    listeners = [listen(), listen(), stop_listening()] if company == "with subscribers" else []
    tasks = [asyncio.create_task(one) for one in (keep(), *listeners)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await reader.close()
