"""`clusters` says what STATE says and how much of it is to be believed; tables fit where they are shown."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from crosscurrent.commands.clusters import Roll, follow_clusters, show_clusters
from crosscurrent.errors import UserError
from crosscurrent.output import Format, Table, paint, printable, span
from engine.sandbox.memory_log import MemoryLog
from schemas.clusters import ClusterState
from schemas.facts import SyncType
from schemas.names import ClusterName
from tests.crosscurrent.conftest import C1, C2, C3, FOOS, cluster_fact, sync_record

Capture = pytest.CaptureFixture[str]


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


async def test_clusters_shows_state_identity_epoch_and_what_is_synced(fleet: MemoryLog, capsys: Capture) -> None:
    assert await show_clusters(fleet, Roll(configured=(C1, C2, C3), form=Format.TABLE)) == 0
    head, first, second, third = rows(capsys.readouterr().out)
    assert head == ["NAME", "STATE", "IDENTITY", "EPOCH", "VERSION", "SYNCED", "LAG", "SINCE", "REASON"]
    assert first[:6] == ["cluster1", "live", "cluster1", "3", "v1.36.3", "3/3"]
    assert second[5] == "2/3"
    assert second[-3:] == ["foos.samplecontroller.k8s.io:", "410", "Gone"]
    assert third[:2] == ["cluster3", "suspect"]
    assert third[-1] == "Unreachable"


async def test_a_configured_cluster_that_never_reported_is_unseen(fleet: MemoryLog, capsys: Capture) -> None:
    await show_clusters(fleet, Roll(configured=(ClusterName("new"), C1), form=Format.TABLE))
    lines = rows(capsys.readouterr().out)
    assert [line[0] for line in lines[1:]] == ["new", "cluster1", "cluster2", "cluster3"]
    assert lines[1][1] == "unseen"


async def test_clusters_as_json_is_a_list_that_names_the_unsynced_types(fleet: MemoryLog, capsys: Capture) -> None:
    await show_clusters(fleet, Roll(configured=(C1,), form=Format.JSON))
    first, second, third = json.loads(capsys.readouterr().out)
    assert (first["name"], first["synced"], first["syncedTypes"]) == ("cluster1", True, 3)
    assert second["unsynced"] == [{"resource": "foos.samplecontroller.k8s.io", "reason": "410 Gone"}]
    assert second["synced"] is False
    assert third["state"] == "suspect"
    assert third["lagSeconds"] > 0


async def test_clusters_wide_names_and_nothing_at_all(fleet: MemoryLog, capsys: Capture) -> None:
    await show_clusters(fleet, Roll(configured=(), form=Format.WIDE))
    assert "connection refused" in capsys.readouterr().out
    await show_clusters(fleet, Roll(configured=(), form=Format.NAME))
    assert capsys.readouterr().out.splitlines() == ["cluster/cluster1", "cluster/cluster2", "cluster/cluster3"]
    await show_clusters(MemoryLog(), Roll(configured=(), form=Format.TABLE))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "No clusters" in captured.err


async def test_clusters_watch_prints_only_what_changes(fleet: MemoryLog, capsys: Capture) -> None:
    watching = asyncio.create_task(follow_clusters(fleet, Roll()))
    await asyncio.sleep(0.02)
    assert len(capsys.readouterr().out.splitlines()) == 4
    await fleet.publish([cluster_fact(C3, ClusterState.REJOINING)])
    await asyncio.sleep(0.02)
    await fleet.publish([sync_record(C1, FOOS, SyncType.BOOKMARK)])
    await asyncio.sleep(0.02)
    watching.cancel()
    changed = rows(capsys.readouterr().out)
    assert [line[:2] for line in changed] == [["cluster3", "rejoining"]]


async def test_clusters_can_be_named_and_a_mistyped_name_is_answered_with_the_near_one(
    fleet: MemoryLog, capsys: Capture
) -> None:
    await show_clusters(fleet, Roll(names=("cluster2",), headings=False))
    assert [line[0] for line in rows(capsys.readouterr().out)] == ["cluster2"]
    with pytest.raises(UserError, match="no cluster 'clster2'") as raised:
        await show_clusters(fleet, Roll(names=("clster2",)))
    assert raised.value.advice.startswith("did you mean cluster2")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (601, "10m"), (10800, "3h"), (11100, "3h5m"), (30000, "8h"),
     (172800, "2d"), (180000, "2d2h"), (864000, "10d"), (-5, "0s")],
)  # fmt: skip
def test_ages_read_as_kubectl_writes_them(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_table_aligns_and_shows_empty_cells_and_stays_in_line() -> None:
    table = Table(("A", "LONG"))
    assert table.text([("x", ""), ("longer", "y")]) == "A        LONG\nx        -\nlonger   y"
    assert table.text([("z", "later")]) == "z        later"


def test_control_characters_in_what_clusters_say_reach_no_terminal() -> None:
    assert printable("a\x1b[31mred\nb\x9b") == "a^[[31mred b\\x9b"
    assert Table(("A",), heading=False).text([("\x07",)]) == "^G"


def test_a_terminal_cuts_prose_and_a_pipe_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def line() -> str:
        return Table(("A", "MESSAGE"), heading=False, prose=True).text([("x", "a rather long message it is")])

    assert line() == "x   a rather long message it is"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    assert line() == "x   a rather long m…"
    monkeypatch.setenv("COLUMNS", "10")  # too narrow to tell anything: the terminal wraps it
    assert line() == "x   a rather long message it is"


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert paint("x", "bad") == "x"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert paint("x", "bad") == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", "bad") == "x"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert paint("x", "bad") == "x"
