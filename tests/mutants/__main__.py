"""Run the pure and scripted tests against every mutant; exit with 1 if one survives. `make mutants`.

What takes the time is not the tests but the imports before them. So libraries are imported once; each of `PROCESSES` has a
copy of the sources, writes one mutant after the other into it, and forks for each a child that imports those and tests them.
The suites of the mutated module come first, and a mutant is done with at the first test that fails.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.context import ForkContext
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import NamedTuple

# For the children: none of these knows our code. pytest's plugins are not among them, it rewrites those as it imports them.
import aiohttp  # noqa: F401
import msgspec  # noqa: F401
import nats  # noqa: F401
import pytest
import structlog  # noqa: F401

from tests.mutants.catalogue import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("crosscurrent", "deploy", "engine", "reconcilers", "schemas", "tests", "watchers")
SUITES = {
    "tests/core/test_evidence.py": ("evidence", "api_errors"),
    "tests/core/test_collection.py": ("collection",),
    "tests/core/test_ownership.py": ("ownership",),
    "tests/core/test_cascade.py": ("cascade",),
    "tests/core/test_plan.py": ("plan",),
    "tests/core/test_fence.py": ("fence",),
    "tests/core/test_list_watch.py": ("witness",),
    "tests/runtime/test_nominees.py": ("nominees", "lately"),
    "tests/runtime/test_collecting_many.py": ("live_reads", "shared_reads", "turns", "wakes", "garbage_performer"),
    "tests/runtime/test_collector.py": ("collector", "prover", "references", "brakes", "release", "remaining"),
    "tests/core/test_grants_and_brake.py": ("grants", "brake"),
}
"""The tests, the quickest first, and the modules whose mutants they are run against before all others."""
PROCESSES = 2
SECONDS = 60
"""A mutant that makes the tests hang is noticed as well."""


class Verdict(NamedTuple):
    """What became of a mutant."""

    mutant: Mutant
    word: str

    @property
    def killed(self) -> bool:
        return self.word == "killed"


def main() -> int:
    started = time.monotonic()
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as directory:
        copies: SimpleQueue[Path] = context.SimpleQueue()
        for number in range(PROCESSES):
            copies.put(_copied(Path(directory) / str(number)))
        with ProcessPoolExecutor(PROCESSES, context, _take_copy, (copies, context)) as pool:
            if not pool.submit(_passes_unchanged).result():
                print("the tests fail without any mutant")
                return 1
            verdicts = []
            for verdict in pool.map(judge, MUTANTS):
                verdicts.append(verdict)
                print(f"{verdict.word:9} {verdict.mutant.name}", flush=True)
    killed = sum(verdict.killed for verdict in verdicts)
    print(f"{killed} of {len(MUTANTS)} mutants killed in {time.monotonic() - started:.0f} s")
    return 0 if killed == len(MUTANTS) else 1


def judge(mutant: Mutant) -> Verdict:
    """Write a mutant into this process's copy, test it, and take it back."""
    path = _mine.copy / mutant.path
    text = path.read_text()
    if text.count(mutant.old) != 1:
        return Verdict(mutant, f"STALE: its text is {text.count(mutant.old)} times in {mutant.path}")
    path.write_text(text.replace(mutant.old, mutant.new))
    try:
        survived = _passes(sorted(SUITES, key=lambda suite: path.stem not in SUITES[suite]))
    finally:
        path.write_text(text)
    return Verdict(mutant, "SURVIVED" if survived else "killed")


class _Mine:
    """What one process of the pool works with."""

    copy: Path
    context: ForkContext


_mine = _Mine()


def _take_copy(copies: SimpleQueue[Path], context: ForkContext) -> None:
    _mine.copy, _mine.context = copies.get(), context


def _copied(copy: Path) -> Path:
    for room in ROOMS:
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def _passes_unchanged() -> bool:
    return _passes(list(SUITES))


def _passes(suites: list[str]) -> bool:
    child = _mine.context.Process(target=_test, args=(_mine.copy, suites))
    child.start()
    child.join(SECONDS)
    if child.is_alive():
        child.kill()
        child.join()
    return child.exitcode == 0


def _test(copy: Path, suites: list[str]) -> None:
    """Run suites of a copy; does not return."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ROOMS]:
        del sys.modules[name]
    os.chdir(copy)
    sys.path[:] = [str(copy), *(path for path in sys.path if path and Path(path).resolve() != ROOT)]
    sys.dont_write_bytecode = True  # a mutant as long as the original, written in the same second, must not be mistaken
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *suites])
    os._exit(int(code))


if __name__ == "__main__":
    sys.exit(main())
