"""Owners let go without a cluster that has been away for too long, `garbage.give_up_after_seconds`, in virtual time."""

from __future__ import annotations

import json

import pytest

from schemas.config import GarbageConfig
from tests.garbage.simulated_api import status
from tests.garbage.simulated_world import NS, Json, Made, World, run

pytestmark = pytest.mark.timeout(600)  # nothing in them depends on the machine's clock, nor may this
HOUR = 3600.0
TOMBSTONES = "/apis/crosscurrent.dev/v1alpha1/ownertombstones"
GIVING_UP = GarbageConfig(give_up_after_seconds=2 * HOUR)


async def cut_off(world: World) -> tuple[Made, Made]:
    """Return an owner whose deletion in the foreground waits for a dependent in c, which does not answer."""
    owner = await world.make(world.a, "owner")
    away = await world.make(world.c, "dep", world.ref(owner, blockOwnerDeletion=True))
    await world.known(away)
    world.addresses["c"].break_with(lambda _: "connection refused")
    return owner, away


async def tombstone(world: World, owner: Made) -> Json | None:
    reply = await world.a.ask("GET", f"{TOMBSTONES}/{owner.uid}")
    return dict(json.loads(reply.body)["spec"]) if reply.status == 200 else None


def test_an_owner_is_let_go_after_the_deadline_on_record_and_what_comes_back_is_kept_and_reported() -> None:
    async def story(world: World) -> None:
        owner, away = await cut_off(world)
        await world.clock.sleep(HOUR)
        await world.delete(owner, "Foreground")
        await world.clock.sleep(1.5 * HOUR)
        assert await world.get(owner) is not None, "c is away for longer than that, but the owner is deleted for less"
        await world.clock.sleep(HOUR)
        await world.gone(owner)
        spec = await tombstone(world, owner)
        assert spec is not None
        assert spec["abandoned"] == [world.c.identity]
        assert "give_up_after_seconds" in spec["reason"]
        world.addresses["c"].break_with(None)
        await world.kept(away, seconds=HOUR)
        events = json.loads((await world.c.ask("GET", f"/apis/events.k8s.io/v1/namespaces/{NS}/events")).body)
        assert "Abandoned" in {one["reason"] for one in events["items"]}

    run(story, config=GIVING_UP)


def test_an_orphaning_owner_that_was_let_go_so_still_orphans_what_comes_back() -> None:
    async def story(world: World) -> None:
        owner, away = await cut_off(world)
        await world.delete(owner, "Orphan")
        await world.clock.sleep(3 * HOUR)
        await world.gone(owner)
        world.addresses["c"].break_with(None)
        await world.kept(away, seconds=HOUR)
        assert await world.refs(away) == []

    run(story, config=GIVING_UP)


@pytest.mark.parametrize("config", [GarbageConfig(), GIVING_UP], ids=["off", "on"])
def test_a_cluster_that_answers_and_refuses_is_never_given_up(config: GarbageConfig) -> None:
    async def story(world: World) -> None:
        owner, away = await cut_off(world)
        forbidden = status(403, "Forbidden")
        world.addresses["c"].break_with(lambda asked: forbidden if "configmaps" in asked[1] else None)
        await world.delete(owner, "Foreground")
        await world.clock.sleep(4 * HOUR)
        assert await world.get(owner) is not None
        world.addresses["c"].break_with(None)
        await world.gone(owner, away)
        assert await tombstone(world, owner) is None

    run(story, config=config)


def test_without_a_deadline_nothing_is_given_up_however_long_it_takes() -> None:
    async def story(world: World) -> None:
        owner, away = await cut_off(world)
        await world.delete(owner, "Foreground")
        await world.clock.sleep(4 * HOUR)
        assert await world.get(owner) is not None
        world.addresses["c"].break_with(None)
        await world.gone(owner, away)

    run(story)
