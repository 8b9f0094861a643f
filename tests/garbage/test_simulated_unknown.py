"""Fast variants on the simulator of the cases in which evidence is UNKNOWN: hours of them pass in seconds."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from engine.runtime.ports import Reply
from schemas.config import BrakeConfig, GarbageConfig
from tests.garbage.definitions import FLEETINGS
from tests.garbage.simulated_api import Asked, Fault, Site, status
from tests.garbage.simulated_world import NS, Made, World, run, run_bare

pytestmark = pytest.mark.timeout(600)  # nothing in them depends on the machine's clock, nor may this
HOUR = 3600.0
OWNER = f"/api/v1/namespaces/{NS}/configmaps/owner"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
BRAKES = "/apis/crosscurrent.dev/v1alpha1/deletionbrakes"

UNREACHABLE: dict[str, Fault] = {
    "refused": lambda _: "cannot connect to a:6443: Connection refused",
    "reset": lambda _: "connection reset by peer",
    "half-open": lambda _: "half-open",
    "dns": lambda _: "cannot connect to a:6443: Name or service not known",
    "tls": lambda _: "the certificate of a:6443 is not accepted: certificate has expired",
    "unavailable": lambda _: status(503, "ServiceUnavailable"),
    "too-many": lambda _: status(429, "TooManyRequests"),
    "timeout": lambda _: status(504, "Timeout"),
}


def test_simulated_xgc_05_owner_cluster_unreachable_for_an_hour() -> None:
    """One owner after the other goes while its cluster cannot be reached, each time in another way."""

    async def story(world: World) -> None:
        made = {how: await world.pair(f"owner-{number}") for number, how in enumerate(UNREACHABLE)}
        deps = [dep for _, dep in made.values()]
        for how, (owner, _) in made.items():
            world.addresses["a"].break_with(UNREACHABLE[how])
            await world.remove_by_hand(owner)
            await world.kept(*deps, seconds=HOUR / len(made))
        world.addresses["a"].break_with(None)
        await world.gone(*deps)

    run(story)


UNAUTHORIZED: dict[str, Fault] = {
    "401": lambda _: status(401, "Unauthorized"),
    "403": lambda _: status(403, "Forbidden"),
    "403 of the type": lambda asked: status(403, "Forbidden") if "configmaps" in asked[1] else None,
    "403 of the objects": lambda asked: status(403, "Forbidden") if "/configmaps/owner" in asked[1] else None,
    "403 of the records": lambda asked: status(403, "Forbidden") if "crosscurrent.dev" in asked[1] else None,
}


def test_simulated_xgc_06_unauthorized_is_not_absent_for_an_hour() -> None:
    async def story(world: World) -> None:
        made = {how: await world.pair(f"owner-{number}") for number, how in enumerate(UNAUTHORIZED)}
        deps = [dep for _, dep in made.values()]
        for how, (owner, _) in made.items():
            world.addresses["a"].break_with(UNAUTHORIZED[how])
            await world.remove_by_hand(owner)
            await world.kept(*deps, seconds=HOUR / len(made))
        world.addresses["a"].break_with(None)
        for dep in deps:
            await world.change(dep, {"data": {"touched": "yes"}})
        await world.gone(*deps)

    run(story)


NAMED = {"name": "owner", "kind": "configmaps"}
FOREIGN: dict[str, Callable[[], Reply]] = {
    "html": lambda: Reply(404, b"<html>404</html>", {"Content-Type": "text/html"}),
    "empty": lambda: Reply(404, b""),
    "other name": lambda: status(404, "NotFound", **{**NAMED, "name": "another"}),
    "other kind": lambda: status(404, "NotFound", **{**NAMED, "kind": "pods"}),
    "no details": lambda: status(404, "NotFound"),
}


def test_simulated_xgc_07_foreign_404_is_not_absent_for_an_hour() -> None:
    async def story(world: World) -> None:
        deps = []
        owner = await world.make(world.a, "owner")
        for number, answer in enumerate(FOREIGN.values()):
            world.addresses["a"].break_with(lambda asked, answer=answer: answer() if asked[1] == OWNER else None)  # type: ignore[misc]
            deps.append(await world.make(world.b, f"dep-{number}", world.ref(owner)))
            await world.kept(*deps, seconds=HOUR / len(FOREIGN))
        world.addresses["a"].break_with(None)
        for dep in deps:
            await world.change(dep, {"data": {"touched": "yes"}})
        await world.known(*deps)

    run(story)


async def drop_fleetings(world: World) -> None:
    assert (await world.a.ask("DELETE", f"{CRDS}/fleetings.fleeting.dev")).status == 200


def test_simulated_xgc_08_missing_crd_is_not_absent_for_an_hour() -> None:
    async def story(world: World) -> None:
        owner, dep = await world.pair(kind="Fleeting")
        world.addresses["a"].break_with(lambda asked: "reset" if "/apis/fleeting.dev" in asked[1] else None)
        await world.remove_by_hand(owner)
        await drop_fleetings(world)
        world.addresses["a"].break_with(None)
        await world.kept(dep, seconds=HOUR)
        await world.apply(world.a, CRDS, FLEETINGS)
        await world.gone(dep)

    run(story)


def test_simulated_xgc_09_crd_deletion_cascades() -> None:
    async def story(world: World) -> None:
        for name in ("once", "twice"):
            owner, dep = await world.pair(name, kind="Fleeting")
            await world.change(owner, {"metadata": {"finalizers": None}})
            await drop_fleetings(world)
            await world.gone(dep)
            await world.apply(world.a, CRDS, FLEETINGS)
            await world.clock.sleep(120.0)

    run(story)


def test_simulated_xgc_10_endpoint_now_other_cluster_for_an_hour() -> None:
    async def story(world: World) -> None:
        owner, dep = await world.pair()
        world.addresses["a"].lead_to(world.c)
        late = await world.make(world.b, "late", world.ref(owner))
        await world.kept(owner, dep, late, seconds=HOUR)
        world.addresses["a"].lead_to(world.a)
        await world.known(late)
        await world.kept(owner, dep, late, seconds=60.0)

    run(story)


def test_simulated_xgc_11_owner_recreated_new_uid_while_the_watcher_is_down() -> None:
    async def story(world: World) -> None:
        owner, dep = await world.pair()
        await world.dismiss("a")
        await world.remove_by_hand(owner)
        new = await world.make(world.a, "owner")
        after = await world.make(world.b, "after", world.ref(new))
        world.engage("a")
        await world.gone(dep)
        await world.kept(new, after, seconds=HOUR)

    run(story)


@pytest.mark.parametrize("code", [401, 403])
def test_simulated_xgc_11_owner_recreated_new_uid_while_its_type_could_not_be_watched(code: int) -> None:
    """The watch goes on where it was, and not before a bookmark is its type known again."""

    async def story(world: World) -> None:
        owner, dep = await world.pair()
        refused = status(code, "Unauthorized" if code == 401 else "Forbidden")
        world.addresses["a"].break_with(lambda asked: refused if asked[1] == "/api/v1/configmaps" else None)
        await world.clock.sleep(60.0)
        await world.remove_by_hand(owner)
        new = await world.make(world.a, "owner")
        after = await world.make(world.b, "after", world.ref(new))
        await world.kept(dep, after, seconds=HOUR)
        world.addresses["a"].break_with(None)
        await world.gone(dep)
        await world.kept(new, after, seconds=HOUR)

    run(story)


def test_simulated_xgc_12_equal_uid_two_clusters_for_an_hour() -> None:
    async def story(world: World) -> None:
        owner, dep = await world.pair()
        copy = Site("copy", world.clock, seed=9)
        copy.cluster.restore(world.a.cluster.snapshot())
        world.addresses["c"].lead_to(copy)
        await world.remove_by_hand(Made(copy, owner.kind, owner.name, owner.uid))
        late = await world.make(world.b, "late", world.ref(owner))
        await world.kept(owner, dep, late, seconds=HOUR)
        world.addresses["c"].lead_to(world.c)
        await world.known(late)
        await world.kept(owner, dep, late, seconds=60.0)

    run(story)


async def brakes(world: World, site: Site) -> list[str]:
    body = json.loads((await site.ask("GET", BRAKES)).body)
    return [one["metadata"]["name"] for one in body["items"]]


async def approve(world: World, site: Site) -> None:
    for name in await brakes(world, site):
        body = json.dumps({"spec": {"approved": True}}).encode()
        await site.ask("PATCH", f"{BRAKES}/{name}", body, "application/merge-patch+json")


def test_simulated_xgc_13_etcd_restore_goes_back_for_hours() -> None:
    async def story(world: World) -> None:
        snapshot = world.a.cluster.snapshot()
        made = [await world.pair(f"owner{number}") for number in range(3)]
        deps = [dep for _, dep in made]
        before = await world.status("a")
        world.a.cluster.restore(snapshot)
        world.addresses["a"].cut()
        await world.kept(*deps, seconds=2 * HOUR)
        after = await world.status("a")
        assert before is not None
        assert after is not None
        assert after.epoch > before.epoch
        assert await brakes(world, world.a)
        await approve(world, world.a)
        await world.gone(*deps)

    run(story)


def test_simulated_xgc_14_not_synced_no_delete_for_an_hour() -> None:
    """The engine comes up with an empty log, and the owners' type cannot be listed; workers are started anew."""

    async def story(world: World) -> None:
        owner = await world.make(world.a, "owner")
        dep = await world.make(world.b, "dep", world.ref(owner))
        await world.remove_by_hand(owner)
        world.addresses["a"].break_with(lambda asked: "half-open" if asked[1] == "/api/v1/configmaps" else None)
        world.engage()
        world.employ()
        await world.kept(dep, seconds=HOUR / 2)
        await world.dismiss()
        world.employ()
        await world.kept(dep, seconds=HOUR / 2)
        world.addresses["a"].break_with(None)
        await world.gone(dep)

    run_bare(story)


