"""What a watcher process shows at /metrics, read from the watcher's own statistics when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from watchers.statistics import ClusterStatistics, TypeStatistics

_LABELS = ("cluster", "resource")
_GAUGES: tuple[tuple[str, str, Callable[[TypeStatistics], float]], ...] = (
    ("synced", "Whether the contents of the type are known.", lambda item: item.synced),
    ("objects", "Objects of the type.", lambda item: item.objects),
    ("lag_seconds", "From seeing to acknowledgement, of the last fact.", lambda item: item.lag),
    ("last_event_timestamp_seconds", "When the server last sent a line; 0: never.", lambda item: item.last_event),
)
_COUNTERS: tuple[tuple[str, str, Callable[[TypeStatistics], float]], ...] = (
    ("requests", "Requests sent.", lambda item: item.requests),
    ("relists", "Lists begun, the first included.", lambda item: item.relists),
    ("events", "Facts offered for publishing.", lambda item: item.events),
    ("reconnects", "Watches opened.", lambda item: item.reconnects),
)


class WatchCollector(Collector):
    """Metrics of one watcher."""

    def __init__(self, statistics: Callable[[], ClusterStatistics | None]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterable[Metric]:
        """Return every metric family, without samples while there is nothing to watch."""
        known = self._statistics()
        cluster, types = (known.cluster, known.types) if known else ("", ())
        queued = GaugeMetricFamily("crosscurrent_watch_queue", "Facts that wait for the broker.", labels=("cluster",))
        if known:
            queued.add_metric((cluster,), known.queued)
        yield queued
        for name, text, read in _GAUGES:
            gauge = GaugeMetricFamily(f"crosscurrent_watch_{name}", text, labels=_LABELS)
            for item in types:
                gauge.add_metric((cluster, str(item.resource)), float(read(item)))
            yield gauge
        for name, text, read in _COUNTERS:
            counter = CounterMetricFamily(f"crosscurrent_watch_{name}", text, labels=_LABELS)
            for item in types:
                counter.add_metric((cluster, str(item.resource)), float(read(item)))
            yield counter
