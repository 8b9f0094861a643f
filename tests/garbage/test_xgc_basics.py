"""XGC-01 to 04, 11, 16, 30, 31, 37: what goes with its owners goes, what has another one stays; whose reference counts."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.garbage.definitions import grant_all
from tests.garbage.scene import Scene, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.mark.together("quiet")
def test_xgc_01_background_cascade_two_clusters(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    deps = [scene.make(cluster, f"dep{i}", scene.ref(owner)) for cluster in (scene.b, scene.c) for i in range(3)]
    unowned = [scene.make(cluster, "unowned") for cluster in (scene.b, scene.c)]
    scene.held(owner)
    scene.delete(owner)
    scene.gone(owner, *deps)
    assert len([one for one in scene.deletes(*deps) if one.succeeded]) == 6
    asked = ("why", scene.b.name, "configmaps", f"{scene.ns}/{deps[0].name}", "-o", "json")
    told = until(lambda: json.loads(scene.system.cli(*asked).stdout).get("deletion"), what=scene.system.tail)
    assert (told["uid"], told["by"]) == (deps[0].uid, "crosscurrent crosscurrent/garbage")
    assert (told["owners"][0]["uid"], len(told["owners"][0]["looks"])) == (owner.uid, 2)
    scene.kept(*unowned)


@pytest.mark.together("quiet")
def test_xgc_02_one_live_owner_keeps(scene: Scene) -> None:
    one, two = scene.make(scene.a, "one"), scene.make(scene.a, "two")
    dep = scene.make(scene.b, "dep", scene.ref(one), scene.ref(two))
    scene.known(dep)
    before = len(scene.requests(dep))
    scene.delete(one)
    scene.gone(one)
    until(lambda: [ref["uid"] for ref in scene.refs(dep)] == [two.uid], what=scene.system.tail)
    scene.kept(dep)
    assert [ref["uid"] for ref in scene.refs(dep)] == [two.uid]
    assert len([request for request in scene.requests(dep)[before:] if request.changed]) == 1


@pytest.mark.together("quiet")
def test_xgc_03_never_existing_owner(scene: Scene) -> None:
    never = {
        "clusterID": scene.a.identity,
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "namespace": scene.ns,
        "name": "never",
        "uid": NOBODY,
    }
    dep = scene.make(scene.b, "dep", never)
    scene.gone(dep)
    looks = [one for one in scene.audits[scene.a.name].at(("configmaps", scene.ns, "never")) if one.verb == "get"]
    deleted = next(one.at for one in scene.deletes(dep) if one.succeeded)
    codes = [one.code for one in looks if one.at < deleted]
    assert len(codes) >= 2  # each worker that looks at it makes a proof of its own
    assert set(codes) == {404}


@pytest.mark.together("quiet")
def test_xgc_04_owner_in_unregistered_cluster(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    dep = scene.make(scene.b, "dep", scene.ref(owner, clusterID="11111111-0000-0000-0000-000000000000"))
    scene.event(dep, "OwnerClusterUnknown")
    scene.delete(owner)
    scene.kept(dep)
    assert len(scene.refs(dep)) == 1


@pytest.mark.together("quiet")
def test_xgc_11_owner_recreated_new_uid_while_it_is_watched(scene: Scene) -> None:
    old = scene.make(scene.a, "owner")
    before = scene.make(scene.b, "before", scene.ref(old))
    scene.known(before)
    scene.delete(old)
    until(lambda: scene.get(old) is None, what=scene.system.tail)
    new = scene.make(scene.a, "owner")
    after = scene.make(scene.b, "after", scene.ref(new))
    scene.gone(before)
    scene.kept(after, new)


@pytest.mark.together("quiet")
def test_xgc_16_selector_exit_is_not_deletion(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner", labels={"tier": "one"})
    dep = scene.make(scene.b, "dep", scene.ref(owner), labels={"tier": "one"})
    scene.known(dep)
    for one in (owner, dep):
        scene.patch(one, {"metadata": {"labels": {"tier": None}}})
    scene.kept(owner, dep)


@pytest.mark.together("quiet")
def test_xgc_30_scope_rules(scene: Scene) -> None:
    wide = scene.make(scene.a, "wide", kind="Widget")
    narrow = scene.make(scene.a, "narrow")
    fine = scene.make(scene.b, "fine", scene.ref(wide))
    refused = scene.make(scene.b, "refused", scene.ref(narrow), kind="Widget")
    scene.held(wide)
    scene.event(refused, "OwnerRefInvalidScope")
    scene.delete(wide)
    scene.delete(narrow)
    scene.gone(fine)
    scene.kept(refused)
    scene.b.client.request("DELETE", refused.path)


@pytest.mark.together("killed")
def test_xgc_31_right_uid_wrong_coordinates(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    kinds = [f"Kind{i}" for i in range(25)]
    grant_all(scene.a, scene.ns, kinds=[{"group": "nowhere.dev", "kind": kind} for kind in kinds])
    unknown = [scene.ref(owner, apiVersion="nowhere.dev/v1", kind=kind, uid=f"uid-{kind.lower()}") for kind in kinds]
    wrong = scene.ref(owner, kind="Gadget", apiVersion="xgc.dev/v1")
    good = [scene.make(scene.b, f"good{i}", scene.ref(owner)) for i in range(10)]
    # The right uid under another kind is nobody; owners of kinds that nobody serves cannot be judged.
    wrong_kind = scene.make(scene.b, "wrong-kind", wrong)
    unjudged = scene.make(scene.b, "unjudged", *unknown, wrong)
    ungranted = scene.make(scene.b, "ungranted", scene.ref(owner, apiVersion="elsewhere.dev/v1"), wrong)
    scene.known(*good)
    scene.gone(wrong_kind)
    for pid in scene.system.children("reconcile"):
        os.kill(pid, signal.SIGKILL)
    scene.kept(*good, unjudged, ungranted)
    assert len(scene.refs(unjudged)) == 26


@pytest.mark.together("quiet")
def test_xgc_37_two_engines_share_clusters(scene: Scene) -> None:
    ours = scene.make(scene.a, "ours")
    theirs = scene.make(scene.a, "theirs", finalizers=["crosscurrent.dev/cascade-e2"])
    mine = scene.make(scene.b, "mine", scene.ref(ours))
    other = scene.make(scene.b, "other", scene.ref(theirs, engine="e2"))
    shared = scene.make(scene.b, "shared", scene.ref(ours), scene.ref(theirs, engine="e2"))
    scene.known(mine, shared)
    scene.delete(theirs)
    scene.delete(ours)
    scene.gone(ours, mine)
    until(lambda: [one["uid"] for one in scene.refs(shared)] == [theirs.uid], what=scene.system.tail)
    scene.kept(other, shared)
    assert scene.get(theirs) is not None, "the other engine's finalizer was taken away"
    scene.patch(theirs, {"metadata": {"finalizers": None}})
