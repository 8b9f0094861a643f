"""What workers count, under controller-runtime's names so that existing dashboards work."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas.actions import Outcome


class Measured:
    """The result of a reconcile, to be filled in."""

    result: str = "error"


class WorkerMetrics:
    """Counters of one process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """Register with `registry`, by default with one of its own."""
        self.registry = registry or CollectorRegistry()
        self._of = cache(self._bind)
        self._count = cache(self._counter)
        self._total = Counter(
            "controller_runtime_reconcile", "Reconciles by result.", ["controller", "result"], registry=self.registry
        )
        self._seconds = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Seconds of a reconcile, its writes included.",
            ["controller"],
            registry=self.registry,
        )
        self._active = Gauge(
            "controller_runtime_active_workers", "Reconciles running now.", ["controller"], registry=self.registry
        )
        self._outcomes = Counter(
            "crosscurrent_outcomes", "Actions by result.", ["cluster", "action", "result"], registry=self.registry
        )

    @contextmanager
    def reconcile(self, controller: str) -> Iterator[Measured]:
        """Time a reconcile and count its result."""
        measured = Measured()
        active, seconds = self._of(controller)
        started = time.monotonic()
        active.inc()
        try:
            yield measured
        finally:
            active.dec()
            seconds.observe(time.monotonic() - started)
            self._count(controller, measured.result).inc()

    def _bind(self, controller: str) -> tuple[Gauge, Histogram]:
        """Return the metrics of one controller. Kept, as the counters are: looking labels up costs more than counting."""
        return self._active.labels(controller), self._seconds.labels(controller)

    def _counter(self, controller: str, result: str) -> Counter:
        return self._total.labels(controller, result)

    def count_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Count what became of actions."""
        for outcome in outcomes:
            self._outcomes.labels(outcome.ref.cluster, outcome.action, outcome.result.value).inc()
