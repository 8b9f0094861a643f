"""`crosscurrent up`: start everything, keep it running, end it in order."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import msgspec
import structlog
from cyclopts import Parameter

from crosscurrent import logs, processes
from crosscurrent import settings as configuration
from crosscurrent.errors import UsageError
from crosscurrent.health import LOOPBACK
from crosscurrent.options import Bind, ConfigFile
from crosscurrent.running import RECONCILE, WATCH, Fleet, running_fleet
from crosscurrent.settings import Settings

_log = structlog.get_logger(__name__)


async def up(
    *,
    config: ConfigFile = None,
    workers: Annotated[int | None, Parameter(help="Worker processes, instead of the configuration's.")] = None,
    bind: Bind = LOOPBACK,
) -> int:
    """Start everything: broker, a watcher per cluster, workers."""
    settings = configuration.load(config, required=True)
    if workers is not None:
        settings = with_workers(settings, workers)
    processes.check(settings)
    logs.configure("up")
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    if not settings.config.clusters:
        _log.warning("no clusters are configured: nothing will be watched", file=settings.where())
    if settings.config.workers and not settings.config.reconcilers:
        _log.warning("no reconcilers are configured: no worker is started", file=settings.where())
    async with running_fleet(settings, host=bind) as fleet:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _stop, stopping, fleet)
        announcing = asyncio.create_task(_announce(fleet, settings, bind), name="readiness line")
        await stopping.wait()
        announcing.cancel()
        _log.info("stopping", again="once more to end at once")
    _log.info("stopped")
    return 0


def with_workers(settings: Settings, workers: int) -> Settings:
    """Return settings with another number of workers.

    Raises:
        UsageError: when it is not one.

    """
    if not 0 <= workers <= configuration.MAX_WORKERS:
        raise UsageError(f"--workers: {workers} is not between 0 and {configuration.MAX_WORKERS}")
    changed = msgspec.structs.replace(settings.config, workers=workers)
    return msgspec.structs.replace(settings, config=changed)


def _stop(stopping: asyncio.Event, fleet: Fleet) -> None:
    """Begin to end; asked again, do not wait for anyone."""
    if stopping.is_set():
        fleet.supervisor.hurry()
    stopping.set()


async def _announce(fleet: Fleet, settings: Settings, host: str) -> None:
    await fleet.supervisor.wait_ready()
    kinds = [child.spec.kind for child in fleet.supervisor.children]
    config = settings.config
    _log.info(
        "ready",
        watchers=kinds.count(WATCH),
        workers=kinds.count(RECONCILE),
        broker=fleet.address.url,
        probes=f"http://{host}:{config.probe_port}/readyz" if config.probe_port else "none",
        metrics=f"http://{host}:{config.metrics_port}/metrics" if config.metrics_port else "none",
        file=str(settings.path or Path.cwd()),
    )
