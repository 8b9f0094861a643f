"""The cluster registry as the configuration asks for it, running for as long as a block runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from crosscurrent.errors import SettingsError
from crosscurrent.settings import Settings

if TYPE_CHECKING:
    from engine.runtime.context_file import ContextFile
    from engine.runtime.ports import Clock, ClusterApi
    from engine.runtime.registry import Provider, Registry
    from schemas.config import ClusterConfig
    from schemas.names import ClusterName


@asynccontextmanager
async def running_registry(settings: Settings, only: ClusterName | None = None) -> AsyncIterator[Registry]:
    """Run the providers, each hub through a connection of its own.

    Args:
        settings: checked.
        only: the one cluster that matters to this process; None: all.

    Raises:
        SettingsError: when a declared cluster's kubeconfig cannot be used.

    """
    from engine.runtime.clock import SystemClock  # noqa: PLC0415 - after the arguments are known to be right
    from engine.runtime.declared_clusters import DeclaredClusters  # noqa: PLC0415
    from engine.runtime.kubeconfig import KubeconfigError  # noqa: PLC0415
    from engine.runtime.registry import Registry  # noqa: PLC0415

    clock = SystemClock()
    async with AsyncExitStack() as stack:
        wanted = [one for one in settings.config.clusters if only in (None, one.name)]
        try:
            declared = DeclaredClusters(wanted, settings.directory, clock)
        except KubeconfigError as error:
            raise SettingsError(f"{settings.where()}: {error}") from error
        hubs = await _open_hubs(settings, stack)
        registry = Registry([declared, *_providers(settings, hubs, clock, only)])
        running = asyncio.create_task(registry.run(), name="cluster registry")
        try:
            yield registry
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def context_of(settings: Settings, cluster: ClusterConfig) -> ContextFile:
    """Return how a declared cluster is reached, now and later.

    Raises:
        SettingsError: when its kubeconfig cannot be used.

    """
    from engine.runtime.context_file import ContextFile  # noqa: PLC0415
    from engine.runtime.kubeconfig import KubeconfigError  # noqa: PLC0415

    try:
        return ContextFile(cluster, settings.directory)
    except KubeconfigError as error:
        raise SettingsError(f"{settings.where()}: {cluster.name}: {error}") from error


async def _open_hubs(settings: Settings, stack: AsyncExitStack) -> dict[ClusterName, ClusterApi]:
    from engine.runtime.cluster_api import KubernetesApi  # noqa: PLC0415

    hubs: dict[ClusterName, ClusterApi] = {}
    for cluster in settings.config.clusters:
        if cluster.name in settings.config.registry.hubs:
            current = context_of(settings, cluster)
            hubs[cluster.name] = api = await KubernetesApi.open(cluster.name, current.context, current=current)
            stack.push_async_callback(api.close)
    return hubs


def _providers(
    settings: Settings, hubs: dict[ClusterName, ClusterApi], clock: Clock, only: ClusterName | None
) -> list[Provider]:
    from engine.runtime.addresses import read_from_clusters  # noqa: PLC0415
    from engine.runtime.profile_clusters import ProfileClusters  # noqa: PLC0415
    from engine.runtime.secret_clusters import SecretClusters, imported_clusters  # noqa: PLC0415

    config = settings.config.registry
    addresses = read_from_clusters(config.allow_addresses)
    providers: list[Provider] = [
        SecretClusters(
            hubs[one.cluster],
            clock,
            namespace=one.namespace,
            label=one.label,
            key=one.key,
            addresses=addresses,
            only=only,
        )
        for one in config.secrets
    ]
    providers += [
        imported_clusters(hubs[one.cluster], clock, namespace=one.namespace, addresses=addresses, only=only)
        for one in config.imports
    ]
    if config.joins:
        from engine.runtime.joined_clusters import JoinedClusters  # noqa: PLC0415

        providers.append(JoinedClusters(hubs[config.joins], clock, only=only))
    providers += [
        ProfileClusters(
            hubs[one.cluster], clock, namespace=one.namespace, access=one.access, addresses=addresses, only=only
        )
        for one in config.profiles
    ]
    return providers
