"""XGC-11, 26, 28, 30 to 34, 37: whose reference counts, what a uid is worth, and that nothing reaches further."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from typing import Any

import pytest
from aiohttp import web

from engine.sandbox.api_servers import ApiServer
from tests.garbage.conftest import grant_all
from tests.garbage.scene import BOUND, CASCADE, MERGE, Object, Scene, live, until

pytestmark = [pytest.mark.e2e, pytest.mark.xgc, pytest.mark.timeout(240)]


@pytest.mark.parametrize("watcher", ["live", "down"])
def test_xgc_11_owner_recreated_new_uid(scene: Scene, watcher: str) -> None:
    old = scene.make(scene.a, "owner")
    before = scene.make(scene.b, "before", scene.ref(old))
    scene.known(before)
    if watcher == "down":
        scene.proxies[scene.a.name].set(lambda _: "reset")
        scene.patch(old, {"metadata": {"finalizers": None}})
    scene.delete(old)
    until(lambda: scene.get(old) is None, seconds=15, what=scene.system.tail())
    new = scene.make(scene.a, "owner")
    after = scene.make(scene.b, "after", scene.ref(new))
    scene.proxies[scene.a.name].set(None)
    scene.gone(before, seconds=60)
    scene.kept(after, new)


def test_xgc_26_dependent_seen_before_owner(scene: Scene) -> None:
    held_up = threading.Event()
    scene.proxies[scene.a.name].set(
        lambda request: "hang" if "configmaps" in request.path and request.query.get("watch") else None
    )
    owner = scene.make(scene.a, "owner")
    dep = scene.make(scene.b, "dep", scene.ref(owner))
    scene.kept(dep)
    held_up.set()
    scene.proxies[scene.a.name].set(None)
    scene.known(dep)
    assert scene.alive(dep)


def cycle(scene: Scene, name: str) -> list[Object]:
    """Three objects in three clusters, each owned by the one before it, all blocking."""
    first = scene.make(scene.a, f"{name}-1")
    second = scene.make(scene.b, f"{name}-2", scene.ref(first, block=True))
    third = scene.make(scene.c, f"{name}-3", scene.ref(second, block=True))
    closing = [scene.ref(third, block=True)]
    scene.patch(first, {"metadata": {"annotations": {"crosscurrent.dev/owners": json.dumps(closing)}}})
    whole = [Object(**{**first.__dict__, "owners": tuple(closing)}), second, third]
    scene.made = [one for one in scene.made if one.uid != first.uid] + whole[:1]
    scene.held(*whole)
    scene.known(*whole)
    return whole


def test_xgc_28_cycle_over_three_clusters(scene: Scene) -> None:
    touched, untouched = cycle(scene, "touched"), cycle(scene, "untouched")
    alone = scene.make(scene.a, "alone")
    own = [scene.ref(alone, block=True)]
    scene.patch(alone, {"metadata": {"annotations": {"crosscurrent.dev/owners": json.dumps(own)}}})
    scene.held(alone)
    scene.delete(touched[0], "Foreground")
    scene.delete(alone, "Foreground")
    scene.gone(*touched, alone, seconds=30)
    scene.kept(*untouched)


def test_xgc_30_scope_rules(scene: Scene) -> None:
    wide = scene.make(scene.a, "wide", kind="Widget")
    narrow = scene.make(scene.a, "narrow")
    fine = scene.make(scene.b, "fine", scene.ref(wide))
    refused = scene.make(scene.b, "refused", scene.ref(narrow), kind="Widget")
    scene.held(wide)
    scene.event(refused, "OwnerRefInvalidScope", seconds=30)
    scene.delete(wide)
    scene.delete(narrow)
    scene.gone(fine, seconds=30)
    scene.kept(refused)
    scene.b.client.request("DELETE", refused.path)


def test_xgc_31_right_uid_wrong_coordinates(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    kinds = [f"Kind{i}" for i in range(25)]
    grant_kinds(scene.a, scene.ns, "nowhere.dev", kinds)
    unknown = [scene.ref(owner, apiVersion="nowhere.dev/v1", kind=kind, uid=f"uid-{kind.lower()}") for kind in kinds]
    wrong = scene.ref(owner, kind="Gadget", apiVersion="xgc.dev/v1")
    good = [scene.make(scene.b, f"good{i}", scene.ref(owner)) for i in range(10)]
    # The right uid under another kind is nobody; owners of kinds that nobody serves cannot be judged.
    wrong_kind = scene.make(scene.b, "wrong-kind", wrong)
    unjudged = scene.make(scene.b, "unjudged", *unknown, wrong)
    ungranted = scene.make(scene.b, "ungranted", scene.ref(owner, apiVersion="elsewhere.dev/v1"), wrong)
    scene.known(*good)
    scene.means_nobody(wrong_kind)
    scene.gone(wrong_kind, seconds=30)
    for pid in scene.system.children("reconcile"):
        os.kill(pid, signal.SIGKILL)
    scene.kept(*good, unjudged, ungranted)
    assert len(scene.refs(unjudged)) == 26


def grant_kinds(cluster: ApiServer, ns: str, group: str, kinds: list[str]) -> None:
    """Let everything refer to objects of these kinds."""
    to = [{"group": group, "kind": kind} for kind in kinds]
    spec = {"from": [{"cluster": "*", "namespace": "*"}], "to": to}
    metadata = {"name": "kinds", "namespace": ns}
    cluster.client.apply(
        {"apiVersion": "crosscurrent.dev/v1alpha1", "kind": "OwnerGrant", "metadata": metadata, "spec": spec}
    )


def without_grants(scene: Scene) -> None:
    for cluster in scene.clusters:
        path = f"/apis/crosscurrent.dev/v1alpha1/namespaces/{scene.ns}/ownergrants/everything"
        assert cluster.client.request("DELETE", path)[0] == 200
    time.sleep(2.5)  # what was read is used for two seconds


def test_xgc_32_forged_ref_cannot_reach(scene: Scene) -> None:
    without_grants(scene)
    victim = scene.make(scene.c, "victim")
    claims = [
        scene.make(scene.b, "present", scene.ref(victim, block=True)),
        scene.make(scene.b, "absent", scene.ref(victim, name="nobody", uid="00000000-0000-0000-0000-000000000001")),
        scene.make(
            scene.b,
            "engine",
            scene.ref(victim, engine="crosscurrent"),
            annotations={"crosscurrent.dev/owners-signature": "0" * 64},
        ),
    ]
    # A reference that makes somebody else's object its dependent does not exist: only the bearer names owners.
    messages = {scene.event(one, "OwnerRefNotGranted", seconds=30)["note"] for one in claims}
    assert len(messages) == 1, "what is said tells present from absent"
    requests = [path for _, path in scene.proxies[scene.c.name].requests if f"{scene.ns}/configmaps" in path]
    assert requests == [], "the owner was asked for although nobody granted the reference"
    scene.delete(victim)
    scene.gone(victim)
    scene.kept(*claims)
    assert CASCADE not in str(scene.audits[scene.c.name].requests(namespace=scene.ns, engine=True))
    assert not [
        r for r in scene.audits[scene.c.name].requests(namespace=scene.ns, engine=True) if r.resource != "ownergrants"
    ]


def test_xgc_33_forged_block_cannot_hold(scene: Scene) -> None:
    without_grants(scene)
    for cluster in scene.clusters:
        grant_all(cluster, scene.ns, ["reference"])
    owner = scene.make(scene.a, "owner")
    holder = scene.make(scene.b, "holder", scene.ref(owner, block=True), finalizers=["x.dev/y"])
    scene.held(owner)
    scene.delete(owner, "Foreground")
    scene.gone(owner, seconds=30)
    until(lambda: "deletionTimestamp" in (scene.get(holder) or {"metadata": {}})["metadata"], seconds=15)
    scene.patch(holder, {"metadata": {"finalizers": None}})
    without_grants(scene)
    ungranted = scene.make(scene.a, "ungranted")
    forged = scene.make(scene.b, "forged", scene.ref(ungranted, block=True), finalizers=["x.dev/y"])
    scene.event(forged, "OwnerRefNotGranted", seconds=30)
    scene.delete(ungranted, "Foreground")
    scene.gone(ungranted)
    scene.kept(forged)
    scene.patch(forged, {"metadata": {"finalizers": None}})


def on_first_delete(scene: Scene, dep: Object, then: Any) -> None:
    """Do something in the moment between the engine's decision and its DELETE."""
    pending = [True]

    def fault(request: web.Request) -> None:
        if request.method == "DELETE" and request.path == dep.path and pending:
            pending.pop()
            then()

    scene.proxies[dep.cluster.name].set(fault)
    until(lambda: live(scene.system), seconds=60)


