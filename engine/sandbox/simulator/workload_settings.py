"""How long things take for workloads; `Controllers` holds these, and others take them without knowing it."""

from __future__ import annotations

from typing import Protocol


class WorkloadSettings(Protocol):
    """Seconds."""

    @property
    def pod_start_seconds(self) -> float:
        """Until a pod is ready."""

    @property
    def pod_stop_seconds(self) -> float:
        """Until a deleted pod has ended, at most its grace period."""

    @property
    def job_seconds(self) -> float:
        """Until a pod has done its work that is meant to end."""
