"""Keep child processes running: start, log, restart with back-off, end in order.

Each watcher and worker is a process of its own so that any of them can be killed, by an operator or by the kernel,
without the others noticing. A child is told three things: by its environment, in which form to log; by a pipe on its
stdin, that we are still alive (it ends when that closes, so kill -9 of `up` leaves nothing behind); and by a pipe that it
writes to, where to say that it is ready (see `crosscurrent.host`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum

import msgspec
import structlog

from crosscurrent.host import NOTIFY_VARIABLE, Notice
from crosscurrent.logs import CONSOLE, FORMAT_VARIABLE, log_format

FIRST_DELAY_S = 0.5
"""Before the first restart: at once would spin on a child that cannot start."""
MAX_DELAY_S = 30.0
"""Longest pause between restarts: long enough to be cheap, short enough that a repaired cause is soon noticed."""
HEALTHY_S = 30.0
"""A child that ran for this long had started well: its next restart is not a repetition of the last."""
GRACE_S = 4.0
"""For a child's SIGTERM; two phases of children and the broker must end within 10 s together."""
START_S = 2.0
"""For so long a child that is not ready counts as one that starts: most of it is half a second of importing modules."""
_LINE_LIMIT_BYTES = 1 << 20
"""Longest log line that is passed on whole; a trace with locals in JSON is some 100 KB."""

_log = structlog.get_logger(__name__)


class Standing(StrEnum):
    """Where a child is in its life."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    """It ended and will be started again."""
    ENDED = "ended"


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A child to keep running."""

    name: str
    """For logs and metrics, e.g. `watch cluster1`."""
    kind: str
    """`watch` or `reconcile`."""
    arguments: tuple[str, ...]
    """Command line after `crosscurrent`."""
    cluster: str = ""


