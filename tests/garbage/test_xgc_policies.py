"""XGC-17 to 25, 39: foreground, orphan, clusters that are away, and giving them up."""

from __future__ import annotations

import time

import pytest

from tests.e2e.system import until
from tests.garbage.scene import BOUND, CASCADE, Object, Scene, live

pytestmark = [pytest.mark.e2e, pytest.mark.xgc, pytest.mark.timeout(300)]

ABANDONMENTS = "/apis/crosscurrent.dev/v1alpha1/abandonments"


def deleting(scene: Scene, owner: Object) -> bool:
    body = scene.get(owner)
    return body is not None and "deletionTimestamp" in body["metadata"] and CASCADE in body["metadata"]["finalizers"]


def settled(scene: Scene) -> None:
    until(lambda: live(scene.system), seconds=60, what=scene.system.tail())


def test_xgc_17_foreground_parent_waits_for_all(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    deps = [
        scene.make(cluster, f"dep{i}", scene.ref(owner, block=True)) for cluster in (scene.b, scene.c) for i in range(3)
    ]
    scene.held(owner)
    scene.known(*deps)
    scene.proxies[scene.b.name].set(lambda request: 0.5 if request.method == "DELETE" else None)
    scene.proxies[scene.c.name].set(lambda request: 1.5 if request.method == "DELETE" else None)
    settled(scene)
    scene.delete(owner, "Foreground")
    scene.gone(owner, *deps, seconds=30)
    assert scene.removed_at(owner) > max(scene.removed_at(dep) for dep in deps)


def cut_off(scene: Scene, owner: Object, dep: Object) -> None:
    scene.held(owner)
    scene.known(dep)
    scene.proxies[scene.c.name].set(lambda _: "reset")
    time.sleep(0.5)


def test_xgc_18_foreground_unreachable_blocks(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    here, away = (scene.make(cluster, "dep", scene.ref(owner, block=True)) for cluster in (scene.b, scene.c))
    cut_off(scene, owner, away)
    scene.delete(owner, "Foreground")
    scene.gone(here, seconds=30)
    told = scene.event(owner, "WaitingForCluster", seconds=30, saying="1 known")["note"]
    assert scene.c.name in told
    time.sleep(2 * BOUND)
    assert deleting(scene, owner)
    assert scene.alive(away)
    scene.proxies[scene.c.name].set(None)
    scene.gone(owner, away, seconds=60)
    settled(scene)


def test_xgc_19_foreground_forced_abandon(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    away = scene.make(scene.c, "dep", scene.ref(owner, block=True))
    cut_off(scene, owner, away)
    scene.delete(owner, "Foreground")
    scene.event(owner, "WaitingForCluster", seconds=30)
    assert deleting(scene, owner)
    body = {
        "apiVersion": "crosscurrent.dev/v1alpha1",
        "kind": "Abandonment",
        "metadata": {"name": scene.ns},
        "spec": {"cluster": scene.c.name, "owners": [owner.uid], "reason": "it burnt down"},
    }
    scene.a.client.request("POST", ABANDONMENTS, body)
    scene.gone(owner, seconds=60)
    tombstone = scene.a.client.request("GET", f"/apis/crosscurrent.dev/v1alpha1/ownertombstones/{owner.uid}")[1]
    assert tombstone["spec"]["abandoned"] == [scene.c.identity]
    scene.proxies[scene.c.name].set(None)
    settled(scene)
    scene.event(away, "Abandoned", seconds=60)
    scene.kept(away)
    listed = scene.system.cli("orphans", "-o", "json").stdout
    assert away.name in listed
    assert "Abandoned" in listed
    scene.a.client.request("DELETE", f"{ABANDONMENTS}/{scene.ns}")


def test_xgc_20_foreign_finalizer_blocks(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    dep = scene.make(scene.b, "dep", scene.ref(owner, block=True), finalizers=["x.dev/y"])
    scene.held(owner)
    scene.known(dep)
    scene.delete(owner, "Foreground")
    until(lambda: "deletionTimestamp" in scene.get(dep)["metadata"], seconds=30)  # type: ignore[index]
    time.sleep(2 * BOUND)
    assert deleting(scene, owner)
    assert len(scene.deletes(dep)) == 1
    scene.patch(dep, {"metadata": {"finalizers": None}})
    scene.gone(owner, dep, seconds=15)


def test_xgc_21_nonblocking_does_not_block(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    deps = [
        scene.make(scene.b, "nil", scene.ref(owner), finalizers=["x.dev/y"]),
        scene.make(scene.c, "false", scene.ref(owner, block=False), finalizers=["x.dev/y"]),
    ]
    scene.held(owner)
    scene.known(*deps)
    scene.delete(owner, "Foreground")
    scene.gone(owner, seconds=30)
    for dep in deps:
        until(lambda dep=dep: "deletionTimestamp" in scene.get(dep)["metadata"], seconds=30)  # type: ignore[index]
        scene.patch(dep, {"metadata": {"finalizers": None}})
    scene.gone(*deps)


def test_xgc_22_solid_plus_waiting_half_and_half(scene: Scene) -> None:
    owner, other = scene.make(scene.a, "owner"), scene.make(scene.c, "other")
    half = [scene.make(c, f"half{i}", scene.ref(owner, block=True)) for c in (scene.b, scene.c) for i in range(25)]
    both = [
        scene.make(c, f"both{i}", scene.ref(owner, block=True), scene.ref(other))
        for c in (scene.b, scene.c)
        for i in range(25)
    ]
    scene.held(owner, other)
    scene.known(*half, *both)
    scene.delete(owner, "Foreground")
    scene.gone(owner, *half, seconds=60)
    scene.kept(*both)
    assert all([one["uid"] for one in scene.refs(dep)] == [other.uid] for dep in both)


def test_xgc_23_orphan_everywhere_first(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    deps = [scene.make(c, f"dep{i}", scene.ref(owner, block=i == 0)) for c in (scene.b, scene.c) for i in range(3)]
    scene.held(owner)
    scene.known(*deps)
    scene.delete(owner, "Orphan")
    scene.gone(owner, seconds=30)
    parted = [
        request.at
        for dep in deps
        for request in scene.audits[dep.cluster.name].requests(namespace=scene.ns, engine=True)
        if (request.verb, request.name, request.code) == ("patch", dep.name, 200)
    ]
    assert scene.removed_at(owner) > max(parted)
    scene.kept(*deps)
    assert all(scene.refs(dep) == [] for dep in deps)


def test_xgc_24_orphan_with_unreachable_cluster(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    here, away = (scene.make(cluster, "dep", scene.ref(owner)) for cluster in (scene.b, scene.c))
    cut_off(scene, owner, away)
    scene.known(here)
    scene.delete(owner, "Orphan")
    until(lambda: scene.refs(here) == [], seconds=30, what=scene.system.tail())
    time.sleep(BOUND)
    assert deleting(scene, owner)
    scene.proxies[scene.c.name].set(None)
    scene.gone(owner, seconds=60)
    scene.kept(here, away)
    assert scene.refs(away) == []


@pytest.mark.parametrize("policy", ["Foreground", "Orphan", "Background"])
def test_xgc_25_dependent_created_during_deletion(scene: Scene, policy: str) -> None:
    owner = scene.make(scene.a, "owner")
    first = scene.make(scene.b, "first", scene.ref(owner, block=True), finalizers=["x.dev/y"])
    scene.held(owner)
    scene.known(first)
    scene.delete(owner, policy)
    during = scene.make(scene.c, "during", scene.ref(owner, block=True))
    scene.patch(first, {"metadata": {"finalizers": None}})
    scene.gone(owner, seconds=30)
    after = scene.make(scene.c, "after", scene.ref(owner, block=True))
    if policy == "Orphan":
        until(lambda: scene.refs(during) == [] and scene.refs(after) == [], seconds=30, what=scene.system.tail())
        scene.kept(first, during, after)
    else:
        scene.gone(first, during, after, seconds=30)


def test_xgc_39_already_gone_during_orphan(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    here, removed = (scene.make(cluster, "dep", scene.ref(owner)) for cluster in (scene.b, scene.c))
    scene.held(owner)
    scene.known(here, removed)
    pending = [True]

    def fault(request: object) -> None:
        if getattr(request, "method", "") == "PATCH" and getattr(request, "path", "") == removed.path and pending:
            pending.pop()
            scene.delete(removed)

    scene.proxies[scene.c.name].set(fault)
    settled(scene)
    scene.delete(owner, "Orphan")
    scene.gone(owner, removed, seconds=30)
    assert not pending
    scene.kept(here)
    assert scene.refs(here) == []
