"""A role that converges thousands of Foos on paper, and later requests all of them again."""

from __future__ import annotations

import asyncio

from benchmarks import roles
from benchmarks.converged import PaperFleet
from benchmarks.engine_parts import open_log
from crosscurrent import logs
from engine.runtime.clock import SystemClock
from engine.runtime.ports import EventLog, Message
from engine.runtime.worker import Worker
from reconcilers.registry import find
from schemas import subjects
from schemas.names import ClusterName, ObjectRef

_QUIET_SECONDS = 3.0


async def converge(log: EventLog, clusters: list[ClusterName], names: list[str]) -> list[ObjectRef]:
    """Reconcile every Foo until nothing is decided any more; return where they are."""
    await log.prepare()
    fleet = PaperFleet(log, clusters)
    await fleet.engage()
    worker = Worker(find("foo"), log=log, performer=fleet, clock=SystemClock(), clusters=clusters, name="seed")
    working = asyncio.create_task(worker.run())
    refs = await fleet.create_foos(names, clusters[0])
    last, quiet = -1, 0.0
    while quiet < _QUIET_SECONDS:
        await asyncio.sleep(0.5)
        if working.done():
            working.result()
        now = await log.last_sequence("DECISIONS") + await log.last_sequence("REQUESTS")
        quiet = quiet + 0.5 if now == last and now > 0 else 0.0
        last = now
    working.cancel()
    await asyncio.wait([working])
    return refs


async def main() -> None:
    """Converge, then serve `{"request": 1}` and `{"sequences": 1}`; `{"reconnect": ...}` after the broker has moved."""
    settings = roles.begin()
    logs.configure("noop_seed")
    clusters = [ClusterName(name) for name in settings["clusters"]]
    log = await open_log(settings["nats"], settings["token"])
    refs = await converge(log, clusters, [f"foo-{number}" for number in range(settings["foos"])])
    roles.say(converged=len(refs), decisions=await log.last_sequence("DECISIONS"))
    while True:
        command = await roles.next_command()
        if "request" in command:
            keys = [Message(subject=subjects.keyed(subjects.REQUESTS, "foo", ref), body=b"benchmark") for ref in refs]
            await log.publish_many("REQUESTS", keys)
            roles.say(requested=len(keys))
        elif "left" in command:
            left = await log.last("REQUESTS", [f"{subjects.REQUESTS}.>"])
            roles.say(left=len(left), decisions=await log.last_sequence("DECISIONS"))


if __name__ == "__main__":
    asyncio.run(main())
