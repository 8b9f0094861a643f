"""XGC-17 to 25, 28, 39: foreground, orphan, cycles, clusters that are away, and giving them up."""

from __future__ import annotations

import functools
import json

import pytest

from engine.sandbox.api_servers import ApiServer
from tests.e2e.system import create_foo
from tests.garbage.objects import CASCADE, Object, collection
from tests.garbage.scene import Scene, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ABANDONMENTS = "/apis/crosscurrent.dev/v1alpha1/abandonments"
TOMBSTONES = "/apis/crosscurrent.dev/v1alpha1/ownertombstones"


def deleting(scene: Scene, owner: Object) -> bool:
    body = scene.get(owner)
    return body is not None and "deletionTimestamp" in body["metadata"] and CASCADE in body["metadata"]["finalizers"]


def going(scene: Scene, dep: Object) -> bool:
    return "deletionTimestamp" in (scene.get(dep) or {"metadata": {}})["metadata"]


@pytest.mark.together("quiet")
def test_xgc_17_foreground_parent_waits_for_all(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    deps = [
        scene.make(cluster, f"dep{i}", scene.ref(owner, block=True)) for cluster in (scene.b, scene.c) for i in range(3)
    ]
    scene.held(owner)
    scene.known(*deps)
    slow = scene.fault(scene.b, lambda request: 0.5 if request.method == "DELETE" else None)
    slower = scene.fault(scene.c, lambda request: 1.5 if request.method == "DELETE" else None)
    with slow, slower:
        scene.delete(owner, "Foreground")
        scene.gone(owner, *deps)
    assert scene.removed_at(owner) > max(scene.removed_at(dep) for dep in deps)


@pytest.mark.together("away")
def test_xgc_18_foreground_unreachable_blocks(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    here, away = (scene.make(cluster, "dep", scene.ref(owner, block=True)) for cluster in (scene.b, scene.c))
    scene.held(owner)
    scene.known(here, away)
    with scene.away(scene.c):
        scene.delete(owner, "Foreground")
        scene.gone(here)
        told = scene.event(owner, "WaitingForCluster", saying="1 known")["note"]
        assert scene.c.name in told
        scene.meanwhile()
        assert deleting(scene, owner)
        assert scene.alive(away)
    scene.gone(owner, away)


@pytest.mark.together("away")
def test_xgc_19_foreground_forced_abandon(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    away = scene.make(scene.c, "dep", scene.ref(owner, block=True))
    scene.held(owner)
    scene.known(away)
    body = {
        "apiVersion": "crosscurrent.dev/v1alpha1",
        "kind": "Abandonment",
        "metadata": {"name": scene.ns},
        "spec": {"cluster": scene.c.name, "owners": [owner.uid], "reason": "it burnt down"},
    }
    scene.given_up.add(scene.c.name)
    with scene.away(scene.c):
        scene.delete(owner, "Foreground")
        scene.event(owner, "WaitingForCluster")
        assert deleting(scene, owner)
        assert scene.a.client.request("POST", ABANDONMENTS, body)[0] == 201
        scene.gone(owner)
        tombstone = scene.a.client.request("GET", f"{TOMBSTONES}/{owner.uid}")[1]
        assert tombstone["spec"]["abandoned"] == [scene.c.identity]
    scene.event(away, "Abandoned")
    scene.kept(away)
    listed = json.loads(scene.system.cli("orphans", "-o", "json").stdout)
    assert [(one["reason"], bool(one["since"])) for one in listed if one["uid"] == away.uid] == [("Abandoned", True)]
    scene.a.client.request("DELETE", f"{ABANDONMENTS}/{scene.ns}")


@pytest.mark.together("quiet")
def test_xgc_20_foreign_finalizer_blocks(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    dep = scene.make(scene.b, "dep", scene.ref(owner, block=True), finalizers=["x.dev/y"])
    scene.held(owner)
    scene.known(dep)
    scene.delete(owner, "Foreground")
    until(lambda: going(scene, dep), what=scene.system.tail)
    scene.meanwhile()
    assert deleting(scene, owner)
    assert len([one for one in scene.deletes(dep) if one.succeeded]) == 1
    scene.patch(dep, {"metadata": {"finalizers": None}})
    scene.gone(owner, dep)


@pytest.mark.together("quiet")
def test_xgc_21_nonblocking_does_not_block(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    deps = [
        scene.make(scene.b, "nil", scene.ref(owner), finalizers=["x.dev/y"]),
        scene.make(scene.c, "false", scene.ref(owner, block=False), finalizers=["x.dev/y"]),
    ]
    scene.held(owner)
    scene.known(*deps)
    scene.delete(owner, "Foreground")
    scene.gone(owner)
    for dep in deps:
        until(functools.partial(going, scene, dep), what=scene.system.tail)
        scene.patch(dep, {"metadata": {"finalizers": None}})
    scene.gone(*deps)


@pytest.mark.together("quiet")
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
    scene.gone(owner, *half)
    scene.kept(*both)
    assert all([one["uid"] for one in scene.refs(dep)] == [other.uid] for dep in both)


@pytest.mark.together("quiet")
def test_xgc_23_orphan_everywhere_first(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    deps = [scene.make(c, f"dep{i}", scene.ref(owner, block=i == 0)) for c in (scene.b, scene.c) for i in range(3)]
    scene.held(owner)
    scene.known(*deps)
    scene.delete(owner, "Orphan")
    scene.gone(owner)
    parted = [one.begun for dep in deps for one in scene.requests(dep) if one.by_engine and one.changed]
    assert scene.removed_at(owner) > max(parted)
    scene.kept(*deps)
    assert all(scene.refs(dep) == [] for dep in deps)


@pytest.mark.together("quiet")
def test_xgc_23_orphan_everywhere_first_by_a_reconciler(scene: Scene) -> None:
    """foo, whose children go before it by itself, orphans them if that is asked for."""
    create_foo(scene.a, scene.ns)
    clusters = (scene.b, scene.c)
    path = f"{collection('Deployment', scene.ns)}/example-foo"
    for cluster in clusters:
        until(functools.partial(there, cluster, path), what=scene.system.tail)
    foo = scene.took(scene.a, "Foo", "example-foo")
    deps = [scene.took(cluster, "Deployment", "example-foo") for cluster in clusters]
    scene.delete(foo, "Orphan")
    scene.gone(foo)
    scene.kept(*deps)
    assert all(scene.refs(dep) == [] for dep in deps)


def there(cluster: ApiServer, path: str) -> bool:
    return cluster.client.request("GET", path)[0] == 200


@pytest.mark.together("away")
def test_xgc_24_orphan_with_unreachable_cluster(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    here, away = (scene.make(cluster, "dep", scene.ref(owner)) for cluster in (scene.b, scene.c))
    scene.held(owner)
    scene.known(here, away)
    with scene.away(scene.c):
        scene.delete(owner, "Orphan")
        until(lambda: scene.refs(here) == [], what=scene.system.tail)
        scene.meanwhile()
        assert deleting(scene, owner)
    scene.gone(owner)
    scene.kept(here, away)
    assert scene.refs(away) == []


@pytest.mark.together("quiet")
@pytest.mark.parametrize("policy", ["Foreground", "Orphan", "Background"])
def test_xgc_25_dependent_created_during_deletion(scene: Scene, policy: str) -> None:
    owner = scene.make(scene.a, "owner")
    first = scene.make(scene.b, "first", scene.ref(owner, block=True), finalizers=["x.dev/y"])
    scene.held(owner)
    scene.known(first)
    scene.delete(owner, policy)
    during = scene.make(scene.c, "during", scene.ref(owner, block=True))
    scene.patch(first, {"metadata": {"finalizers": None}})
    scene.gone(owner)
    after = scene.make(scene.c, "after", scene.ref(owner, block=True))
    if policy == "Orphan":
        until(lambda: scene.refs(during) == [] and scene.refs(after) == [], what=scene.system.tail)
        scene.kept(first, during, after)
    else:
        scene.gone(first, during, after)


def cycle(scene: Scene, name: str) -> list[Object]:
    """Three objects in three clusters, each owned by the one before it, all blocking."""
    first = scene.make(scene.a, f"{name}-1")
    second = scene.make(scene.b, f"{name}-2", scene.ref(first, block=True))
    third = scene.make(scene.c, f"{name}-3", scene.ref(second, block=True))
    scene.names(first, scene.ref(third, block=True))
    return [first, second, third]


@pytest.mark.together("quiet")
def test_xgc_28_cycle_over_three_clusters(scene: Scene) -> None:
    touched, untouched = cycle(scene, "touched"), cycle(scene, "untouched")
    alone = scene.make(scene.a, "alone")
    scene.names(alone, scene.ref(alone, block=True))
    scene.held(*touched, *untouched, alone)
    scene.known(*touched, *untouched)
    scene.delete(touched[0], "Foreground")
    scene.delete(alone, "Foreground")
    scene.gone(*touched, alone)
    scene.kept(*untouched)


@pytest.mark.together("quiet")
def test_xgc_39_already_gone_during_orphan(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    here, removed = (scene.make(cluster, "dep", scene.ref(owner)) for cluster in (scene.b, scene.c))
    scene.held(owner)
    scene.known(here, removed)
    pending = [True]

    def just_before(request: object) -> None:
        if getattr(request, "method", "") == "PATCH" and getattr(request, "path", "") == removed.path and pending:
            pending.pop()
            scene.delete(removed)

    with scene.fault(scene.c, just_before):
        scene.delete(owner, "Orphan")
        scene.gone(owner, removed)
    assert not pending
    scene.kept(here)
    assert scene.refs(here) == []
