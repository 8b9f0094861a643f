"""A running fleet: broker, watchers, workers, probes, metrics. What `up` and the demo start and end.

Started in the order in which each needs the other, and ended the other way round: workers first, which finish the action
in hand, then watchers, then the broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from socket import socket

import msgspec

from crosscurrent import health, processes
from crosscurrent.broker import running_broker
from crosscurrent.host import METRICS_VARIABLE
from crosscurrent.settings import Settings
from crosscurrent.state_directory import BrokerAddress, held
from crosscurrent.supervisor import ChildSpec, Standing, Supervisor
from engine.runtime.ports import EventLog, EventLogError

WATCH = "watch"
RECONCILE = "reconcile"
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
        environment = {METRICS_VARIABLE: "1"} if metrics_socket else {}
        supervisor = Supervisor(child_specs(settings), environment, phases=(RECONCILE, WATCH), write=write)
        # The children import for longer than it takes to prepare the streams.
        supervising = asyncio.create_task(supervisor.run(), name="supervisor")
        stack.push_async_callback(_end, supervising)
        log = await processes.open_log(address, settings)
        stack.push_async_callback(log.close)
        await processes.prepare(log)
        await stack.enter_async_context(_probes(probe_socket, supervisor, log))
        await stack.enter_async_context(_metrics(metrics_socket, settings, supervisor, log))
        minding = asyncio.create_task(_mind(log, restarted), name="health of the streams")
        try:
            yield Fleet(address, log, supervisor)
        finally:
            await _end(supervising, minding)


def child_specs(settings: Settings) -> list[ChildSpec]:
    """Return a watcher for each cluster, and the workers; none where there is nothing to reconcile.

    In the order in which they are to start: with the first two of them something is reconciled already.
    """
    file = ("-f", str(settings.path)) if settings.path else ()
    specs = [
        ChildSpec(name=f"watch {item.name}", kind=WATCH, arguments=(WATCH, item.name, *file), cluster=item.name)
        for item in settings.config.clusters
    ]
    workers = settings.config.workers if settings.config.reconcilers else 0
    working = [
        ChildSpec(name=f"reconcile {number}", kind=RECONCILE, arguments=(RECONCILE, *file))
        for number in range(1, workers + 1)
    ]
    return working[:1] + specs + working[1:]


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


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

    def child_check(index: int) -> health.Check:
        async def check() -> str:
            child = supervisor.children[index]
            return "" if child.standing is Standing.READY else f"{child.standing} {child.last_exit}".rstrip()

        return check

    ready = {child.spec.name: child_check(index) for index, child in enumerate(supervisor.children)}
    async with health.probes(listening, live={"ping": alive}, ready={"broker": broker, **ready}):
        yield


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
