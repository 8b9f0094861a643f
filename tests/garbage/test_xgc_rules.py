"""XGC-32 to 34, 36 by choice: that nothing reaches further than its bearer, and what a uid is worth in the last moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.garbage.definitions import grant_all
from tests.garbage.objects import CASCADE, MERGE, Object
from tests.garbage.proxy import Asked
from tests.garbage.scene import Scene, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

GRANTS_ARE_USED_FOR = 2.5
"""Seconds, see `engine.runtime.references`; and nothing shows that they were read anew."""
REFUSED = {409, 504}
"""By the precondition; or on a machine so busy that the engine gave up first, so that the server did nothing."""


def without_grants(scene: Scene) -> None:
    for cluster in scene.clusters:
        path = f"/apis/crosscurrent.dev/v1alpha1/namespaces/{scene.ns}/ownergrants/everything"
        assert cluster.client.request("DELETE", path)[0] == 200


@pytest.mark.together("quiet")
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
    messages = {scene.event(one, "OwnerRefNotGranted")["note"] for one in claims}
    assert len(messages) == 1, "what is said tells present from absent"
    requests = [path for _, path in scene.proxies[scene.c.name].requests() if f"{scene.ns}/configmaps" in path]
    assert requests == [], "the owner was asked for although nobody granted the reference"
    scene.delete(victim)
    scene.gone(victim)
    scene.kept(*claims)
    mine = [one for one in scene.audits[scene.c.name].within(scene.ns) if one.by_engine]
    assert {one.place[0] for one in mine} <= {"ownergrants"}


@pytest.mark.together("quiet")
def test_xgc_33_forged_block_cannot_hold(scene: Scene) -> None:
    without_grants(scene)
    for cluster in scene.clusters:
        grant_all(cluster, scene.ns, ["reference"])
    owner = scene.make(scene.a, "owner")
    holder = scene.make(scene.b, "holder", scene.ref(owner, block=True), finalizers=["x.dev/y"])
    scene.may_not_block.add(holder.uid)
    scene.held(owner)
    scene.delete(owner, "Foreground")
    scene.gone(owner)
    until(lambda: "deletionTimestamp" in (scene.get(holder) or {"metadata": {}})["metadata"])
    scene.patch(holder, {"metadata": {"finalizers": None}})
    without_grants(scene)
    time.sleep(GRANTS_ARE_USED_FOR)
    ungranted = scene.make(scene.a, "ungranted")
    forged = scene.make(scene.b, "forged", scene.ref(ungranted, block=True), finalizers=["x.dev/y"])
    scene.may_not_block.add(forged.uid)
    scene.event(forged, "OwnerRefNotGranted")
    scene.delete(ungranted, "Foreground")
    scene.gone(ungranted)
    scene.kept(forged)
    assert CASCADE not in str([one.body for one in scene.requests(ungranted)])
    scene.patch(forged, {"metadata": {"finalizers": None}})


@contextmanager
def on_first_delete(scene: Scene, dep: Object, then: Callable[[], None]) -> Iterator[None]:
    """Do something in the moment between the engine's decision and its DELETE."""
    pending = [True]

    def fault(request: Asked) -> None:
        if request.method == "DELETE" and request.path == dep.path and pending:
            pending.pop()
            then()

    with scene.fault(dep.cluster, fault):
        yield
    assert not pending, "there was no DELETE"


@pytest.mark.together("quiet")
def test_xgc_34_preconditions_hold_when_recreated(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    dep = scene.make(scene.b, "dep", scene.ref(owner))
    scene.known(dep)
    again: list[Object] = []

    def recreate() -> None:
        scene.delete(dep)
        again.append(scene.make(scene.b, "dep"))

    with on_first_delete(scene, dep, recreate):
        scene.delete(owner)
        until(lambda: again, what=scene.system.tail)
        scene.meanwhile()
    assert scene.alive(again[0])
    assert {one.code for one in scene.deletes(dep)} <= REFUSED


@pytest.mark.together("quiet")
def test_xgc_34_preconditions_hold_when_another_owner_is_added(scene: Scene) -> None:
    owner, other = scene.make(scene.a, "owner"), scene.make(scene.a, "other")
    dep = scene.make(scene.b, "dep", scene.ref(owner))
    scene.known(dep)
    with on_first_delete(scene, dep, lambda: scene.names(dep, scene.ref(owner), scene.ref(other))):
        scene.delete(owner)
        until(lambda: [one["uid"] for one in scene.refs(dep)] == [other.uid], what=scene.system.tail)
        scene.meanwhile()
    assert scene.alive(dep)
    assert {one.code for one in scene.deletes(dep)} <= REFUSED


@pytest.mark.together("quiet")
def test_xgc_34_preconditions_hold_but_a_busy_object_goes(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    dep = scene.make(scene.b, "dep", scene.ref(owner))
    scene.known(dep)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(0.01):
            number += 1
            scene.b.client.request("PATCH", dep.path, {"data": {"n": str(number)}}, content_type=MERGE)

    writer = threading.Thread(target=write)
    writer.start()

    def busy() -> None:
        """Make sure that it was written between decision and DELETE at least once."""
        scene.b.client.request("PATCH", dep.path, {"data": {"now": "yes"}}, content_type=MERGE)

    try:
        with on_first_delete(scene, dep, busy):
            scene.delete(owner)
            scene.gone(owner, dep)
    finally:
        stop.set()
        writer.join()
    codes = [one.code for one in scene.deletes(dep)]
    assert 409 in codes
    assert codes.count(200) == 1


@pytest.mark.together("quiet")
@pytest.mark.parametrize("policy", ["default", "Retain", "Delete"])
def test_xgc_36_brake_and_unregister_by_choice(scene: Scene, policy: str) -> None:
    """Owners in a cluster that is no longer configured: orphaned by default, retained or deleted by explicit choice."""
    identity = f"{scene.ns}-was-a-cluster"
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "namespace": scene.ns, "name": "o", "uid": f"u-{policy.lower()}"}
    dep = scene.make(scene.b, "dep", {"clusterID": identity, **owner})
    scene.event(dep, "OwnerClusterUnknown")
    spec = {"clusterID": identity} | ({} if policy == "default" else {"policy": policy})
    body = {
        "apiVersion": "crosscurrent.dev/v1alpha1",
        "kind": "Unregistration",
        "metadata": {"name": scene.ns},
        "spec": spec,
    }
    path = "/apis/crosscurrent.dev/v1alpha1/unregistrations"
    assert scene.b.client.request("POST", path, body)[0] == 201
    if policy == "Delete":
        scene.gone(dep)
    elif policy == "default":
        until(lambda: scene.refs(dep) == [], what=scene.system.tail)
        scene.kept(dep)
    else:
        scene.kept(dep)
        assert len(scene.refs(dep)) == 1
    scene.b.client.request("DELETE", f"{path}/{scene.ns}")
