"""Where joining meets the engine: the hub's door for members, a member's agent, and how workers reach members."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import structlog

from crosscurrent import processes
from crosscurrent.cluster_registry import running_registry
from crosscurrent.errors import BrokerUnreachable, UserError
from crosscurrent.keeping import kept_facts
from crosscurrent.settings import Settings
from crosscurrent.state_directory import broker_key, find_broker
from schemas.config import ClusterConfig
from schemas.members import Orders

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from engine.core.nkeys import KeyPair
    from engine.runtime.jetstream import Connection
    from engine.runtime.live_clusters import Opener, RegisteredApi
    from engine.runtime.membership import Membership
    from engine.runtime.ports import Clock, ClusterApi, FactLog
    from engine.runtime.registry import Member as RegistryMember
    from engine.runtime.registry import Registry
    from schemas.names import ClusterId, ClusterName
    from watchers.member_presence import MemberPresence
    from watchers.settings import WatchSettings

Works = dict[str, Callable[[], Coroutine[None, None, None]]]
"""What an agent does, by name."""
RETRY_S = 2.0
"""Between two tries of an agent whose own API server does not answer."""
_REQUEST_S = 5.0

_log = structlog.get_logger(__name__)


async def open_connection(settings: Settings, purpose: str, stack: AsyncExitStack) -> Connection:
    """Return a connection of our own to the broker, for what is no stream.

    Raises:
        BrokerUnreachable: when it does not answer.

    """
    from engine.runtime.jetstream import Connection  # noqa: PLC0415
    from engine.runtime.ports import EventLogError  # noqa: PLC0415

    address = find_broker(settings)
    try:
        connection = await Connection.open(
            address.url,
            name=f"crosscurrent {purpose} {processes.process_name()}",
            token=address.token,
            credentials=address.credentials,
            tls=processes.tls_of(address),
        )
    except EventLogError as problem:
        raise BrokerUnreachable(str(problem), "whoever runs us starts us again") from problem
    stack.push_async_callback(connection.close)
    return connection


def opener(settings: Settings, stack: AsyncExitStack) -> Opener:
    """Return how clusters of the registry are reached: those that joined by themselves through their agents."""
    from engine.runtime.clock import SystemClock  # noqa: PLC0415
    from engine.runtime.live_clusters import open_member  # noqa: PLC0415

    clock = SystemClock()
    connections: list[Connection] = []

    async def open_one(registry: Registry, member: RegistryMember, look: int) -> RegisteredApi:
        if member.joined is None:
            return await open_member(registry, member, look)
        from engine.core.joining import Mode  # noqa: PLC0415
        from engine.runtime.addresses import read_from_clusters  # noqa: PLC0415
        from engine.runtime.lent_api import LentApi  # noqa: PLC0415
        from engine.runtime.member_api import MemberApi  # noqa: PLC0415

        if not connections:
            connections.append(await open_connection(settings, "calls", stack))
        agent = MemberApi(member.name, connections[0], clock, look)
        if member.joined is Mode.PULL:
            return agent
        addresses = read_from_clusters(settings.config.registry.allow_addresses)
        return LentApi(agent, clock, seed=random.random(), addresses=addresses)  # noqa: S311 - jitter

    return open_one


async def serve_members(settings: Settings, *, ready: Callable[[], None]) -> None:
    """Be the hub: answer those who ask to join, and do for members what they may ask of the log, until cancelled."""
    from engine.core.broker_trust import BrokerTrust  # noqa: PLC0415
    from engine.runtime.clock import SystemClock  # noqa: PLC0415
    from engine.runtime.join_responder import JoinResponder  # noqa: PLC0415
    from engine.runtime.join_store import JoinStore  # noqa: PLC0415
    from engine.runtime.member_gateway import MemberGateway  # noqa: PLC0415
    from watchers.member_presence import MemberPresence  # noqa: PLC0415

    hub = processes.find_cluster(settings, settings.config.registry.joins)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        log = await processes.prepared_log(settings, stack)
        connection = await open_connection(settings, "members", stack)
        store = JoinStore(await processes.open_api(settings, hub, stack), clock)
        registry = await stack.enter_async_context(running_registry(settings))
        responder = JoinResponder(
            connection,
            log,
            clock,
            store,
            BrokerTrust(broker_key(settings.state_directory)),
            orders=orders(settings),
            taken=partial(taken, registry),
        )
        group = await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(responder.run(), name="joins")
        gateway = MemberGateway(connection, log, clock, store.member)
        presence = MemberPresence(log, clock, partial(_who_watch_themselves, registry), gateway.heard)
        group.create_task(gateway.run(), name="members' log")
        group.create_task(presence.run(), name="members that are away")
        group.create_task(_note_all(registry, presence), name="members that come")
        ready()


def orders(settings: Settings) -> Orders:
    """Return what members are to do. They watch no Secrets: the key of the hashes of their values stays on the hub."""
    from engine.core.secrecy import always_holds_secrets  # noqa: PLC0415

    types = processes.watched_types(settings, processes.check(settings))
    told = processes.watch_settings(settings, [one for one in types if not always_holds_secrets(one.group, one.plural)])
    return Orders(
        resources=told.resources,
        retry_seconds=told.retry_cap_seconds,
        tombstone_seconds=told.tombstone_ttl_seconds,
    )


def taken(registry: Registry, name: ClusterName) -> str:
    """Return where else a cluster of this name comes from, empty if it does not."""
    member = registry.members.get(name)
    return member.source if member is not None and member.joined is None else ""


async def _note_all(registry: Registry, presence: MemberPresence) -> None:
    seen = 0
    while True:
        seen = await registry.changed(seen)
        presence.note()


def _who_watch_themselves(registry: Registry) -> list[ClusterName]:
    from engine.core.joining import Mode  # noqa: PLC0415

    return [name for name, member in registry.members.items() if member.joined is Mode.PULL]


class AgentPlace(NamedTuple):
    """Where a member's agent finds what it needs."""

    join: Path
    """Directory of the mounted join Secret."""
    namespace: str
    secret: str
    """Secret of this cluster that keeps the agent's key."""
    account: str
    """ServiceAccount whose tokens the hub may have, where the join Secret names a `server`."""
    keep: Path | None = None
    """Directory for facts that wait for the hub; None: they are read again when it is back."""
    keep_bytes: int = 0
    """At most so many of them."""


