"""`events` shows the facts that a filter selects, from when it was asked to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import pytest

from crosscurrent.commands.events import Choice, EventsFormat, show_events
from crosscurrent.errors import UsageError
from crosscurrent.selection import Filter
from crosscurrent.selectors import Selector
from crosscurrent.times import moment
from engine.runtime.ports import Record
from engine.sandbox.memory_log import MemoryLog
from schemas import subjects
from schemas.facts import Cause, SyncType
from schemas.names import ObjectRef
from tests.crosscurrent.conftest import C1, C2, DEPLOYMENTS, FOOS, deployment, foo, object_fact, sync_record

Capture = pytest.CaptureFixture[str]


async def shown(
    fleet: MemoryLog, capsys: Capture, text: str, *, output: EventsFormat = EventsFormat.TABLE,
    since: float | None = None, snapshot: bool = False,
) -> list[str]:  # fmt: skip
    """Follow while a Deployment, a Foo and a sync record come in; return the lines."""
    choice = Choice(filter=Filter.parse(text), since=since, snapshot=snapshot)
    following = asyncio.create_task(show_events(fleet, choice, output))
    await asyncio.sleep(0.02)
    await fleet.publish(
        [
            object_fact(deployment(C2), DEPLOYMENTS, version="8"),
            object_fact(foo("other"), FOOS, version="9", deleted=True),
            sync_record(C1, FOOS, SyncType.STARTED),
            sync_record(C1, DEPLOYMENTS, SyncType.BOOKMARK),
        ]
    )
    await asyncio.sleep(0.02)
    following.cancel()
    return capsys.readouterr().out.splitlines()


async def test_events_follows_from_now_and_shows_everything(fleet: MemoryLog, capsys: Capture) -> None:
    head, added, deleted, listing = await shown(fleet, capsys, "")
    assert head.split() == ["TIME", "TYPE", "CLUSTER", "RESOURCE", "NAME", "DETAIL"]
    assert added.split()[1:] == ["ADDED", "cluster2", "deployments.apps", "default/example-foo", "8"]
    assert deleted.split()[1:] == ["DELETED", "cluster1", "foos.samplecontroller.k8s.io", "default/other", "9"]
    assert listing.split()[1:] == ["LISTING", "cluster1", "foos.samplecontroller.k8s.io"]


async def test_events_as_json_prints_cloudevents_lines(fleet: MemoryLog, capsys: Capture) -> None:
    lines = await shown(fleet, capsys, "cluster2", output=EventsFormat.JSON)
    document = json.loads(lines[0])
    assert len(lines) == 1
    assert document["specversion"] == "1.0"
    assert document["data"]["metadata"]["name"] == "example-foo"


async def test_a_snapshot_comes_first_without_tombstones(fleet: MemoryLog, capsys: Capture) -> None:
    lines = await shown(fleet, capsys, "*/deployments", snapshot=True)
    words = [line.split()[1] for line in lines[1:]]
    assert sorted(words[:-1]) == ["PRESENT", "PRESENT", "SYNCED", "SYNCED"]
    assert words[-1] == "ADDED"
    assert "gone" not in "".join(lines)


async def test_since_begins_in_the_past(fleet: MemoryLog, capsys: Capture) -> None:
    lines = await shown(fleet, capsys, "*/nodes/_/*.example.com", since=0.0)
    assert len(lines) == 2
    assert "node.example.com" in lines[1]
    assert len(await shown(fleet, capsys, "*/nodes/_/*.example.com", since=4e9)) == 1


@pytest.mark.parametrize(
    ("text", "ref", "selected"),
    [
        ("", deployment(C1), True),
        ("cluster1", deployment(C1), True),
        ("cluster1", deployment(C2), False),
        ("cluster?/deploy*", deployment(C2), True),
        ("*/deploy", deployment(C2), True),
        ("*/deployments.apps", deployment(C2), True),
        ("*/deployments.extensions", deployment(C2), False),
        ("*/foos/default/ex*", foo(), True),
        ("*/foos/default/ex*", foo("other"), False),
        ("*/foos/shop", foo(), False),
        ("*/nodes/_/a.b", ObjectRef(C1, "", "nodes", "", "a.b"), True),
        ("*/nodes.", ObjectRef(C1, "", "nodes", "", "a.b"), True),
        ("facts.cluster1.>", foo(), True),
        ("facts.cluster1.>", deployment(C2), False),
    ],
)
def test_a_filter_selects(text: str, ref: ObjectRef, *, selected: bool) -> None:
    chosen = Filter.parse(text)
    asked = any(subjects.matches(pattern, subjects.fact(ref)) for pattern in chosen.subjects)
    assert (asked and chosen.shows_fact(ref)) is selected


@pytest.mark.parametrize("text", ["a/b/c/d/e", "facts..x", "facts.>.x", "facts.clu*.>"])
def test_a_filter_that_can_select_nothing_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        Filter.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10m", 400.0), ("1h30m", -4400.0), ("500ms", 999.5), ("1970-01-01T00:00:10Z", 10.0),
     ("1970-01-01T00:00:10+00:00", 10.0)],
)  # fmt: skip
def test_times_may_be_lengths_or_rfc3339(text: str, expected: float) -> None:
    assert moment(text, 1000.0) == expected


@pytest.mark.parametrize("text", ["", "10", "m", "10m5", "yesterday"])
def test_a_time_that_is_neither_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        moment(text, 1000.0)


async def test_without_following_events_ends_with_what_has_happened(fleet: MemoryLog, capsys: Capture) -> None:
    choice = Choice(filter=Filter.parse("*/deployments"), since=0.0, follow=False)
    async with asyncio.timeout(10):
        await show_events(fleet, choice, EventsFormat.TABLE)
    words = [line.split()[1] for line in capsys.readouterr().out.splitlines()[1:]]
    assert words == ["SYNCED", "SYNCED", "ADDED", "ADDED", "DELETED"]
    async with asyncio.timeout(10):
        await show_events(fleet, Choice(filter=Filter.parse("nowhere"), since=0.0, follow=False), EventsFormat.JSON)
    assert capsys.readouterr().out == ""


async def test_events_can_be_selected_by_labels_and_fields(fleet: MemoryLog, capsys: Capture) -> None:
    for labels, fields, names in (
        ("", "spec.replicas=3", ["default/example-foo"]),
        ("app", "", []),
        ("!app", "metadata.name=web", ["shop/web"]),
    ):
        choice = Choice(
            filter=Filter.parse("cluster2/deployments/*/*"),
            selector=Selector(labels, fields),
            since=0.0,
            follow=False,
        )
        await show_events(fleet, choice, EventsFormat.TABLE)
        lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
        assert [line[4] for line in lines if line[1] == "ADDED"] == names


async def test_a_narrow_terminal_gets_narrow_columns(
    fleet: MemoryLog, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    await show_events(fleet, Choice(since=0.0, follow=False), EventsFormat.TABLE)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("foos " in line and "samplecontroller" not in line for line in lines)


class BusyLog(MemoryLog):
    """A log that is written to while its snapshot is read, before and behind what has been handed out."""

    async def scan(self, stream: str, filters: Sequence[str], *, headers_only: bool = False) -> AsyncIterator[Record]:
        number = 100
        for found in [record async for record in super().scan(stream, filters, headers_only=headers_only)]:
            number += 2
            await self.publish(
                [
                    object_fact(deployment(C2, "first"), DEPLOYMENTS, version=str(number)),
                    object_fact(deployment(C2, "last"), DEPLOYMENTS, version=str(number + 1)),
                ]
            )
            yield (await self.last(stream, [found.subject]))[found.subject]


async def test_a_snapshot_goes_over_into_what_follows_with_nothing_missed_or_doubled(capsys: Capture) -> None:
    log = BusyLog()
    names = ("first", "a", "b", "last")
    await log.publish([object_fact(deployment(C2, name), DEPLOYMENTS, version=name) for name in names])
    choice = Choice(filter=Filter.parse("cluster2/deployments/*/*"), snapshot=True)
    following = asyncio.create_task(show_events(log, choice, EventsFormat.JSON))
    await asyncio.sleep(0.05)
    following.cancel()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for name in names:
        shown = [one["resourceversion"] for one in lines if one["subject"] == f"default/{name}"]
        stored = [json.loads(r.body)["resourceversion"] for r in log.records("FACTS") if r.subject.endswith(f".{name}")]
        assert shown == stored[stored.index(shown[0]) :], "from what the snapshot has of it, everything once, in order"
    assert len(lines) > len(names)


async def test_events_can_be_selected_by_how_a_watcher_came_to_know(fleet: MemoryLog, capsys: Capture) -> None:
    for causes, expected in (((Cause.OBSERVED,), True), ((Cause.INFERRED,), False)):
        choice = Choice(since=0.0, follow=False, causes=causes)
        await show_events(fleet, choice, EventsFormat.TABLE)
        lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
        assert bool(lines) is expected
        assert not [line for line in lines if line[1] == "SYNCED"]
