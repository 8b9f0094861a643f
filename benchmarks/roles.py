"""Processes of the benchmarks' own: each measured part runs in one, so that nobody measures itself or its neighbour.

A role is a module run with `python -m`. It gets its settings as one JSON line on stdin, further commands the same way, and
answers with JSON lines on stdout. What it logs goes to a file, the end of which is shown if it fails.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from benchmarks.procfs import pin

Json = dict[str, Any]

_TAIL_BYTES = 3000


class RoleFailed(Exception):
    """Raised when a role ends early or does not answer in time."""


class Role:
    """A running role; a context manager that ends it.

    Args:
        module: name below `benchmarks`.
        settings: what it is to do, JSON values.
        log: file for its stderr.
        core: to pin it to.

    """

    def __init__(self, module: str, settings: Mapping[str, Any], log: Path, *, core: int | None = None) -> None:
        self.name = module
        self._log = log
        self._answers: queue.Queue[Json | None] = queue.Queue()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"benchmarks.{module}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.pid = self._process.pid
        pin(self.pid, core)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.tell(settings)

    def tell(self, command: Mapping[str, Any]) -> None:
        """Send one JSON line."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure("ended") from None

    def expect(self, key: str, timeout: float = 120.0) -> Json:
        """Return the next answer that has a key; others are passed over.

        Raises:
            RoleFailed: when it ends or does not give one in time.

        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise self._failure(f"did not say {key!r} within {timeout:g} s") from None
            if answer is None:
                raise self._failure(f"ended before it said {key!r}")
            if key in answer:
                return answer

    def ask(self, command: Mapping[str, Any], key: str, timeout: float = 120.0) -> Json:
        """Send a command and return its answer."""
        self.tell(command)
        return self.expect(key, timeout)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """End it: SIGTERM, then SIGKILL."""
        self._process.send_signal(signal.SIGTERM)
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self._answers.put(json.loads(line))
        self._answers.put(None)

    def _failure(self, what: str) -> RoleFailed:
        tail = self._log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
        return RoleFailed(f"{self.name} {what}\n{tail}")


# --- inside the role ---


def begin() -> Json:
    """Return the settings. From here on the role ends with the process that started it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    return json.loads(sys.stdin.readline())


def say(**answer: Any) -> None:
    """Answer with one JSON line."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def next_line() -> Json:
    """Wait for the next command; ends the role when there is nobody left to send one."""
    line = sys.stdin.readline()
    if not line:
        raise SystemExit(0)
    return json.loads(line)


async def next_command() -> Json:
    """Wait for the next command without holding the loop."""
    return await asyncio.to_thread(next_line)
