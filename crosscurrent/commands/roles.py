"""`crosscurrent roles CLUSTER`: the rights that the configuration needs in a cluster, as YAML to apply there."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from crosscurrent import completers, processes
from crosscurrent import settings as configuration
from crosscurrent.errors import UsageError, UserError
from crosscurrent.options import ConfigFile


async def roles(
    cluster: Annotated[str, Parameter(help="Name of a configured cluster.", completer=completers.declared_clusters)],
    /,
    *,
    account: Annotated[
        str, Parameter(help="NAMESPACE/NAME of our ServiceAccount there.")
    ] = "crosscurrent/crosscurrent",
    config: ConfigFile = None,
) -> int:
    """Print the RBAC objects that we need in a cluster."""
    settings = configuration.load(config, required=True)
    name_there = processes.watchable(settings, cluster)
    namespace, slash, name = account.partition("/")
    if not slash or not namespace or not name or "/" in name:
        raise UsageError(f"--account: {account!r} is not NAMESPACE/NAME")
    reconcilers = processes.check(settings)
    import yaml  # noqa: PLC0415 - after the arguments are known to be right

    from engine.core.roles import NoRoles  # noqa: PLC0415
    from engine.core.roles import roles as needed  # noqa: PLC0415

    try:
        objects = needed(
            name_there,
            reconcilers,
            settings.config.imports,
            registry=settings.config.registry,
            resources=processes.watched_types(settings, reconcilers),
            account=(namespace, name),
        )
    except NoRoles as error:
        raise UserError(str(error), "grant it by hand, see docs/garbage-collection.md") from error
    sys.stdout.write(yaml.safe_dump_all(objects, sort_keys=False))
    return 0
