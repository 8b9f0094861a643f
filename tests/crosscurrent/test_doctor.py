"""`doctor` finds what is wrong, says what to do, and answers with its exit code."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crosscurrent import findings
from crosscurrent.commands.doctor import ReportFormat, report
from crosscurrent.findings import Finding, Level, examine
from crosscurrent.retention import Retention, free_bytes, read_retention, retention_findings
from crosscurrent.stream_report import ConsumerReport, StreamReport, stream_findings
from engine.runtime.ports import Extent, Message, Record
from engine.sandbox.memory_log import MemoryLog
from schemas import subjects
from schemas.checkpoints import Checkpoint
from schemas.decisions import Entry, EntryState, Target
from schemas.names import ClusterName
from tests.crosscurrent.conftest import C1, C2, DEPLOYMENTS, cluster_fact, decision, deployment, foo, sync_record

Capture = pytest.CaptureFixture[str]


def entry(state: EntryState, **fields: object) -> Entry:
    return Entry(**{"state": state, "worker": "w1", "reconciler": "foo", "code": "x", "now": 0.0} | fields)  # type: ignore[arg-type]


async def wrong(log: MemoryLog, *names: str, now: float | None = None) -> list[Finding]:
    found = await examine(log, tuple(ClusterName(name) for name in names), now or time.time())
    return [finding for finding in found if finding.level is Level.WRONG]


async def healthy() -> MemoryLog:
    log = MemoryLog()
    await log.publish([cluster_fact(C1), cluster_fact(C2), sync_record(C1, DEPLOYMENTS), sync_record(C2, DEPLOYMENTS)])
    return log


async def test_a_healthy_fleet_has_no_findings(capsys: Capture) -> None:
    log = await healthy()
    found = await examine(log, (C1, C2), time.time())
    assert {finding.level for finding in found} == {Level.FINE}
    assert report(found, ReportFormat.TABLE) == 0
    assert capsys.readouterr().out.endswith("Nothing is wrong.\n")


async def test_clusters_and_types_that_are_not_well_are_named(fleet: MemoryLog) -> None:
    found = {finding.check: finding for finding in await wrong(fleet, "cluster1", "cluster2", "cluster3", "missing")}
    assert "suspect: Unreachable: connection refused" in found["cluster cluster3"].message
    assert "API server runs" in found["cluster cluster3"].advice
    assert "crosscurrent watch missing" in found["cluster missing"].advice
    assert "410 Gone" in found["type foos.samplecontroller.k8s.io of cluster2"].message


async def test_a_cluster_of_another_configuration_is_not_ours_to_complain_of(fleet: MemoryLog) -> None:
    found = {finding.check: finding for finding in await examine(fleet, (C1, C2), time.time())}
    assert found["cluster cluster3"].level is Level.NOTE


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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"missing": ("STATE",)}, "stream STATE: is missing"),
        ({"different": (("FACTS", ("max_age",)),)}, "stream FACTS: is configured otherwise than it should be: max_age"),
        ({"lag": 20_000}, "STATE: is 20000 facts behind FACTS"),
        (
            {"consumers": (ConsumerReport("REQUESTS", "work-foo", 5, 0, 0),)},
            "5 waiting, 0 being worked on, nobody takes",
        ),
        ({"consumers": (ConsumerReport("REQUESTS", "work-foo", 50_000, 9, 3),)}, "50000 waiting, 9 being worked on"),
    ],
)
def test_streams_and_consumers_that_are_not_as_they_should_be_are_named(change: dict[str, Any], words: str) -> None:
    good = StreamReport((), (), 0, 10, (ConsumerReport("REQUESTS", "work-foo", 0, 3, 4),))
    assert {finding.level for finding in stream_findings(good)} == {Level.FINE}
    bad = [one for one in stream_findings(msgspec.structs.replace(good, **change)) if one.level is Level.WRONG]
    assert words in f"{bad[0].check}: {bad[0].message}"
    assert bad[0].advice


async def test_a_fleet_wide_failure_is_summed_up() -> None:
    log = await healthy()
    for number in range(30):
        await log.append("DECISIONS", decision(entry(EntryState.PARKED, reason="x"), foo(f"foo-{number}")))
    found = await wrong(log)
    assert len(found) == 11
    assert "20 more" in found[-1].message


async def test_the_report_can_be_read_by_programs(fleet: MemoryLog, capsys: Capture) -> None:
    assert report(await examine(fleet, (), time.time()), ReportFormat.JSON) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["healthy"] is False
    assert {finding["level"] for finding in document["findings"]} == {"fine", "wrong"}


async def test_requests_that_nobody_takes_are_named() -> None:
    log = await healthy()
    subject = subjects.keyed(subjects.REQUESTS, "foo", foo())
    await log.append("REQUESTS", Message(subject=subject, body=b""))
    assert await wrong(log) == []
    (found,) = await wrong(log, now=time.time() + 60)
    assert "1 waiting or worked on, the oldest for " in found.message
    assert "crosscurrent reconcile" in found.advice


async def test_a_state_that_does_not_follow_the_facts_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    log = await healthy()
    whole = log.last

    async def cut(stream: str, wanted: Sequence[str]) -> dict[str, Record]:
        found = await whole(stream, wanted)
        return {} if stream == "STATE" else found

    monkeypatch.setattr(log, "last", cut)
    monkeypatch.setattr(findings, "_LOOK_S", 0.0)
    (found,) = await wrong(log)
    assert found.message == "is behind FACTS: 4 standing records are missing, 0 are old"


NOW = 1_790_000_000.0
DAY = 86400.0


def an_extent(first: int, last: int, *, days: float = 2.0, size: int = 10 * 2**20) -> Extent:
    begin = datetime.fromtimestamp(NOW - days * DAY, UTC).isoformat()
    return Extent(first=first, last=last, first_time=begin, last_time=begin, messages=last - first + 1, size=size)


def a_retention(facts: Extent, *, made: Sequence[float] = (), free: int | None = 2**40) -> Retention:
    checkpoints = tuple(
        Checkpoint(name=f"c{age}", after=1, until=1, time=NOW - age * DAY, incarnation="", rows=1, size=1)
        for age in made
    )
    return Retention(
        facts=facts, state=an_extent(1, 1), checkpoints=checkpoints, checkpoint_bytes=1, fact_days=7.0, free=free
    )


@pytest.mark.parametrize(
    ("found", "wrong_ones"),
    [
        (a_retention(an_extent(1, 9), made=[1.0]), {}),
        (a_retention(an_extent(5, 9, days=7), made=[6.0, 0.5]), {}),
        (a_retention(an_extent(5, 9)), {"record": "no past state can be told"}),
        (a_retention(an_extent(1, 9)), {"checkpoints": "there is none"}),
        (a_retention(an_extent(5, 9), made=[3.0]), {"checkpoints": "another was due 21h later"}),
        (a_retention(an_extent(1, 9, size=2**30), made=[0.1], free=2**31), {"disk": "2,560 MiB more, 2,048 are free"}),
        (a_retention(an_extent(1, 9, size=2**30), made=[0.1], free=None), {}),
    ],
)
def test_what_threatens_the_record_is_said_before_it_hurts(found: Retention, wrong_ones: dict[str, str]) -> None:
    findings = {one.check: one for one in retention_findings(found, NOW)}
    assert {check for check, one in findings.items() if one.level is Level.WRONG} == set(wrong_ones)
    for check, text in wrong_ones.items():
        assert text in findings[check].message
        assert findings[check].advice


async def test_the_retention_of_a_log_is_read(tmp_path: Path) -> None:
    log = await healthy()
    found = await read_retention(log, fact_days=7.0, free=free_bytes(tmp_path))
    assert (found.facts.messages, found.checkpoints) == (4, ())
    assert found.free
    assert [one.level for one in retention_findings(found, time.time())] == [Level.FINE, Level.FINE]
