"""A running fleet: broker, watchers, workers, probes, metrics. What `up` and the demo start and end.

Started in the order in which each needs the other, and ended the other way round: workers first, which finish the action
in hand, then watchers, then the broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from socket import socket

import msgspec

from crosscurrent import health, processes
from crosscurrent.broker import running_broker
from crosscurrent.cluster_registry import running_registry
from crosscurrent.host import METRICS_VARIABLE
from crosscurrent.settings import Settings
from crosscurrent.state_directory import BrokerAddress, held
from crosscurrent.supervisor import Child, ChildSpec, Standing, Supervisor
from engine.core.joining import Mode
from engine.runtime.ports import EventLog, EventLogError
from engine.runtime.registry import Registry
from schemas.names import ClusterName

WATCH = "watch"
RECONCILE = "reconcile"
MEMBERS = "members"
LINGER_S = 10.0
"""Between the end of a cluster in the registry and that of its watcher, which has said by then that it is disengaged; a
Secret that is only replaced is back before."""
_RETRY_S = 1.0
_BROKER_CHECK_S = 1.0
"""A readiness probe's own timeout is 1 s by default."""


class Fleet(msgspec.Struct, frozen=True):
    """What runs."""

    address: BrokerAddress
    log: EventLog
    supervisor: Supervisor


@asynccontextmanager
async def running_fleet(
    settings: Settings, *, host: str = health.LOOPBACK, write: Callable[[str], None] | None = None
) -> AsyncIterator[Fleet]:
    """Run everything for as long as the block runs.

    Args:
        settings: checked (`processes.check`), with a file, which the child processes read too.
        host: address for probes and metrics.
        write: takes the children's log lines; None: our stderr.

    Raises:
        UserError: when something is not as it must be; nothing is left running.

    """
    config = settings.config
    restarted = asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.enter_context(held(settings.state_directory))
        probe_socket, metrics_socket = health.take_ports(config.probe_port, config.metrics_port, host=host)
        for listening in (probe_socket, metrics_socket):
            if listening:
                stack.callback(listening.close)
        address = await stack.enter_async_context(running_broker(settings, restarted.set))
        log = await processes.open_log(address, settings)
        stack.push_async_callback(log.close)
        await processes.prepare(log)
        environment = {METRICS_VARIABLE: "1"} if metrics_socket else {}
        supervisor = Supervisor(child_specs(settings), environment, phases=(RECONCILE, WATCH, MEMBERS), write=write)
        await stack.enter_async_context(_probes(probe_socket, supervisor, log))
        await stack.enter_async_context(_metrics(metrics_socket, settings, supervisor, log))
        tasks = [
            asyncio.create_task(supervisor.run(), name="supervisor"),
            asyncio.create_task(_mind(log, restarted), name="health of the streams"),
        ]
        if config.registry.hubs:
            registry = await stack.enter_async_context(running_registry(settings))
            tasks.append(asyncio.create_task(_follow(registry, supervisor, settings), name="watchers of the registry"))
        try:
            yield Fleet(address, log, supervisor)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def child_specs(settings: Settings) -> list[ChildSpec]:
    """Return a watcher for each declared cluster, the door for those that join, and the workers.

    There are no workers where there is nothing to reconcile. In the order in which they are to start: with the first two of
    the watchers and workers something is reconciled already.
    """
    file = ("-f", str(settings.path)) if settings.path else ()
    specs = [watcher_spec(settings, item.name) for item in settings.config.clusters]
    if settings.config.registry.joins:
        specs.append(ChildSpec(name=MEMBERS, kind=MEMBERS, arguments=(MEMBERS, *file)))
    workers = settings.config.workers if settings.config.reconcilers else 0
    working = [
        ChildSpec(name=f"reconcile {number}", kind=RECONCILE, arguments=(RECONCILE, *file))
        for number in range(1, workers + 1)
    ]
    return working[:1] + specs + working[1:]


def watcher_spec(settings: Settings, cluster: ClusterName) -> ChildSpec:
    """Return a watcher."""
    file = ("-f", str(settings.path)) if settings.path else ()
    return ChildSpec(name=f"watch {cluster}", kind=WATCH, arguments=(WATCH, cluster, *file), cluster=cluster)


async def _follow(registry: Registry, supervisor: Supervisor, settings: Settings) -> None:
    """Keep a watcher for each cluster of the registry; one whose cluster is gone says so before it ends."""
    declared = {one.name for one in settings.config.clusters}
    gone: dict[ClusterName, float] = {}
    seen = 0
    while True:
        now = asyncio.get_running_loop().time()
        running = {ClusterName(child.spec.cluster): child for child in supervisor.children if child.spec.kind == WATCH}
        for name, member in registry.members.items():
            gone.pop(name, None)
            if name not in running and member.joined is not Mode.PULL:
                supervisor.add(watcher_spec(settings, name))
        for name, child in running.items():
            if name in registry.members or name in declared:
                continue
            if now >= gone.setdefault(name, now + LINGER_S):
                del gone[name]
                await supervisor.remove(child)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(gone.values(), default=None)):
                seen = await registry.changed(seen)


async def _mind(log: EventLog, restarted: asyncio.Event) -> None:
    """Mend the streams when our broker has come back, at once: it may have lost them, and watchers look each minute."""
    while True:
        await restarted.wait()
        restarted.clear()
        try:
            await log.heal()
        except EventLogError:
            await asyncio.sleep(_RETRY_S)
            restarted.set()


@asynccontextmanager
async def _probes(listening: socket | None, supervisor: Supervisor, log: EventLog) -> AsyncIterator[None]:
    async def alive() -> str:
        return ""  # that the loop answers is the check

    async def broker() -> str:
        try:
            async with asyncio.timeout(_BROKER_CHECK_S):
                await log.last_sequence("FACTS")
        except (EventLogError, TimeoutError) as error:
            return str(error) or "does not answer"
        return ""

    async with health.probes(listening, live={"ping": alive}, ready=_Ready(broker, supervisor.children)):
        yield


class _Ready(Mapping[str, health.Check]):
    """Checks of the broker and of the children, whichever they are at the time."""

    def __init__(self, broker: health.Check, children: Sequence[Child]) -> None:
        self._broker, self._children = broker, children

    def __getitem__(self, name: str) -> health.Check:
        if name == "broker":
            return self._broker
        child = next((one for one in self._children if one.spec.name == name), None)
        if child is None:
            raise KeyError(name)

        async def check() -> str:
            return "" if child.standing is Standing.READY else f"{child.standing} {child.last_exit}".rstrip()

        return check

    def __iter__(self) -> Iterator[str]:
        return iter(["broker", *(child.spec.name for child in self._children)])

    def __len__(self) -> int:
        return 1 + len(self._children)


@asynccontextmanager
async def _metrics(
    listening: socket | None, settings: Settings, supervisor: Supervisor, log: EventLog
) -> AsyncIterator[None]:
    if listening is None:
        yield
        return
    from prometheus_client import CollectorRegistry  # noqa: PLC0415

    from crosscurrent.fleet_metrics import FleetCollector  # noqa: PLC0415 - only with metrics

    registry = CollectorRegistry()
    names = tuple(cluster.name for cluster in settings.config.clusters)
    collector = FleetCollector(log, names, supervisor.children)
    registry.register(collector)
    async with health.metrics(listening, registry, before=collector.refresh):
        yield
