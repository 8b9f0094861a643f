"""`clusters` and `get` say what STATE says, and how much of it is to be believed."""

from __future__ import annotations

import asyncio
import json

import pytest
import yaml

from crosscurrent.commands.clusters import follow_clusters, show_clusters
from crosscurrent.commands.get import Selection, show_objects
from crosscurrent.errors import UserError
from crosscurrent.output import Format, span, table
from engine.sandbox.memory_log import MemoryLog
from schemas.clusters import ClusterState
from schemas.facts import SyncType
from schemas.names import ClusterName
from tests.crosscurrent.conftest import C1, C2, C3, FOOS, cluster_fact, sync_record

Capture = pytest.CaptureFixture[str]


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


async def test_clusters_shows_state_identity_epoch_and_what_is_synced(fleet: MemoryLog, capsys: Capture) -> None:
    assert await show_clusters(fleet, (C1, C2, C3), Format.TABLE) == 0
    head, first, second, third = rows(capsys.readouterr().out)
    assert head == ["NAME", "STATE", "IDENTITY", "EPOCH", "VERSION", "TYPES", "SYNCED", "LAG", "SINCE", "REASON"]
    assert first[:7] == ["cluster1", "live", "cluster1", "3", "v1.36.3", "3", "3"]
    assert second[5:7] == ["3", "2"]
    assert second[-3:] == ["foos.samplecontroller.k8s.io:", "410", "Gone"]
    assert third[:2] == ["cluster3", "suspect"]
    assert third[-1] == "Unreachable"


async def test_a_configured_cluster_that_never_reported_is_unseen(fleet: MemoryLog, capsys: Capture) -> None:
    await show_clusters(fleet, (ClusterName("new"), C1), Format.TABLE)
    lines = rows(capsys.readouterr().out)
    assert [line[0] for line in lines[1:]] == ["new", "cluster1", "cluster2", "cluster3"]
    assert lines[1][1] == "unseen"


async def test_clusters_as_json_is_a_list_that_names_the_unsynced_types(fleet: MemoryLog, capsys: Capture) -> None:
    await show_clusters(fleet, (C1,), Format.JSON)
    first, second, third = json.loads(capsys.readouterr().out)
    assert (first["name"], first["synced"], first["syncedTypes"]) == ("cluster1", True, 3)
    assert second["unsynced"] == [{"resource": "foos.samplecontroller.k8s.io", "reason": "410 Gone"}]
    assert second["synced"] is False
    assert third["state"] == "suspect"
    assert third["lagSeconds"] > 0


async def test_clusters_wide_names_and_nothing_at_all(fleet: MemoryLog, capsys: Capture) -> None:
    await show_clusters(fleet, (), Format.WIDE)
    assert "connection refused" in capsys.readouterr().out
    await show_clusters(fleet, (), Format.NAME)
    assert capsys.readouterr().out.splitlines() == ["cluster/cluster1", "cluster/cluster2", "cluster/cluster3"]
    await show_clusters(MemoryLog(), (), Format.TABLE)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "No clusters" in captured.err


async def test_clusters_watch_prints_only_what_changes(fleet: MemoryLog, capsys: Capture) -> None:
    watching = asyncio.create_task(follow_clusters(fleet, (), Format.TABLE))
    await asyncio.sleep(0.02)
    assert len(capsys.readouterr().out.splitlines()) == 4
    await fleet.publish([cluster_fact(C3, ClusterState.REJOINING)])
    await asyncio.sleep(0.02)
    await fleet.publish([sync_record(C1, FOOS, SyncType.BOOKMARK)])
    await asyncio.sleep(0.02)
    watching.cancel()
    changed = rows(capsys.readouterr().out)
    assert [line[:2] for line in changed] == [["cluster3", "rejoining"]]


