"""No-op reconciles (PB-03): everything is as it should be, every key is requested again, nothing may be written.

One worker process against a real broker that holds thousands of converged Foos with a child in each of two other clusters.
The worker is stopped (SIGSTOP) while the requests are published, so that what is measured is the worker at full speed.
"""

from __future__ import annotations

import signal
import time

from benchmarks.figures import Report, Settings, figure
from benchmarks.procfs import cpu_seconds, peak_resident_bytes, pin, two_cores
from benchmarks.roles import Json, Role
from engine.sandbox.nats_server import NatsServer

NAME = "noop"
CLUSTERS = ("c1", "c2", "c3")
FSYNC = "always"
PER_SECOND = 1500.0


def run(settings: Settings) -> Report:
    """Seed, then request all keys in every round."""
    directory = settings.directory / NAME
    directory.mkdir(parents=True)
    foos = 1000 if settings.quick else 6000
    server_core, worker_core = two_cores()
    rounds: list[Json] = []
    with NatsServer(directory / "nats", sync=FSYNC) as broker:
        pin(broker.process.pid, server_core)
        common = {"nats": broker.url, "token": broker.token, "clusters": CLUSTERS}
        with Role("noop_seed", common | {"foos": foos}, directory / "seed.log", core=worker_core) as seed:
            settings.say(f"noop: converging {foos} Foos on paper")
            seeded = seed.expect("converged", 600.0)
            pin(seed.pid, server_core)
            settings.say(f"noop: {seeded['decisions']} entries in DECISIONS")
            with Role("noop_worker", common, directory / "worker.log", core=worker_core) as worker:
                worker.expect("ready")
                for _ in range(settings.rounds + 1):
                    rounds.append(_round(worker, seed, foos, broker.process.pid))
                    settings.say(
                        f"noop: {rounds[-1]['rate']:,.0f} reconciles/s, {rounds[-1]['cpu'] * 1e6 / foos:.0f} us CPU each"
                    )
                asked = worker.ask({"asked": 1}, "asked")["asked"]
                peak = peak_resident_bytes(worker.pid)
    appended = rounds[-1]["decisions"] - seeded["decisions"]
    del rounds[0]  # fills caches, grows buffers
    figures = (
        figure("no-op reconciles, one worker", [one["rate"] for one in rounds], "/s", fsync=FSYNC, at_least=PER_SECOND),
        figure("requests to API servers", asked, "requests", fsync=FSYNC, at_most=0, strict=True),
        figure("DECISIONS appended", appended, "entries", fsync=FSYNC, at_most=0, strict=True),
        figure(
            "requests left unanswered", [one["left"] for one in rounds], "requests", fsync=FSYNC, at_most=0, strict=True
        ),
        figure("worker CPU per 1k reconciles", [one["cpu"] / foos * 1000 for one in rounds], "s", fsync=FSYNC),
        figure("broker CPU per 1k reconciles", [one["broker_cpu"] / foos * 1000 for one in rounds], "s", fsync=FSYNC),
        figure("peak memory of the worker", peak / 2**20, "MiB", fsync=FSYNC),
    )
    notes = (
        f"{foos} Foos with 2 children each, seeded through the real worker over clusters on paper; {len(rounds)} rounds",
    )
    return Report(f"{NAME} (PB-03, one worker, {len(CLUSTERS)} clusters)", figures, notes, {"rounds": rounds})


def _round(worker: Role, seed: Role, foos: int, broker: int) -> Json:
    worker.ask({"expect": foos}, "expecting")
    worker.send_signal(signal.SIGSTOP)
    try:
        seed.ask({"request": 1}, "requested")
        time.sleep(0.2)
        before = cpu_seconds(broker)
    finally:
        started = time.monotonic()
        worker.send_signal(signal.SIGCONT)
    done = worker.expect("done", 120.0)
    broker_cpu = cpu_seconds(broker) - before
    time.sleep(0.5)
    left = seed.ask({"left": 1}, "left")
    seconds = done["at"] - started
    return {"rate": foos / seconds, "seconds": seconds, "cpu": done["cpu"], "broker_cpu": broker_cpu} | left