def test_xgc_34_preconditions_hold_when_recreated(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    dep = scene.make(scene.b, "dep", scene.ref(owner))
    scene.known(dep)
    again: list[Object] = []

    def recreate() -> None:
        scene.delete(dep)
        again.append(scene.make(scene.b, "dep"))

    on_first_delete(scene, dep, recreate)
    scene.delete(owner)
    until(lambda: again, seconds=30, what=scene.system.tail())
    time.sleep(2 * BOUND)
    assert scene.alive(again[0])
    assert {one.code for one in scene.deletes(dep)} == {409}


def test_xgc_34_preconditions_hold_when_another_owner_is_added(scene: Scene) -> None:
    owner, other = scene.make(scene.a, "owner"), scene.make(scene.a, "other")
    dep = scene.make(scene.b, "dep", scene.ref(owner))
    scene.known(dep)
    both = json.dumps([scene.ref(owner), scene.ref(other)])
    body = {"metadata": {"annotations": {"crosscurrent.dev/owners": both}}}
    on_first_delete(scene, dep, lambda: scene.patch(dep, body))
    scene.delete(owner)
    until(lambda: [one["uid"] for one in scene.refs(dep)] == [other.uid], seconds=30, what=scene.system.tail())
    time.sleep(2 * BOUND)
    assert scene.alive(dep)
    assert {one.code for one in scene.deletes(dep)} == {409}


def test_xgc_34_preconditions_hold_but_a_busy_object_goes(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    dep = scene.make(scene.b, "dep", scene.ref(owner))
    scene.known(dep)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(0.005):
            number += 1
            scene.b.client.request("PATCH", dep.path, {"data": {"n": str(number)}}, content_type=MERGE)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        scene.delete(owner)
        scene.gone(owner, dep, seconds=30)
    finally:
        stop.set()
        for writer in writers:
            writer.join()


def test_xgc_37_two_engines_share_clusters(scene: Scene) -> None:
    ours, theirs = (
        scene.make(scene.a, "ours"),
        scene.make(scene.a, "theirs", finalizers=["crosscurrent.dev/cascade-e2"]),
    )
    mine = scene.make(scene.b, "mine", scene.ref(ours))
    other = scene.make(scene.b, "other", scene.ref(theirs, engine="e2"))
    shared = scene.make(scene.b, "shared", scene.ref(ours), scene.ref(theirs, engine="e2"))
    scene.known(mine, shared)
    scene.delete(theirs)
    scene.delete(ours)
    scene.gone(ours, mine, seconds=30)
    scene.kept(other, shared)
    assert scene.get(theirs) is not None, "the other engine's finalizer was taken away"
    assert [one["uid"] for one in scene.refs(shared)] == [theirs.uid]
    scene.patch(theirs, {"metadata": {"finalizers": None}})
