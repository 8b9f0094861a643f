"""XGC-01, 02, 03: what goes with its owners goes, what has another one stays."""

from __future__ import annotations

import pytest

from tests.garbage.scene import Scene

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def test_xgc_01_background_cascade_two_clusters(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    deps = [scene.make(cluster, f"dep{i}", scene.ref(owner)) for cluster in (scene.b, scene.c) for i in range(3)]
    unowned = [scene.make(cluster, "unowned") for cluster in (scene.b, scene.c)]
    scene.held(owner)
    scene.delete(owner)
    scene.gone(owner, *deps)
    assert len([one for one in scene.deletes(*deps) if one.succeeded]) == 6
    scene.kept(*unowned, seconds=1.0)


def test_xgc_02_one_live_owner_keeps(scene: Scene) -> None:
    one, two = scene.make(scene.a, "one"), scene.make(scene.a, "two")
    dep = scene.make(scene.b, "dep", scene.ref(one), scene.ref(two))
    scene.known(dep)
    scene.delete(one)
    scene.gone(one)
    scene.kept(dep)
    assert [ref["uid"] for ref in scene.refs(dep)] == [two.uid]


def test_xgc_03_never_existing_owner(scene: Scene) -> None:
    never = {
        "clusterID": scene.a.identity,
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "namespace": scene.ns,
        "name": "never",
        "uid": "00000000-0000-0000-0000-000000000000",
    }
    dep = scene.make(scene.b, "dep", never)
    scene.gone(dep, seconds=10)
    path = f"/api/v1/namespaces/{scene.ns}/configmaps/never"
    looks = [request for request in scene.proxies[scene.a.name].requests if request == ("GET", path)]
    assert len(looks) >= 2