async def agent(place: AgentPlace, *, registry: CollectorRegistry, ready: Callable[[], None]) -> None:
    """Be a member: join, then watch this cluster and carry out the hub's calls, until cancelled."""
    from engine.runtime.clock import SystemClock  # noqa: PLC0415
    from engine.runtime.cluster_api import KubernetesApi  # noqa: PLC0415
    from engine.runtime.context_file import ContextFile  # noqa: PLC0415
    from engine.runtime.jetstream import Connection  # noqa: PLC0415
    from engine.runtime.kept_log import KeptLog  # noqa: PLC0415
    from engine.runtime.kubeconfig import KubeconfigError  # noqa: PLC0415
    from engine.runtime.lender import Lender  # noqa: PLC0415
    from engine.runtime.member_calls import MemberCalls  # noqa: PLC0415
    from engine.runtime.member_log import MemberLog  # noqa: PLC0415
    from engine.runtime.membership import JoinFailed, JoinFiles, Membership  # noqa: PLC0415
    from engine.runtime.ports import EventLogError  # noqa: PLC0415
    from schemas import subjects  # noqa: PLC0415
    from schemas.names import ClusterName  # noqa: PLC0415

    files, clock = JoinFiles(place.join), SystemClock()
    try:
        url, tls = files.hub()
        name = ClusterName(files.need("cluster"))
    except JoinFailed as problem:
        raise UserError(str(problem), "see docs/bootstrapping.md") from problem
    async with AsyncExitStack() as stack:
        try:
            context = ContextFile(ClusterConfig(name=name), Path.cwd())
        except KubeconfigError as problem:
            raise UserError(str(problem), "an agent runs in a pod, or with KUBECONFIG") from problem
        api, second = [await KubernetesApi.open(name, context.context, current=context) for _ in range(2)]
        stack.push_async_callback(api.close)
        stack.push_async_callback(second.close)
        key, identity = await _own(api, place, clock)
        membership = Membership(files, key, identity, clock, seed=secrets.randbits(32))
        await membership.join()
        try:
            connection = await Connection.open(
                url,
                name=f"crosscurrent agent of {name}",
                credentials=membership,
                tls=tls,
                inbox_prefix=subjects.member_inbox(name),
            )
        except EventLogError as problem:
            raise UserError(str(problem), "whoever runs us starts us again") from problem
        stack.push_async_callback(connection.close)
        lend = Lender(api, context, files.read("server"), (place.namespace, place.account)).lend
        works: Works = {"calls": MemberCalls(connection, name, (api, second), clock, lend).run}
        log: FactLog = MemberLog(connection, name)
        if place.keep is not None:
            facts = await stack.enter_async_context(kept_facts(place.keep, place.keep_bytes, name, identity))
            log = kept = KeptLog(MemberLog(connection, name), facts, clock)
            works["kept facts"] = kept.run
        ready()
        while True:
            try:
                await _obey(membership, works, log, api, clock, registry)
            except* OrdersChanged:
                _log.info("the hub orders something else", cluster=name)


