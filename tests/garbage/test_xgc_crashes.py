"""XGC-27, 35, 36, 38: crashes in the worst moments, storms, the brake, and replays."""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import threading
from typing import Any

import msgspec
import pytest

from engine.runtime.clock import SystemClock
from engine.runtime.fleet_directory import FleetDirectory
from engine.runtime.garbage_mapper import GarbageMapper
from engine.runtime.ports import EventLog, Message, Record
from engine.sandbox.api_servers import ApiServer
from reconcilers.garbage import garbage
from schemas import subjects
from schemas.names import ClusterName
from tests.e2e.system import DEPLOYMENTS, create_foo
from tests.garbage.brakes import approve_all, brakes_in
from tests.garbage.definitions import ALL_SPROCKETS
from tests.garbage.objects import OWNERS, Object
from tests.garbage.proxy import Asked, Verdict, status
from tests.garbage.scene import Scene, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def kill_workers(scene: Scene) -> None:
    for pid in scene.system.children("reconcile"):
        os.kill(pid, signal.SIGKILL)


def items(cluster: ApiServer, path: str) -> list[Any]:
    found: list[Any] = cluster.client.request("GET", path)[1]["items"]
    return found


@pytest.mark.together("killed")
@pytest.mark.parametrize("when", ["before it", "after it"])
def test_xgc_27_finalizer_before_first_dependent(scene: Scene, when: str) -> None:
    """foo's workers die between its finalizer and its first dependent, and right after that dependent was made."""
    struck: list[str] = []

    def strike(request: Asked) -> Verdict:
        if request.method != "PATCH" or struck:
            return None
        struck.append(request.path)
        if when == "after it":
            return lambda: kill_workers(scene)
        kill_workers(scene)
        return "reset"

    with scene.fault(scene.b, strike):
        create_foo(scene.a, scene.ns)
        deployments = DEPLOYMENTS.format(namespace=scene.ns)
        for cluster in (scene.b, scene.c):
            until(functools.partial(items, cluster, deployments), what=scene.system.tail)
    assert struck, "nobody was killed"
    foo = scene.took(scene.a, "Foo", "example-foo")
    deps = [scene.took(cluster, "Deployment", "example-foo") for cluster in (scene.b, scene.c)]
    held = min(one.at for one in scene.requests(foo) if one.by_engine and one.changed and "finalizers" in str(one.body))
    assert held < min(one.at for dep in deps for one in scene.requests(dep) if one.by_engine and one.changed)
    scene.delete(foo)
    scene.gone(foo)
    assert scene.bodies(deps) == {}, "a dependent has leaked"


@pytest.mark.together("killed")
def test_xgc_27_finalizer_before_first_dependent_of_others(scene: Scene) -> None:
    """The same for dependents that somebody else made: the owner is held before its dependent is called one."""
    owner = scene.make(scene.a, "owner")
    struck: list[str] = []

    def strike(request: Asked) -> Verdict:
        if request.method != "PATCH" or struck:
            return None
        struck.append(request.path)
        return lambda: kill_workers(scene)

    with scene.fault(scene.a, strike):
        dep = scene.make(scene.b, "dep", scene.ref(owner, block=True))
        scene.known(dep)
    assert struck == [owner.path]
    held = [one.at for one in scene.requests(owner) if one.by_engine and one.changed]
    labelled = [one.at for one in scene.requests(dep) if one.by_engine and one.changed]
    assert held[0] < labelled[0]
    scene.delete(owner, "Foreground")
    scene.gone(owner, dep)


@pytest.mark.together("killed")
def test_xgc_35_stress_collections(scene: Scene) -> None:
    """Ten collections of five policies, nine dependents each, under kills: exactly 360 of 450 dependents remain."""
    policies = ["Foreground", "Orphan", "Orphan-2", "Orphan-3", "Solid"]
    solid = scene.make(scene.a, "solid")
    owners: dict[tuple[int, str], Object] = {}
    deps: dict[tuple[int, str], list[Object]] = {}
    for number in range(10):
        for policy in policies:
            owner = owners[number, policy] = scene.make(scene.a, f"o{number}-{policy.lower()}")
            extra = [scene.ref(solid)] if policy == "Solid" else []
            deps[number, policy] = [
                scene.make(cluster, f"d{number}-{policy.lower()}-{i}", scene.ref(owner, block=i == 0), *extra)
                for cluster in scene.clusters
                for i in range(3)
            ]
    scene.held(*owners.values())
    scene.known(*(dep for found in deps.values() for dep in found))
    killed = Killer(scene)
    for (_, policy), owner in owners.items():
        asked = "Orphan" if policy.startswith("Orphan") else "Background" if policy == "Solid" else policy
        scene.delete(owner, asked)
    going = [dep for (_, policy), found in deps.items() if policy == "Foreground" for dep in found]
    staying = [dep for (_, policy), found in deps.items() if policy != "Foreground" for dep in found]
    killed.stop()
    scene.gone(*owners.values(), *going)

    def settled() -> bool:
        bodies = scene.bodies(staying)
        return all(
            [one["uid"] for one in named(bodies[dep.uid])] == ([solid.uid] if policy == "Solid" else [])
            for (_, policy), found in deps.items()
            if policy != "Foreground"
            for dep in found
        )

    until(settled, what=scene.system.tail)
    scene.kept(*staying)
    assert len(staying) == 360
    assert killed.count >= 2


