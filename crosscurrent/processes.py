"""The one place where the commands meet the engine: everything heavy is imported here, inside the functions."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from crosscurrent.cluster_registry import context_of, running_registry
from crosscurrent.errors import BrokerUnreachable, SettingsError, UserError, did_you_mean
from crosscurrent.fleet import read_clusters
from crosscurrent.settings import Settings
from crosscurrent.state_directory import BrokerAddress, find_broker, redaction_key, signing_key
from schemas.clusters import DISENGAGED
from schemas.config import ClusterConfig
from schemas.names import ClusterName, is_cluster_name

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from crosscurrent.stream_report import StreamReport
    from engine.core.authoring import Reconciler
    from engine.runtime.cluster_api import KubernetesApi
    from engine.runtime.log_credentials import Tls
    from engine.runtime.ports import Clock, EventLog, FactLog
    from schemas.names import Resource
    from watchers.settings import WatchSettings

CONNECT_TIMEOUT_S = 3.0
"""For reaching the broker at start: a wrong address should be an answer, not a wait."""
REGISTRY_TIMEOUT_S = 5.0
"""For the hubs to tell their clusters when a worker starts; those that come later are engaged later."""
MIND_S = 5.0
"""Between two looks at the streams' health (DESIGN §5)."""
_TOMBSTONE_MARGIN_S = 3600.0
"""Tombstones outlive FACTS by this, so that no reader of FACTS outlives them."""


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
            resolve_cluster(cluster, settings.directory)
        except KubeconfigError as error:
            problems.append(f"clusters[{index}] ({cluster.name}): {error}")
    found: list[Reconciler] = []
    try:
        found = find_all(settings.config.reconcilers, search=settings.directory, config=settings.config)
    except UnknownReconciler as error:
        problems.append(f"reconcilers: {error}")
    except Exception as error:  # noqa: BLE001 - a user's module may raise anything when imported
        problems.append(f"reconcilers: {type(error).__name__} while importing: {error}")
    if problems:
        raise SettingsError("\n".join(f"{settings.where()}: {problem}" for problem in problems))
    return found


def watchable(settings: Settings, name: str) -> ClusterName:
    """Return the name of a cluster that is declared, or that a provider of the registry may come to know.

    Raises:
        UserError: when it is neither.

    """
    if settings.config.registry.hubs and is_cluster_name(name):
        return ClusterName(name)
    return find_cluster(settings, name).name


def find_cluster(settings: Settings, name: str) -> ClusterConfig:
    """Return a declared cluster.

    Raises:
        UserError: when there is none of that name; lists those that there are.

    """
    for cluster in settings.config.clusters:
        if cluster.name == name:
            return cluster
    names = [cluster.name for cluster in settings.config.clusters]
    advice = did_you_mean(name, names) or f"configured: {', '.join(names) or 'none'}"
    raise UserError(f"no cluster {name!r} in {settings.where()}", advice)


def watched_types(settings: Settings, reconcilers: list[Reconciler]) -> list[Resource]:
    """Return the types that the reconcilers need and those that the configuration adds; `*/*` is left to the watcher."""
    from engine.core.cascade import OWNER_TOMBSTONES, UNREGISTRATIONS  # noqa: PLC0415
    from engine.core.importing import SERVICE_ACCOUNT_GRANTS  # noqa: PLC0415
    from schemas.names import Resource  # noqa: PLC0415

    wanted = [kind for one in reconcilers for kind in one.types if kind.plural != "*"]
    wanted += [Resource.parse(text) for text in settings.config.resources if text != "*/*"]
    if any(one.name == "garbage" for one in reconcilers):
        # Whether a tombstone is there must be known before one is written; an unregistration wakes whom it concerns.
        wanted += [OWNER_TOMBSTONES, UNREGISTRATIONS]
    if any(one.name == "imports" for one in reconcilers):
        wanted.append(SERVICE_ACCOUNT_GRANTS)
    return list(dict.fromkeys(wanted))