async def test_get_lists_one_namespace_by_default_and_all_when_asked(fleet: MemoryLog, capsys: Capture) -> None:
    assert await show_objects(fleet, Selection(resource="deployments"), Format.TABLE) == 0
    head, only = rows(capsys.readouterr().out)
    assert head == ["CLUSTER", "NAMESPACE", "NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert only[:4] == ["cluster2", "default", "example-foo", "2/3"]
    await show_objects(fleet, Selection(resource="deployments", namespace=""), Format.NAME)
    assert capsys.readouterr().out.splitlines() == [
        "cluster2/deployments.apps/default/example-foo",
        "cluster2/deployments.apps/shop/web",
    ]


@pytest.mark.parametrize(
    "spelling",
    ["deployments", "deployment", "Deployment", "deploy", "deployments.apps", "deployments.v1.apps",
     "apps/v1/deployments", "deploy.apps"],
)  # fmt: skip
async def test_a_type_may_be_spelled_as_kubectl_allows(fleet: MemoryLog, capsys: Capture, spelling: str) -> None:
    await show_objects(fleet, Selection(resource=spelling), Format.NAME)
    assert capsys.readouterr().out == "cluster2/deployments.apps/default/example-foo\n"


async def test_an_unknown_type_is_answered_with_near_matches(fleet: MemoryLog) -> None:
    with pytest.raises(UserError, match=r"no watched resource type 'deplyments'; did you mean deployments\.apps\?"):
        await show_objects(fleet, Selection(resource="deplyments"), Format.TABLE)
    with pytest.raises(UserError, match=r"watched types: nodes, deployments\.apps, clusters\.crosscurrent\.dev"):
        await show_objects(fleet, Selection(resource="zzz"), Format.TABLE)


async def test_get_by_name_answers_the_object_itself_with_its_cluster(fleet: MemoryLog, capsys: Capture) -> None:
    await show_objects(fleet, Selection(resource="foo", name="example-foo"), Format.YAML)
    document = yaml.safe_load(capsys.readouterr().out)
    assert document["spec"] == {"deploymentName": "example-foo", "replicas": 1}
    assert document["metadata"]["annotations"] == {"crosscurrent.dev/cluster": "cluster1"}
    await show_objects(fleet, Selection(resource="foo"), Format.JSON)
    assert json.loads(capsys.readouterr().out)["kind"] == "List"


async def test_get_finds_what_has_no_namespace_and_a_dot_in_its_name(fleet: MemoryLog, capsys: Capture) -> None:
    await show_objects(fleet, Selection(resource="no", name="node.example.com"), Format.NAME)
    assert capsys.readouterr().out == "cluster1/nodes/_/node.example.com\n"


async def test_what_is_missing_is_not_found_only_where_its_type_is_synced(fleet: MemoryLog, capsys: Capture) -> None:
    with pytest.raises(UserError, match=r'deployments\.apps "nope" not found in namespace default of any cluster'):
        await show_objects(fleet, Selection(resource="deploy", name="nope"), Format.TABLE)
    with pytest.raises(UserError, match=r"unknown, because cluster2 is not synced"):
        await show_objects(fleet, Selection(resource="foo", name="nope", cluster="cluster2"), Format.TABLE)
    assert "foos.samplecontroller.k8s.io of cluster2 is not synced (410 Gone)" in capsys.readouterr().err


async def test_a_deleted_object_is_not_listed(fleet: MemoryLog, capsys: Capture) -> None:
    assert await show_objects(fleet, Selection(resource="deploy", cluster="cluster1"), Format.TABLE) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "No deployments.apps found in namespace default of cluster cluster1.\n"


async def test_an_unknown_cluster_is_answered_with_the_known_ones(fleet: MemoryLog) -> None:
    with pytest.raises(UserError, match="no cluster 'c9'") as raised:
        await show_objects(fleet, Selection(resource="deploy", cluster="c9"), Format.TABLE)
    assert raised.value.advice == "clusters that have reported: cluster1, cluster2"


async def test_clusters_can_be_got_like_any_object(fleet: MemoryLog, capsys: Capture) -> None:
    await show_objects(fleet, Selection(resource="clusters"), Format.TABLE)
    assert rows(capsys.readouterr().out)[1][:4] == ["cluster1", "-", "cluster1", "live"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (601, "10m"), (10800, "3h"), (11100, "3h5m"), (30000, "8h"),
     (172800, "2d"), (180000, "2d2h"), (864000, "10d"), (-5, "0s")],
)  # fmt: skip
def test_ages_read_as_kubectl_writes_them(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_table_aligns_and_shows_empty_cells() -> None:
    assert table(("A", "LONG"), [("x", ""), ("longer", "y")]) == "A        LONG\nx        -\nlonger   y"
