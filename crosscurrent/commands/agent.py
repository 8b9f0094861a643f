"""`crosscurrent agent`: a member's agent, which runs in the member and joins the hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from crosscurrent import joining, logs
from crosscurrent.health import LOOPBACK
from crosscurrent.host import Ports, host
from crosscurrent.options import Bind, MetricsPort, ProbePort


async def agent(
    *,
    join: Annotated[Path, Parameter(help="Directory of the mounted join Secret: hub, cluster, token, ca.crt.")] = Path(
        "/etc/crosscurrent/join"
    ),
    namespace: Annotated[str, Parameter(help="Our namespace in this cluster.")] = "crosscurrent",
    key: Annotated[str, Parameter(help="Secret of this cluster that keeps our key.")] = "crosscurrent-agent",
    account: Annotated[
        str, Parameter(help="ServiceAccount whose tokens the hub gets, if the join Secret names a server.")
    ] = "crosscurrent-hub",
    keep: Annotated[
        Path | None,
        Parameter(help="Directory for facts that wait while the hub is away. Without: they are read again."),
    ] = None,
    keep_mib: Annotated[int, Parameter(help="At most so many MiB of them.", validator=Number(gte=1))] = 512,
    probe_port: ProbePort = 0,
    metrics_port: MetricsPort = 0,
    bind: Bind = LOOPBACK,
) -> int:
    """Join a hub, watch this cluster for it, and act here on its word."""
    logs.configure("agent")
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - after the arguments are known to be right

    registry = CollectorRegistry()
    place = joining.AgentPlace(
        join=join, namespace=namespace, secret=key, account=account, keep=keep, keep_bytes=keep_mib * 1024 * 1024
    )

    async def work(ready: Callable[[], None]) -> None:
        await joining.agent(place, registry=registry, ready=ready)

    return await host(work, registry, Ports(probe=probe_port, metrics=metrics_port, host=bind))
