"""`crosscurrent doctor`: a standing report of what is wrong, and what to do about it. Reads, changes nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from cyclopts import Parameter

from crosscurrent import processes
from crosscurrent import settings as configuration
from crosscurrent.connect import connected
from crosscurrent.errors import UserError
from crosscurrent.findings import Finding, Level, examine
from crosscurrent.options import ConfigFile
from crosscurrent.output import Format, dump, paint, printable, say
from crosscurrent.retention import free_bytes, read_retention, retention_findings
from crosscurrent.stream_report import stream_findings
from engine.runtime.ports import EventLogError

_MARKS = {Level.FINE: ("✓", "good"), Level.NOTE: ("·", "dim"), Level.WRONG: ("✗", "bad")}


class ReportFormat(StrEnum):
    """`-o` of a report."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


async def doctor(
    *,
    output: Annotated[
        ReportFormat, Parameter(name=["--output", "-o"], help="Form of the report.")
    ] = ReportFormat.TABLE,
    config: ConfigFile = None,
) -> int:
    """Say what is wrong, and what to do about it."""
    settings = configuration.load(config)
    names = tuple(cluster.name for cluster in settings.config.clusters)
    findings: list[Finding] = []
    try:
        streams = await processes.stream_report(settings)
        findings += stream_findings(streams)
        if not streams.missing:  # whatever else looks wrong follows from that
            async with connected(settings) as log:
                findings += await examine(log, names, time.time())
                nats = settings.config.nats
                free = None if nats.url else free_bytes(settings.state_directory)
                kept = await read_retention(log, fact_days=nats.fact_days, free=free)
                findings += retention_findings(kept, time.time())
    except (UserError, EventLogError) as error:
        # That the broker does not answer is what one asks a doctor for: a finding, not a failure of the report.
        message, advice = (error.message, error.advice) if isinstance(error, UserError) else (str(error), "")
        findings.append(Finding(Level.WRONG, "broker", message, advice))
    return report(findings, output)


def report(findings: Sequence[Finding], output: ReportFormat) -> int:
    """Print findings; 1 when something is wrong."""
    wrong = sum(finding.level is Level.WRONG for finding in findings)
    if output is not ReportFormat.TABLE:
        say(dump({"healthy": not wrong, "findings": list(findings)}, Format(output.value)))
        return 1 if wrong else 0
    print_findings(findings)
    say()
    say("Nothing is wrong." if not wrong else f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong.")
    return 1 if wrong else 0


def print_findings(findings: Sequence[Finding]) -> None:
    """Print findings, each with its advice below it."""
    for finding in findings:
        mark, mood = _MARKS[finding.level]
        say(f"{paint(mark, mood, sys.stdout)} {printable(f'{finding.check}: {finding.message}')}")
        for line in finding.advice.splitlines():
            say(f"    {printable(line)}")
