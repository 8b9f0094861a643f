"""`crosscurrent watch CLUSTER`: one watcher process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from cyclopts import Parameter

from crosscurrent import completers, logs, processes
from crosscurrent import settings as configuration
from crosscurrent.health import LOOPBACK
from crosscurrent.host import Ports, host
from crosscurrent.options import Bind, ConfigFile, MetricsPort, ProbePort


async def watch(
    cluster: Annotated[
        str, Parameter(help="Name of a cluster, declared or of the registry.", completer=completers.declared_clusters)
    ],
    /,
    *,
    probe_port: ProbePort = 0,
    metrics_port: MetricsPort = 0,
    bind: Bind = LOOPBACK,
    config: ConfigFile = None,
) -> int:
    """Run the watcher of one cluster."""
    settings = configuration.load(config, required=True)
    chosen = processes.watchable(settings, cluster)
    logs.configure(f"watch {cluster}")
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - after the arguments are known to be right

    registry = CollectorRegistry()

    async def work(ready: Callable[[], None]) -> None:
        await processes.watch(settings, chosen, registry=registry, ready=ready)

    return await host(work, registry, Ports(probe=probe_port, metrics=metrics_port, host=bind))
