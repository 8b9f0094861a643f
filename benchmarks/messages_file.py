"""Messages in a file: what a watcher published, to be published again by a process that does nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from engine.runtime.ports import Message


def write(messages: Sequence[Message], path: Path) -> None:
    """Write messages."""
    path.write_bytes(msgspec.msgpack.encode(list(messages)))


def read(path: Path) -> list[Message]:
    """Read messages; each is a copy of its own, as a watcher's are."""
    return msgspec.msgpack.decode(path.read_bytes(), type=list[Message])
