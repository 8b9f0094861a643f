"""The table, and the JSON file with everything behind it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, Report, number

_PIPE_WIDTH = 150
"""Columns where the output is no terminal: the widest row on one line."""


def console() -> Console:
    """Return where tables go."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=_PIPE_WIDTH)


def print_reports(reports: Sequence[Report], out: Console) -> None:
    """Print every figure with its spread, its target and whether it was met; then the notes."""
    table = Table(title=_machine(), title_justify="left", header_style="bold")
    for heading in ("figure", "fsync"):
        table.add_column(heading)
    for heading in ("median", "min .. max", "unit", "target", ""):
        table.add_column(heading, justify="left" if heading == "unit" else "right", no_wrap=True)
    for report in reports:
        table.add_section()
        table.add_row(f"[bold]{report.benchmark}[/]")
        for one in report.figures:
            table.add_row(*_row(one))
    out.print(table)
    for report in reports:
        for note in report.notes:
            out.print(f"{report.benchmark.split(' ')[0]}: {note}", highlight=False, markup=False)


def missed(reports: Sequence[Report]) -> list[str]:
    """Return the figures that miss their target, in words."""
    return [
        f"{report.benchmark.split(' ')[0]}: {one.name}: {number(one.median)} {one.unit}, target {one.target}"
        for report in reports
        for one in report.figures
        if one.missed
    ]


def write_json(reports: Sequence[Report], path: Path) -> None:
    """Write the reports with their raw values."""
    document = {"machine": _machine(), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "reports": reports}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1))


def _row(one: Figure) -> tuple[str, ...]:
    spread = f"{number(min(one.values))} .. {number(max(one.values))}" if len(one.values) > 1 else ""
    verdict = "" if one.target is None else ("[red]MISSED[/]" if one.missed else "[green]ok[/]")
    target = str(one.target) if one.target else ""
    return f"  {one.name}", one.fsync, number(one.median), spread, one.unit, target, verdict


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, loopback only"
