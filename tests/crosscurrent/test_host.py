"""The life of a process: it ends when it is asked to, also where a cancellation got lost on its way."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from crosscurrent import host


async def test_work_that_lost_its_cancellation_is_cancelled_again_and_its_tasks_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host, "CANCEL_AGAIN_S", 0.05)

    async def deaf_once() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(deaf_once(), name="deaf once")

    stopping = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, stopping.set)
    with capture_logs() as logs:
        await host._until(stopping, work())
    assert [one["event"] for one in logs] == ["not ended yet: cancelled again"]
    assert "deaf once" in logs[0]["tasks"]
