"""The data file of the built-in types, read once a process."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

DATA_FILE = Path(__file__).with_name("schemas.json")
"""Written by `generate`."""

Json = dict[str, Any]


@cache
def data() -> Json:
    """Return what the file holds: version, types, definitions."""
    found: Json = msgspec.json.decode(DATA_FILE.read_bytes())
    return found
