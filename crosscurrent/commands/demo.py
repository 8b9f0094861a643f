"""`crosscurrent demo`: the talk, end to end."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from crosscurrent import settings as configuration
from crosscurrent.errors import UsageError
from crosscurrent.options import ConfigFile

MIN_CLUSTERS = 2
"""The Foo's own, and one to become a Deployment in."""
MAX_CLUSTERS = 10
"""Each takes some 300 MB and 4 s of a core to start."""


async def demo(
    *,
    real: Annotated[bool, Parameter(negative=(), help="On real API servers; the first time they are built.")] = False,
    clusters: Annotated[int, Parameter(help="How many.")] = 3,
    keep: Annotated[bool, Parameter(negative=(), help="Leave it running at the end, to play with.")] = False,
    attach: Annotated[bool, Parameter(negative=(), help="In a fleet that runs already: that of -f.")] = False,
    config: ConfigFile = None,
) -> int:
    """Show the talk, end to end, on clusters of its own."""
    if attach:
        if real or keep:
            raise UsageError("--attach starts nothing: it goes with neither --real nor --keep")
        from crosscurrent.story import run_story  # noqa: PLC0415

        return await run_story(configuration.load(config, required=True))
    if not MIN_CLUSTERS <= clusters <= MAX_CLUSTERS:
        raise UsageError(f"--clusters {clusters} is not between {MIN_CLUSTERS} and {MAX_CLUSTERS}")
    from crosscurrent.demo import run_demo  # noqa: PLC0415 - after the arguments are known to be right

    return await run_demo(clusters, real=real, keep=keep)
