"""One reconciler process: a worker for each configured reconciler, sharing the log and the clusters' connections."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from engine.core.authoring import Reconciler
from engine.runtime.performer import Performer
from engine.runtime.ports import Clock, ClusterApi, EventLog
from engine.runtime.worker import Worker
from engine.runtime.worker_metrics import WorkerMetrics
from schemas.names import ClusterName


async def run_reconcilers(
    reconcilers: Sequence[Reconciler],
    *,
    log: EventLog,
    apis: Mapping[ClusterName, ClusterApi],
    clock: Clock,
    name: str,
    metrics: WorkerMetrics | None = None,
) -> None:
    """Work until cancelled.

    Args:
        reconcilers: what to run.
        log: prepared streams.
        apis: every declared cluster, reachable or not.
        clock: time.
        name: of this process, unique among workers; it is written into DECISIONS.
        metrics: where to count.

    """
    metrics = metrics or WorkerMetrics()
    performer = Performer(apis, clock)
    async with asyncio.TaskGroup() as group:
        for one in reconcilers:
            worker = Worker(
                one, log=log, performer=performer, clock=clock, clusters=tuple(apis), name=name, metrics=metrics
            )
            group.create_task(worker.run(), name=f"reconciler {one.name}")
