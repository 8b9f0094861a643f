"""Whether values of Secrets are anywhere in what a running system keeps or says (SEC-14)."""

from __future__ import annotations

import asyncio
from base64 import b64encode

from crosscurrent.connect import connected
from crosscurrent.settings import load
from tests.e2e.system import System


def leaked(system: System, *values: str) -> list[str]:
    """Return where any of these values was found: in its files, its log among them, and in its streams.

    FACTS is compressed on disk, so it is read as its clients do, and DECISIONS with it.
    """
    held = {str(file): file.read_bytes() for file in system.directory.rglob("*") if file.is_file()}
    held |= asyncio.run(_streamed(system))
    assert any(b"sealed:" in content for content in held.values()), "this would find nothing"
    looked_for = [form for value in values for form in forms(value)]
    return sorted(place for place, content in held.items() if any(form in content for form in looked_for))


def forms(value: str) -> list[bytes]:
    """Return a value as it is, and in base64 wherever in a longer text it may stand."""
    whole = [b64encode(b"x" * shift + value.encode()).decode() for shift in range(3)]
    return [value.encode(), *(text[4:-4].encode() for text in whole)]


async def _streamed(system: System) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    async with connected(load(system.config)) as log:
        for stream in ("FACTS", "STATE", "DECISIONS"):
            last = await log.last_sequence(stream)
            async for record in log.replay(stream, [">"], after=0, until=last):
                found[f"{stream} {record.seq} {record.subject}"] = record.body
    return found
