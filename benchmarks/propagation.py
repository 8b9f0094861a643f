"""Propagation (PB-02): from the API server's acknowledgement of a parent's change to the child's write elsewhere.

Open loop at a fixed rate on real API servers. A recorder outside the system says when the child's change arrives on its own
watch, so its delivery is included; all processes read the machine's one monotonic clock.
"""

from __future__ import annotations

import msgspec

from benchmarks.arrivals import latencies, lost
from benchmarks.figures import Figure, Report, Settings, figure, percentile
from benchmarks.fleet import ALL_DEPLOYMENTS, FSYNC, shares
from benchmarks.procfs import Usage
from benchmarks.roles import Json
from benchmarks.staged import Staged, staged

NAME = "propagation"
RATE = 50.0
P50_MS, P99_MS = 30.0, 150.0


def run(settings: Settings) -> Report:
    """Measure with two clusters, then with three."""
    figures: list[Figure] = []
    notes: list[str] = []
    raw: Json = {}
    for clusters in (2, 3):
        found, usage, details = _measure(settings, clusters)
        figures += found
        notes.append(f"{clusters} clusters: {shares(usage)}")
        raw[f"{clusters} clusters"] = details | {"usage": msgspec.to_builtins(usage)}
    notes.append(f"{RATE:g} changes/s, open loop; nothing is pinned; the recorder's own watch is part of the latency")
    return Report(f"{NAME} (PB-02, {RATE:g} changes/s on real API servers)", tuple(figures), tuple(notes), raw)


def _measure(settings: Settings, clusters: int) -> tuple[list[Figure], dict[str, Usage], Json]:
    watches = [f"c{number}" for number in range(2, clusters + 1)]
    recorded = dict.fromkeys(watches, ALL_DEPLOYMENTS)
    with staged(settings, f"{NAME}-{clusters}", clusters=clusters, recorded=recorded, rate=RATE) as stage:
        window = stage.fleet.window([stage.load, stage.recorder, stage.reader])
        rounds = [_round(settings, stage, watches) for _ in range(settings.rounds)]
        usage = window.close()
    return _figures(rounds, clusters), usage, {"rounds": rounds}


def _round(settings: Settings, stage: Staged, watches: list[str]) -> Json:
    seconds = 8.0 if settings.quick else 30.0
    answer = stage.load.ask({"run": seconds, "rate": RATE}, "changes", seconds + 60)
    collected = stage.collect(answer, watches)
    changes, arrivals = collected.changes, collected.arrivals
    found = latencies(arrivals)
    one = {
        "p50": percentile(found, 0.5),
        "p99": percentile(found, 0.99),
        "p99.9": percentile(found, 0.999),
        "max": max(found, default=float("nan")),
        "patch p50": percentile([(change.acked - change.sent) * 1000 for change in changes], 0.5),
        "late p99": percentile([(change.sent - change.due) * 1000 for change in changes], 0.99),
        "lost": lost(arrivals) + len(answer["failures"]),
        "superseded": sum(arrival.superseded for arrival in arrivals),
        "writes per change": collected.events / max(1, len(arrivals)),
        "latencies": found,
        "failures": answer["failures"][:10],
    }
    settings.say(f"propagation: p50 {one['p50']:.1f} ms, p99 {one['p99']:.1f} ms, {one['lost']} lost")
    return one


def _figures(rounds: list[Json], clusters: int) -> list[Figure]:
    def of(key: str) -> list[float]:
        return [one[key] for one in rounds]

    where = f"{clusters} clusters"
    # With more API servers than cores the machine is what is measured: shown, not judged.
    p50, p99 = (P50_MS, P99_MS) if clusters == 2 else (None, None)
    return [
        figure(f"{where}: p50", of("p50"), "ms", fsync=FSYNC, at_most=p50),
        figure(f"{where}: p99", of("p99"), "ms", fsync=FSYNC, at_most=p99),
        figure(f"{where}: p99.9", of("p99.9"), "ms", fsync=FSYNC),
        figure(f"{where}: changes that never arrived", of("lost"), "changes", fsync=FSYNC, at_most=0, strict=True),
        figure(f"{where}: child writes per change", of("writes per change"), "x", fsync=FSYNC),
        figure(f"{where}: PATCH of the parent, p50", of("patch p50"), "ms"),
        figure(f"{where}: load behind its schedule, p99", of("late p99"), "ms"),
    ]
