"""Child processes of the sandbox: nats-server, etcd, kube-apiserver, kube-controller-manager.

Rules:
    A child never outlives us, even if we are killed with -9 (Linux; elsewhere only an orderly end takes children along).
    Ctrl-C in a terminal reaches us alone, so that we decide in which order children end.
    A child that does not become ready says why, in the last lines of its own log.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

STOP_GRACE_SECONDS = 10.0
"""How long a child may take over SIGTERM. kube-apiserver drains requests, nats-server closes its store: both in 1-2 s."""

POLL_SECONDS = 0.02
"""Between looks at whether a child is ready: nats-server needs 50 ms in all, so this may not add much."""

LOG_TAIL_LINES = 15
"""Enough for a Go panic's reason or etcd's complaint, short enough for a terminal."""

_PORTS = range(20_000, 30_000)
"""Below the ephemeral range (from 32768 on Linux) and below NodePorts (from 30000). Inside the ephemeral range a client that
keeps redialling a stopped server on loopback ends up connected to itself, and the server cannot have its port back."""

_PORT_TRIES = 200

_TIE_TO_PARENT = """
import ctypes, os, signal, sys
parent, program = int(sys.argv[1]), sys.argv[2]
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != parent:
    sys.exit("parent is gone")
try:
    os.execv(program, sys.argv[2:])
except OSError as error:
    sys.exit(f"{program}: {error}")
"""
"""Sets PR_SET_PDEATHSIG (kept across exec), then becomes the program. A process of its own rather than `preexec_fn`, which
runs Python between fork and exec and may deadlock in a process with threads. Costs 20 ms."""

# PR_SET_PDEATHSIG fires when the *thread* that started the child ends, and threads of `asyncio.to_thread` end with their
# loop. So one thread, which lives as long as the process, starts them all.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-starter")

_ports_lock = threading.Lock()
_dice = random.SystemRandom()
"""Not the generator that all share: tests seed that one, and two processes of theirs would draw the same ports."""


class SandboxError(Exception):
    """Raised when the sandbox cannot do what it was asked; says what, and what to do about it."""


class ProcessFailed(SandboxError):
    """Raised when a child process ends early or does not become ready in time; carries the end of its log."""


class PortTaken(SandboxError):
    """Raised when a port that was asked for is held by another process."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now and is given to nobody else, here or in another process of ours.

    Between this and the start of the server that listens there lie seconds, in which others look for ports as well. So the
    UDP port of the same number, which none of our servers wants, is held for as long as this process lives.

    Raises:
        PortTaken: when none was found.

    """
    with _ports_lock:
        for _ in range(_PORT_TRIES):
            port = _dice.choice(_PORTS)
            if port_is_free(port) and _claim(port):
                return port
    raise PortTaken(f"no free port found on 127.0.0.1 between {_PORTS.start} and {_PORTS.stop - 1}")


def _claim(port: int) -> bool:
    """Tell every process of ours, this one too, that a port is given; return False when it was."""
    with socket.socket(type=socket.SOCK_DGRAM) as claim:
        try:
            claim.bind(("127.0.0.1", port))
        except OSError:
            return False
        claim.detach()  # the kernel closes it when this process ends
    return True


def port_is_free(port: int) -> bool:
    """Return whether a server could listen on 127.0.0.1 at this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is not taken
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def accepts_connections(port: int) -> bool:
    """Return whether something listens on 127.0.0.1 at this port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


class ChildProcess:
    """One child process that logs to a file and can be started again and again. Safe to use from several threads.

    Args:
        name: for messages.
        argv: program (absolute path) and arguments.
        log: file that stdout and stderr are appended to.
        ready: whether it does what it is for; asked every 20 ms while it starts, so it must answer quickly.
        start_timeout: seconds within which it must be ready.
        environment: variables to set besides our own.

    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        *,
        ready: Callable[[], bool],
        start_timeout: float,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.argv = tuple(argv)
        self.log = log
        self._ready = ready
        self._start_timeout = start_timeout
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """Process id of the running child.

        Raises:
            ProcessFailed: when it is not running.

        """
        if self._process is None or self._process.poll() is not None:
            raise ProcessFailed(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the child is there (a paused one is)."""
        return self._process is not None and self._process.poll() is None

    @property
    def resident_bytes(self) -> int:
        """Resident memory of the child; Linux only."""
        fields = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def start(self) -> None:
        """Start the child and return once it is ready. It is killed if that does not happen in time.

        Raises:
            ProcessFailed: when it is running already, ended by itself or is not ready in time.

        """
        if self.running:
            raise ProcessFailed(f"{self.name} is running already, as pid {self.pid}")
        process = self._process = _starter.submit(self._spawn).result()
        deadline = time.monotonic() + self._start_timeout
        try:
            while not self._ready():
                if process.poll() is not None:
                    raise ProcessFailed(f"{self.name} ended {_how(process.returncode)} while starting{self.log_tail()}")
                if time.monotonic() > deadline:
                    raise ProcessFailed(f"{self.name} was not ready within {self._start_timeout:g} s{self.log_tail()}")
                time.sleep(POLL_SECONDS)
        except BaseException:
            self.kill()
            raise

    def stop(self, grace: float = STOP_GRACE_SECONDS) -> None:
        """End the child: SIGTERM, then SIGKILL after `grace` seconds. Nothing happens if it is not running."""
        process = self._process
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)  # a paused process sees SIGTERM only when it goes on
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the child as a crash would (SIGKILL). Nothing happens if it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Stop the child in its tracks (SIGSTOP) and return when it has: connections stay open and nothing answers."""
        pid = self.pid
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a paused child go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """Return the end of what the last run logged, for the end of an error message; empty if it logged nothing."""
        try:
            with self.log.open("rb") as log:
                log.seek(self._log_start)
                written = log.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "".join(f"\n  {self.name}: {line}" for line in written[-lines:])

    def _spawn(self) -> subprocess.Popen[bytes]:
        argv = self.argv
        if sys.platform == "linux":
            argv = (sys.executable, "-I", "-S", "-c", _TIE_TO_PARENT, str(os.getpid()), *argv)
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with open(descriptor, "ab") as log:  # noqa: PTH123 - a descriptor, so that the mode is ours
            self._log_start = os.fstat(descriptor).st_size
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
                start_new_session=True,  # out of the terminal's process group: Ctrl-C is ours to hand on
            )


def _how(returncode: int) -> str:
    if returncode >= 0:
        return f"with exit code {returncode}"
    return f"by {signal.Signals(-returncode).name}"