def process_name() -> str:
    """Return a name for this process that no other has had, for the entries that it writes."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


async def open_log(address: BrokerAddress, settings: Settings) -> EventLog:
    """Connect to a broker.

    Raises:
        BrokerUnreachable: when it does not answer within a few seconds, or refuses us.

    """
    from engine.runtime.event_log import NatsEventLog  # noqa: PLC0415
    from engine.runtime.ports import EventLogError  # noqa: PLC0415

    nats = settings.config.nats
    try:
        return await NatsEventLog.connect(
            address.url,
            token=address.token,
            credentials=address.credentials,
            tls=tls_of(address),
            name=f"crosscurrent {process_name()}",
            replicas=nats.replicas,
            fact_days=nats.fact_days,
            timeout=CONNECT_TIMEOUT_S,
        )
    except EventLogError as error:
        raise BrokerUnreachable(str(error), _ask_for_broker(address)) from error


def tls_of(address: BrokerAddress) -> Tls | None:
    """Return how a broker that members join is known to us; None: as its url says."""
    from engine.runtime.log_credentials import Tls  # noqa: PLC0415

    return Tls(address.authority, address.server_name) if address.tls else None


async def stream_report(settings: Settings) -> StreamReport:
    """Return what the broker says of our streams and consumers, for `doctor`.

    Raises:
        BrokerNotFound: when there is no broker to ask.
        BrokerUnreachable: when it does not answer.

    """
    from crosscurrent.stream_report import read_streams  # noqa: PLC0415
    from engine.runtime.jetstream import Connection  # noqa: PLC0415
    from engine.runtime.ports import EventLogError  # noqa: PLC0415

    address, nats = find_broker(settings), settings.config.nats
    try:
        connection = await Connection.open(
            address.url,
            name="crosscurrent doctor",
            token=address.token,
            credentials=address.credentials,
            tls=tls_of(address),
            timeout=CONNECT_TIMEOUT_S,
        )
        try:
            return await read_streams(connection, replicas=nats.replicas, fact_days=nats.fact_days)
        finally:
            await connection.close()
    except EventLogError as error:
        raise BrokerUnreachable(str(error), _ask_for_broker(address)) from error


def _ask_for_broker(address: BrokerAddress) -> str:
    if address.pid:
        return f"it belongs to `crosscurrent up` (pid {address.pid}), which starts it again when it dies: try again"
    return "check nats.url and nats.token, nats.token_file or nats.credentials, and that the broker runs with JetStream"


async def watch(
    settings: Settings, cluster: ClusterName, *, registry: CollectorRegistry, ready: Callable[[], None]
) -> None:
    """Watch one cluster until cancelled, for as long as the cluster registry knows it."""
    from crosscurrent.joining import opener  # noqa: PLC0415
    from crosscurrent.watch_metrics import WatchCollector  # noqa: PLC0415
    from engine.runtime.checkpoints import DEFERENCE  # noqa: PLC0415
    from engine.runtime.clock import SystemClock  # noqa: PLC0415
    from watchers.registered_watcher import RegisteredWatcher  # noqa: PLC0415

    found = check(settings)
    types = watched_types(settings, found)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        log = await prepared_log(settings, stack)
        clusters = await stack.enter_async_context(running_registry(settings, cluster))
        told = watch_settings(settings, types, seal=any(one.copies_secrets for one in found))
        watcher = RegisteredWatcher(cluster, clusters, log, clock, told, opener=opener(settings, stack))
        registry.register(WatchCollector(watcher.statistics))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(watcher.run(), name=f"watcher {cluster}")
        group.create_task(mind(log, clock, watcher.heal), name="health of the streams")
        group.create_task(_keep_record(log, clock, settings, DEFERENCE), name="checkpoints")
        ready()


async def reconcile(settings: Settings, *, registry: CollectorRegistry, ready: Callable[[], None]) -> None:
    """Run the configured reconcilers until cancelled, on the clusters of the registry, whichever they are at the time."""
    from crosscurrent.joining import opener  # noqa: PLC0415
    from engine.runtime.clock import SystemClock  # noqa: PLC0415
    from engine.runtime.live_clusters import LiveClusters  # noqa: PLC0415
    from engine.runtime.worker_metrics import WorkerMetrics  # noqa: PLC0415
    from reconcilers.garbage import garbage  # noqa: PLC0415
    from reconcilers.service import GarbageSettings, ImportSettings, run_reconcilers  # noqa: PLC0415

    found, config = check(settings), settings.config
    async with AsyncExitStack() as stack:
        log = await prepared_log(settings, stack)
        clusters = LiveClusters(
            await stack.enter_async_context(running_registry(settings)),
            twice=garbage in found,
            opener=opener(settings, stack),
        )
        stack.push_async_callback(clusters.close)
        if not await clusters.start(REGISTRY_TIMEOUT_S):
            seen = await read_clusters(log)
            clusters.expect(one.name for one in seen if one.status and one.status.reason != DISENGAGED)
        collecting = GarbageSettings(
            config=config.garbage,
            second=clusters.second,
            watched=None if "*/*" in config.resources else tuple(watched_types(settings, found)),
            workers=config.workers,
            key=signing_key(settings.state_directory),
            sealing_key=redaction_key(settings.state_directory) if any(one.copies_secrets for one in found) else b"",
        )
        clock = SystemClock()
        group = await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(_keep_record(log, clock, settings), name="checkpoints")
        group.create_task(clusters.run(), name="clusters that come and go")
        ready()
        await run_reconcilers(
            found,
            log=log,
            apis=clusters.apis,
            clock=clock,
            name=process_name(),
            metrics=WorkerMetrics(registry),
            settings=collecting,
            imports=ImportSettings(contexts=clusters.contexts, config=config.imports),
            engaged=clusters.engaged,
        )


class WebhookPlace(NamedTuple):
    """Where a webhook serves."""

    port: int
    bind: str
    name: str
    """Host name in its certificate."""
    configuration: str
    """MutatingWebhookConfiguration that calls it."""


async def webhook(
    settings: Settings, cluster: ClusterConfig, where: WebhookPlace, *, ready: Callable[[], None]
) -> None:
    """Answer the reviews of one cluster's pods until cancelled."""
    from crosscurrent.health import take_port  # noqa: PLC0415
    from engine.runtime.automount_review import Automount  # noqa: PLC0415
    from engine.runtime.clock import SystemClock  # noqa: PLC0415
    from engine.runtime.webhook_certificates import LIFETIME_SECONDS, Pair, ServingCertificates  # noqa: PLC0415
    from engine.runtime.webhook_server import serving  # noqa: PLC0415
    from engine.sandbox.certificates import CertificateAuthority  # noqa: PLC0415 - the one that can make certificates

    lifetime, clock = timedelta(seconds=LIFETIME_SECONDS), SystemClock()

    def make() -> Pair:
        authority = CertificateAuthority(f"crosscurrent webhook {process_name()}"[:64], lifetime=lifetime)
        pair = authority.issue(where.name[:64], hosts=(where.name,), lifetime=lifetime)
        return Pair(authority.pem, pair.certificate, pair.key)

    listening = take_port(where.port, host=where.bind, purpose="webhook", advice="give another --port")
    async with AsyncExitStack() as stack:
        api = await open_api(settings, cluster, stack)
        certificates = ServingCertificates(api, clock, where.configuration, make)
        await stack.enter_async_context(serving(Automount(api, clock), listening, certificates.context))
        await certificates.keep(ready, seed=secrets.randbelow(1000) / 1000)


