"""One reconciler process: a worker for each configured reconciler, sharing the log and the clusters' connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from engine.core.authoring import Reconciler
from engine.core.brake import limits_of
from engine.runtime.brakes import Brakes
from engine.runtime.collector import Collector
from engine.runtime.fleet_directory import FleetDirectory
from engine.runtime.garbage_loader import GarbageLoader
from engine.runtime.garbage_mapper import GarbageMapper
from engine.runtime.garbage_performer import GarbagePerformer
from engine.runtime.gated_api import GatedApis
from engine.runtime.import_sources import ImportLoader, ImportMapper
from engine.runtime.kubeconfig import Context
from engine.runtime.lately import Lately
from engine.runtime.live_reads import LiveReads
from engine.runtime.opening_performer import OpeningPerformer
from engine.runtime.performer import REQUEST_SECONDS, Performer
from engine.runtime.ports import Clock, ClusterApi, EventLog, EventLogError
from engine.runtime.prover import Prover
from engine.runtime.references import References
from engine.runtime.release import Barrier
from engine.runtime.remaining import Remaining
from engine.runtime.signing_performer import SigningPerformer
from engine.runtime.token_issuer import TokenIssuer
from engine.runtime.worker import Worker
from engine.runtime.worker_metrics import WorkerMetrics
from reconcilers.garbage import garbage
from reconcilers.imports import imports as import_reconciler
from schemas.config import GarbageConfig, ImportsConfig
from schemas.names import ClusterName, Resource

COLLECTING, PREPARING = 64, 64
"""Keys of the collector that are held at once, and others that wait out the second between two looks of a proof meanwhile."""
COLLECTING_SECONDS = 8.0
"""For which a key of the collector is held: a proof takes more than a second, a thousand deletes three, and the last request
begins in time to be answered."""
RETRY_SECONDS = 1.0
"""Until the broker is asked again."""

_log = structlog.get_logger(__name__)


class GarbageSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the collector needs to know."""

    config: GarbageConfig = GarbageConfig()
    second: Mapping[ClusterName, ClusterApi | None] | None = None
    """The same clusters through other connections, for the second look of a proof; None: there are no others."""
    watched: tuple[Resource, ...] | None = None
    """The types that are watched; None: all."""
    workers: int = 1
    """Processes that share the rate cap."""
    key: bytes = b""
    """Signs the owners of our own dependents."""
    sealing_key: bytes = b""
    """Opens the values of Secrets that reconcilers copy; empty: none does."""


class ImportSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What issuing tokens needs to know."""

    contexts: Mapping[ClusterName, Callable[[], Context]] = {}
    """How each declared cluster is reached just now: what goes into kubeconfigs for others."""
    config: ImportsConfig = ImportsConfig()


async def run_reconcilers(
    reconcilers: Sequence[Reconciler],
    *,
    log: EventLog,
    apis: Mapping[ClusterName, ClusterApi | None],
    clock: Clock,
    name: str,
    metrics: WorkerMetrics | None = None,
    settings: GarbageSettings | None = None,
    imports: ImportSettings | None = None,
    engaged: asyncio.Queue[ClusterName] | None = None,
) -> None:
    """Work until cancelled.

    Args:
        reconcilers: what to run.
        log: prepared streams.
        apis: every cluster of the registry, reachable or not; looked at anew each time, so clusters may come and go.
        clock: time.
        name: of this process, unique among workers; it is written into DECISIONS.
        metrics: where to count.
        settings: of the collector, and for signing; None: nothing is signed.
        imports: of ServiceAccountImports.
        engaged: gives clusters that have come.

    """
    metrics = metrics or WorkerMetrics()
    settings = settings or GarbageSettings()
    imports = imports or ImportSettings()
    performer = Performer(apis, clock, issuer=TokenIssuer(imports.contexts, timeout=REQUEST_SECONDS))
    directory = FleetDirectory(log, clock, apis.keys())
    signing = SigningPerformer(performer, directory, settings.key)
    opening = OpeningPerformer(signing, directory, settings.sealing_key)
    first = GatedApis(apis, clock)
    prover = Prover((first, GatedApis(apis if settings.second is None else settings.second, clock)), clock)
    workers: list[Worker] = []
    try:
        async with asyncio.TaskGroup() as group:
            for one in reconcilers:
                if one is garbage:
                    worker = _collecting(
                        log=log,
                        apis=first,
                        clock=clock,
                        name=name,
                        metrics=metrics,
                        settings=settings,
                        performer=performer,
                        directory=directory,
                        prover=prover,
                    )
                else:
                    importing = one is import_reconciler
                    names = apis.keys()
                    worker = Worker(
                        one,
                        log=log,
                        performer=opening,
                        clock=clock,
                        clusters=names,
                        name=name,
                        metrics=metrics,
                        mapper=ImportMapper(log, one, names) if importing else None,
                        loader=ImportLoader(log, clock, names, look_seconds=imports.config.look_seconds)
                        if importing
                        else None,
                    )
                workers.append(worker)
                group.create_task(worker.run(), name=f"reconciler {one.name}")
            if engaged is not None:
                group.create_task(_look_again(engaged, workers, clock), name="clusters that come")
    finally:
        await prover.close()


async def _look_again(engaged: asyncio.Queue[ClusterName], workers: Sequence[Worker], clock: Clock) -> None:
    """Have every reconciler look at what concerns a cluster that has come."""
    while True:
        cluster = await engaged.get()
        for worker in workers:
            while True:
                try:
                    await worker.mapper.engaged(cluster)
                    break
                except EventLogError as error:
                    _log.warning("not looked at yet", cluster=cluster, why=str(error))
                    await clock.sleep(RETRY_SECONDS)


def _collecting(
    *,
    log: EventLog,
    apis: Mapping[ClusterName, ClusterApi | None],
    clock: Clock,
    name: str,
    metrics: WorkerMetrics,
    settings: GarbageSettings,
    performer: Performer,
    directory: FleetDirectory,
    prover: Prover,
) -> Worker:
    """Return the collector's worker: its own mapper, loader and performer around the usual one."""
    config, brake = settings.config, settings.config.brake
    references = References(apis, directory, prover, clock, engine=config.engine, key=settings.key)
    lately = Lately(clock)
    collector = Collector(
        log,
        directory,
        references,
        Brakes(log, apis, clock, limits_of(brake), brake.settle_seconds),
        LiveReads(apis, clock, timeout=REQUEST_SECONDS),
        lately,
        clock,
        engine=config.engine,
        deletes_per_second=config.deletes_per_second / max(1, settings.workers),
        timeout=REQUEST_SECONDS,
    )
    remaining = Remaining(directory, references, clock, timeout=REQUEST_SECONDS)
    barrier = Barrier(directory, remaining, clock, timeout=REQUEST_SECONDS, give_up_after=config.give_up_after_seconds)
    collecting = GarbagePerformer(performer, collector, barrier, clock)
    return Worker(
        garbage,
        log=log,
        performer=collecting,
        prepare=collecting.prepare,
        clock=clock,
        clusters=apis.keys(),
        name=name,
        metrics=metrics,
        concurrency=COLLECTING + PREPARING,
        performing=COLLECTING,
        lease=COLLECTING_SECONDS,
        mapper=GarbageMapper(
            log, garbage, apis.keys(), directory, clock, brake.window_seconds, watched=settings.watched
        ),
        loader=GarbageLoader(log, clock, apis.keys(), watched=settings.watched, engine=config.engine, lately=lately),
    )
