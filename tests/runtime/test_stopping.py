"""A stop at any moment of the start ends it: injected at each turn of the event loop, with a real broker.

Before Python 3.12 a cancellation that comes together with what was waited for by `wait_for` is lost, which nats-py does
while it connects: a process that was interrupted just then tried to connect for ever.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from crosscurrent import host, processes
from crosscurrent import settings as configuration
from engine.runtime.jetstream import Connection
from engine.runtime.ports import EventLogError
from engine.sandbox.nats_server import NatsServer
from engine.sandbox.processes import free_port

pytestmark = pytest.mark.broker

ENDS_WITHIN = 10.0
"""Seconds; each wait has a limit of its own, of two at most."""
CONNECTED = 40
"""Turns in which a connection to a broker on this machine is made: about thirty."""
KUBECONFIG = """
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:%d'}}]
users: [{name: u, user: {token: x}}]
contexts: [{name: here, context: {cluster: c, user: u}}]
"""
CONFIG = """
apiVersion: crosscurrent.dev/v1alpha1
kind: Config
nats: {url: "%s", token: "%s"}
clusters: [{name: one, kubeconfig: kubeconfig, context: here}, {name: two, kubeconfig: kubeconfig, context: here}]
reconcilers: [foo, garbage]
"""


class Turns(selectors.DefaultSelector):
    """Calls a function in one turn of the event loop that polls by it."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = 0
        self._at, self._act = 0, lambda: None

    def call(self, after: int, act: Callable[[], None]) -> None:
        self._at, self._act = self.turn + after, act

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turn += 1
        found = super().select(timeout)
        if self.turn == self._at:
            self._act()
        return found


def run(main: Callable[[Turns], Coroutine[Any, Any, None]]) -> None:
    """Run in a loop whose turns are counted; what is left at the end is cancelled once, as at the end of a process."""
    turns = Turns()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(turns)) as runner:
        runner.run(main(turns))


async def left() -> list[str]:
    """Return the tasks that are still there, once those that were cancelled have had a turn."""
    for _ in range(3):
        await asyncio.sleep(0)
    return [repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]


@pytest.mark.parametrize("token", ["right", "wrong"])
def test_a_connecting_that_is_stopped_at_any_turn_leaves_nothing_that_goes_on(
    nats_server: NatsServer, token: str
) -> None:
    async def main(turns: Turns) -> None:
        for turn in range(1, CONNECTED):
            opening = asyncio.create_task(
                Connection.open(nats_server.url, name="test", token=nats_server.token if token == "right" else "no")
            )
            turns.call(turn, opening.cancel)
            await asyncio.wait({opening}, timeout=ENDS_WITHIN)
            assert opening.done(), f"stopped in turn {turn}"
            if not opening.cancelled():
                if opening.exception() is None:
                    await opening.result().close()
                else:
                    assert isinstance(opening.exception(), EventLogError)
            assert await left() == [], f"stopped in turn {turn}"

    run(main)


def test_a_worker_that_is_stopped_at_any_turn_of_its_start_ends(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(host, "CANCEL_AGAIN_S", 2 * ENDS_WITHIN)  # no second chance
    (tmp_path / "kubeconfig").write_text(KUBECONFIG % free_port())
    (tmp_path / "crosscurrent.yaml").write_text(CONFIG % (nats_server.url, nats_server.token))
    settings = configuration.load(tmp_path / "crosscurrent.yaml", required=True)
    is_ready = False

    def ready() -> None:
        nonlocal is_ready
        is_ready = True

    async def main(turns: Turns) -> None:
        stopping = asyncio.Event()
        turns.call(turn, stopping.set)
        working = processes.reconcile(settings, registry=CollectorRegistry(), ready=ready)
        ending = asyncio.create_task(host._until(stopping, working))
        while turns.turn < turn and not ending.done():
            await asyncio.sleep(0.001)  # more turns, where nothing else makes any
        await asyncio.wait({ending}, timeout=ENDS_WITHIN)
        assert ending.done(), f"stopped in turn {turn}"
        ending.result()

    turn = 1
    while not is_ready:
        run(main)
        turn += 1 + turn // 4  # each of the first, in which it connects; then fewer
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert "never retrieved" not in said