def named(body: dict[str, Any]) -> list[dict[str, Any]]:
    notes = body["metadata"].get("annotations") or {}
    found: list[dict[str, Any]] = json.loads(notes.get(OWNERS, "[]"))
    return found


class Killer:
    """Kills one of the workers, and again whenever there are two."""

    def __init__(self, scene: Scene, times: int = 2) -> None:
        self.count, self._times, self._scene = 0, times, scene
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        while self.count < self._times:
            pids = until(lambda: self._scene.system.children("reconcile"), what="there are no workers")
            os.kill(pids[self.count % len(pids)], signal.SIGKILL)
            self.count += 1
            until(lambda: len(self._scene.system.children("reconcile")) >= 2, what="the worker was not started again")


@pytest.mark.together("killed")
def test_xgc_36_brake_and_unregister_trips(scene: Scene) -> None:
    """Owners that vanish while nobody watches: more than a few at once stop everything until somebody approves."""
    owners = [scene.make(scene.c, f"owner{i}", kind="Sprocket") for i in range(24)]
    deps = [scene.make(scene.b, f"dep{i}", scene.ref(owner)) for i, owner in enumerate(owners)]
    scene.held(*owners)
    scene.known(*deps)
    back, expired = threading.Event(), [True]

    def fault(request: Asked) -> Verdict:
        """Cut the watch, and let its history be expired, so that the deletions show only in a list that lacks the owners."""
        if not back.is_set():
            return "reset"
        resumes = request.query.get("watch") and "sendInitialEvents" not in request.query
        if request.path == ALL_SPROCKETS and resumes and expired:
            expired.pop()
            return status(410, "Expired")
        return None

    # Theirs would be held by the brake as well, if it is the fleet's.
    scene.others.after("test_xgc_08_missing_crd_is_not_absent", "test_xgc_31_right_uid_wrong_coordinates")
    with scene.outage(scene.c, fault, part="/sprockets", whole=False):
        for owner in owners:
            scene.remove_by_hand(owner)
        back.set()
        until(lambda: brakes_in(scene.c), what=scene.system.tail)
        kill_workers(scene)
        scene.kept(*deps)
        scene.gone(*deps, meanwhile=lambda: approve_all(scene.c))


@pytest.mark.together("quiet")
def test_xgc_38_replay_and_shuffle(scene: Scene) -> None:
    """All facts and requests of the case come twice more, in no order, while it goes on and once it is over."""
    owners = [scene.make(scene.a, f"owner{i}") for i in range(5)]
    deps = [scene.make(c, f"dep{i}", scene.ref(o)) for i, o in enumerate(owners) for c in (scene.b, scene.c)]
    scene.held(*owners)
    scene.known(*deps)
    gone, kept = deps[:6], deps[6:]
    for owner in owners[:3]:
        scene.delete(owner)
    replay(scene)
    scene.gone(*owners[:3], *gone)
    replay(scene)
    scene.kept(*kept, *owners[3:])
    assert all(sum(one.succeeded for one in scene.deletes(dep)) == 1 for dep in gone)


def replay(scene: Scene) -> None:
    """Hand the recorded facts of the case's objects to a mapper again, oldest last or first, and ask for all of them."""
    clusters = [ClusterName(cluster.name) for cluster in scene.clusters]
    refs = [one.ref for one in scene.made]
    dice = random.Random(7)

    async def again(log: EventLog) -> None:
        patterns = [subjects.fact(ref) for ref in refs]
        newest = max(record.seq for record in (await log.last("FACTS", patterns)).values())
        facts = []
        async for record in log.follow("FACTS", patterns, after=0):
            facts.append(record)
            if record.seq >= newest:
                break
        assert len(facts) > len(refs), "there is no history to replay"
        facts *= 2
        dice.shuffle(facts)
        directory = FleetDirectory(log, SystemClock(), clusters)
        mapper = GarbageMapper(log, garbage, clusters, directory, SystemClock(), 300.0)
        for record in facts:
            await mapper.handle(Again(msgspec.structs.replace(record, seq=0)))
        keys = [subjects.keyed(subjects.REQUESTS, garbage.name, ref) for ref in refs] * 2
        dice.shuffle(keys)
        await log.publish_many("REQUESTS", [Message(subject=key, body=b"replay") for key in keys])

    scene.system.read(again)


class Again:
    """A record that is delivered once more (the port `Delivery`)."""

    delivered = 2

    def __init__(self, record: Record) -> None:
        self.record = record

    async def ack(self) -> None:
        """Nobody keeps count."""

    async def nak(self, delay: float = 0.0) -> None:
        raise AssertionError("the mapper cannot take it", delay)

    async def in_progress(self) -> None:
        """Nobody waits."""
