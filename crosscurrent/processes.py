"""The one place where the commands meet the engine: everything heavy is imported here, inside the functions."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from crosscurrent.errors import SettingsError, UserError
from crosscurrent.settings import Settings
from crosscurrent.state_directory import BrokerAddress
from schemas.config import ClusterConfig

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from engine.core.authoring import Reconciler
    from engine.runtime.ports import EventLog
    from schemas.names import Resource

CONNECT_TIMEOUT_S = 5.0
"""For reaching the broker at start: a wrong address should be an answer, not a wait."""


def check(settings: Settings) -> list[Reconciler]:
    """Find what the configuration names beyond itself, so that mistakes come to light before anything is started.

    A cluster that is down is no mistake: its watcher waits for it.

    Returns:
        The configured reconcilers.

    Raises:
        SettingsError: naming every kubeconfig, context and reconciler that cannot be used.

    """
    from engine.runtime.kubeconfig import KubeconfigError, resolve_cluster  # noqa: PLC0415
    from reconcilers.registry import UnknownReconciler, find_all  # noqa: PLC0415

    problems = []
    for index, cluster in enumerate(settings.config.clusters):
        try:
            resolve_cluster(cluster, directory_of(settings))
        except KubeconfigError as error:
            problems.append(f"clusters[{index}] ({cluster.name}): {error}")
    found: list[Reconciler] = []
    try:
        found = find_all(settings.config.reconcilers, search=directory_of(settings))
    except UnknownReconciler as error:
        problems.append(f"reconcilers: {error}")
    except Exception as error:  # noqa: BLE001 - a user's module may raise anything when imported
        problems.append(f"reconcilers: {type(error).__name__} while importing: {error}")
    if problems:
        raise SettingsError("\n".join(f"{settings.where()}: {problem}" for problem in problems))
    return found


def find_cluster(settings: Settings, name: str) -> ClusterConfig:
    """Return a declared cluster.

    Raises:
        UserError: when there is none of that name; lists those that there are.

    """
    for cluster in settings.config.clusters:
        if cluster.name == name:
            return cluster
    names = ", ".join(cluster.name for cluster in settings.config.clusters) or "none"
    raise UserError(f"no cluster {name!r} in {settings.where()}", f"configured: {names}")


def watched_types(settings: Settings, reconcilers: list[Reconciler]) -> list[Resource]:
    """Return the types that the reconcilers need and those that the configuration adds; `*/*` is left to the watcher."""
    from schemas.names import Resource  # noqa: PLC0415

    wanted = [kind for one in reconcilers for kind in (one.watches, *one.owns)]
    wanted += [Resource.parse(text) for text in settings.config.resources if text != "*/*"]
    return list(dict.fromkeys(wanted))


def directory_of(settings: Settings) -> Path:
    """Return the directory that relative paths and users' modules are looked for in."""
    return settings.path.parent if settings.path else Path.cwd()


def process_name() -> str:
    """Return a name for this process that no other has had, for the entries that it writes."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


async def open_log(address: BrokerAddress, settings: Settings) -> EventLog:
    """Connect to a broker.

    Raises:
        BrokerUnreachable: when it does not answer within a few seconds, or refuses us.

    """
    raise NotImplementedError(address, settings)


async def watch(
    settings: Settings, cluster: ClusterConfig, *, registry: CollectorRegistry, ready: Callable[[], None]
) -> None:
    """Watch one cluster until cancelled."""
    raise NotImplementedError


async def reconcile(settings: Settings, *, registry: CollectorRegistry, ready: Callable[[], None]) -> None:
    """Run the configured reconcilers until cancelled."""
    raise NotImplementedError
