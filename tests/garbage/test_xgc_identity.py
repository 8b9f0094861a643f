"""XGC-10, 12, 13, 14: clusters that are not what they were, and an engine that knows nothing."""

from __future__ import annotations

import os
import shutil
import signal

import pytest

from tests.garbage.brakes import approve_all, brakes_in
from tests.garbage.objects import Object
from tests.garbage.scene import Scene, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.mark.together("identity")
def test_xgc_10_endpoint_now_other_cluster(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    dep = scene.make(scene.b, "dep", scene.ref(owner))
    scene.known(dep)
    proxy = scene.proxies[scene.a.name]
    with proxy.turn:
        with proxy.leading_to(scene.c):
            until(lambda: scene.standing.status(scene.a.name).identity == scene.c.identity, what=scene.system.tail)
            late = scene.make(scene.b, "late", scene.ref(owner))
            scene.kept(dep, late)
            assert scene.alive(owner)
        until(lambda: scene.standing.status(scene.a.name).identity == scene.a.identity, what=scene.system.tail)
        scene.live()
        scene.known(late)
    scene.kept(dep, late, beats=1)


@pytest.mark.together("identity")
def test_xgc_12_equal_uid_two_clusters(scene: Scene) -> None:
    """Behind c's address is a clone of a, uids and identity included; what happens to the copy says nothing of a's."""
    owner = scene.make(scene.a, "owner")
    dep = scene.make(scene.b, "dep", scene.ref(owner))
    scene.known(dep)
    of_a, of_c = scene.proxies[scene.a.name], scene.proxies[scene.c.name]
    with scene.clone(scene.a) as copy, of_a.turn:
        with of_a.disturbing(), of_c.leading_to(copy):
            until(lambda: scene.standing.status(scene.c.name).identity == scene.a.identity, what=scene.system.tail)
            there = Object(copy, owner.kind, owner.namespace, owner.name, owner.uid)
            scene.remove_by_hand(there)
            assert scene.get(there) is None
            late = scene.make(scene.b, "late", scene.ref(owner))
            scene.kept(owner, dep, late)
        until(lambda: scene.standing.status(scene.c.name).identity == scene.c.identity, what=scene.system.tail)
        scene.live()
        scene.known(late)
    scene.kept(owner, dep, late, beats=1)


def test_xgc_13_etcd_restore_goes_back(scene: Scene) -> None:
    snapshot = scene.a.snapshot(scene.ns)
    owners = [scene.make(scene.a, f"owner{i}") for i in range(3)]
    deps = [scene.make(scene.b, f"dep{i}", scene.ref(owner)) for i, owner in enumerate(owners)]
    scene.known(*deps)
    epoch = scene.standing.status(scene.a.name).epoch
    scene.vanishes(*owners)
    scene.a.restore(snapshot)
    shutil.rmtree(snapshot)
    until(lambda: scene.standing.status(scene.a.name).epoch > epoch, what=scene.system.tail)
    scene.live()
    until(lambda: brakes_in(scene.a), what=scene.system.tail)
    scene.kept(*deps)
    scene.gone(*deps, meanwhile=lambda: approve_all(scene.a))


@pytest.mark.together("start")
def test_xgc_14_not_synced_no_delete(scene: Scene) -> None:
    """The engine comes up with an empty broker, its workers die at once, and the owners' type cannot be listed."""
    gone, there = scene.make(scene.a, "gone"), scene.make(scene.a, "there")
    orphan, dep = scene.make(scene.b, "orphan", scene.ref(gone)), scene.make(scene.b, "dep", scene.ref(there))
    scene.remove_by_hand(gone)

    def synced(cluster: str) -> bool:
        view = scene.system.views().get(cluster)
        configmaps = [one for one in view.types if one.plural == "configmaps"] if view is not None else []
        return any(one.synced for one in configmaps)

    with scene.outage(scene.a, lambda asked: "stall" if asked.path == "/api/v1/configmaps" else None):
        scene.system.start(wait=False)
        until(lambda: synced(scene.b.name), what=scene.system.tail)
        until(lambda: scene.system.children("reconcile"), what=scene.system.tail)
        for pid in scene.system.children("reconcile"):
            os.kill(pid, signal.SIGKILL)
        scene.kept(orphan, dep)
        assert not synced(scene.a.name)
    scene.gone(orphan)
    scene.known(dep)
    assert scene.alive(there)
