"""XGC-04 to 10, 13 to 16, 29: what cannot be known deletes nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.e2e.system import System, listed, until
from tests.garbage.conftest import GARBAGE, RESOURCES, definition
from tests.garbage.proxy import Fault, status
from tests.garbage.scene import BOUND, MERGE, Object, Scene, live

pytestmark = [pytest.mark.e2e, pytest.mark.xgc, pytest.mark.timeout(300)]


def owner_and_dependent(scene: Scene) -> tuple[Object, Object]:
    owner = scene.make(scene.a, "owner")
    dep = scene.make(scene.b, "dep", scene.ref(owner))
    scene.known(dep)
    return owner, dep


def remove_by_hand(scene: Scene, owner: Object) -> None:
    """Delete an owner around the engine, which cannot be asked: its finalizer is taken off by hand."""
    scene.delete(owner)
    scene.patch(owner, {"metadata": {"finalizers": None}}) if scene.get(owner) else None
    assert scene.get(owner) is None


def settled(scene: Scene) -> None:
    """Wait until every cluster is live again."""
    until(lambda: live(scene.system), seconds=60, what=scene.system.tail())


def test_xgc_04_owner_in_unregistered_cluster(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner")
    dep = scene.make(scene.b, "dep", scene.ref(owner, clusterID="11111111-0000-0000-0000-000000000000"))
    scene.event(dep, "OwnerClusterUnknown")
    scene.delete(owner)
    scene.kept(dep)
    assert len(scene.refs(dep)) == 1


@pytest.mark.parametrize("how", ["refused", "reset", "hang", "unavailable"])
def test_xgc_05_owner_cluster_unreachable(scene: Scene, how: str) -> None:
    owner, dep = owner_and_dependent(scene)
    proxy = scene.proxies[scene.a.name]
    if how == "refused":
        proxy.listen(on=False)
    else:
        proxy.set(lambda _: status(503, "ServiceUnavailable") if how == "unavailable" else how)
    try:
        remove_by_hand(scene, owner)
        scene.patch(dep, {"data": {"touched": "yes"}})
        scene.kept(dep)
    finally:
        proxy.listen(on=True) if how == "refused" else proxy.set(None)
    scene.gone(dep, seconds=60)
    settled(scene)


@pytest.mark.parametrize("code", [401, 403])
def test_xgc_06_unauthorized_is_not_absent(scene: Scene, code: int) -> None:
    owner, dep = owner_and_dependent(scene)
    proxy = scene.proxies[scene.a.name]
    everything = code == 401  # expired credentials; 403 is for the owner's type only
    reason = "Unauthorized" if everything else "Forbidden"
    proxy.set(lambda request: status(code, reason) if everything or "configmaps" in request.path else None)
    remove_by_hand(scene, owner)
    late = scene.make(scene.b, "late", scene.ref(owner))
    scene.kept(dep, late)
    proxy.set(None)
    scene.gone(dep, late, seconds=60)
    settled(scene)


NAMED = {"name": "owner", "kind": "configmaps"}
FOREIGN_404: dict[str, Callable[[], web.Response]] = {
    "html": lambda: web.Response(status=404, text="<html>404</html>", content_type="text/html"),
    "empty": lambda: web.Response(status=404),
    "other_name": lambda: status(404, "NotFound", **{**NAMED, "name": "another"}),
    "other_kind": lambda: status(404, "NotFound", **{**NAMED, "kind": "pods"}),
    "no_details": lambda: status(404, "NotFound"),
    "in_a_200": lambda: web.json_response(json.loads(status(404, "NotFound", **NAMED).body), status=200),  # type: ignore[arg-type]
    "other_object": lambda: web.json_response(
        {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "another", "uid": "x", "resourceVersion": "1"}}
    ),
}


@pytest.mark.parametrize("how", FOREIGN_404)
def test_xgc_07_foreign_404_is_not_absent(scene: Scene, how: str) -> None:
    proxy = scene.proxies[scene.a.name]
    owner_path = f"/api/v1/namespaces/{scene.ns}/configmaps/owner"
    proxy.set(lambda request: FOREIGN_404[how]() if request.path == owner_path else None)
    owner = scene.make(scene.a, "owner")
    dep = scene.make(scene.b, "dep", scene.ref(owner))
    until(lambda: ("GET", owner_path) in proxy.requests, seconds=30, what="the owner was never asked for")
    scene.kept(dep, seconds=BOUND)
    proxy.set(None)
    scene.patch(dep, {"data": {"touched": "yes"}})
    scene.known(dep)
    assert scene.alive(owner)


def fleeting(scene: Scene, kind: str = "Fleeting") -> None:
    scene.a.client.apply(definition(kind, "fleetings", group="fleeting.dev"))


def drop_fleeting(scene: Scene) -> None:
    name = "fleetings.fleeting.dev"
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
    scene.a.client.request("DELETE", path)
    until(lambda: scene.a.client.request("GET", path)[0] == 404, seconds=60, what="the definition is still there")


def synced_fleetings(scene: Scene) -> None:
    def synced() -> bool:
        found = listed(scene.system)[scene.a.name]
        return found["types"] == found["syncedTypes"] and found["state"] == "live"

    until(synced, seconds=60, what=scene.system.tail())


def test_xgc_08_missing_crd_is_not_absent(scene: Scene) -> None:
    fleeting(scene)
    time.sleep(1)
    owner = scene.make(scene.a, "owner", kind="Fleeting")
    dep = scene.make(scene.b, "dep", scene.ref(owner, resource="fleetings"))
    scene.known(dep)
    proxy = scene.proxies[scene.a.name]
    proxy.set(lambda request: "reset" if "fleetings" in request.path and "customresource" not in request.path else None)
    time.sleep(0.5)
    remove_by_hand(scene, owner)
    drop_fleeting(scene)
    proxy.set(None)
    late = scene.make(scene.b, "late", scene.ref(owner, resource="fleetings"))
    scene.kept(dep, late)
    fleeting(scene)
    scene.gone(dep, late, seconds=150)  # it may be a minute until discovery is looked at again
    drop_fleeting(scene)


def test_xgc_09_crd_deletion_cascades(scene: Scene) -> None:
    for attempt in range(2):
        fleeting(scene)
        owner = scene.make(scene.a, f"owner{attempt}", kind="Fleeting")
        dep = scene.make(scene.b, f"dep{attempt}", scene.ref(owner, resource="fleetings"))
        scene.known(dep)
        scene.vanishes(owner)  # the API server deletes the instances itself, and logs no request
        drop_fleeting(scene)
        scene.gone(owner, dep, seconds=30)


def test_xgc_10_endpoint_now_other_cluster(scene: Scene) -> None:
    owner, dep = owner_and_dependent(scene)
    proxy = scene.proxies[scene.a.name]
    proxy.lead_to(scene.c)
    try:
        until(
            lambda: (
                listed(scene.system)[scene.a.name]["reason"] == "IdentityChanged"
                or listed(scene.system)[scene.a.name]["identity"] == scene.c.identity
            ),
            seconds=90,
            what=scene.system.tail(),
        )
        late = scene.make(scene.b, "late", scene.ref(owner))
        scene.kept(dep, late)
        assert scene.alive(owner)
    finally:
        proxy.lead_to(scene.a)
    until(lambda: listed(scene.system)[scene.a.name]["identity"] == scene.a.identity, seconds=90)
    settled(scene)
    scene.kept(dep, late, seconds=BOUND)


def test_xgc_12_equal_uid_two_clusters(scene: Scene) -> None:
    """Cluster c becomes a clone of a, uids and identity included; what happens to the clone's copy says nothing of a's."""
    owner, dep = owner_and_dependent(scene)
    time.sleep(1)
    of_a, of_c = scene.a.snapshot(f"{scene.ns}-a"), scene.c.snapshot(f"{scene.ns}-c")
    scene.c.restore(of_a)
    try:
        until(lambda: listed(scene.system)[scene.c.name]["identity"] == scene.a.identity, seconds=120)
        scene.c.client.request("DELETE", owner.path)
        scene.c.client.request("PATCH", owner.path, {"metadata": {"finalizers": None}}, content_type=MERGE)
        assert scene.c.client.request("GET", owner.path)[0] == 404
        late = scene.make(scene.b, "late", scene.ref(owner))
        scene.kept(owner, dep, late)
    finally:
        scene.c.restore(of_c)
    until(lambda: listed(scene.system)[scene.c.name]["identity"] == scene.c.identity, seconds=120)
    settled(scene)
    scene.kept(owner, dep, late)


def test_xgc_13_etcd_restore_goes_back(scene: Scene) -> None:
    time.sleep(1)
    snapshot = scene.a.snapshot(scene.ns)
    owners = [scene.make(scene.a, f"owner{i}") for i in range(3)]
    deps = [scene.make(scene.b, f"dep{i}", scene.ref(owner)) for i, owner in enumerate(owners)]
    scene.known(*deps)
    epoch = listed(scene.system)[scene.a.name]["epoch"]
    scene.vanishes(*owners)
    scene.a.restore(snapshot)
    until(lambda: listed(scene.system)[scene.a.name]["epoch"] > epoch, seconds=120, what=scene.system.tail())
    settled(scene)
    brakes = "/apis/crosscurrent.dev/v1alpha1/deletionbrakes"
    until(lambda: scene.a.client.request("GET", brakes)[1]["items"], seconds=30, what=scene.system.tail())
    scene.kept(*deps)
    for brake in scene.a.client.request("GET", brakes)[1]["items"]:
        body = {"spec": {"approved": True}}
        path = f"{brakes}/{brake['metadata']['name']}"
        scene.a.client.request("PATCH", path, body, content_type="application/merge-patch+json")
    scene.gone(*deps, seconds=60)


def test_xgc_14_not_synced_no_delete(scene: Scene, tmp_path: Path) -> None:
    """The engine comes up with an empty broker, and the owners' type cannot be listed."""
    owner, dep = owner_and_dependent(scene)
    proxy = scene.proxies[scene.a.name]
    scene.system.stop()
    remove_by_hand(scene, owner)
    late = scene.make(scene.b, "late", scene.ref(owner))
    proxy.set(lambda request: "stall" if request.path == "/api/v1/configmaps" else None)
    fresh = System(
        tmp_path,
        scene.clusters,
        kubeconfigs={name: one.kubeconfig for name, one in scene.proxies.items()},
        reconcilers=["garbage"],
        resources=RESOURCES,
        garbage=GARBAGE,
    )
    fresh.start(wait=False)
    try:
        until(lambda: fresh.cli("clusters", "-o", "json", check=False).returncode == 0, seconds=60, what=fresh.tail())
        until(lambda: listed(fresh)[scene.b.name]["synced"], seconds=60, what=fresh.tail())
        assert not listed(fresh)[scene.a.name]["synced"]
        for pid in fresh.children("reconcile"):
            os.kill(pid, signal.SIGKILL)
        scene.kept(dep, late)
        proxy.set(None)
        scene.gone(dep, late, seconds=60)
    finally:
        fresh.stop()
        scene.system.start()
    settled(scene)


