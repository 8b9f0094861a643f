"""What stands between a write and the store beside the API server's own rules: granting rights, and admission webhooks."""

from __future__ import annotations

from engine.sandbox.simulator.escalation import Escalation
from engine.sandbox.simulator.options import AdmissionRequest, AdmissionVerdict
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.webhooks import Webhooks


class Gate:
    """Reviews the writes of one cluster.

    Args:
        escalation: refuses grants.
        webhooks: asks others.

    """

    def __init__(self, escalation: Escalation, webhooks: Webhooks) -> None:
        self._escalation = escalation
        self._webhooks = webhooks

    def concerns(self, operation: str, rtype: ResourceType, subresource: str) -> bool:
        """Return whether anybody wants to see an operation."""
        return self._escalation.concerns(operation, rtype) or self._webhooks.concerns(operation, rtype, subresource)

    async def review(self, request: AdmissionRequest) -> AdmissionVerdict:
        """Return what they say.

        Raises:
            ApiError: when one refuses.

        """
        if request.phase == "validating":
            self._escalation.check(request)
        return await self._webhooks.review(request)

    async def close(self) -> None:
        """Close connections to webhooks."""
        await self._webhooks.close()
