"""Wait until nothing happens any more."""

from __future__ import annotations

import asyncio

from engine.runtime.ports import EventLog


async def quiet(log: EventLog) -> None:
    """Return when DECISIONS and REQUESTS have not grown for half a second, having grown once."""
    last, still = -1, 0
    for _ in range(200):
        await asyncio.sleep(0.05)
        now = await log.last_sequence("DECISIONS") + await log.last_sequence("REQUESTS")
        still = still + 1 if now == last and now else 0
        last = now
        if still == 10:
            return
    raise AssertionError("it never became quiet")
