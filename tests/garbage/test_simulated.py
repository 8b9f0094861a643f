"""Simulated variants of the cases in which evidence is UNKNOWN: hours of them, in virtual time."""

from __future__ import annotations

from tests.garbage.simulated_world import World, run


def test_background() -> None:
    async def story(world: World) -> None:
        owner, dep = await world.pair()
        await world.delete(owner)
        await world.gone(owner, dep)

    run(story)
