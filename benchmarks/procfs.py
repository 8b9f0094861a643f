"""CPU and memory of other processes, from /proc: exact to the scheduler's clock, and without asking the process."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, of all its threads.

    Threads that have ended count only in `stat`, in ticks of 10 ms; of the living `schedstat` knows nanoseconds.
    """
    living = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            living += int((task / "schedstat").read_text().split()[0])
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return max(living / 1e9, ticks)


def resident_bytes(pid: int) -> int:
    """Return resident memory now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_resident_bytes(pid: int) -> int:
    """Return the most that was ever resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def pin(pid: int, core: int | None) -> None:
    """Keep every thread of a process on one core; None: leave it alone."""
    if core is None:
        return
    for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - names are all that is needed
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(task), {core})


def two_cores() -> tuple[int | None, int | None]:
    """Return (core of the servers, core of the system under test); (None, None) where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else (None, None)


class Usage(msgspec.Struct, frozen=True):
    """What one process used in a window."""

    cpu_seconds: float
    share: float
    """CPU seconds per second, 1.0 for a whole core."""
    resident_bytes: int


class Window:
    """Measures named processes between its start and `close`; one that ended meanwhile is left out."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before = {name: cpu_seconds(pid) for name, pid in self._pids.items()}
        self._started = time.monotonic()

    def close(self) -> dict[str, Usage]:
        """Return what each process used."""
        elapsed = time.monotonic() - self._started
        found = {}
        for name, pid in self._pids.items():
            with suppress(FileNotFoundError, ProcessLookupError):
                used = cpu_seconds(pid) - self._before[name]
                found[name] = Usage(used, used / elapsed, resident_bytes(pid))
        return found
