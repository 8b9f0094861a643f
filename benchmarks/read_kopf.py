"""Peer of the ingest benchmark: a kopf operator with one `on.event` handler that does nothing but count.

Tuned in its favour: no posting of Kubernetes Events, no peering, no scanning for namespaces (cluster-wide), one watched
type, no limit of workers, no log line per event.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import kopf

from benchmarks import roles


def registry_for(settings: roles.Json) -> kopf.OperatorRegistry:
    """Return the operator's handlers."""
    registry = kopf.OperatorRegistry()
    target = settings["events"]
    counts = {"initial": 0, "events": 0}

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=settings["url"], ca_data=Path(settings["ca"]).read_bytes(), token="token")

    @kopf.on.startup(registry=registry)
    def tune(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.scanning.disabled = True

    @kopf.on.event("apps", "v1", "deployments", registry=registry)
    async def handle(type: str | None, meta: Any, **_: Any) -> None:  # noqa: A002 - kopf injects by name
        if type != "MODIFIED":
            counts["initial"] += 1
            if counts["initial"] == settings["objects"]:
                roles.say(ready=counts["initial"])
            return
        counts["events"] += 1
        if counts["events"] == target:
            last = meta["resourceVersion"]
            roles.say(done=target, at=time.monotonic(), cpu=time.process_time(), last=last)

    return registry


async def main() -> None:
    """Run the operator until ended."""
    settings = roles.begin()
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("kopf").setLevel(logging.ERROR)
    await kopf.operator(registry=registry_for(settings), clusterwide=True, standalone=True)


if __name__ == "__main__":
    asyncio.run(main())
