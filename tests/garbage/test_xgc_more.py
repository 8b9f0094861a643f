"""XGC-27, 35, 36, 38, 40: crashes, storms, brakes, replays and broken types."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from aiohttp import web

from tests.e2e.system import until
from tests.garbage.proxy import status
from tests.garbage.scene import BOUND, Object, Scene

pytestmark = [pytest.mark.e2e, pytest.mark.xgc, pytest.mark.timeout(400)]

BRAKES = "/apis/crosscurrent.dev/v1alpha1/deletionbrakes"


def kill_workers(scene: Scene) -> None:
    for pid in scene.system.children("reconcile"):
        os.kill(pid, signal.SIGKILL)


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
    scene.held(*owners.values(), seconds=120)
    scene.known(*(dep for found in deps.values() for dep in found), seconds=120)
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(3.0):
            pids = scene.system.children("reconcile")
            if pids:
                os.kill(pids[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        for (_, policy), owner in owners.items():
            asked = "Orphan" if policy.startswith("Orphan") else "Background" if policy == "Solid" else policy
            scene.delete(owner, asked)
        time.sleep(10)
    finally:
        stop.set()
        killer.join()
    going = [dep for (_, policy), found in deps.items() if policy == "Foreground" for dep in found]
    staying = [dep for (_, policy), found in deps.items() if policy != "Foreground" for dep in found]
    scene.gone(*owners.values(), *going, seconds=120)
    scene.kept(*staying)
    assert len(staying) == 360
    for (_, policy), found in deps.items():
        for dep in found:
            if dep in staying:
                assert [one["uid"] for one in scene.refs(dep)] == ([solid.uid] if policy == "Solid" else [])


def test_xgc_36_brake_and_unregister_trips(scene: Scene) -> None:
    """Owners that vanish while nobody watches: more than a few at once stop everything until somebody approves."""
    owners = [scene.make(scene.a, f"owner{i}") for i in range(24)]
    deps = [scene.make(scene.b, f"dep{i}", scene.ref(owner)) for i, owner in enumerate(owners)]
    scene.held(*owners, seconds=60)
    scene.known(*deps, seconds=60)
    proxy = scene.proxies[scene.a.name]
    # The watch is cut and its history expired, so that the deletions show only in a list that lacks the owners.
    proxy.set(lambda request: "reset" if "configmaps" in request.path else None)
    for owner in owners:
        scene.delete(owner)
        scene.patch(owner, {"metadata": {"finalizers": None}})
    expired = [True]

    def expire(request: web.Request) -> web.Response | None:
        resumes = request.query.get("watch") and "sendInitialEvents" not in request.query
        if request.path == "/api/v1/configmaps" and resumes and expired:
            expired.pop()
            return status(410, "Expired")
        return None

    proxy.set(expire)
    until(lambda: scene.a.client.request("GET", BRAKES)[1]["items"], seconds=90, what=scene.system.tail())
    kill_workers(scene)
    scene.kept(*deps)
    for brake in scene.a.client.request("GET", BRAKES)[1]["items"]:
        path = f"{BRAKES}/{brake['metadata']['name']}"
        body = {"spec": {"approved": True}}
        scene.a.client.request("PATCH", path, body, content_type="application/merge-patch+json")
    scene.gone(*deps, seconds=60)
    for brake in scene.a.client.request("GET", BRAKES)[1]["items"]:
        scene.a.client.request("DELETE", f"{BRAKES}/{brake['metadata']['name']}")


@pytest.mark.parametrize("policy", ["default", "Retain", "Delete"])
def test_xgc_36_brake_and_unregister_by_choice(scene: Scene, policy: str) -> None:
    """Owners in a cluster that is no longer configured: orphaned by default, retained or deleted by explicit choice."""
    identity = f"{scene.ns}-was-a-cluster"
    owner = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "namespace": scene.ns,
        "name": "o",
        "uid": f"uid-{policy.lower()}",
    }
    dep = scene.make(scene.b, "dep", {"clusterID": identity, **owner})
    scene.event(dep, "OwnerClusterUnknown", seconds=30)
    time.sleep(1.5)
    spec = {"clusterID": identity} | ({} if policy == "default" else {"policy": policy})
    body = {
        "apiVersion": "crosscurrent.dev/v1alpha1",
        "kind": "Unregistration",
        "metadata": {"name": scene.ns},
        "spec": spec,
    }
    assert scene.b.client.request("POST", "/apis/crosscurrent.dev/v1alpha1/unregistrations", body)[0] == 201
    if policy == "Delete":
        scene.gone(dep, seconds=30)
    elif policy == "default":
        until(lambda: scene.refs(dep) == [], seconds=30, what=scene.system.tail())
        scene.kept(dep)
    else:
        scene.kept(dep)
        assert len(scene.refs(dep)) == 1
    scene.b.client.request("DELETE", f"/apis/crosscurrent.dev/v1alpha1/unregistrations/{scene.ns}")


def test_xgc_38_replay_and_shuffle(scene: Scene) -> None:
    owners = [scene.make(scene.a, f"owner{i}") for i in range(5)]
    deps = [scene.make(c, f"dep{i}", scene.ref(o)) for i, o in enumerate(owners) for c in (scene.b, scene.c)]
    scene.held(*owners)
    scene.known(*deps)
    for owner in owners[:3]:
        scene.delete(owner)
    replay(scene)
    gone = [dep for dep in deps if any(ref["uid"] in {o.uid for o in owners[:3]} for ref in dep.owners)]
    scene.gone(*owners[:3], *gone, seconds=30)
    replay(scene)
    kept = [dep for dep in deps if dep not in gone]
    scene.kept(*kept)
    assert all(sum(r.succeeded for r in scene.deletes(dep)) == 1 for dep in gone)


def replay(scene: Scene) -> None:
    """Ask for every object of the case again, twice and in no order, as a stream delivered anew would."""
    import asyncio
    import random

    from crosscurrent.connect import connected
    from crosscurrent.settings import load
    from engine.runtime.ports import Message
    from schemas import subjects
    from schemas.names import ClusterName, ObjectRef

    async def publish() -> None:
        async with connected(load(scene.system.config)) as log:
            refs = [ObjectRef(ClusterName(o.cluster.name), "", o.plural, o.namespace, o.name) for o in scene.made] * 2
            random.Random(7).shuffle(refs)
            messages = [
                Message(subject=subjects.keyed(subjects.REQUESTS, "garbage", ref), body=b"replay") for ref in refs
            ]
            await log.publish_many("REQUESTS", messages)

    asyncio.run(publish())


def test_xgc_40_broken_type_does_not_block(scene: Scene) -> None:
    """A type that answers every request with an error is UNKNOWN; the others are collected as always."""
    owner, broken_owner = scene.make(scene.a, "owner"), scene.make(scene.a, "broken", kind="Gadget")
    dep = scene.make(scene.b, "dep", scene.ref(owner))
    of_broken = scene.make(scene.b, "of-broken", scene.ref(broken_owner))
    broken = scene.make(scene.b, "broken-dep", scene.ref(owner), kind="Gadget")
    scene.held(owner, broken_owner)
    scene.known(dep, of_broken, broken)
    for cluster in (scene.a, scene.b):
        scene.proxies[cluster.name].set(
            lambda request: status(500, "InternalError") if "gadgets" in request.path else None
        )
    time.sleep(0.5)
    scene.delete(owner)
    scene.delete(broken_owner)
    scene.patch(broken_owner, {"metadata": {"finalizers": None}})
    scene.gone(owner, dep, seconds=60)
    time.sleep(2 * BOUND)
    assert scene.alive(of_broken)
    assert scene.alive(broken)
    for cluster in (scene.a, scene.b):
        scene.proxies[cluster.name].set(None)
    scene.gone(of_broken, broken, seconds=90)


def test_xgc_27_finalizer_before_first_dependent(scene: Scene) -> None:
    """Workers are killed all the while: no dependent is ever known without its owner held, and none leaks."""
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.7):
            kill_workers(scene)

    killer = threading.Thread(target=kill)
    killer.start()
    owners = []
    try:
        for number in range(10):
            owner = scene.make(scene.a, f"owner{number}")
            owners.append((owner, scene.make(scene.b, f"dep{number}", scene.ref(owner, block=True))))
            time.sleep(0.4)
    finally:
        stop.set()
        killer.join()
    for owner, dep in owners:
        scene.known(dep)
        held = [
            r.at
            for r in scene.audits[scene.a.name].requests(namespace=scene.ns, engine=True)
            if (r.name, r.verb, r.code) == (owner.name, "patch", 200)
        ]
        labelled = [
            r.at
            for r in scene.audits[scene.b.name].requests(namespace=scene.ns, engine=True)
            if (r.name, r.verb, r.code) == (dep.name, "patch", 200)
        ]
        assert held[0] < labelled[0]
        scene.delete(owner, "Foreground")
    scene.gone(*(one for pair in owners for one in pair), seconds=60)
