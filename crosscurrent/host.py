"""The life of one watcher or worker process: signals, readiness, probes, metrics; the work itself is passed in."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import msgspec
import structlog

from crosscurrent import health
from crosscurrent.errors import UserError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

NOTIFY_VARIABLE = "CROSSCURRENT_NOTIFY_FD"
"""Set by `up` for its children: the descriptor to write a Notice to when ready."""


METRICS_VARIABLE = "CROSSCURRENT_CHILD_METRICS"
"""Set by `up` when it wants its children's metrics, to show them as its own."""


class Notice(msgspec.Struct, frozen=True):
    """A child's word that it is ready."""

    metrics_port: int = 0
    """Where on loopback it serves metrics."""


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Where a process serves probes and metrics; 0: nowhere."""

    probe: int = 0
    metrics: int = 0
    host: str = health.LOOPBACK


COLLECT_EVERY = 20_000
"""New containers between two looks for cycles among the young; with Python's 700, every few reconciles cause one."""

CANCEL_AGAIN_S = 2.0
"""For the work to end: actions in hand are cut off, which takes milliseconds."""

LAST_THREADS_S = 5.0
"""For calls that block in a thread, such as a look-up of a name, once all else has ended: the interpreter waits for them."""

Work = Callable[[Callable[[], None]], Awaitable[None]]
"""The work; it calls its argument when it is ready, and runs until cancelled."""


async def host(work: Work, registry: CollectorRegistry, ports: Ports) -> int:
    """Run the work until SIGTERM, SIGINT, or the end of the `up` that started us; then cancel it and return 0.

    Work that fails is logged and answered with 1: whoever runs us starts us again.

    Raises:
        UserError: as the work raised it; or for a port that is taken.

    """
    supervised = NOTIFY_VARIABLE in os.environ
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    is_ready = asyncio.Event()

    async def readiness() -> str:
        return "" if is_ready.is_set() else "starting"

    async def liveness() -> str:
        return ""  # that the loop answers is the check

    probe_socket, metrics_socket = health.take_ports(ports.probe, ports.metrics, host=ports.host)
    if supervised and metrics_socket is None and METRICS_VARIABLE in os.environ:
        metrics_socket = health.take_port(0, host=health.LOOPBACK, purpose="metrics", advice="")
    metrics_port = metrics_socket.getsockname()[1] if metrics_socket else 0

    def ready() -> None:
        settle()
        is_ready.set()
        if supervised:
            os.write(int(os.environ[NOTIFY_VARIABLE]), msgspec.json.encode(Notice(metrics_port)) + b"\n")

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            health.probes(probe_socket, live={"ping": liveness}, ready={"started": readiness})
        )
        await stack.enter_async_context(health.metrics(metrics_socket, registry))
        if supervised:
            watching = asyncio.create_task(_parent_ended(stopping), name="end of our parent")
            stack.callback(watching.cancel)
        try:
            await _until(stopping, work(ready))
        except UserError:
            raise
        except Exception as problem:  # noqa: BLE001 - the last resort: nothing of ours is left to handle it
            structlog.get_logger(__name__).error("process failed", exc_info=problem)
            return _leave(1)
    return _leave(0)


def _leave(code: int) -> int:
    """Return the exit code, and see to it that the process ends with it, whatever a thread still waits for."""

    def end() -> None:
        left = [thread.name for thread in threading.enumerate() if not thread.daemon]
        structlog.get_logger(__name__).warning("not ended yet: a thread is blocked, left as it is", threads=left)
        sys.stderr.flush()
        os._exit(code)

    timer = threading.Timer(LAST_THREADS_S, end)
    timer.daemon = True
    timer.start()
    return code


def settle() -> None:
    """Take what has been imported and set up out of the garbage collector's sight, once a process is ready.

    It stays until the end. Not looked through again, a full collection takes microseconds instead of 40 ms. Nearly all of the
    rest is freed by counting references, so that cycles are looked for less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 50)


async def _until(stopping: asyncio.Event, work: Awaitable[None]) -> None:
    """Run the work until it ends or a stop is asked for."""
    working = asyncio.ensure_future(work)
    waiting = asyncio.create_task(stopping.wait(), name="stop signal")
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if working.done():
        working.result()
        return
    working.cancel()
    await asyncio.wait({working}, timeout=CANCEL_AGAIN_S)
    while not working.done():
        # A cancellation that meets the end of what was waited for can get lost on its way down, and nobody would try again.
        mine = asyncio.current_task()
        left = [task for task in asyncio.all_tasks() if task is not mine]
        structlog.get_logger(__name__).warning(
            "not ended yet: cancelled again", tasks=sorted(t.get_name() for t in left)
        )
        for task in left:
            task.cancel()
        await asyncio.wait({working}, timeout=CANCEL_AGAIN_S)
    with suppress(asyncio.CancelledError):
        working.result()


async def _parent_ended(stopping: asyncio.Event) -> None:
    """Ask for a stop when stdin ends: `up` holds the other end, however it dies."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass
    stopping.set()
