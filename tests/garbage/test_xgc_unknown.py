"""XGC-05 to 09, 15, 26, 29, 40 and 11 while nobody watches: what cannot be known deletes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.garbage.definitions import ALL_SPROCKETS, BRITTLES, BROKEN_CONVERSION, FLEETINGS
from tests.garbage.objects import MERGE, Object
from tests.garbage.proxy import Answer, Asked, Fault, Proxy, Verdict, status
from tests.garbage.scene import Scene, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def owner_and_dependent(scene: Scene, name: str = "") -> tuple[Object, Object]:
    """Return an owner in c and its dependent in b."""
    owner = scene.make(scene.c, f"owner{name}")
    return owner, scene.make(scene.b, f"dep{name}", scene.ref(owner))


Outage = Callable[[Proxy], AbstractContextManager[None]]
OUTAGES: dict[str, Outage] = {
    "half-open": lambda proxy: proxy.outage(lambda _: "hang"),
    "refused": lambda proxy: proxy.refusing(),
    "reset": lambda proxy: proxy.outage(lambda _: "reset"),
    "unavailable": lambda proxy: proxy.outage(lambda _: status(503, "ServiceUnavailable")),
    "tls": lambda proxy: proxy.mistrusted(),
    "dns": lambda proxy: proxy.unresolved(),
}
SAID = {
    "half-open": "no answer within",
    "refused": "Connection refused",
    "reset": "Server disconnected",
    "unavailable": "ServiceUnavailable",
    "tls": "is not accepted",
    "dns": "Name or service not known",
}
"""What the engine says in its log when it has met these."""


@pytest.mark.together("away")
def test_xgc_05_owner_cluster_unreachable(scene: Scene) -> None:
    """One owner after the other is gone while its cluster cannot be reached, each time in another way."""
    made = {how: owner_and_dependent(scene, f"-{how}") for how in OUTAGES}
    deps = [dep for _, dep in made.values()]
    scene.known(*deps)
    proxy = scene.proxies[scene.c.name]
    with scene.away(scene.c):
        for how, (owner, dep) in made.items():
            with proxy.turn, OUTAGES[how](proxy):
                position = len(scene.system.log.read_text())
                scene.remove_by_hand(owner)
                scene.patch(dep, {"data": {"touched": "yes"}})
                suspected(scene, SAID[how], after=position)
                scene.kept_so_far(*deps)
        scene.kept(*deps)
    scene.gone(*deps)


def suspected(scene: Scene, why: str, *, after: int) -> None:
    """Wait until the engine's log says behind a position that c is out of reach, and why."""

    def said() -> bool:
        lines = scene.system.log.read_text()[after:].splitlines()
        return any(why in line and "suspect" in line and f'"{scene.c.name}"' in line for line in lines)

    until(said, what=scene.system.tail)


@pytest.mark.together("away")
def test_xgc_06_unauthorized_is_not_absent_to_the_cluster(scene: Scene) -> None:
    """Credentials that have expired, of a cluster that is there."""
    owner, dep = owner_and_dependent(scene)
    scene.known(dep)
    proxy = scene.proxies[scene.c.name]
    with scene.away(scene.c), proxy.turn, proxy.outage(lambda _: status(401, "Unauthorized")):
        position = len(scene.system.log.read_text())
        scene.remove_by_hand(owner)
        late = scene.make(scene.b, "late", scene.ref(owner))
        suspected(scene, "Unauthorized", after=position)
        scene.kept(dep, late)
    scene.gone(dep, late)


@pytest.mark.together("quiet")
def test_xgc_11_owner_recreated_new_uid_while_nobody_watches(scene: Scene) -> None:
    old = scene.make(scene.c, "owner", kind="Sprocket")
    before = scene.make(scene.b, "before", scene.ref(old))
    scene.known(before)
    with scene.outage(scene.c, lambda _: "reset", part=ALL_SPROCKETS, whole=False):
        scene.remove_by_hand(old)
        new = scene.make(scene.c, "owner", kind="Sprocket")
        after = scene.make(scene.b, "after", scene.ref(new))
    scene.gone(before)
    scene.kept(after, new)


