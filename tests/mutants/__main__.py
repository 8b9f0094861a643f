"""Run the pure and scripted tests against every mutant; exit with 1 if one survives. `make mutants`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutants.catalogue import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("crosscurrent", "deploy", "engine", "reconcilers", "schemas", "tests", "watchers")
SUITES = {
    "tests/core/test_evidence.py": ("evidence", "api_errors"),
    "tests/core/test_collection.py": ("collection",),
    "tests/core/test_grants_and_brake.py": ("grants", "brake"),
    "tests/core/test_ownership.py": ("ownership",),
    "tests/core/test_cascade.py": ("cascade",),
    "tests/runtime/test_collector.py": (),
}
"""The tests, and the modules whose mutants they are run against first."""
SECONDS = 60
"""A mutant that makes the tests hang is noticed as well."""


def main() -> int:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        for room in ROOMS:
            shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        if not passes(copy, list(SUITES)):
            print("the tests fail without any mutant")
            return 1
        survivors = [mutant for mutant in MUTANTS if not killed(copy, mutant)]
    print(f"{len(MUTANTS) - len(survivors)} of {len(MUTANTS)} mutants killed in {time.monotonic() - started:.0f} s")
    return 1 if survivors else 0


def killed(copy: Path, mutant: Mutant) -> bool:
    path = copy / mutant.path
    text = path.read_text()
    if text.count(mutant.old) != 1:
        print(f"STALE     {mutant.name}: its text is {text.count(mutant.old)} times in {mutant.path}")
        return False
    path.write_text(text.replace(mutant.old, mutant.new))
    try:
        found = not passes(copy, sorted(SUITES, key=lambda suite: path.stem not in SUITES[suite]))
    finally:
        path.write_text(text)
    print(f"{'killed' if found else 'SURVIVED':9} {mutant.name}", flush=True)
    return found


def passes(copy: Path, suites: list[str]) -> bool:
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *suites]
    try:
        done = subprocess.run(
            command,
            cwd=copy,
            env={"PYTHONPATH": str(copy), "PATH": ""},
            capture_output=True,
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
