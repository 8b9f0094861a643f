"""A converged fleet with everything around it: the load, the recorder, and who reads the streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec

from benchmarks.figures import Settings
from benchmarks.fleet import Fleet
from benchmarks.roles import Role

WARM_UP_SECONDS = 5.0


class Staged(msgspec.Struct, frozen=True):
    """What runs."""

    fleet: Fleet
    load: Role
    recorder: Role
    reader: Role
    foos: list[str]


@contextmanager
def staged(
    settings: Settings, name: str, *, clusters: int, recorded: Mapping[str, str], rate: float
) -> Iterator[Staged]:
    """Start a fleet of two workers with Foos in c1, wait until it has converged, and warm it up.

    Args:
        settings: of the command line.
        name: of the benchmark.
        clusters: how many.
        recorded: what the recorder watches: path by cluster.
        rate: changes per second of the warm-up.

    """
    foos = [f"foo-{number}" for number in range(50 if settings.quick else 200)]
    directory = settings.directory / name
    with Fleet(directory, clusters=clusters, workers=2, say=settings.say) as fleet:
        fleet.create_foos(foos)
        fleet.wait_children(foos)
        watches = {cluster: {"access": fleet.access(cluster), "path": path} for cluster, path in recorded.items()}
        with (
            Role("recorder", {"watches": watches}, directory / "recorder.log") as recorder,
            Role("load", {"access": fleet.access("c1"), "foos": foos}, directory / "load.log") as load,
            Role("log_reader", {"broker": fleet.broker_file()}, directory / "log-reader.log") as reader,
        ):
            for role in (recorder, load, reader):
                role.expect("ready")
            settings.say(f"{name}: warming up")
            load.ask({"run": WARM_UP_SECONDS, "rate": rate}, "changes")
            yield Staged(fleet, load, recorder, reader, foos)
