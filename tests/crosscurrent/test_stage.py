"""What the demo shows: a picture that stays on a terminal, one that is printed elsewhere, and nothing invented."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from crosscurrent.board import NO_ANSWER, Board, Line
from crosscurrent.stage import Stage
from crosscurrent.talk import CHILD_PATH, FOO_PATH, Talk
from engine.sandbox.memory_log import MemoryLog
from engine.sandbox.processes import SandboxError

FOO = {
    "metadata": {"name": "example-foo"},
    "spec": {"replicas": 3},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}
CHILD = {
    "metadata": {"name": "example-foo"},
    "spec": {"replicas": 3, "template": {"spec": {"containers": [{"image": "nginx:latest"}]}}},
    "status": {"readyReplicas": 2},
}


class Cluster:
    """A cluster that holds what it is given, or does not answer."""

    def __init__(self, name: str, objects: dict[str, Any] | None) -> None:
        self.name, self.identity, self.objects = name, f"{name}-id", objects

    async def request(self, method: str, path: str, body: object = None, *, content_type: str = "") -> tuple[int, Any]:
        if self.objects is None:
            raise SandboxError("connection refused")
        found = self.objects.get(path)
        return (200, found) if found else (404, {})

    async def apply_yaml(self, source: str | Path) -> object:
        raise NotImplementedError


@pytest.fixture
def board(fleet: MemoryLog) -> Board:
    """The small fleet: a Foo in cluster1, its Deployment in cluster2, cluster3 gone."""
    clusters = [
        Cluster("cluster1", {FOO_PATH: FOO}),
        Cluster("cluster2", {CHILD_PATH: CHILD}),
        Cluster("cluster3", None),
    ]
    return Board(Talk({one.name: one for one in clusters}), fleet, ())


async def test_the_picture_is_what_the_clusters_say(board: Board) -> None:
    await board.look()
    assert board.lines == [
        Line("cluster1", "live", "example-foo: replicas 3, Ready True", ""),
        Line("cluster2", "live", "", "2/3 ready, nginx:latest"),
        Line("cluster3", "suspect", "", NO_ANSWER),
    ]
    _, head, first, *_ = board.picture().plain.splitlines()
    assert head.split() == ["CLUSTER", "STATE", "FOO", "DEPLOYMENT"]
    assert first.split() == ["cluster1", "live", "example-foo:", "replicas", "3,", "Ready", "True", "-"]


async def test_without_streams_the_picture_has_no_states(board: Board, fleet: MemoryLog) -> None:
    fleet.lose_streams()
    await board.look()
    assert [line.state for line in board.lines] == ["", "", ""]


async def shown(stage: Stage, board: Board, console: Console) -> str:
    """Play a step of which a picture is asked for; return all that was written."""
    assert isinstance(console.file, io.StringIO)
    async with stage.showing(board):
        stage.step("do it", "it works")
        with stage.waiting("working"):
            while stage.moving and "suspect" not in console.file.getvalue():
                await asyncio.sleep(0.01)
        stage.check("it is done", kept=True)
        await stage.picture()
    return console.file.getvalue()


async def test_on_a_terminal_the_picture_stays_and_elsewhere_it_is_printed_once(board: Board) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100, height=40)
    stage = Stage(terminal)
    text = await asyncio.wait_for(shown(stage, board, terminal), 10)
    assert stage.moving
    assert "\x1b[" in text
    assert "working ..." in text
    pipe = Console(file=io.StringIO(), width=80)
    text = await shown(Stage(pipe), board, pipe)
    assert "\x1b[" not in text
    assert text.count("CLUSTER ") == 1
    assert "working" not in text


@pytest.mark.parametrize(("width", "height"), [(60, 40), (100, 12)])
def test_a_small_terminal_is_left_to_the_steps(width: int, height: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height)
    assert not Stage(console).moving


def test_long_lines_are_not_broken_in_a_pipe() -> None:
    console = Console(file=io.StringIO(), width=20, soft_wrap=True)
    Stage(console).step("a step whose text is longer than twenty characters")
    assert "a step whose text is longer than twenty characters" in console.file.getvalue()  # type: ignore[attr-defined]
