"""Open-loop load: changes of Foos at a fixed rate, whatever becomes of the ones before (no coordinated omission).

Every change gives its Foo a number of replicas that no change had before, so that it can be recognised where it arrives.
With churn, Foos are also created and, a while later, deleted.
"""

from __future__ import annotations

import asyncio
import itertools
import time

import aiohttp

from benchmarks import roles
from benchmarks.fleet import FOOS
from benchmarks.kube_client import session

_MERGE = {"Content-Type": "application/merge-patch+json"}
_LIVES_SECONDS = 2.0
"""How long a churned Foo lives."""


class Load:
    """Changes one cluster's Foos in turn."""

    def __init__(self, http: aiohttp.ClientSession, foos: list[str]) -> None:
        self._http = http
        self._foos = itertools.cycle(foos)
        self._values = itertools.count(1)
        self._churned = itertools.count(1)
        self.changes: list[tuple[str, int, float, float, float]] = []
        """Foo, value, and on the machine's monotonic clock: when it was due, sent and acknowledged."""
        self.failures: list[str] = []

    async def run(self, seconds: float, rate: float, churn: float) -> None:
        """Make changes at `rate` a second, and churn at `churn` a second."""
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            if churn:
                group.create_task(self._churn(started, seconds, churn))
            for number in range(round(seconds * rate)):
                due = started + number / rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                group.create_task(self._change(next(self._foos), next(self._values), due))

    async def _change(self, foo: str, value: int, due: float) -> None:
        sent = time.monotonic()
        body = b'{"spec":{"replicas":%d}}' % value
        async with self._http.patch(f"{FOOS}/{foo}", data=body, headers=_MERGE) as response:
            acked = time.monotonic()
            text = await response.text()
        if response.status == 200:
            self.changes.append((foo, value, due, sent, acked))
        else:
            self.failures.append(f"{foo}: {response.status} {text[:200]}")

    async def _churn(self, started: float, seconds: float, rate: float) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(round(seconds * rate)):
                await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
                group.create_task(self._live_and_die(f"churn-{next(self._churned)}"))

    async def _live_and_die(self, name: str) -> None:
        body = {
            "apiVersion": "samplecontroller.k8s.io/v1alpha1",
            "kind": "Foo",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"deploymentName": name, "replicas": 0},
        }
        async with self._http.post(FOOS, json=body) as response:
            await response.read()
        await asyncio.sleep(_LIVES_SECONDS)
        async with self._http.delete(f"{FOOS}/{name}") as response:
            await response.read()
        if response.status not in (200, 202):
            self.failures.append(f"deleting {name}: {response.status}")


async def main() -> None:
    """Serve commands `{"run": seconds, "rate": per second, "churn": per second}`."""
    settings = roles.begin()
    async with session(settings["access"]) as http:
        load = Load(http, settings["foos"])
        roles.say(ready=1)
        while True:
            command = await roles.next_command()
            load.changes, load.failures = [], []
            await load.run(command["run"], command["rate"], command.get("churn", 0.0))
            roles.say(changes=load.changes, failures=load.failures)


if __name__ == "__main__":
    asyncio.run(main())
