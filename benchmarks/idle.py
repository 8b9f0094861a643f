"""Idle (PB-11): a converged fleet that nobody touches. It must write nothing and decide nothing, and cost next to nothing.

Writes are counted in the API servers' audit logs, by the engine's own identity; decisions by the stream's last sequence.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Report, Settings, figure
from benchmarks.fleet import FSYNC, Fleet, shares
from benchmarks.roles import Json, Role

NAME = "idle"
WRITING_VERBS = frozenset({"create", "update", "patch", "delete", "deletecollection"})
QUIET_SECONDS = 10.0
"""Without a write for this long the fleet counts as converged: longer than any of the engine's follow-ups."""
OURS = ("up", "nats-server", "watch ", "reconcile")


def run(settings: Settings) -> Report:
    """Converge, wait for quiet, look away for a while, count."""
    seconds = 30.0 if settings.quick else 300.0
    foos = [f"foo-{number}" for number in range(50 if settings.quick else 200)]
    directory = settings.directory / NAME
    with Fleet(directory, clusters=3, workers=2, say=settings.say, audit=True) as fleet:
        fleet.create_foos(foos)
        fleet.wait_children(foos)
        with Role("log_reader", {"broker": fleet.broker_file()}, directory / "log-reader.log") as reader:
            reader.expect("ready")
            settled = _wait_for_quiet(fleet)
            settings.say(f"idle: quiet; looking away for {seconds:g} s")
            before = reader.ask({"sequences": 1}, "sequences")["sequences"]
            places = {name: server.audit_log.stat().st_size for name, server in fleet.servers.items()}
            window = fleet.window()
            time.sleep(seconds)
            usage = window.close()
            after = reader.ask({"sequences": 1}, "sequences")["sequences"]
        requests = {
            name: list(_requests(server.audit_log, places[name], fleet.users[name]))
            for name, server in fleet.servers.items()
        }
        everything = [
            one for name, server in fleet.servers.items() for one in _requests(server.audit_log, 0, fleet.users[name])
        ]
    writes = [one for found in requests.values() for one in found if one["verb"] in WRITING_VERBS]
    to_converge = sum(one["verb"] in WRITING_VERBS for one in everything) - len(writes)
    appended = {name: after[name] - before[name] for name in after}
    per_type = _per_minute(requests, seconds)
    share = sum(one.share for name, one in usage.items() if name.startswith(OURS))
    figures = (
        figure(f"writes to API servers in {seconds:g} s", len(writes), "writes", fsync=FSYNC, at_most=0, strict=True),
        figure(
            f"DECISIONS appended in {seconds:g} s",
            appended["DECISIONS"],
            "entries",
            fsync=FSYNC,
            at_most=0,
            strict=True,
        ),
        figure("FACTS appended (bookmarks)", appended["FACTS"] / seconds * 60, "per minute", fsync=FSYNC),
        figure("requests per cluster and type, busiest", max(per_type.values(), default=0.0), "per minute"),
        figure("CPU of all engine processes and the broker", share * 100, "% of a core", fsync=FSYNC),
        figure("writes per Foo to converge before that", to_converge / len(foos), "writes", fsync=FSYNC),
        figure("further writes after convergence, for", settled, "s"),
    )
    busiest = ", ".join(f"{key} {rate:.2g}" for key, rate in sorted(per_type.items(), key=lambda item: -item[1])[:6])
    notes = (
        f"{len(foos)} Foos with {2 * len(foos)} children in 3 clusters; requests per minute: {busiest}",
        shares(usage),
        f"appended to the streams: {appended}",
    )
    raw: Json = {"writes": writes, "per_minute": per_type, "appended": appended}
    return Report(f"{NAME} (PB-11, {seconds:g} s, 3 real clusters)", figures, notes, raw)


def _wait_for_quiet(fleet: Fleet) -> float:
    """Return for how many seconds writes went on after the fleet had converged; gives up waiting after a minute."""
    started = last = time.monotonic()
    places = {name: server.audit_log.stat().st_size for name, server in fleet.servers.items()}
    while time.monotonic() - last < QUIET_SECONDS and time.monotonic() - started < 60.0:
        time.sleep(1.0)
        for name, server in fleet.servers.items():
            size = server.audit_log.stat().st_size
            found = _requests(server.audit_log, places[name], fleet.users[name])
            if any(one["verb"] in WRITING_VERBS for one in found):
                last = time.monotonic()
            places[name] = size
    return last - started


def _requests(audit_log: Path, after: int, user: str) -> Iterator[Json]:
    """Yield what a user asked for since a place in the log: verb, resource, name. Watches are seen when they end as well."""
    with audit_log.open("rb") as file:
        file.seek(after)
        for line in file.read().split(b"\n"):
            if user.encode() not in line or not line.endswith(b"}"):
                continue
            event = json.loads(line)
            if event["user"]["username"] != user or event["stage"] == "ResponseStarted":
                continue
            target = event.get("objectRef", {})
            place = target.get("resource") or event["requestURI"].split("?")[0]
            yield {"verb": event["verb"], "resource": place, "name": target.get("name", ""), "uri": event["requestURI"]}


def _per_minute(requests: dict[str, list[Json]], seconds: float) -> dict[str, float]:
    counts = Counter(f"{name} {one['verb']} {one['resource']}" for name, found in requests.items() for one in found)
    return {key: count / seconds * 60 for key, count in counts.items()}
