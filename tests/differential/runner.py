"""Many scripts at a time on both servers, until so many operations were compared or something differs."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from tests.api_session import ApiSession
from tests.differential.comparison import Difference, Tally, first_difference
from tests.differential.operations import Script
from tests.differential.replay import both
from tests.differential.shrinking import shrunk
from tests.differential.widgets import WIDGETS_CRD

CONCURRENCY = 4
"""Keeps both servers busy. More would only queue, and the longer a script takes the more seconds pass in it."""


@dataclass
class Outcome:
    """What came of a run."""

    tally: Tally = field(default_factory=Tally)
    differences: list[Difference] = field(default_factory=list)


class Runner:
    """Both servers. Call `prepare` first."""

    def __init__(
        self, real: ApiSession, simulated: ApiSession, *, progress: Callable[[str], None] = lambda _: None
    ) -> None:
        self._real = real
        self._simulated = simulated
        self._progress = progress
        self._mark = secrets.token_hex(2)
        self._numbers = itertools.count(1)

    async def prepare(self) -> None:
        """Define the custom resource of the scripts in both clusters, and return once it is served."""
        for session in (self._real, self._simulated):
            await session.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", WIDGETS_CRD)
            async with asyncio.timeout(30):
                while (await session.get("/apis/differential.example.com/v1/widgets")).status != 200:
                    await asyncio.sleep(0.05)

    async def run(self, scripts: Iterable[Script], *, most: int = 1, shrink: bool = True) -> Outcome:
        """Replay scripts until they are done, or until `most` have differed; those differences are shrunk."""
        outcome = Outcome()
        waiting = iter(scripts)

        async def work() -> None:
            for script in waiting:
                if len(outcome.differences) >= most:
                    return
                if found := await self.difference(script, outcome.tally):
                    outcome.differences.append(found)
                self._progress(f"{outcome.tally.operations} operations, {len(outcome.differences)} differences")

        async with asyncio.TaskGroup() as tasks:
            for _ in range(CONCURRENCY):
                tasks.create_task(work())
        if shrink:
            outcome.differences = [await shrunk(one, self.difference) for one in outcome.differences[:most]]
        return outcome

    async def difference(self, script: Script, tally: Tally | None = None) -> Difference | None:
        """Replay one script on both servers, in a namespace of its own, and return its first difference."""
        counted = tally if tally is not None else Tally()
        name = f"{script.namespace.partition('-')[0]}-{self._mark}-{next(self._numbers)}"
        fresh = msgspec.structs.replace(script, namespace=name)
        real, simulated = await both(fresh, self._real, self._simulated)
        counted.operations += len(script.operations)
        return first_difference(fresh, real, simulated, counted)
