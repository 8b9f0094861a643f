"""What a member keeps on its own disk: questions to the hub, in order, in a stream of a broker of its own.

In: `Kept`s. Out: the same, oldest first, each for as long as the hub has not answered it. The stream's limit is one of bytes:
what does not fit is refused, and nothing that was taken ever makes room. Subjects name whose facts they are, so that what
another cluster has left on a disk is forgotten: its hub would refuse it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque

import msgspec
import structlog

from engine.runtime import log_wire as wire
from engine.runtime.jetstream import Connection
from engine.runtime.log_publish import BATCH_MESSAGES, GroupCommit
from engine.runtime.log_setup import stream_info
from engine.runtime.ports import EventLogError, Message
from schemas import subjects
from schemas.members import Kept, LogMessage, encode, kept
from schemas.names import ClusterId, ClusterName

STREAM = "KEPT"
READ_AHEAD = 16
"""Questions read at once: with at most a megabyte in each, unless an object is larger."""
WINDOW_SECONDS = 600.0
"""For so long a question that is kept again is known: longer than a watcher tries."""
_NS = 1_000_000_000

_log = structlog.get_logger(__name__)


class KeptFacts:
    """The stream of one member.

    Args:
        connection: to the member's own broker.
        cluster: the member's name.
        identity: of the member.
        limit: bytes on disk.

    """

    def __init__(self, connection: Connection, cluster: ClusterName, identity: ClusterId, limit: int) -> None:
        self._connection, self._limit = connection, limit
        self._subject = f"kept.{subjects.escape(cluster)}.{subjects.escape(identity)}"
        self._writer = GroupCommit(connection, STREAM, first_look=self._look)
        self._ahead: deque[tuple[int, Kept]] = deque()
        self._read, self._done, self._last = 0, 0, 0
        """Sequences: read up to, answered by the hub up to, kept up to."""
        self._created = ""
        self._came = asyncio.Event()
        self.lost = False
        """Whether something that was kept is not there any more; whoever has read this sets it back."""

    async def open(self) -> None:
        """Make the stream, and begin with what is in it.

        Raises:
            EventLogError: when the broker refuses.

        """
        await self._look()

    @property
    def last(self) -> int:
        """Sequence of the last question that was kept."""
        return self._last

    @property
    def waiting(self) -> bool:
        """Whether there is something that the hub has not answered."""
        return self._done < self._last

    @property
    def done(self) -> int:
        """Sequence up to which the hub has answered."""
        return self._done

    async def keep(self, messages: list[LogMessage], lives: tuple[str, ...]) -> None:
        """Keep a question; returns when it is on the disk.

        Raises:
            EventLogError: when it cannot be told whether it is, or when there is no room.

        """
        name = hashlib.sha256("\n".join([*lives, *(one.id for one in messages)]).encode()).hexdigest()
        message = Message(subject=self._subject, body=encode(Kept(messages, lives)), id=name)
        [seq] = await self._writer.send([wire.outgoing(message)])
        self._last = max(self._last, seq)
        self._came.set()

    async def next(self, size: int) -> tuple[int, Kept]:
        """Wait for what the hub has not answered yet; return the oldest of it and how far it reaches.

        Several small questions come as one.

        Args:
            size: bytes of bodies; one question may exceed it.

        Raises:
            EventLogError: when the broker does not answer.

        """
        while not self._ahead:
            if self._read >= self._last:
                self._came.clear()
                await self._came.wait()
            await self._read_ahead()
        seq, first = self._ahead.popleft()
        messages, room = list(first.messages), size - _bytes(first)
        while self._ahead and (more := self._ahead[0][1]).lives == first.lives:
            room -= _bytes(more)
            if room < 0 or len(messages) + len(more.messages) > BATCH_MESSAGES:
                break
            seq, _ = self._ahead.popleft()
            messages += more.messages
        return seq, Kept(messages, first.lives)

    def rewind(self) -> None:
        """Begin again with the oldest that the hub has not answered: whoever had taken it was stopped."""
        self._ahead.clear()
        self._read = self._done

    def answered(self, seq: int) -> None:
        """Note up to where the hub has answered."""
        self._done = max(self._done, seq)

    async def forget(self) -> None:
        """Take what the hub has answered from the disk.

        Raises:
            EventLogError: when the broker does not answer; the next time takes it along.

        """
        await self._connection.api(f"STREAM.PURGE.{STREAM}", {"seq": self._done + 1})

    async def close(self) -> None:
        """Stop."""
        await self._writer.close()

    async def _read_ahead(self) -> None:
        """Read the next few questions; sequences of what was forgotten hold none."""
        first = self._read + 1
        until = min(self._last, first + READ_AHEAD - 1)
        found = await asyncio.gather(*(self._get(seq) for seq in range(first, until + 1)))
        self._ahead.extend((seq, one) for seq, one in zip(range(first, until + 1), found, strict=True) if one)
        self._read = until
        if not self._ahead:
            self.answered(until)

    async def _get(self, seq: int) -> Kept | None:
        answer = await self._connection.request(f"$JS.API.DIRECT.GET.{STREAM}", msgspec.json.encode({"seq": seq}))
        if answer.status == 404:
            return None
        if answer.status:
            raise EventLogError(f"{STREAM}: message {seq}: status {answer.status}")
        return kept.decode(answer.body)

    async def _look(self) -> None:
        """See to it on each new connection that the stream is there, and whether all is in it that was."""
        config = {
            "name": STREAM,
            "subjects": ["kept.>"],
            "storage": "file",
            "compression": "s2",
            "discard": "new",
            "max_bytes": self._limit,
            "allow_direct": True,
            "allow_atomic": True,
            "duplicate_window": round(WINDOW_SECONDS * _NS),
        }
        info = await stream_info(self._connection, STREAM)
        if info is None:
            info = await self._connection.api(f"STREAM.CREATE.{STREAM}", config)
        elif info["config"]["max_bytes"] != self._limit:
            info = await self._connection.api(f"STREAM.UPDATE.{STREAM}", {**info["config"], **config})
        created, state = str(info["created"]), info["state"]
        if self._created and (created != self._created or int(state["last_seq"]) < self._last):
            _log.error("facts that were kept are lost", cluster=self._subject)
            self._ahead.clear()
            self._created, self.lost = "", True
        if not self._created:
            await self._leave_mine()
            state = (await self._connection.api(f"STREAM.INFO.{STREAM}"))["state"]
            self._created, self._last = created, int(state["last_seq"])
            self._read = self._done = int(state["first_seq"]) - 1 if state["messages"] else self._last
            self._came.set()

    async def _leave_mine(self) -> None:
        """Forget what another cluster has kept here."""
        info = await self._connection.api(f"STREAM.INFO.{STREAM}", {"subjects_filter": ">"})
        for subject, count in (info["state"].get("subjects") or {}).items():
            if subject != self._subject:
                _log.error("facts of another cluster are forgotten", subject=subject, questions=count)
                await self._connection.api(f"STREAM.PURGE.{STREAM}", {"filter": subject})


def _bytes(one: Kept) -> int:
    return sum(len(message.body) for message in one.messages)
