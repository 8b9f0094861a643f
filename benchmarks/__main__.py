"""The command: run the named benchmarks, print the table, exit with 1 if a target is missed."""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from benchmarks import report
from benchmarks.figures import Report, Settings

BENCHMARKS = (
    "ingest",
    "propagation",
    "noop",
    "idle",
    "kill_worker",
    "kill_watcher",
    "cascade",
    "federation",
    "record",
    "join",
    "imports",
    "simulator",
)
ROUNDS, QUICK_ROUNDS = 5, 2


def main() -> int:
    """Run, print, judge."""
    options = _options()
    directory = options.directory or Path(tempfile.mkdtemp(prefix="crosscurrent-bench-"))
    directory.mkdir(parents=True, exist_ok=True)
    out = report.console()
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {line}", file=sys.stderr, flush=True)

    settings = Settings(
        quick=options.quick,
        rounds=options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
        directory=directory,
        say=say,
    )
    reports: list[Report] = []
    broken: list[str] = []
    try:
        for name in options.names or BENCHMARKS:
            say(f"{name} begins")
            try:
                reports.append(importlib.import_module(f"benchmarks.{name}").run(settings))
            except Exception:  # noqa: BLE001 - the other benchmarks' hour is not to be lost with it
                broken.append(f"{name} did not finish:\n{traceback.format_exc()}")
                say(broken[-1])
    except KeyboardInterrupt:
        broken.append("stopped")
    finally:
        if reports:
            report.print_reports(reports, out)
        if reports and options.out:
            report.write_json(reports, options.out)
        if not options.directory:
            shutil.rmtree(directory, ignore_errors=True)
    failures = [*(f"MISSED {line}" for line in report.missed(reports)), *broken]
    for line in failures:
        out.print(line, style="red", highlight=False, markup=False)
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="small sizes: minutes instead of half an hour")
    parser.add_argument("--rounds", type=int, help=f"rounds of what has rounds ({ROUNDS}, with --quick {QUICK_ROUNDS})")
    parser.add_argument("--out", type=Path, help="write all raw values to this JSON file")
    parser.add_argument("--directory", type=Path, help="keep stores and logs here instead of a temporary directory")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