def test_simulated_xgc_15_relist_absence_is_only_a_hint_however_often() -> None:
    async def story(world: World) -> None:
        owner, dep = await world.pair()
        listed = json.loads((await world.a.ask("GET", "/api/v1/configmaps")).body)
        listed["items"] = [one for one in listed["items"] if one["metadata"]["uid"] != owner.uid]
        stale = Reply(200, json.dumps(listed).encode(), {"Content-Type": "application/json"})

        def fault(asked: Asked) -> Reply | None:
            _, path, params = asked
            if path != "/api/v1/configmaps" or params.get("limit") == "1":
                return None
            if params.get("sendInitialEvents"):
                return status(400, "BadRequest")
            return status(410, "Expired") if params.get("watch") else stale

        world.addresses["a"].break_with(fault)
        await world.kept(owner, dep, seconds=HOUR)
        asked = [path for method, path, _ in world.addresses["a"].asked if method == "GET"]
        assert OWNER in asked, "the hint was never followed"
        world.addresses["a"].break_with(None)
        await world.kept(owner, dep, seconds=60.0)

    run(story)


@pytest.mark.parametrize("policy", ["Foreground", "Orphan"])
def test_simulated_xgc_18_and_24_an_unreachable_cluster_blocks_for_hours(policy: str) -> None:
    async def story(world: World) -> None:
        owner = await world.make(world.a, "owner")
        blocks = world.ref(owner, blockOwnerDeletion=True)
        here, away = await world.make(world.b, "dep", blocks), await world.make(world.c, "dep", blocks)
        await world.known(here, away)
        world.addresses["c"].break_with(UNREACHABLE["refused"])
        await world.delete(owner, policy)
        await world.clock.sleep(2 * HOUR)
        body = await world.get(owner)
        assert body is not None
        assert "deletionTimestamp" in body["metadata"]
        world.addresses["c"].break_with(None)
        await world.gone(owner)
        if policy == "Foreground":
            await world.gone(here, away)
        else:
            await world.kept(here, away, seconds=HOUR)
            assert [await world.refs(one) for one in (here, away)] == [[], []]

    run(story)


