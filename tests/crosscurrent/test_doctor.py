"""`doctor` finds what is wrong, says what to do, and answers with its exit code."""

from __future__ import annotations

import json
import time

import pytest

from crosscurrent.commands.doctor import DoctorFormat, report
from crosscurrent.findings import Finding, Level, examine
from engine.sandbox.memory_log import MemoryLog
from schemas.decisions import Entry, EntryState, Target
from schemas.names import ClusterName
from tests.crosscurrent.conftest import C1, C2, DEPLOYMENTS, cluster_fact, decision, deployment, foo, sync_record

Capture = pytest.CaptureFixture[str]


def entry(state: EntryState, **fields: object) -> Entry:
    return Entry(**{"state": state, "worker": "w1", "reconciler": "foo", "code": "x", "now": 0.0} | fields)  # type: ignore[arg-type]


async def wrong(log: MemoryLog, *names: str, now: float | None = None) -> list[Finding]:
    findings = await examine(log, tuple(ClusterName(name) for name in names), now or time.time())
    return [finding for finding in findings if finding.level is Level.WRONG]


async def healthy() -> MemoryLog:
    log = MemoryLog()
    await log.publish([cluster_fact(C1), cluster_fact(C2), sync_record(C1, DEPLOYMENTS), sync_record(C2, DEPLOYMENTS)])
    return log


async def test_a_healthy_fleet_has_no_findings(capsys: Capture) -> None:
    log = await healthy()
    findings = await examine(log, (C1, C2), time.time())
    assert {finding.level for finding in findings} == {Level.FINE}
    assert report(findings, DoctorFormat.TEXT) == 0
    assert capsys.readouterr().out.endswith("Nothing is wrong.\n")


async def test_clusters_and_types_that_are_not_well_are_named(fleet: MemoryLog) -> None:
    found = {finding.check: finding for finding in await wrong(fleet, "cluster1", "missing")}
    assert "suspect: Unreachable: connection refused" in found["cluster cluster3"].message
    assert "API server runs" in found["cluster cluster3"].advice
    assert "crosscurrent watch missing" in found["cluster missing"].advice
    assert "410 Gone" in found["type foos.samplecontroller.k8s.io of cluster2"].message


async def test_parked_failing_and_stuck_keys_are_named_with_their_reason() -> None:
    log = await healthy()
    refused = Target(
        ref=deployment(C2),
        slot="apply",
        attempts=3,
        code=422,
        reason="Invalid",
        message="spec.selector: field is immutable",
        not_before=time.time() + 60,
    )
    for name, value in (
        ("a", entry(EntryState.PARKED, reason="ValueError: no")),
        ("b", entry(EntryState.CLOSED, targets=(refused,))),
        ("c", entry(EntryState.OPEN, lease=5.0)),
        ("d", entry(EntryState.CLOSED, failures=2, reason="KeyError: 'x'")),
        ("e", entry(EntryState.CLOSED)),
    ):
        await log.append("DECISIONS", decision(value, foo(name)))
    messages = [f"{finding.check}: {finding.message}" for finding in await wrong(log, now=time.time() + 30)]
    assert len(messages) == 4
    assert "default/a: parked: ValueError: no" in messages[0]
    assert "422 Invalid: spec.selector: field is immutable" in messages[1]
    assert "held open by w1 for" in messages[2]
    assert "raised 2 times in a row" in messages[3]


async def test_a_key_that_is_open_within_its_lease_is_fine() -> None:
    log = await healthy()
    await log.append("DECISIONS", decision(entry(EntryState.OPEN, lease=5.0)))
    assert await wrong(log) == []


async def test_missing_streams_are_the_only_finding_for_all_follows_from_them() -> None:
    log = await healthy()
    log.lose_streams()
    found = await wrong(log)
    assert {finding.check for finding in found} == {"streams"}
    assert len(found) == 6


async def test_a_fleet_wide_failure_is_summed_up() -> None:
    log = await healthy()
    for number in range(30):
        await log.append("DECISIONS", decision(entry(EntryState.PARKED, reason="x"), foo(f"foo-{number}")))
    found = await wrong(log)
    assert len(found) == 11
    assert "20 more" in found[-1].message


async def test_the_report_can_be_read_by_programs(fleet: MemoryLog, capsys: Capture) -> None:
    assert report(await examine(fleet, (), time.time()), DoctorFormat.JSON) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["healthy"] is False
    assert {finding["level"] for finding in document["findings"]} == {"fine", "wrong"}