class OrdersChanged(Exception):
    """Raised when a renewed credential came with other orders than the last."""


async def _own(api: ClusterApi, place: AgentPlace, clock: Clock) -> tuple[KeyPair, ClusterId]:
    """Return the agent's key and the cluster's identity, as soon as its API server tells them."""
    from engine.core.api_errors import Status  # noqa: PLC0415
    from engine.runtime import api_calls  # noqa: PLC0415
    from engine.runtime.membership import JoinFailed, load_key  # noqa: PLC0415

    while True:
        try:
            key = await load_key(api, place.namespace, place.secret)
            identity = await api_calls.identity(api, timeout=_REQUEST_S)
            if not isinstance(identity, Status):
                return key, identity
            problem = f"get namespaces kube-system: {identity.message}"
        except JoinFailed as error:
            problem = str(error)
        _log.warning("cannot join yet", cluster=api.name, problem=problem, retry_in=RETRY_S)
        await clock.sleep(RETRY_S)


async def _obey(
    membership: Membership,
    works: Works,
    log: FactLog,
    api: ClusterApi,
    clock: Clock,
    registry: CollectorRegistry,
) -> None:
    """Do what the hub orders, keep the credential, and do what is to be done in any case, until it orders something else.

    Raises:
        OrdersChanged: then, in a group.

    """
    from crosscurrent.watch_metrics import WatchCollector  # noqa: PLC0415
    from watchers.cluster_watcher import ClusterWatcher  # noqa: PLC0415

    async def keep() -> None:
        await membership.keep()
        raise OrdersChanged

    watcher = ClusterWatcher(api, log, clock, _watch_settings(membership.orders))
    registry.register(collector := WatchCollector(watcher.statistics))
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(keep(), name="credential")
            for name, work in works.items():
                group.create_task(work(), name=name)
            if membership.orders.watch:
                group.create_task(watcher.run(), name=f"watcher {api.name}")
                group.create_task(processes.mind(log, clock, watcher.heal), name="health of the streams")
    finally:
        registry.unregister(collector)


def _watch_settings(orders: Orders) -> WatchSettings:
    from watchers.settings import WatchSettings  # noqa: PLC0415

    return WatchSettings(
        resources=orders.resources,
        run=secrets.token_hex(4),
        seed=secrets.randbits(32),
        labels=orders.labels,
        retry_cap_seconds=orders.retry_seconds,
        tombstone_ttl_seconds=orders.tombstone_seconds,
    )
