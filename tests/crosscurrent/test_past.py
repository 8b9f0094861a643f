"""`get --at` and `diff`: the fleet as it was, and what has changed since."""

from __future__ import annotations

import asyncio
import json

import pytest
from msgspec import UNSET

from engine.core.differences import FieldChange, Verdict, compare, field_changes
from engine.sandbox.memory_log import MemoryLog
from tests.crosscurrent.conftest import C1, C2, DEPLOYMENTS, NODES, Command, deployment, object_fact, sync_record

BEFORE = 14
"""Sequence of the last fact of the small fleet."""


def change(fleet: MemoryLog) -> None:
    """Scale a Deployment, delete another, add a third."""
    messages = [
        object_fact(deployment(C2), DEPLOYMENTS, {"spec": {"replicas": 5}}, version="20"),
        object_fact(deployment(C2, "web", "shop"), DEPLOYMENTS, version="21", deleted=True),
        object_fact(deployment(C1, "new"), DEPLOYMENTS, {"spec": {"replicas": 1}}, version="22"),
    ]
    asyncio.run(fleet.publish(messages))


def test_get_at_a_sequence_shows_what_there_was(fleet: MemoryLog, command: Command) -> None:
    before = command("get deployments -A")
    change(fleet)
    answer = command(f"get deployments -A --at {BEFORE}")
    assert [row[:4] for row in answer.rows()] == [row[:4] for row in before.rows()]
    assert [row[2] for row in command("get deployments -A").rows()[1:]] == ["new", "example-foo"]
    assert f"sequence {BEFORE} of FACTS" in answer.err
    assert command(f"get deploy/new --at {BEFORE}").code == 1


def test_get_at_a_time_shows_what_there_was(fleet: MemoryLog, command: Command) -> None:
    then = fleet.records("FACTS")[BEFORE - 1].time
    asyncio.run(asyncio.sleep(0.01))
    change(fleet)
    for text in (f"--at={then.replace('Z', '9Z')}", "--at -0ms", "--at 0s"):
        names = command(f"get deployments -A -o name {text}").out.split()
        assert ("cluster2/deployments.apps/shop/web" in names) is text.startswith("--at=")


def test_get_at_says_what_was_not_certain(command: Command) -> None:
    answer = command(f"get foos --at {BEFORE}")
    assert "warning: cluster2: foos.samplecontroller.k8s.io gap: 410 Gone" in answer.err
    assert "warning: cluster3: suspect since" in answer.err
    assert "cluster1: last heard of at" in answer.err
    document = json.loads(command(f"get foos --at {BEFORE} -o json").out)
    assert document["at"]["sequence"] == BEFORE
    assert [one["name"] for one in document["at"]["clusters"] if one["uncertain"]] == ["cluster2", "cluster3"]
    unknown = command(f"get foo nope --at {BEFORE}")
    assert "unknown, because cluster2 is not synced" in unknown.err


def test_get_at_with_bad_input_says_what_there_is(fleet: MemoryLog, command: Command) -> None:
    assert "the record begins at sequence 1, 20" in command("get deploy --at 2020-01-01T00:00:00Z").err
    assert "the record begins at sequence 1, 20" in command("get deploy --at -400d").err
    assert "the record ends at sequence 14, 20" in command("get deploy --at 99").err
    assert "has not come yet" in command("get deploy --at 2100-01-01T00:00:00Z").err
    assert "neither a length of time" in command("get deploy --at yesterday").err
    assert "--at and --watch exclude each other" in command("get deploy --at 10m -w").err
    assert "did you mean cluster2" in command(f"get deploy --cluster clutser2 --at {BEFORE}").err
    fleet._stream("FACTS").remove(1)
    assert "no past state can be told yet" in command("get deploy --at 9").err


def test_diff_tells_added_removed_and_changed(fleet: MemoryLog, command: Command) -> None:
    assert command(f"diff --from {BEFORE}").err.startswith("Nothing differs.")
    change(fleet)
    answer = command(f"diff --from {BEFORE}")
    assert answer.code == 0
    assert answer.out.splitlines() == [
        "cluster1 deployments.apps: 1 added",
        "  + default/new",
        "cluster2 deployments.apps: 1 removed, 1 changed",
        "  ~ default/example-foo",
        "      .spec.replicas: 3 → 5",
        '      .status: {"readyReplicas":2} → (none)',
        "  - shop/web",
    ]
    assert "sequence 14 of FACTS" in answer.err
    assert "sequence 17 of FACTS" in answer.err
    assert command(f"diff --from {BEFORE} --to 15").out.splitlines()[0] == "cluster2 deployments.apps: 1 changed"
    assert command(f"diff cluster1 --from {BEFORE} --exit-code").code == 1
    assert command(f"diff */foos --from {BEFORE} --exit-code").code == 0
    document = json.loads(command(f"diff cluster2/deploy/default --from {BEFORE} -o json").out)
    assert document["differences"][0]["fields"][0] == {"path": ".spec.replicas", "from": 3, "to": 5}
    assert (document["from"]["sequence"], document["to"]["sequence"]) == (14, 17)


def test_diff_with_bad_input(fleet: MemoryLog, command: Command) -> None:
    change(fleet)
    assert "--from 16 is after --to 15" in command("diff --from 16 --to 15").err
    assert "--from 2020" in command("diff --from 2020-01-01T00:00:00Z").err
    assert "--from" in command("diff").err
    assert "did you mean cluster2" in command(f"diff clutser2 --from {BEFORE}").err
    assert "did you mean cluster2" in command("events clutser2/foos --snapshot --no-watch").err


def test_the_doubts_of_a_difference_are_of_what_was_asked(fleet: MemoryLog, command: Command) -> None:
    asyncio.run(fleet.publish([sync_record(C1, NODES)]))
    assert "foos" not in command(f"diff */deployments --from {BEFORE}").err
    assert "foos.samplecontroller.k8s.io gap" in command(f"diff --from {BEFORE}").err


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": True}, [(".a", 1, True)]),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, [(".a.b", 1, 2)]),
        ({"a": {"b.c/d": 1}}, {"a": {"b.c/d": 2}}, [(".a['b.c/d']", 1, 2)]),
        ({"c": [{"name": "x", "v": 1}]}, {"c": [{"name": "y", "v": 2}, {"name": "x", "v": 1}]},
         [(".c[y]", UNSET, {"name": "y", "v": 2})]),
        ({"c": [1, 2]}, {"c": [1, 3]}, [(".c[1]", 2, 3)]),
        ({"c": [{"port": 1, "p": "a"}, {"port": 1, "p": "b"}]}, {"c": [{"port": 1, "p": "a"}, {"port": 1, "p": "c"}]},
         [(".c[1'].p", "b", "c")]),
        ({"metadata": {"resourceVersion": "1", "generation": 1}}, {"metadata": {"resourceVersion": "2"}}, []),
    ],
)  # fmt: skip
def test_fields_are_named_as_people_name_them(
    old: object, new: object, expected: list[tuple[str, object, object]]
) -> None:
    assert [(one.path, one.before, one.after) for one in field_changes(old, new)] == expected


def test_an_object_with_another_uid_is_another_object() -> None:
    old, new = {"metadata": {"uid": "1"}, "a": 1}, {"metadata": {"uid": "2"}, "a": 1}
    assert compare(old, new) == (Verdict.REPLACED, (FieldChange(".metadata.uid", "1", "2"),))
    assert compare(None, None) is None
    assert compare(None, new) == (Verdict.ADDED, ())
