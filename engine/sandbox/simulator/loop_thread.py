"""An event loop in a thread of its own, for things that must go on while nobody awaits: the simulated API servers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


class LoopThread:
    """Runs until it is closed. Methods are for other threads and block until what they ask for is done.

    Args:
        name: of the thread.

    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def run(self, make: Callable[[], Awaitable[Result]]) -> Result:
        """Await something in the loop and return what it returns.

        Args:
            make: makes the awaitable, called in the loop.

        """

        async def awaited() -> Result:
            return await make()

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result()

    def call(self, function: Callable[[], Result]) -> Result:
        """Call something in the loop and return what it returns."""
        done: Future[Result] = Future()

        def called() -> None:
            try:
                done.set_result(function())
            except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
                done.set_exception(error)

        self._loop.call_soon_threadsafe(called)
        return done.result()

    def close(self) -> None:
        """End the loop and its thread; what is left in it is cancelled."""
        if self._loop.is_closed():
            return
        self.run(_cancel_all)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
