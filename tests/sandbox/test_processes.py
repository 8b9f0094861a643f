"""Child processes: they become ready or say why not, they end when told, and they never outlive us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.sandbox.processes import ChildProcess, ProcessFailed, accepts_connections, free_port, port_is_free

SLEEPS = "import time; time.sleep(60)"
IGNORES_SIGTERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
)

Start = Callable[..., ChildProcess]


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Start]:
    made: list[ChildProcess] = []

    def make(code: str, *, ready: Callable[[], bool] = lambda: True, timeout: float = 10.0) -> ChildProcess:
        argv = (sys.executable, "-I", "-S", "-c", code)
        made.append(ChildProcess("child", argv, tmp_path / "log", ready=ready, start_timeout=timeout))
        return made[-1]

    yield make
    for one in made:
        one.kill()


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # in a container without an init nobody reaps orphans


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds


def test_a_child_that_ends_early_says_why_in_the_last_lines_of_its_log(child: Start) -> None:
    one = child("print('no such disk'); raise SystemExit(3)", ready=lambda: False)
    with pytest.raises(ProcessFailed, match=r"child ended with exit code 3 while starting\n  child: no such disk"):
        one.start()


def test_only_the_last_runs_log_is_quoted(child: Start, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("of an earlier run\n")
    one = child("print('of this run'); raise SystemExit(1)", ready=lambda: False)
    with pytest.raises(ProcessFailed, match="of this run") as failed:
        one.start()
    assert "earlier" not in str(failed.value)


def test_a_child_that_is_not_ready_in_time_is_killed(child: Start) -> None:
    one = child(SLEEPS, ready=lambda: False, timeout=0.1)
    with pytest.raises(ProcessFailed, match=r"not ready within 0\.1 s"):
        one.start()
    assert not one.running


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    one = ChildProcess("x", ("/no/such/program",), tmp_path / "log", ready=lambda: False, start_timeout=10)
    with pytest.raises((ProcessFailed, OSError), match="/no/such/program"):
        one.start()


def test_a_running_child_is_not_started_twice(child: Start) -> None:
    one = child(SLEEPS)
    one.start()
    with pytest.raises(ProcessFailed, match="is running already"):
        one.start()


def test_a_stopped_child_can_be_started_again(child: Start) -> None:
    one = child(SLEEPS)
    one.start()
    first = one.pid
    one.stop()
    assert not one.running
    one.start()
    assert one.pid != first


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(child: Start, tmp_path: Path) -> None:
    one = child(IGNORES_SIGTERM, ready=lambda: "up" in (tmp_path / "log").read_text())
    one.start()
    one.stop(grace=0.1)
    assert not one.running


def test_a_paused_child_can_be_stopped_in_order(child: Start) -> None:
    one = child(SLEEPS)
    one.start()
    one.pause()
    started = time.monotonic()
    one.stop(grace=10)
    assert not one.running
    assert time.monotonic() - started < 5


def test_a_child_is_out_of_reach_of_ctrl_c(child: Start) -> None:
    one = child(SLEEPS)
    one.start()
    assert os.getpgid(one.pid) != os.getpgid(0)


def test_a_child_survives_the_thread_that_started_it(child: Start) -> None:
    """The kernel ties a child to the thread that forked it, and `asyncio.to_thread`'s threads end with their loop."""
    one = child(SLEEPS)
    thread = threading.Thread(target=one.start)
    thread.start()
    thread.join()
    time.sleep(0.1)
    assert one.running


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent_code = f"""
import time
from pathlib import Path
from engine.sandbox.processes import ChildProcess
log = Path({str(tmp_path / "log")!r})
one = ChildProcess("sleeper", ({sys.executable!r}, "-S", "-c", "print('up', flush=True); import time; time.sleep(60)"), log,
                   ready=lambda: "up" in log.read_text(), start_timeout=10)
one.start()
print(one.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen((sys.executable, "-c", parent_code), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.send_signal(signal.SIGKILL)
        assert wait_until(lambda: not is_alive(pid))


def test_free_ports_differ_and_lie_below_those_that_clients_are_given() -> None:
    ports = [free_port() for _ in range(20)]
    assert len(set(ports)) == 20
    assert all(20_000 <= port < 30_000 and port_is_free(port) for port in ports)
    assert not accepts_connections(ports[0])


def test_a_port_that_is_given_here_is_given_in_no_other_process() -> None:
    """Two processes of a test session start servers at once; what a port is given for listens on it seconds later."""
    port = free_port()
    only = f"processes._PORTS = range({port}, {port + 1})"
    program = f"from engine.sandbox import processes\n{only}\nprocesses.free_port()"
    other = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=30)
    assert port_is_free(port)
    assert f"no free port found on 127.0.0.1 between {port} and {port}" in other.stderr
