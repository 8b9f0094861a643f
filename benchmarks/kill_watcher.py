"""Kill -9 a watcher under load (PB-09): it is started again, resumes where the log ends, and nothing is lost.

Objects are changed, created and deleted throughout. At the end the last states that an independent recorder saw must be the
ones in STATE, and no sync record may tell of a list that was begun after the kill.
"""

from __future__ import annotations

import os
import signal
import time

from benchmarks.arrivals import latencies, lost
from benchmarks.figures import Figure, Report, Settings, figure, percentile
from benchmarks.fleet import ALL_DEPLOYMENTS, ALL_FOOS, FSYNC
from benchmarks.propagation import RATE
from benchmarks.roles import Json, Role
from benchmarks.staged import Staged, staged
from schemas.facts import SyncType

NAME = "kill_watcher"
BEFORE_SECONDS, AFTER_SECONDS = 5.0, 12.0
CHURN = 3.0
"""Foos created, and two seconds later deleted, per second."""
SETTLE_SECONDS = 5.0
"""For the last churned Foos to live and die."""
FOO_TYPE = ("samplecontroller.k8s.io", "foos")
DEPLOYMENT_TYPE = ("apps", "deployments")


def run(settings: Settings) -> Report:
    """Kill the watcher of the parents' and of the children's cluster in turn."""
    recorded = {"c1": ALL_FOOS, "c2": ALL_DEPLOYMENTS}
    with staged(settings, NAME, clusters=2, recorded=recorded, rate=RATE) as stage:
        kills = [_kill(settings, stage, f"c{number % 2 + 1}") for number in range(max(2, settings.rounds))]
    killed = [one["cluster"] for one in kills]
    notes = (f"watchers killed: {killed}; {CHURN:g} Foos a second created and deleted meanwhile",)
    name = f"{NAME} (PB-09, kill -9 at {RATE:g} changes/s)"
    return Report(name, tuple(_figures(kills)), notes, {"kills": kills})


def _kill(settings: Settings, stage: Staged, cluster: str) -> Json:
    load, recorder, reader = stage.load, stage.recorder, stage.reader
    recorder.ask({"take": 1}, "events")
    load.tell({"run": BEFORE_SECONDS + AFTER_SECONDS, "rate": RATE, "churn": CHURN})
    time.sleep(BEFORE_SECONDS)
    sequence = reader.ask({"sequences": 1}, "sequences")["sequences"]["FACTS"]
    victim = stage.fleet.children()[f"watch {cluster}"][0]
    killed = _kill_process(victim)
    answer = load.expect("changes", BEFORE_SECONDS + AFTER_SECONDS + 60)
    arrivals = stage.collect(answer, ["c2"]).arrivals
    time.sleep(SETTLE_SECONDS)
    syncs = reader.ask({"syncs": sequence}, "syncs")["syncs"]
    lists = [sync for sync in syncs if sync[1] == SyncType.STARTED and sync[0].startswith(f"sync.{cluster}.")]
    waiting = [one for one in arrivals if one.latency is not None and one.acked >= killed - 1.0]
    one: Json = {
        "cluster": cluster,
        "gap": min((found.acked + found.latency - killed for found in waiting if found.acked > killed), default=0.0),
        "slowest": max((found.latency for found in waiting), default=0.0),
        "p99 before": percentile(latencies(found for found in arrivals if found.acked < killed - 0.5), 0.99),
        "lost": lost(arrivals),
        "lists": lists,
        "syncs": syncs,
        "differences": _differences(recorder, reader),
        "failures": answer["failures"],
    }
    settings.say(
        f"kill_watcher {cluster}: slowest change {one['slowest']:.2f} s, {len(lists)} lists, "
        f"{len(one['differences'])} differences, {one['lost']} lost"
    )
    return one


def _kill_process(pid: int) -> float:
    os.kill(pid, signal.SIGKILL)
    return time.monotonic()


def _differences(recorder: Role, reader: Role) -> list[str]:
    """Return where STATE is not what the recorder saw last; asked again for a while, since both may lag."""
    found: list[str] = []
    for _ in range(20):
        seen = recorder.ask({"state": 1}, "state")["state"]
        found = []
        for cluster, kind in (("c1", FOO_TYPE), ("c2", DEPLOYMENT_TYPE)):
            held = reader.ask({"state": [cluster, *kind]}, "state")["state"]
            names = seen[cluster].keys() | held.keys()
            found += [
                f"{cluster} {name}: seen {seen[cluster].get(name)}, STATE {held.get(name)}"
                for name in sorted(names)
                if seen[cluster].get(name) != held.get(name)
            ]
        if not found:
            break
        time.sleep(0.5)
    return found


def _figures(kills: list[Json]) -> list[Figure]:
    def count(key: str) -> list[float]:
        return [float(len(one[key])) for one in kills]

    return [
        figure(
            "objects in STATE that are not as last seen",
            count("differences"),
            "objects",
            fsync=FSYNC,
            at_most=0,
            strict=True,
        ),
        figure(
            "changes that never arrived", [one["lost"] for one in kills], "changes", fsync=FSYNC, at_most=0, strict=True
        ),
        figure("lists begun after the restart", count("lists"), "lists", fsync=FSYNC, at_most=0, strict=True),
        figure("slowest change", [one["slowest"] for one in kills], "s", fsync=FSYNC),
        figure("first change through again, after the kill", [one["gap"] for one in kills], "s", fsync=FSYNC),
        figure("p99 before the kill", [one["p99 before"] for one in kills], "ms", fsync=FSYNC),
    ]
