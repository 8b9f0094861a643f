"""The life of a process: it ends when it is asked to, also where a cancellation got lost or a thread does not end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
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


BLOCKED = """
import asyncio, sys, time
from prometheus_client import CollectorRegistry
from crosscurrent import host, logs

host.LAST_THREADS_S = 0.2

async def work(ready):
    blocked = asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)
    print("ready", flush=True)
    await blocked

logs.configure("test")
sys.exit(asyncio.run(host.host(work, CollectorRegistry(), host.Ports())))
"""


def test_a_process_ends_though_a_thread_of_it_is_blocked() -> None:
    with subprocess.Popen([sys.executable, "-c", BLOCKED], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert b"a thread is blocked" in said
    assert b"Traceback" not in said
