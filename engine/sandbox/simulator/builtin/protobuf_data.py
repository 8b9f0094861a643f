"""The data file of protobuf field numbers, read once a process."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

PROTOBUF_FILE = Path(__file__).with_name("protobuf.json")
"""Written by `protobuf_source`."""

Field = tuple[str, str, str]
"""Name in JSON, kind, flags; see `protobuf_source`."""


@cache
def messages() -> dict[str, dict[int, Field]]:
    """Return the fields of each message by number."""
    return msgspec.json.decode(PROTOBUF_FILE.read_bytes(), type=dict[str, dict[int, Field]])
