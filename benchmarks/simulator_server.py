"""Role: three simulated clusters, of which the first one is measured."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks import roles


def main() -> None:
    """Serve until nobody asks any more."""
    settings = roles.begin()
    directory = Path(settings["directory"])
    began = time.perf_counter()
    from engine.sandbox.simulator.fleet import SimulatedFleet, collect_garbage_rarely  # noqa: PLC0415 - how long this takes is a figure

    collect_garbage_rarely()  # as `crosscurrent sandbox` does
    imported = time.perf_counter() - began
    began = time.perf_counter()
    with SimulatedFleet(directory / "clusters", count=3) as fleet:
        seconds = time.perf_counter() - began
        first = fleet["cluster1"]
        user = first.kubeconfig["users"][0]["user"]
        access = {"url": first.url, "ca": str(directory / "clusters" / "cluster1" / "ca.crt"), "token": user["token"]}
        roles.say(ready=1, seconds=seconds, imported=imported, access=access)
        roles.next_line()


if __name__ == "__main__":
    main()
