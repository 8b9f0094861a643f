"""The tests' end of the line to the relay's process: commands, and answers to its questions (`tests.garbage.relay`)."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tests.e2e.system import ROOT

Json = dict[str, Any]
SECONDS = 30.0
"""A relay that needs longer for a command hangs."""
ANSWERING = 64
"""Questions answered at once: what a case does in between may take its time."""


class Line:
    """A running relay; for any thread."""

    def __init__(self, answer: Callable[[Json], Any]) -> None:
        """Start it; `answer` is asked what it asks, each question in a thread of its own."""
        self._answer = answer
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Any]] = {}
        self._saying = threading.Lock()
        self._answering = ThreadPoolExecutor(ANSWERING, thread_name_prefix="answers the relay")
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.garbage.relay", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        self._socket = ours
        self._thread = threading.Thread(target=self._listen, name="line to the relay", daemon=True)
        self._thread.start()

    def call(self, do: str, **arguments: Any) -> Any:
        """Let the relay do something and return what it answers."""
        number, future = next(self._numbers), Future[Any]()
        self._waiting[number] = future
        self._say({"do": do, "id": number, **arguments})
        return future.result(SECONDS)

    def close(self) -> None:
        """Hang up, which ends the relay."""
        self._socket.shutdown(socket.SHUT_WR)
        self._process.wait(SECONDS)
        self._thread.join(SECONDS)
        self._socket.close()
        self._answering.shutdown()

    def _listen(self) -> None:
        with self._socket.makefile("rb") as lines:
            for line in lines:
                said = json.loads(line)
                if "done" in said:
                    self._waiting.pop(said["done"]).set_result(said["result"])
                else:
                    self._answering.submit(self._be_asked, said)

    def _be_asked(self, question: Json) -> None:
        verdict: Any = {"code": 500, "text": "the test failed to answer", "type": "text/plain"}
        try:
            verdict = self._answer(question)
        finally:
            self._say({"verdict": question["ask"], "is": verdict})

    def _say(self, what: Json) -> None:
        with self._saying:
            self._socket.sendall(json.dumps(what).encode() + b"\n")
