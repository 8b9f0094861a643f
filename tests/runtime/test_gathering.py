"""A place to wait for others: nobody waits alone, nobody for ever, and nobody is left behind."""

from __future__ import annotations

import asyncio

from engine.runtime.gathering import Gathering
from tests.watchers.virtual_time import VirtualClock, run

MOST, QUIET, LONGEST = 5, 0.01, 0.2


class Crowd:
    """Members that come to one place, and when each of them went on."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.place = Gathering(self.clock, most=MOST, quiet=QUIET, longest=LONGEST)
        self.gone: dict[int, float] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self.since = self.clock.monotonic()

    async def come(self, count: int, *, apart: float = 0.0) -> None:
        for _ in range(count):
            self.tasks.append(asyncio.create_task(self._join(len(self.tasks))))
            await asyncio.sleep(apart)

    async def all_gone(self) -> list[float]:
        await asyncio.wait(self.tasks)
        return [round(self.gone[number], 3) for number in sorted(self.gone)]

    async def _join(self, number: int) -> None:
        await self.place.join()
        self.gone[number] = self.clock.monotonic() - self.since


def test_whoever_comes_after_a_rest_goes_on_at_once() -> None:
    async def main() -> None:
        crowd = Crowd()
        await crowd.come(3, apart=2 * QUIET)
        assert await crowd.all_gone() == [0.0, 2 * QUIET, 4 * QUIET]

    run(main())


def test_those_who_follow_closely_go_on_together_as_soon_as_nobody_comes() -> None:
    async def main() -> None:
        crowd = Crowd()
        await crowd.come(4, apart=QUIET / 2)
        first, *others = await crowd.all_gone()
        assert first == 0.0
        assert len(set(others)) == 1
        assert others[0] <= 4 * QUIET

    run(main())


def test_a_full_group_waits_for_nobody() -> None:
    async def main() -> None:
        crowd = Crowd()
        await crowd.come(1 + MOST)
        gone = await crowd.all_gone()
        assert gone[2:] == [0.0] * (MOST - 1)
        assert gone[1] <= QUIET  # the one that kept watch

    run(main())


def test_the_first_of_a_group_waits_no_longer_than_it_may_though_others_keep_coming() -> None:
    async def main() -> None:
        crowd = Crowd()
        crowd.place = Gathering(crowd.clock, most=1000, quiet=QUIET, longest=LONGEST)
        await crowd.come(100, apart=QUIET / 2)
        gone = await crowd.all_gone()
        assert LONGEST <= gone[1] <= LONGEST + 2 * QUIET
        assert len(set(gone)) < 10

    run(main())


def test_when_the_one_that_keeps_watch_is_cancelled_the_others_go_on() -> None:
    async def main() -> None:
        crowd = Crowd()
        await crowd.come(4)
        crowd.tasks[1].cancel()
        assert await crowd.all_gone() == [0.0, 0.0, 0.0]
        assert sorted(crowd.gone) == [0, 2, 3]

    run(main())
