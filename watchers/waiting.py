"""Waiting for the first of several things."""

from __future__ import annotations

import asyncio

from engine.runtime.ports import Clock


async def wait_either(event: asyncio.Event, seconds: float, clock: Clock) -> bool:
    """Wait until `event` is set, at most `seconds`; return whether it is."""
    if event.is_set() or seconds <= 0:
        await asyncio.sleep(0)
        return event.is_set()
    async with asyncio.TaskGroup() as group:
        nap = group.create_task(clock.sleep(seconds), name="nap")
        call = group.create_task(event.wait(), name="call")
        await asyncio.wait((nap, call), return_when=asyncio.FIRST_COMPLETED)
        nap.cancel()
        call.cancel()
    return event.is_set()
