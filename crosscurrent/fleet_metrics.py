"""What `up` shows at /metrics: its processes, the clusters as the streams have them, and its children's own metrics.

The children's samples keep their names (controller-runtime's, so that existing dashboards work) and get the label
`process`, because several workers count the same things.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from crosscurrent.fleet import ClusterView, read_clusters
from crosscurrent.supervisor import Child, Standing
from engine.runtime.ports import EventLog, EventLogError
from schemas.clusters import ClusterState
from schemas.names import ClusterName

SCRAPE_TIMEOUT_S = 2.0
"""For a child or the broker; Prometheus gives a whole scrape 10 s by default."""


class FleetCollector(Collector):
    """Metrics of a running fleet. `refresh` reads; `collect` only shows what was read."""

    def __init__(self, log: EventLog, names: tuple[ClusterName, ...], children: Sequence[Child]) -> None:
        self._event_log = log
        self._names = names
        self._children = children
        self._views: list[ClusterView] | None = None
        self._scraped: dict[str, str] = {}

    async def refresh(self) -> None:
        """Read the streams and the children; what does not answer in time is left out."""
        try:
            async with asyncio.timeout(SCRAPE_TIMEOUT_S):
                self._views = await read_clusters(self._event_log, self._names)
        except (EventLogError, TimeoutError):
            self._views = None
        asked = [child for child in self._children if child.metrics_port]
        answers = await asyncio.gather(*(_scrape(child.metrics_port) for child in asked))
        self._scraped = {child.spec.name: text for child, text in zip(asked, answers, strict=True) if text}

    def collect(self) -> Iterable[Metric]:
        """Return every metric family once."""
        yield from self._processes()
        yield GaugeMetricFamily(
            "crosscurrent_broker_up", "Whether the broker answered this scrape.", value=float(self._views is not None)
        )
        if self._views is not None:
            yield from _clusters(self._views, time.time())
        yield from _merged(self._scraped)

    def _processes(self) -> Iterator[Metric]:
        labels = ("process", "kind", "cluster")
        up = GaugeMetricFamily(
            "crosscurrent_process_up", "Whether a child process is running and ready.", labels=labels
        )
        restarts = CounterMetricFamily(
            "crosscurrent_process_restarts", "How often a child process was started again.", labels=labels
        )
        for child in self._children:
            values = (child.spec.name, child.spec.kind, child.spec.cluster)
            up.add_metric(values, float(child.standing is Standing.READY))
            restarts.add_metric(values, child.restarts)
        yield from (up, restarts)


def _clusters(views: Sequence[ClusterView], now: float) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "crosscurrent_cluster_state", "1 for the state a cluster is in.", labels=("cluster", "state")
    )
    lag = GaugeMetricFamily(
        "crosscurrent_cluster_lag_seconds", "For how long changes may be missing from the streams.", labels=("cluster",)
    )
    types = GaugeMetricFamily("crosscurrent_cluster_types", "Resource types watched.", labels=("cluster",))
    unsynced = GaugeMetricFamily(
        "crosscurrent_cluster_unsynced_types", "Resource types whose contents are unknown.", labels=("cluster",)
    )
    for view in views:
        for name in (*(item.value for item in ClusterState), "unseen"):
            state.add_metric((view.name, name), float(view.state == name))
        seconds = view.lag(now)
        if seconds is not None:
            lag.add_metric((view.name,), seconds)
        types.add_metric((view.name,), len(view.types))
        unsynced.add_metric((view.name,), len(view.unsynced))
    yield from (state, lag, types, unsynced)


def _merged(texts: dict[str, str]) -> Iterable[Metric]:
    """Return the children's metric families, each once, every sample labelled with its process."""
    families: dict[str, Metric] = {}
    for process, text in texts.items():
        for family in text_string_to_metric_families(text):
            merged = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            merged.samples += [
                Sample(sample.name, {**sample.labels, "process": process}, sample.value) for sample in family.samples
            ]
    return families.values()


async def _scrape(port: int) -> str:
    from aiohttp import ClientError, ClientSession, ClientTimeout  # noqa: PLC0415 - only when asked for metrics

    timeout = ClientTimeout(total=SCRAPE_TIMEOUT_S)
    try:
        async with ClientSession(timeout=timeout) as session, session.get(f"http://127.0.0.1:{port}/metrics") as reply:
            return await reply.text()
    except (ClientError, TimeoutError, OSError):
        return ""
