"""Children are started again when they die, ended in order, and never outlive us."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from crosscurrent import supervisor as module
from crosscurrent.supervisor import ChildSpec, Standing, Supervisor

STUB = '''
"""Stands in for `python -m crosscurrent` where only its life matters."""
import os, signal, sys, time

name = sys.argv[1]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print(f"{name} ends", flush=True)))
if name == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if name == "broken":
    sys.exit("no")
if name != "silent":
    os.write(int(os.environ["CROSSCURRENT_NOTIFY_FD"]), b'{"metrics_port":7}\\n')
print(f"{name} runs", flush=True)
time.sleep(60)
'''


@pytest.fixture(autouse=True)
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let children run the stub instead of the command line, and failures be retried soon."""
    package = tmp_path / "crosscurrent"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(STUB)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    monkeypatch.setattr(module, "FIRST_DELAY_S", 0.05)
    monkeypatch.setattr(module, "GRACE_S", 0.5)


def spec(name: str, kind: str = "watch") -> ChildSpec:
    return ChildSpec(name=name, kind=kind, arguments=(name,))


@asynccontextmanager
async def supervised(*specs: ChildSpec) -> AsyncIterator[tuple[Supervisor, list[str]]]:
    lines: list[str] = []
    supervisor = Supervisor(specs, {}, phases=("reconcile", "watch"), write=lines.append)
    running = asyncio.create_task(supervisor.run())
    try:
        yield supervisor, lines
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(condition: object) -> None:
    async with asyncio.timeout(10):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


async def test_children_become_ready_and_their_lines_are_passed_on() -> None:
    async with supervised(spec("a"), spec("b")) as (supervisor, lines):
        await asyncio.wait_for(supervisor.wait_ready(), 10)
        assert {child.standing for child in supervisor.children} == {Standing.READY}
        assert {child.metrics_port for child in supervisor.children} == {7}
        await until(lambda: len(lines) == 2)
        assert "a runs" in "".join(lines)
        pids = [child.pid for child in supervisor.children]
    assert not any(alive(pid) for pid in pids)


async def test_only_as_many_start_at_once_as_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(module, "START_S", 60.0)
    async with supervised(spec("a"), spec("silent"), spec("b")) as (supervisor, _):
        first, second, third = supervisor.children
        await until(lambda: second.standing is Standing.STARTING)
        assert first.standing is Standing.READY
        assert third.pid == 0


async def test_one_that_does_not_become_ready_keeps_no_other_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(module, "START_S", 0.05)
    async with supervised(spec("silent"), spec("broken"), spec("b")) as (supervisor, _):
        await until(lambda: supervisor.children[2].standing is Standing.READY)


async def test_children_can_be_added_and_removed_while_the_others_run() -> None:
    async with supervised(spec("a")) as (supervisor, _):
        await asyncio.wait_for(supervisor.wait_ready(), 10)
        first = supervisor.children[0]
        pid = first.pid
        supervisor.add(spec("b"))
        second = supervisor.children[1]
        await until(lambda: second.standing is Standing.READY)
        gone = second.pid
        await supervisor.remove(second)
        assert supervisor.children == [first]
        assert not alive(gone)
        assert (first.pid, first.restarts) == (pid, 0)


async def test_a_killed_child_is_started_again_and_the_others_do_not_notice() -> None:
    async with supervised(spec("a"), spec("b")) as (supervisor, _):
        await asyncio.wait_for(supervisor.wait_ready(), 10)
        first, second = supervisor.children
        killed, untouched = first.pid, second.pid
        os.kill(killed, signal.SIGKILL)
        await until(lambda: first.restarts == 1 and first.standing is Standing.READY)
        assert first.last_exit == "SIGKILL"
        assert first.pid != killed
        assert second.pid == untouched


async def test_a_child_that_cannot_start_is_retried_with_growing_pauses() -> None:
    async with supervised(spec("broken")) as (supervisor, lines):
        started = asyncio.get_running_loop().time()
        await until(lambda: supervisor.children[0].restarts == 3)
        assert asyncio.get_running_loop().time() - started >= 0.05 + 0.1 + 0.2
        assert supervisor.children[0].last_exit == "exit code 1"
    assert "no" in lines[0]


async def test_children_end_kind_by_kind() -> None:
    async with supervised(spec("w"), spec("r1", "reconcile"), spec("r2", "reconcile")) as (supervisor, lines):
        await asyncio.wait_for(supervisor.wait_ready(), 10)
    ends = [line for line in lines if "ends" in line]
    assert len(ends) == 3
    assert "w ends" in ends[-1]


async def test_a_child_that_does_not_end_is_killed() -> None:
    async with supervised(spec("stubborn")) as (supervisor, _):
        await asyncio.wait_for(supervisor.wait_ready(), 10)
        pid = supervisor.children[0].pid
    assert not alive(pid)


async def test_a_stopped_child_can_be_ended() -> None:
    async with supervised(spec("a")) as (supervisor, lines):
        await asyncio.wait_for(supervisor.wait_ready(), 10)
        os.kill(supervisor.children[0].pid, signal.SIGSTOP)
    assert "a ends" in lines[-1]
