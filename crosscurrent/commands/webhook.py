"""`crosscurrent webhook CLUSTER`: the automount webhook of one cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from cyclopts import Parameter

from crosscurrent import completers, logs, processes
from crosscurrent import settings as configuration
from crosscurrent.errors import UsageError
from crosscurrent.health import LOOPBACK
from crosscurrent.host import Ports, host
from crosscurrent.options import Bind, ConfigFile, ProbePort

CONFIGURATION = "service-account-import-admission-controller"


async def webhook(
    cluster: Annotated[str, Parameter(help="Name of a configured cluster.", completer=completers.declared_clusters)],
    /,
    *,
    port: Annotated[int, Parameter(help="Port of the HTTPS server.")] = 9876,
    name: Annotated[
        str, Parameter(help="Host name by which the API server calls us, as in the certificate.")
    ] = "service-account-import-admission-controller.crosscurrent.svc",
    webhook_configuration: Annotated[
        str, Parameter(help="MutatingWebhookConfiguration that the authority is published in.")
    ] = CONFIGURATION,
    probe_port: ProbePort = 0,
    bind: Bind = LOOPBACK,
    config: ConfigFile = None,
) -> int:
    """Mount imports into the pods of one cluster that ask for them."""
    settings = configuration.load(config, required=True)
    chosen = processes.find_cluster(settings, cluster)
    if not 0 < port < 65536:
        raise UsageError(f"--port: {port} is not a port (1 to 65535)")
    logs.configure(f"webhook {cluster}")
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - after the arguments are known to be right

    where = processes.WebhookPlace(port=port, bind=bind, name=name, configuration=webhook_configuration)

    async def work(ready: Callable[[], None]) -> None:
        await processes.webhook(settings, chosen, where, ready=ready)

    return await host(work, CollectorRegistry(), Ports(probe=probe_port, host=bind))