@pytest.mark.together("away")
def test_xgc_40_broken_type_does_not_block(scene: Scene) -> None:
    """A type whose conversion webhook is broken is UNKNOWN; the others are collected as always."""
    owner, broken_owner = scene.make(scene.b, "owner"), scene.make(scene.b, "broken", kind="Brittle")
    dep = scene.make(scene.a, "dep", scene.ref(owner), kind="Gadget")
    of_broken = scene.make(scene.a, "of-broken", scene.ref(broken_owner, apiVersion="brittle.dev/v2"), kind="Gadget")
    broken = scene.make(scene.b, "broken-dep", scene.ref(owner), kind="Brittle")
    scene.held(owner, broken_owner)
    scene.known(dep, of_broken, broken)
    scene.others.at("all is known")
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{BRITTLES['metadata']['name']}"
    broken_now = {"spec": {"conversion": BROKEN_CONVERSION}}
    assert scene.b.client.request("PATCH", path, broken_now, content_type=MERGE)[0] == 200
    try:
        listed = "/apis/brittle.dev/v2/brittles"
        until(lambda: scene.b.client.request("GET", listed)[0] >= 400, what="the conversion is not broken")
        scene.delete(owner)
        scene.patch(of_broken, {"data": {"touched": "yes"}})
        scene.gone(owner, dep)
        scene.meanwhile()
        assert scene.alive(of_broken)
        assert scene.alive(broken)
    finally:
        mended = {"spec": {"conversion": {"strategy": "None", "webhook": None}}}
        assert scene.b.client.request("PATCH", path, mended, content_type=MERGE)[0] == 200
    scene.gone(broken)
    assert scene.alive(of_broken)
    scene.watched(broken_owner)  # or nobody would see how its deletion is asked for
    scene.delete(broken_owner)
    scene.gone(broken_owner, of_broken)


ANOTHER = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "another", "uid": "x", "resourceVersion": "1"}}
NAMED = {"name": "owner", "kind": "configmaps"}
FOREIGN_404: dict[str, Callable[[], Answer]] = {
    "html": lambda: Answer(404, "<html>404</html>", "text/html"),
    "empty": lambda: Answer(404),
    "other_name": lambda: status(404, "NotFound", **{**NAMED, "name": "another"}),
    "other_kind": lambda: status(404, "NotFound", **{**NAMED, "kind": "pods"}),
    "no_details": lambda: status(404, "NotFound"),
    "in_a_200": lambda: Answer(200, status(404, "NotFound", **NAMED).text),
    "other_object": lambda: Answer(200, json.dumps(ANOTHER)),
    "forbidden": lambda: status(403, "Forbidden", **NAMED),
}


@pytest.mark.together("quiet")
@pytest.mark.parametrize("how", [how for how in FOREIGN_404 if how != "forbidden"])
def test_xgc_07_foreign_404_is_not_absent(scene: Scene, how: str) -> None:
    _not_an_absence(scene, how)


@pytest.mark.together("quiet")
def test_xgc_06_unauthorized_is_not_absent_to_the_type(scene: Scene) -> None:
    _not_an_absence(scene, "forbidden")


def _not_an_absence(scene: Scene, how: str) -> None:
    proxy = scene.proxies[scene.a.name]
    owner = scene.make(scene.a, "owner")
    with scene.fault(scene.a, lambda request: FOREIGN_404[how]() if request.path == owner.path else None):
        dep = scene.make(scene.b, "dep", scene.ref(owner))
        until(lambda: ("GET", owner.path) in proxy.requests(), what="the owner was never asked for")
        scene.kept(dep)
    scene.patch(dep, {"data": {"touched": "yes"}})
    scene.known(dep)
    assert scene.alive(owner)


def drop_fleetings(scene: Scene) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/fleetings.fleeting.dev"
    scene.a.client.request("DELETE", path)
    until(lambda: scene.a.client.request("GET", path)[0] == 404, what="the definition is still there")


