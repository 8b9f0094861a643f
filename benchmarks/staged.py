"""A converged fleet with everything around it: the load, the recorder, and who reads the streams."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from benchmarks.arrivals import Arrival, Change, Event, lost, match
from benchmarks.figures import Settings
from benchmarks.fleet import Fleet
from benchmarks.roles import Json, Role

FOOS, QUICK_FOOS = 500, 200
"""So many that one is changed every ten (four) seconds: changes of one object that overtake each other make the API server
repeat its optimistic writes, and on a busy machine that is all it does."""
WARM_UP_SECONDS = 5.0
GIVE_UP_SECONDS = 20.0
"""A change that has not arrived by then counts as lost: twice what a lease and all its retries take."""


class Collected(msgspec.Struct, frozen=True):
    """What became of one run of the load."""

    changes: list[Change]
    arrivals: list[Arrival]
    events: int
    """Watch events that the recorder saw."""


class Staged(msgspec.Struct, frozen=True):
    """What runs."""

    fleet: Fleet
    load: Role
    recorder: Role
    reader: Role
    foos: list[str]

    def collect(self, answer: Json, watches: Sequence[str]) -> Collected:
        """Match the load's answer with what was recorded; waits a while for changes that have not arrived yet."""
        deadline = time.monotonic() + GIVE_UP_SECONDS
        changes = msgspec.convert(answer["changes"], list[Change])
        events: list[Event] = []
        while True:
            time.sleep(1.0)
            events += msgspec.convert(self.recorder.ask({"take": 1}, "events")["events"], list[Event])
            arrivals = match(changes, events, watches)
            if not lost(arrivals) or time.monotonic() > deadline:
                return Collected(changes, arrivals, len(events))


@contextmanager
def staged(
    settings: Settings, name: str, *, clusters: int, recorded: Mapping[str, str], rate: float, workers: int = 1
) -> Iterator[Staged]:
    """Start a fleet with Foos in c1, wait until it has converged, and warm it up.

    Args:
        settings: of the command line.
        name: of the benchmark.
        clusters: how many.
        recorded: what the recorder watches: path by cluster.
        rate: changes per second of the warm-up.
        workers: worker processes; one is the default of `crosscurrent up`.

    """
    foos = [f"foo-{number}" for number in range(QUICK_FOOS if settings.quick else FOOS)]
    directory = settings.directory / name
    with Fleet(directory, clusters=clusters, workers=workers, say=settings.say) as fleet:
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
            stage = Staged(fleet, load, recorder, reader, foos)
            stage.collect(load.ask({"run": WARM_UP_SECONDS, "rate": rate}, "changes"), list(recorded)[-1:])
            yield stage
