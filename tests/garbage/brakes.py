"""The brakes of a cluster, as an administrator sees and opens them."""

from __future__ import annotations

from typing import Any

from engine.sandbox.api_servers import ApiServer
from tests.garbage.objects import MERGE

BRAKES = "/apis/crosscurrent.dev/v1alpha1/deletionbrakes"


def brakes_in(cluster: ApiServer) -> list[dict[str, Any]]:
    """Return the standing ones; none from a server that has just come up and does not know the type yet."""
    found: list[dict[str, Any]] = cluster.client.request("GET", BRAKES)[1].get("items", [])
    return found


def approve_all(cluster: ApiServer) -> None:
    """Approve those that stand; more may follow, for scopes whose suspects were not all found yet when the first tripped."""
    for brake in brakes_in(cluster):
        if brake["spec"].get("approved"):
            continue
        path, body = f"{BRAKES}/{brake['metadata']['name']}", {"spec": {"approved": True}}
        cluster.client.request("PATCH", path, body, content_type=MERGE)