class Child:
    """One child and what is known of it."""

    def __init__(self, spec: ChildSpec, environment: Mapping[str, str], write: Callable[[str], None]) -> None:
        self.spec = spec
        self.standing = Standing.WAITING
        self.restarts = 0
        self.pid = 0
        self.metrics_port = 0
        self.last_exit = ""
        self.became_ready = asyncio.Event()
        """Set the first time that it is ready."""
        self.hurry = asyncio.Event()
        """Set to end it without grace."""
        self._environment = environment
        self._write = write

    async def keep(self) -> None:
        """Run the child, again and again, until cancelled; then end it."""
        delay = FIRST_DELAY_S
        while True:
            started = time.monotonic()
            self.last_exit = await self._run_once()
            if time.monotonic() - started >= HEALTHY_S:
                delay = FIRST_DELAY_S
            self.standing = Standing.WAITING
            _log.warning("process ended", child=self.spec.name, how=self.last_exit, restart_in_seconds=delay)
            await asyncio.sleep(delay)
            self.restarts += 1
            delay = min(delay * 2, MAX_DELAY_S)

    async def _run_once(self) -> str:
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "crosscurrent",
                *self.spec.arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **self._environment, FORMAT_VARIABLE: log_format(), NOTIFY_VARIABLE: str(writing)},
                pass_fds=(writing,),
                limit=_LINE_LIMIT_BYTES,
                start_new_session=True,  # Ctrl-C reaches `up` alone, which ends its children in order
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self.pid = process.pid
        self.standing = Standing.STARTING
        listening = asyncio.create_task(self._listen(reading), name=f"notices of {self.spec.name}")
        copying = asyncio.create_task(self._copy(process), name=f"log of {self.spec.name}")
        try:
            return _how(await process.wait())
        finally:
            await self._end(process)
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening
            await copying  # to the end of its output: the last lines say why it died
            self.pid = self.metrics_port = 0
            self.standing = Standing.ENDED

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)  # one that is stopped would not see SIGTERM
        waiting = asyncio.create_task(process.wait())
        hurrying = asyncio.create_task(self.hurry.wait())
        await asyncio.wait({waiting, hurrying}, timeout=GRACE_S, return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if process.returncode is None:
            _log.warning("process killed: it did not end in time", child=self.spec.name, seconds=GRACE_S)
            with suppress(ProcessLookupError):
                process.kill()
        await waiting

    async def _listen(self, descriptor: int) -> None:
        """Take in what the child says of itself, until it closes the pipe."""
        reader = asyncio.StreamReader()
        pipe = os.fdopen(descriptor, "rb", buffering=0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            while line := await reader.readline():
                notice = msgspec.json.decode(line, type=Notice)
                self.metrics_port = notice.metrics_port
                self.standing = Standing.READY
                self.became_ready.set()
        finally:
            transport.close()

    async def _copy(self, process: asyncio.subprocess.Process) -> None:
        """Pass the child's lines on. Lines that are not our log (a crash of the interpreter) get its name."""
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                continue  # longer than the limit: asyncio has dropped it
            if not line:
                return
            self._write(self._labelled(line.decode(errors="replace").rstrip("\n")))

    def _labelled(self, line: str) -> str:
        if log_format() == CONSOLE:
            return f"{self.spec.name:<16} | {line}\n"
        if line.startswith("{") and '"process"' in line:
            return f"{line}\n"
        return msgspec.json.encode({"process": self.spec.name, "event": line, "level": "error"}).decode() + "\n"


class Supervisor:
    """All children, ended kind by kind."""

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        environment: Mapping[str, str],
        *,
        phases: Sequence[str],
        write: Callable[[str], None] | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            specs: what to run.
            environment: variables to set for the children.
            phases: kinds, in the order in which they are ended.
            write: takes the children's log lines; None: our stderr.

        """
        self._environment, self._write, self._phases = environment, write or _to_stderr, phases
        self.children = [self._child(spec) for spec in specs]
        self._tasks: dict[Child, asyncio.Task[None]] = {}
        self._to_start: asyncio.Queue[Child] = asyncio.Queue()
        for child in self.children:
            self._to_start.put_nowait(child)

    async def wait_ready(self) -> None:
        """Wait until every child has been ready once."""
        await asyncio.gather(*(child.became_ready.wait() for child in self.children))

    def add(self, spec: ChildSpec) -> None:
        """Keep one more child running."""
        child = self._child(spec)
        self.children.append(child)
        self._to_start.put_nowait(child)

    async def remove(self, child: Child) -> None:
        """End a child for good."""
        self.children.remove(child)
        task = self._tasks.pop(child, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def run(self) -> None:
        """Keep all children running until cancelled, then end them: all of one kind at a time."""
        failed = asyncio.get_running_loop().create_future()
        starting = asyncio.create_task(self._start(failed), name="start of the children")
        try:
            await failed
        finally:
            starting.cancel()
            for phase in self._phases:
                # Not `gather` of all: it would hand our cancellation to all of them at once.
                ending = [task for child, task in self._tasks.items() if child.spec.kind == phase]
                for task in ending:
                    task.cancel()
                await asyncio.gather(*ending, return_exceptions=True)

    def _child(self, spec: ChildSpec) -> Child:
        return Child(spec, self._environment, self._write)

    async def _start(self, failed: asyncio.Future[None]) -> None:
        """Start as many at a time as there are cores: all at once, each would be ready only when the last one is."""
        at_once, loop = os.cpu_count() or 1, asyncio.get_running_loop()

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None and not failed.done():
                failed.set_exception(error)  # a mistake of ours: a child's failures are its own

        counts_until: dict[Child, float] = {}
        while True:
            child = await self._to_start.get()
            while len(under_way := [one for one, end in counts_until.items() if _is_starting(one, end)]) >= at_once:
                seconds = min(counts_until[one] for one in under_way) - loop.time()
                await _first_ready(under_way, seconds)
            counts_until = {one: counts_until[one] for one in under_way}
            if child not in self.children:
                continue  # removed meanwhile
            task = self._tasks[child] = asyncio.create_task(child.keep(), name=child.spec.name)
            task.add_done_callback(ended)
            counts_until[child] = loop.time() + START_S

    def hurry(self) -> None:
        """End without grace whatever has not ended yet."""
        for child in self.children:
            child.hurry.set()


def _is_starting(child: Child, counts_until: float) -> bool:
    return not child.became_ready.is_set() and asyncio.get_running_loop().time() < counts_until


async def _first_ready(children: Sequence[Child], seconds: float) -> None:
    """Wait until one of these is ready, or for some seconds."""
    waits = [asyncio.create_task(child.became_ready.wait()) for child in children]
    try:
        await asyncio.wait(waits, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _to_stderr(line: str) -> None:
    sys.stderr.write(line)
    sys.stderr.flush()


def _how(returncode: int) -> str:
    if returncode >= 0:
        return f"exit code {returncode}"
    return signal.Signals(-returncode).name