def stale_list(scene: Scene, without: Object) -> Fault:
    """A replica that serves a list without one live object, once a watch had to be given up."""
    _, whole = without.cluster.client.request("GET", f"/api/v1/{without.plural}")
    whole["items"] = [item for item in whole["items"] if item["metadata"]["uid"] != without.uid]
    expired = [True]

    def fault(request: web.Request) -> Any:
        if request.path != f"/api/v1/{without.plural}":
            return None
        if request.query.get("sendInitialEvents"):
            return status(400, "BadRequest")
        if request.query.get("watch"):
            if expired:
                expired.pop()
                return status(410, "Expired")
            return None
        if request.query.get("limit") == "1":
            return None
        return web.json_response(whole)

    return fault


def test_xgc_15_relist_absence_is_only_a_hint(scene: Scene) -> None:
    owner, dep = owner_and_dependent(scene)
    proxy = scene.proxies[scene.a.name]
    before = len(proxy.requests)
    proxy.set(stale_list(scene, owner))
    until(
        lambda: ("GET", f"/api/v1/namespaces/{scene.ns}/configmaps/owner") in proxy.requests[before:],
        seconds=60,
        what=scene.system.tail(),
    )
    scene.kept(dep)
    assert scene.alive(owner)
    proxy.set(None)


def test_xgc_16_selector_exit_is_not_deletion(scene: Scene) -> None:
    owner = scene.make(scene.a, "owner", labels={"tier": "one"})
    dep = scene.make(scene.b, "dep", scene.ref(owner), labels={"tier": "one"})
    scene.known(dep)
    for one in (owner, dep):
        scene.patch(one, {"metadata": {"labels": {"tier": None}}})
    scene.kept(owner, dep)


def test_xgc_29_owners_in_three_clusters_one_unknown(scene: Scene) -> None:
    owners = [scene.make(cluster, "owner") for cluster in (scene.a, scene.b, scene.c)]
    dep = scene.make(scene.b, "dep", *(scene.ref(owner) for owner in owners))
    scene.held(*owners)
    scene.known(dep)
    proxy = scene.proxies[scene.c.name]
    proxy.set(lambda _: "reset")
    time.sleep(0.5)
    remove_by_hand(scene, owners[2])
    scene.delete(owners[0])
    scene.delete(owners[1])
    scene.gone(owners[0], owners[1], seconds=30)
    scene.kept(dep)
    assert len(scene.refs(dep)) == 3
    proxy.set(None)
    scene.gone(dep, seconds=90)
    settled(scene)
