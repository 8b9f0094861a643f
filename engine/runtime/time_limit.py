"""A limit on the CPU time of a reconciler: a function that loops for ever must cost its key, not its worker (F-27)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType


class TookTooLong(Exception):
    """Raised inside a reconciler that used up its CPU time."""


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Raise TookTooLong inside the block once this process has used `seconds` of CPU time in it.

    By the virtual interval timer, which counts only while the process runs: waiting costs nothing, and wall-clock alarms of
    others are not touched. Python delivers signals to the main thread only, so elsewhere there is no limit; and a single
    call into C that does not return is not interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    _handle_expiry()
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    except TookTooLong:
        message = f"the reconciler used more than {seconds:g} s of CPU time"
        raise TookTooLong(message) from None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


@cache  # the handler stays: to set and restore it each time would cost as much as a small reconciler
def _handle_expiry() -> None:
    signal.signal(signal.SIGVTALRM, _expire)


def _expire(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the form of a signal handler
    raise TookTooLong