def test_simulated_xgc_26_dependent_seen_an_hour_before_owner() -> None:
    async def story(world: World) -> None:
        world.addresses["a"].break_with(
            lambda asked: "half-open" if asked[1] == "/api/v1/configmaps" and asked[2].get("watch") else None
        )
        owner = await world.make(world.a, "owner")
        dep = await world.make(world.b, "dep", world.ref(owner))
        await world.kept(owner, dep, seconds=HOUR)
        world.addresses["a"].break_with(None)
        await world.known(dep)

    run(story)


def test_simulated_xgc_29_owners_in_three_clusters_one_unknown_for_an_hour() -> None:
    async def story(world: World) -> None:
        owners = [await world.make(site, "owner") for site in world.sites.values()]
        dep = await world.make(world.b, "dep", *(world.ref(owner) for owner in owners))
        await world.known(dep)
        world.addresses["c"].break_with(UNREACHABLE["reset"])
        for owner in owners:
            await world.remove_by_hand(owner)
        await world.kept(dep, seconds=HOUR)
        assert len(await world.refs(dep)) == 3
        world.addresses["c"].break_with(None)
        await world.gone(dep)

    run(story)


def test_simulated_xgc_36_brake_holds_for_hours_through_restarts_and_a_wiped_broker() -> None:
    async def story(world: World) -> None:
        made = [await world.pair(f"owner{number}") for number in range(5)]
        deps = [dep for _, dep in made]
        await world.dismiss("a")
        for owner, _ in made:
            await world.remove_by_hand(owner)
        world.a.cluster.compact()
        world.engage("a")

        async def tripped() -> bool:
            return bool(await brakes(world, world.a))

        await world.until(tripped)
        await world.kept(*deps, seconds=HOUR)
        await world.dismiss()
        world.employ()
        await world.kept(*deps, seconds=HOUR)
        world.log.lose_streams()
        await world.log.prepare()
        await world.kept(*deps, seconds=2 * HOUR)
        await approve(world, world.a)
        await world.gone(*deps)

    run(story, config=GarbageConfig(brake=BrakeConfig(absolute=4)))  # of five: each is asked about for hours


def test_simulated_xgc_40_broken_type_does_not_block_for_an_hour() -> None:
    async def story(world: World) -> None:
        owner, dep = await world.pair()
        broken_owner, of_broken = await world.pair("broken", kind="Gadget")
        broken = await world.make(world.b, "broken-dep", world.ref(owner), kind="Gadget")
        await world.known(broken)
        for name in ("a", "b"):
            world.addresses[name].break_with(
                lambda asked: status(500, "InternalError") if "gadgets" in asked[1] else None
            )
        await world.delete(owner)
        await world.remove_by_hand(broken_owner)
        await world.gone(owner, dep)
        await world.kept(broken, of_broken, seconds=HOUR)
        for name in ("a", "b"):
            world.addresses[name].break_with(None)
        await world.gone(broken, of_broken)

    run(story)
