"""The simulated API server: writes, applies and watch events of one server process, and how fast it starts.

    python -m benchmarks.simulator [--quick]

The clusters and the client are processes of their own, a core each; everything goes over TLS on loopback.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from benchmarks import report
from benchmarks.figures import Report, Settings, figure
from benchmarks.procfs import cpu_seconds, peak_resident_bytes, two_cores
from benchmarks.roles import Json, Role

NAME = "simulator"
CREATES_PER_SECOND = 2000.0
APPLIES_PER_SECOND = 1000.0
EVENTS_PER_SECOND = 8000.0
START_SECONDS = 1.0

WORKLOADS = (
    ("create a ConfigMap", "create", "configmaps", CREATES_PER_SECOND),
    ("create a Deployment", "create", "deployments", None),
    ("apply a changed ConfigMap", "apply", "configmaps", APPLIES_PER_SECOND),
    ("apply a changed Deployment", "apply", "deployments", APPLIES_PER_SECOND),
    ("merge-patch a Deployment", "patch", "deployments", None),
    ("get a Deployment", "get", "deployments", None),
    ("watch events, to one watcher", "watch", "deployments", EVENTS_PER_SECOND),
)
"""Name of the figure, what is done, with what, and how often a second it must be possible."""


def run(settings: Settings) -> Report:
    """Run every workload in every round, in turn."""
    directory = settings.directory / NAME
    directory.mkdir(parents=True)
    count = 500 if settings.quick else 4000
    server_core, client_core = two_cores()
    rates: dict[str, list[float]] = {name: [] for name, *_ in WORKLOADS}
    cpu: dict[str, list[float]] = {name: [] for name, *_ in WORKLOADS}
    with Role("simulator_server", {"directory": str(directory)}, directory / "server.log", core=server_core) as server:
        started = server.expect("ready")
        access: Json = started["access"]
        with Role("simulator_client", access, directory / "client.log", core=client_core) as client:
            client.expect("ready")
            for number in range(settings.rounds + 1):
                for name, what, resource, _ in WORKLOADS:
                    before = cpu_seconds(server.pid)
                    command = {"what": what, "resource": resource, "count": count, "round": number}
                    took = client.ask(command, "seconds", 300.0)["seconds"]
                    rates[name].append(count / took)
                    cpu[name].append((cpu_seconds(server.pid) - before) / count * 1e6)
                settings.say("simulator: " + ", ".join(f"{name} {rates[name][-1]:,.0f}/s" for name in rates))
            peak = peak_resident_bytes(server.pid)
    for values in (*rates.values(), *cpu.values()):
        del values[0]  # compiles schemas, opens connections
    figures = [figure(name, rates[name], "/s", at_least=target) for name, _, _, target in WORKLOADS]
    figures += [figure(f"{name}: server CPU", cpu[name], "µs") for name in cpu]
    figures.append(figure("start of three clusters", started["seconds"], "s", at_most=START_SECONDS))
    figures.append(figure("import of the simulator", started["imported"], "s"))
    figures.append(figure("peak memory of the server", peak / 2**20, "MiB"))
    notes = (
        f"{count} requests a round by 8 concurrent clients in one process; ConfigMaps of 0.3 KB, Deployments of 1.2 KB",
        "watch events: one watcher reads what was written before, as fast as it is sent",
    )
    return Report(f"{NAME} (one process, TLS, loopback)", tuple(figures), notes, {"rates": rates, "cpu": cpu})


def main() -> int:
    """Run this benchmark alone."""
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {line}", file=sys.stderr, flush=True)

    quick = "--quick" in sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="crosscurrent-bench-") as directory:
        found = run(Settings(quick=quick, rounds=2 if quick else 5, directory=Path(directory), say=say))
    report.print_reports([found], report.console())
    missed = report.missed([found])
    for line in missed:
        print(f"MISSED {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
