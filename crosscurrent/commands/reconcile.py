"""`crosscurrent reconcile`: one worker process."""

from __future__ import annotations

from collections.abc import Callable

from crosscurrent import logs, processes
from crosscurrent import settings as configuration
from crosscurrent.health import LOOPBACK
from crosscurrent.host import Ports, host
from crosscurrent.options import Bind, ConfigFile, MetricsPort, ProbePort


async def reconcile(
    *,
    probe_port: ProbePort = 0,
    metrics_port: MetricsPort = 0,
    bind: Bind = LOOPBACK,
    config: ConfigFile = None,
) -> int:
    """Run one reconciler worker."""
    settings = configuration.load(config, required=True)
    logs.configure("reconcile")
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - after the arguments are known to be right

    registry = CollectorRegistry()

    async def work(ready: Callable[[], None]) -> None:
        await processes.reconcile(settings, registry=registry, ready=ready)

    return await host(work, registry, Ports(probe=probe_port, metrics=metrics_port, host=bind))
