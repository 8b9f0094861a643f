"""`python -m tests.differential --operations 10000 --seed 7`: the differential test on demand, with progress.

It starts a real cluster and a simulated one of its own, and ends with the figures; exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from pathlib import Path

from engine.sandbox.api_servers import ApiServer
from engine.sandbox.assets import ensure_assets
from tests.api_session import ApiSession
from tests.differential.generator import OPERATIONS_PER_SCRIPT, script
from tests.differential.runner import Outcome, Runner
from tests.differential.simulated import simulated_without_controllers

MANY_ADDRESSES = "--service-cluster-ip-range=10.0.0.0/16"
"""Scripts leave their Services behind, and the usual range of the sandbox has 254 addresses."""


def main() -> int:
    """Run, and return the exit code."""
    arguments = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    arguments.add_argument("--operations", type=int, default=10_000, help="at least so many requests to each server")
    arguments.add_argument("--seed", type=int, default=1, help="of the first script; the others follow")
    arguments.add_argument("--most", type=int, default=3, help="stop after so many differing scripts")
    given = arguments.parse_args()
    outcome, seconds = asyncio.run(_run(given.operations, given.seed, given.most))
    sys.stderr.write("\n")
    for found in outcome.differences:
        print(f"\n{found}\nthe script, shrunk:\n{found.listing}")
    for name, count in sorted(outcome.tally.allowed.items()):
        print(f"allowed: {name}: {count} times")
    print(
        f"{outcome.tally.operations} operations from seed {given.seed} in {seconds:.0f} s: "
        f"{len(outcome.differences)} differences"
    )
    return 1 if outcome.differences else 0


async def _run(operations: int, seed: int, most: int) -> tuple[Outcome, float]:
    assets = ensure_assets(lambda line: print(line, file=sys.stderr))
    with tempfile.TemporaryDirectory(prefix="differential-") as directory:
        root = Path(directory)
        with (
            ApiServer("real", root / "real", assets=assets, api_server_flags=[MANY_ADDRESSES]) as real,
            simulated_without_controllers(root / "simulated") as simulated,
        ):
            async with ApiSession.of(real.kubeconfig) as one, ApiSession.of(simulated.kubeconfig) as other:
                runner = Runner(one, other, progress=_show)
                await runner.prepare()
                started = time.monotonic()
                count = -(-operations // OPERATIONS_PER_SCRIPT)
                outcome = await runner.run(map(script, itertools.islice(itertools.count(seed), count)), most=most)
                return outcome, time.monotonic() - started


def _show(line: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{line}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
