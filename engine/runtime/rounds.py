"""Messages that go together: one publish is under way at a time, and what is wanted meanwhile goes with the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from engine.runtime.ports import Message


class Rounds:
    """Publishes in rounds; a message of the same subject and id goes once in each, the latest."""

    def __init__(self, publish: Callable[[Sequence[Message]], Awaitable[None]], name: str) -> None:
        """Use `publish`, in a task of this name."""
        self._publish, self._name = publish, name
        self._next: _Round | None = None
        self._sender: asyncio.Task[None] | None = None

    def add(self, messages: Iterable[Message]) -> asyncio.Future[None]:
        """Let messages go with the next round; return when that was published, or what `publish` raised for it.

        The future is everybody's: shield it.
        """
        if self._next is None:
            self._next = _Round()
        mine = self._next
        mine.messages |= {(message.subject, message.id): message for message in messages}
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all(), name=self._name)
        return mine.over

    async def _send_all(self) -> None:
        while self._next is not None:
            sending, self._next = self._next, None
            try:
                await self._publish(list(sending.messages.values()))
            except Exception as problem:  # noqa: BLE001 - whoever asked must learn it, whatever it is
                sending.over.set_exception(problem)
                sending.over.exception()  # they may all have been cancelled
            else:
                sending.over.set_result(None)


class _Round:
    """What is sent together."""

    def __init__(self) -> None:
        self.messages: dict[tuple[str, str], Message] = {}
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
