"""Cascades of several levels over clusters and kinds, on simulated clusters in virtual time."""

from __future__ import annotations

import pytest

from tests.garbage.simulated_world import Made, World, run


async def three_levels(world: World) -> list[Made]:
    """Return an owner in a, its dependents in b and c, and theirs: one each, of another kind, in yet another cluster."""
    top = await world.make(world.a, "top")
    middle = [
        await world.make(site, "middle", world.ref(top, blockOwnerDeletion=True), kind="Gadget")
        for site in (world.b, world.c)
    ]
    leaves = [
        await world.make(site, f"leaf-of-{owner.site.name}", world.ref(owner, blockOwnerDeletion=True))
        for owner, site in zip(middle, (world.c, world.a), strict=True)
    ]
    await world.known(*middle, *leaves)
    return [top, *middle, *leaves]


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_what_depends_on_dependents_in_other_clusters_goes_as_well(policy: str) -> None:
    async def story(world: World) -> None:
        top, *others = await three_levels(world)
        bystander = await world.make(world.b, "bystander")
        await world.delete(top, policy)
        await world.gone(top)
        if policy == "Foreground":
            assert [await world.get(one) for one in others] == [None] * len(others), "the owner went before they did"
        await world.gone(*others)
        await world.kept(bystander, seconds=60.0)

    run(story)


def test_an_orphaned_level_keeps_what_depends_on_it() -> None:
    async def story(world: World) -> None:
        top, *others = await three_levels(world)
        await world.delete(top, "Orphan")
        await world.gone(top)
        await world.kept(*others, seconds=60.0)
        middle, leaf = others[0], others[2]
        await world.delete(middle)
        await world.gone(middle, leaf)
        await world.kept(others[1], others[3], seconds=60.0)

    run(story)
