"""`crosscurrent members`: the hub's door for clusters that join by themselves."""

from __future__ import annotations

from collections.abc import Callable

from crosscurrent import joining, logs
from crosscurrent import settings as configuration
from crosscurrent.errors import UserError
from crosscurrent.health import LOOPBACK
from crosscurrent.host import Ports, host
from crosscurrent.options import Bind, ConfigFile, MetricsPort, ProbePort


async def members(
    *,
    probe_port: ProbePort = 0,
    metrics_port: MetricsPort = 0,
    bind: Bind = LOOPBACK,
    config: ConfigFile = None,
) -> int:
    """Let clusters join, and do for members what they may ask."""
    settings = configuration.load(config, required=True)
    if not settings.config.registry.joins:
        raise UserError(f"{settings.where()}: registry.joins is empty: nobody may join", "see docs/bootstrapping.md")
    logs.configure("members")
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - after the arguments are known to be right

    async def work(ready: Callable[[], None]) -> None:
        await joining.serve_members(settings, ready=ready)

    return await host(work, CollectorRegistry(), Ports(probe=probe_port, metrics=metrics_port, host=bind))
