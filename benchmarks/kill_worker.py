"""Kill -9 a worker under load (PB-08): its keys are taken over when the lease is over, the other keys notice nothing.

The worker is killed in the moment in which it has opened a key in DECISIONS, so that there always is one in flight. `up`
starts another in its place, as it would for a user.
"""

from __future__ import annotations

import time

from benchmarks.arrivals import Arrival, latencies, lost
from benchmarks.figures import Figure, Report, Settings, figure, percentile
from benchmarks.fleet import ALL_DEPLOYMENTS, FSYNC
from benchmarks.propagation import P99_MS, RATE
from benchmarks.roles import Json
from benchmarks.staged import Staged, staged

NAME = "kill_worker"
BEFORE_SECONDS, AFTER_SECONDS = 6.0, 14.0
LEASE_SECONDS = 5.0
RECONCILE_SECONDS = 0.5
"""One reconcile, and the looks of the waiting worker at the key: each 0.1 s."""
HELD_SECONDS = 1.0
"""A change that took longer waited for the lease: its request was in the killed worker's hands without being opened."""


def run(settings: Settings) -> Report:
    """Kill one worker after the other under one long load."""
    with staged(settings, NAME, clusters=2, recorded={"c2": ALL_DEPLOYMENTS}, rate=RATE, workers=2) as stage:
        stage.reader.ask({"follow": 1}, "following")
        kills = [_kill(settings, stage, number) for number in range(settings.rounds)]
    held, others = [one["held"] for one in kills], [one["others"] for one in kills]
    notes = (
        "its keys: those that the killed worker had open, and those whose request it had been handed",
        f"its keys in each kill: {held}; other keys changed meanwhile: {others}",
    )
    name = f"{NAME} (PB-08, kill -9 at {RATE:g} changes/s, 2 workers)"
    return Report(name, tuple(_figures(kills)), notes, {"kills": kills})


def _kill(settings: Settings, stage: Staged, number: int) -> Json:
    fleet, load, recorder = stage.fleet, stage.load, stage.recorder
    fleet.until(lambda: len(fleet.children().get("reconcile", ())) == 2, 60.0, "no two workers")
    time.sleep(3.0)  # the one that was started last has imported everything
    recorder.ask({"take": 1}, "events")
    load.tell({"run": BEFORE_SECONDS + AFTER_SECONDS, "rate": RATE})
    time.sleep(BEFORE_SECONDS)
    victim = fleet.children()["reconcile"][number % 2]
    killed = stage.reader.ask({"kill": victim}, "killed")
    answer = load.expect("changes", BEFORE_SECONDS + AFTER_SECONDS + 60)
    one = _judge(stage.collect(answer, ["c2"]).arrivals, killed)
    one["lost"] += len(answer["failures"])
    delay, p99 = one["held delay"], one["p99 others"]
    settings.say(f"kill_worker: its {len(one['held'])} keys done within {delay:.2f} s, others' p99 {p99:.1f} ms")
    return one


def _judge(arrivals: list[Arrival], killed: Json) -> Json:
    at = killed["killed"]
    before = [one for one in arrivals if one.acked < at - 0.5]
    after = [one for one in arrivals if at - 0.5 <= one.acked < at + LEASE_SECONDS + 1]
    open_keys = set(killed["held"])
    # A request that was handed to the worker, but not opened, also waits: it was sent before the kill, or while nobody knew.
    handed = {one.foo for one in after if one.acked < at + 0.1 and (one.latency is None or one.latency > HELD_SECONDS)}
    held = open_keys | handed
    others = [one for one in after if one.foo not in held]
    return {
        "held": sorted(held),
        "open": sorted(open_keys),
        "held delay": max((_done_after(at, key, arrivals) for key in held), default=0.0),
        "others": len({one.foo for one in others}),
        "p99 before": percentile(latencies(before), 0.99),
        "p99 others": percentile(latencies(others), 0.99),
        "max others": max(latencies(others), default=0.0),
        "lost": lost(arrivals),
        "latencies": [(one.foo, one.acked - at, one.latency) for one in after],
    }


def _done_after(at: float, key: str, arrivals: list[Arrival]) -> float:
    """Return how long after the kill the first change of a key arrived that had not arrived before."""
    times = (one.acked + one.latency for one in arrivals if one.foo == key and one.latency is not None)
    return min((time - at for time in times if time > at), default=0.0)


def _figures(kills: list[Json]) -> list[Figure]:
    def of(key: str) -> list[float]:
        return [float(one[key]) for one in kills]

    limit = LEASE_SECONDS + RECONCILE_SECONDS
    return [
        figure("its keys: done after the kill", of("held delay"), "s", fsync=FSYNC, at_most=limit, strict=True),
        figure("other keys: p99 until 6 s after the kill", of("p99 others"), "ms", fsync=FSYNC, at_most=P99_MS),
        figure("other keys: slowest", of("max others"), "ms", fsync=FSYNC),
        figure("all keys: p99 before the kill", of("p99 before"), "ms", fsync=FSYNC),
        figure("changes that never arrived", of("lost"), "changes", fsync=FSYNC, at_most=0, strict=True),
        figure("keys in its hands", [len(one["held"]) for one in kills], "keys", fsync=FSYNC),
    ]