def watch_settings(settings: Settings, types: list[Resource], *, seal: bool = False) -> WatchSettings:
    """Return what a watcher is told."""
    from watchers.settings import DAY_SECONDS, WatchSettings  # noqa: PLC0415

    config = settings.config
    resources = [str(kind) for kind in types] + (["*/*"] if "*/*" in config.resources else [])
    return WatchSettings(
        resources=tuple(resources),
        run=secrets.token_hex(4),
        seed=secrets.randbits(32),
        seal_secrets=seal,
        redaction_key=_hiding_key(settings, resources),
        retry_cap_seconds=config.watch_retry_seconds,
        tombstone_ttl_seconds=config.nats.fact_days * DAY_SECONDS + _TOMBSTONE_MARGIN_S,
    )


def _hiding_key(settings: Settings, resources: list[str]) -> bytes:
    """Return the key for the values of Secrets in these types, empty where there are none.

    Where only some objects of a type may hold any, it is empty too if no key can be had: those are not published then.

    Raises:
        UserError: when there are types that cannot do without.

    """
    from engine.core.secrecy import always_holds_secrets, may_hold_secrets  # noqa: PLC0415
    from schemas.names import Resource  # noqa: PLC0415

    kinds = [Resource.parse(text) for text in resources if text != "*/*"]
    if any(always_holds_secrets(kind.group, kind.plural) for kind in kinds):
        return redaction_key(settings.state_directory)
    if "*/*" in resources or any(may_hold_secrets(kind.group, kind.plural) for kind in kinds):
        with suppress(UserError):
            return redaction_key(settings.state_directory)
    return b""


async def prepared_log(settings: Settings, stack: AsyncExitStack) -> EventLog:
    """Return a connected log whose streams exist; `up` has made them, a process that runs alone must."""
    log = await open_log(find_broker(settings), settings)
    stack.push_async_callback(log.close)
    await prepare(log)
    return log


async def prepare(log: EventLog) -> None:
    """Create or migrate the streams.

    Raises:
        UserError: when they cannot be had as they must be.

    """
    from engine.runtime.ports import EventLogError  # noqa: PLC0415

    try:
        await log.prepare()
    except EventLogError as error:
        raise UserError(f"the streams cannot be prepared: {error}", "`crosscurrent doctor` says more") from error


async def open_api(settings: Settings, cluster: ClusterConfig, stack: AsyncExitStack) -> KubernetesApi:
    """Return a connection to a declared cluster."""
    from engine.runtime.cluster_api import KubernetesApi  # noqa: PLC0415

    found = context_of(settings, cluster)
    api = await KubernetesApi.open(cluster.name, found.context, current=found)
    stack.push_async_callback(api.close)
    return api


async def _keep_record(log: EventLog, clock: Clock, settings: Settings, patience: float = 1.0) -> None:
    """Make checkpoints when they are due; every process offers to, so that they are made as long as any runs."""
    from engine.runtime.checkpoints import Checkpointer  # noqa: PLC0415

    await Checkpointer(log, clock, fact_days=settings.config.nats.fact_days, patience=patience).run()


async def mind(log: FactLog, clock: Clock, heal: Callable[[str], None]) -> None:
    """Look at start and every minute for what breaks the streams, and heal what it lost (DESIGN §5)."""
    from engine.runtime.ports import EventLogError  # noqa: PLC0415

    while True:
        try:
            found = await log.heal()
        except EventLogError:
            found = []  # the publisher says so
        if found:
            heal("; ".join(found))
        await clock.sleep(MIND_S)
