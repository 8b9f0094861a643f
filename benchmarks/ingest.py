"""Ingest (PB-01): from a watch over loopback TLS to acknowledged facts, beside two Python peers and the publish ceiling.

All clients read the same byte server, one at a time, rounds interleaved; the servers are pinned to one core and the client
to the other. The clock runs from the release of the events until the client has them all: decoded (typed Watch), handled
(kopf), or acknowledged by JetStream (ours, and the ceiling: prepared messages of the same form through the same log).
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.figures import Figure, Report, Settings, figure, ratios
from benchmarks.procfs import cpu_seconds, peak_resident_bytes, pin, two_cores
from benchmarks.roles import Role
from engine.sandbox.certificates import CertificateAuthority
from engine.sandbox.nats_server import NatsServer

NAME = "ingest"
OBJECTS = 1000
SYNC_MODES = ("always", "2m")
SETTLE_SECONDS = 1.0
"""Between a client's word that it has listed and the release, for its watch to be open."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One client's run."""

    client: str
    fsync: str
    events: int
    seconds: float
    cpu: float
    """CPU seconds of the client process."""
    broker_cpu: float
    server_cpu: float
    peak_bytes: int

    @property
    def rate(self) -> float:
        """Events per second of wall time."""
        return self.events / self.seconds


class Bench:
    """What all runs share: the byte server, and messages as our watcher made them."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        self._server_core, self._client_core = two_cores()
        self.events = 10_000 if settings.quick else 60_000
        self.peer_events = 2_000 if settings.quick else 8_000
        self._messages = directory / "messages"
        authority = CertificateAuthority("byte-server-ca")
        authority.issue("byte-server", hosts=("127.0.0.1",)).write(directory, "server")
        self._ca = directory / "ca.crt"
        self._ca.write_bytes(authority.pem)
        self._server = Role(
            "byte_server",
            {
                "objects": OBJECTS,
                "events": self.events,
                "certificate": str(directory / "server.crt"),
                "key": str(directory / "server.key"),
            },
            directory / "byte-server.log",
            core=self._server_core,
        )
        started = self._server.expect("port")
        self.url = f"https://127.0.0.1:{started['port']}"
        self.line_bytes = started["bytes"]

    def close(self) -> None:
        """End the byte server."""
        self._server.stop()

    def peer(self, module: str) -> Run:
        """Run a client that reads and publishes nothing."""
        settings = {"url": self.url, "ca": str(self._ca), "objects": OBJECTS, "events": self.peer_events}
        return self._measure(module, settings, self.peer_events, None, "")

    def ours(self, module: str, fsync: str, *, record: bool = False) -> Run:
        """Run a client that publishes to a fresh broker; `record` keeps the messages of this run for the ceiling."""
        directory = self._directory / f"nats-{time.monotonic_ns()}"
        with NatsServer(directory, sync=fsync) as broker:
            pin(broker.process.pid, self._server_core)
            settings = {
                "url": self.url,
                "ca": str(self._ca),
                "objects": OBJECTS,
                "events": self.events,
                "nats": broker.url,
                "token": broker.token,
                "messages": str(self._messages),
                "record": record,
            }
            return self._measure(module, settings, self.events, broker.process.pid, fsync)

    def _measure(self, module: str, settings: dict[str, Any], events: int, broker: int | None, fsync: str) -> Run:
        self._server.ask({"reset": 1}, "released")
        log = self._directory / f"{module}.log"
        with Role(module, settings, log, core=self._client_core) as client:
            client.expect("ready")
            time.sleep(SETTLE_SECONDS)
            pids = [client.pid, self._server.pid, *([broker] if broker else [])]
            before = [cpu_seconds(pid) for pid in pids]
            if module == "publish_prepared":
                started = client.ask({"go": events}, "started")["started"]
            else:
                started = self._server.ask({"go": events}, "released")["at"]
            done = client.expect("done", timeout=300.0)
            used = [cpu_seconds(pid) - was for pid, was in zip(pids, before, strict=True)]
            run = Run(
                client=module,
                fsync=fsync,
                events=done["done"],
                seconds=done["at"] - started,
                cpu=used[0],
                server_cpu=used[1],
                broker_cpu=used[2] if broker else 0.0,
                peak_bytes=peak_resident_bytes(client.pid),
            )
        self._settings.say(
            f"ingest: {module} {fsync}: {run.rate:,.0f} events/s, {run.cpu / run.events * 1e6:.0f} us CPU each"
        )
        return run


def run(settings: Settings) -> Report:
    """Run all clients in interleaved rounds."""
    directory = settings.directory / NAME
    directory.mkdir(parents=True)
    bench = Bench(settings, directory)
    runs: dict[str, list[Run]] = defaultdict(list)
    try:
        settings.say("ingest: a first run to warm up and to record its messages")
        bench.ours("read_watcher", "2m", record=True)
        for _ in range(settings.rounds):
            for fsync in SYNC_MODES:
                runs[f"ours {fsync}"].append(bench.ours("read_watcher", fsync))
                runs[f"ceiling {fsync}"].append(bench.ours("publish_prepared", fsync))
            runs["typed"].append(bench.peer("read_typed"))
            runs["kopf"].append(bench.peer("read_kopf"))
    finally:
        bench.close()
    notes = (
        f"{bench.line_bytes:,.0f} bytes per event on the wire, half of them managedFields; {OBJECTS} objects in turn",
        f"{bench.events:,} events a run, peers {bench.peer_events:,}",
        "kopf 1.45 has no batching window any more: its handler runs for each event; posting, peering, scanning, logs off",
        "ceiling: the same messages from memory, through the same publish call, to the same stream, nothing read or encoded",
    )
    raw = {name: msgspec.to_builtins(found) for name, found in runs.items()}
    return Report(f"{NAME} (PB-01, TLS, to acknowledged publish)", tuple(_figures(runs)), notes, raw)


def _figures(runs: dict[str, list[Run]]) -> list[Figure]:
    rates = {name: [one.rate for one in found] for name, found in runs.items()}
    labels = {"typed": "kubernetes_asyncio typed Watch, decoding only", "kopf": "kopf operator, one on.event handler"}
    figures = []
    for fsync in SYNC_MODES:
        figures.append(figure("Crosscurrent watcher", rates[f"ours {fsync}"], "events/s", fsync=fsync))
        figures.append(figure("ceiling: prepared messages", rates[f"ceiling {fsync}"], "events/s", fsync=fsync))
    figures += [figure(label, rates[name], "events/s") for name, label in labels.items()]
    for fsync in SYNC_MODES:
        ours = rates[f"ours {fsync}"]
        figures.append(figure("ratio to typed Watch", ratios(ours, rates["typed"]), "x", fsync=fsync, at_least=6.0))
        figures.append(figure("ratio to kopf", ratios(ours, rates["kopf"]), "x", fsync=fsync, at_least=5.0))
        ceiling = ratios(ours, rates[f"ceiling {fsync}"])
        figures.append(figure("share of the ceiling", ceiling, "x", fsync=fsync, at_least=0.60))
    for name, found in runs.items():
        cost = [one.cpu / one.events * 1000 for one in found]
        figures.append(figure(f"CPU per 1k events: {name}", cost, "s", fsync=found[0].fsync))
    for name in ("ours always", "typed", "kopf"):
        peak = [one.peak_bytes / 2**20 for one in runs[name]]
        figures.append(figure(f"peak memory: {name}", peak, "MiB", fsync=runs[name][0].fsync))
    return figures
