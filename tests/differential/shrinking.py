"""The smallest script that still differs: what a person reads instead of forty requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from tests.differential.comparison import Difference
from tests.differential.operations import Operation, Script

MOST_RUNS = 60
"""A script takes a fraction of a second on both servers, and a person waits."""


async def shrunk(found: Difference, run: Callable[[Script], Awaitable[Difference | None]]) -> Difference:
    """Return a difference of the same kind from fewer operations.

    Args:
        found: of the whole script.
        run: replays a script on both servers and returns its first difference.

    """
    best = found
    if found.where.isdigit():
        shorter = found.script.operations[: int(found.where) + 1]
        if again := await run(_variant(found.script, shorter)):
            best = again
    size = max(1, len(best.script.operations) // 2)
    runs = 0
    while runs < MOST_RUNS:
        start = 0
        while start < len(best.script.operations) and runs < MOST_RUNS:
            rest = best.script.operations[:start] + best.script.operations[start + size :]
            runs += 1
            again = await run(_variant(best.script, rest)) if rest else None
            if again is not None and set(again.paths) & set(best.paths):
                best = again
            else:
                start += size
        if size == 1:
            break
        size //= 2
    return best


def _variant(script: Script, operations: tuple[Operation, ...]) -> Script:
    return msgspec.structs.replace(script, operations=operations)