@pytest.mark.together("killed")
def test_xgc_08_missing_crd_is_not_absent(scene: Scene) -> None:
    """The type goes while its watch is cut, so that nobody sees the owner's deletion."""
    scene.a.client.apply(FLEETINGS)
    owner = scene.make(scene.a, "owner", kind="Fleeting")
    dep = scene.make(scene.b, "dep", scene.ref(owner, resource="fleetings"))
    scene.known(dep)
    with scene.outage(
        scene.a, lambda _: "reset", cuts=of("/apis/fleeting.dev"), part="/apis/fleeting.dev", whole=False
    ):
        scene.remove_by_hand(owner)
        drop_fleetings(scene)
    late = scene.make(scene.b, "late", scene.ref(owner, resource="fleetings"))
    scene.kept(dep, late)
    scene.a.client.apply(FLEETINGS)
    scene.gone(dep, late)
    drop_fleetings(scene)


@pytest.mark.together("quiet")
def test_xgc_09_crd_deletion_cascades(scene: Scene) -> None:
    for attempt in range(2):
        scene.a.client.apply(FLEETINGS)
        owner = scene.make(scene.a, f"owner{attempt}", kind="Fleeting")
        dep = scene.make(scene.b, f"dep{attempt}", scene.ref(owner, resource="fleetings"))
        scene.known(dep)
        scene.vanishes(owner)  # the API server deletes the instances itself, and logs no request
        drop_fleetings(scene)
        scene.gone(owner, dep)


def of(path: str) -> Fault:
    """Concern what begins with a path."""
    return lambda asked: "cut" if asked.path.startswith(path) else None


def stale_list(scene: Scene, without: Object) -> Fault:
    """A replica that serves a list without one live object, once a watch had to be given up."""
    _, whole = without.cluster.client.request("GET", ALL_SPROCKETS)
    whole["items"] = [item for item in whole["items"] if item["metadata"]["uid"] != without.uid]
    expired = [True]

    def fault(asked: Asked) -> Verdict:
        if asked.path != ALL_SPROCKETS:
            return None
        if asked.query.get("sendInitialEvents"):
            return status(400, "BadRequest")
        if asked.query.get("watch"):
            if expired:
                expired.pop()
                return status(410, "Expired")
            return None
        if asked.query.get("limit") == "1":
            return None
        return Answer(200, json.dumps(whole))

    return fault


@pytest.mark.together("killed")
def test_xgc_15_relist_absence_is_only_a_hint(scene: Scene) -> None:
    owner = scene.make(scene.b, "owner", kind="Sprocket")
    dep = scene.make(scene.a, "dep", scene.ref(owner))
    scene.held(owner)
    scene.known(dep)
    proxy = scene.proxies[scene.b.name]
    before = len(proxy.requests())
    with scene.outage(scene.b, stale_list(scene, owner), cuts=of(ALL_SPROCKETS), part=ALL_SPROCKETS, whole=False):
        until(lambda: ("GET", owner.path) in proxy.requests(before), what=scene.system.tail)
        scene.kept(dep)
        assert scene.alive(owner)


@pytest.mark.together("killed")
def test_xgc_26_dependent_seen_before_owner(scene: Scene) -> None:
    def late(asked: Asked) -> Verdict:
        return "hang" if asked.query.get("watch") else None

    with scene.outage(scene.a, late, part=ALL_SPROCKETS, whole=False):
        owner = scene.make(scene.a, "owner", kind="Sprocket")
        dep = scene.make(scene.b, "dep", scene.ref(owner))
        scene.kept(dep)
    scene.known(dep)
    scene.kept(owner, dep, beats=1)


@pytest.mark.together("away")
def test_xgc_29_owners_in_three_clusters_one_unknown(scene: Scene) -> None:
    owners = [scene.make(cluster, "owner") for cluster in (scene.a, scene.b, scene.c)]
    dep = scene.make(scene.b, "dep", *(scene.ref(owner) for owner in owners))
    scene.held(*owners)
    scene.known(dep)
    with scene.away(scene.c):
        scene.remove_by_hand(owners[2])
        scene.delete(owners[0])
        scene.delete(owners[1])
        scene.gone(owners[0], owners[1])
        scene.kept(dep)
        assert len(scene.refs(dep)) == 3
    scene.gone(dep)
