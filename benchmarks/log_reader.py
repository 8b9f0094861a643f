"""A role that reads the streams of a running fleet: who holds which key, what sync records came, what STATE holds."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from benchmarks import roles
from benchmarks.engine_parts import broker_of, open_log
from crosscurrent import logs
from engine.runtime.ports import EventLog
from schemas import subjects
from schemas.decisions import EntryState, decode_entry
from schemas.facts import decode_fact, decode_sync


class Holders:
    """Follows DECISIONS: which keys each worker has open. Can kill a worker at the moment it opens one."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._open: dict[str, str] = {}
        self._victim: int | None = None
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled."""
        filters = [f"{subjects.DECISIONS}.>"]
        start = await self._log.last_sequence("DECISIONS")
        self.ready.set()
        async for record in self._log.follow("DECISIONS", filters, after=start):
            entry = decode_entry(record.body)
            name = subjects.parse_keyed(record.subject)[1].name
            if entry.state is not EntryState.OPEN:
                self._open.pop(name, None)
                continue
            self._open[name] = entry.worker
            if self._victim is not None and f"-{self._victim}-" in entry.worker:
                os.kill(self._victim, signal.SIGKILL)
                self._victim = None
                held = [key for key, worker in self._open.items() if worker == entry.worker]
                roles.say(killed=time.monotonic(), held=held, worker=entry.worker)

    def kill_at_next_open(self, pid: int) -> None:
        """Kill a worker as soon as it opens a key."""
        self._victim = pid


async def sync_records(log: EventLog, after: int) -> list[tuple[str, str, str]]:
    """Return (subject, type, reason) of the sync records that FACTS took after a sequence."""
    last = await log.last_sequence("FACTS")
    found = []
    if last <= after:
        return found
    async for record in log.follow("FACTS", [f"{subjects.SYNC}.>", f"{subjects.FACTS}.>"], after=after):
        if record.subject.startswith(f"{subjects.SYNC}."):
            sync = decode_sync(record.body)
            found.append((record.subject, sync.type.value, sync.data.reason))
        if record.seq >= last:
            break
    return found


async def alive(log: EventLog, cluster: str, group: str, plural: str) -> dict[str, tuple[str, str]]:
    """Return uid and resourceVersion of every object that STATE holds as alive, by namespace/name."""
    found = {}
    async for record in log.scan("STATE", [subjects.facts_of(cluster, group, plural)]):
        fact = decode_fact(record.body)
        if not fact.deleted:
            ref = subjects.parse_fact(record.subject)
            found[f"{ref.namespace}/{ref.name}"] = (fact.uid, fact.resourceversion)
    return found


async def main() -> None:
    """Serve `{"follow": 1}`, `{"kill": pid}`, `{"sequences": 1}`, `{"syncs": after}`, `{"state": [cluster, group, plural]}`.

    It follows DECISIONS only when told to, because that costs the broker something.
    """
    settings = roles.begin()
    logs.configure("log_reader")
    address = broker_of(settings["broker"])
    log = await open_log(address.url, address.token)
    holders = Holders(log)
    async with asyncio.TaskGroup() as group:
        roles.say(ready=1)
        while True:
            command = await roles.next_command()
            if "follow" in command:
                group.create_task(holders.run())
                await holders.ready.wait()
                roles.say(following=1)
            elif "kill" in command:
                holders.kill_at_next_open(command["kill"])
            elif "sequences" in command:
                streams = ("FACTS", "STATE", "INDEX", "REQUESTS", "DECISIONS", "TIMERS")
                roles.say(sequences={name: await log.last_sequence(name) for name in streams})
            elif "syncs" in command:
                roles.say(syncs=await sync_records(log, command["syncs"]))
            elif "state" in command:
                roles.say(state=await alive(log, *command["state"]))


if __name__ == "__main__":
    asyncio.run(main())
