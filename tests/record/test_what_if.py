"""`what-if` says what the engine would do; what it says is what the engine then does, and nothing is touched."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.core.fork import Fork, foresee_all
from engine.core.history import Stored
from engine.sandbox.memory_log import MemoryLog
from reconcilers.foo import foo
from schemas import subjects
from schemas.actions import Request
from schemas.decisions import decode_entry
from tests.builders import C1, C2, C3, deployment_ref, foo_body, foo_ref
from tests.record.conftest import Use
from tests.record.engine_run import CLUSTERS, a_story, at_rest, tell_a_story, working
from tests.world import eventually


@pytest.fixture(scope="module")
def story() -> MemoryLog:
    return asyncio.run(a_story())


def the_foo(**spec: Any) -> str:
    body = foo_body()
    return yaml.safe_dump(
        {**body, "metadata": {"name": "example-foo", "namespace": "default"}, "spec": {**body["spec"], **spec}}
    )


def actions(out: str) -> list[str]:
    return [line.strip().split("  (")[0] for line in out.splitlines() if line.startswith("  ")]


def test_a_scaled_foo_would_scale_its_deployments(story: MemoryLog, use: Use, tmp_path: Path) -> None:
    before = {name: story.records(name) for name in ("FACTS", "DECISIONS", "REQUESTS", "INDEX")}
    (tmp_path / "foo.yaml").write_text(the_foo(replicas=7))
    code, out, _ = use(story, "what-if -f foo.yaml --cluster cluster1")
    assert code == 0
    assert "Apply deployments.apps default/example-foo" in actions(out)
    assert [line for line in out.splitlines() if not line.startswith(" ")][:2] == ["cluster2:", "cluster3:"]
    assert "blast radius: cluster2 deployments.apps: 1 written, 0 of them deleted; there are 1" in out
    document = json.loads(use(story, "what-if -f foo.yaml --cluster cluster1 -o json")[1])
    assert {one["action"]["body"]["spec"]["replicas"] for one in document["actions"]} == {7}
    assert {name: story.records(name) for name in before} == before, "nothing is touched"


def test_a_deleted_foo_would_take_its_deployments_along(story: MemoryLog, use: Use) -> None:
    _, out, _ = use(story, "what-if --delete cluster1/foos/default/example-foo")
    lines = actions(out)
    assert lines.count("Delete deployments.apps default/example-foo") == 2
    assert "RemoveFinalizer foos.samplecontroller.k8s.io default/example-foo" in lines
    assert "brakes: none would hold the 2 deletes above" in out
    assert "blast radius: cluster3 deployments.apps: 1 written, 1 of them deleted; there are 1" in out


def test_a_lost_cluster_would_get_nothing_and_lose_nothing(story: MemoryLog, use: Use, tmp_path: Path) -> None:
    (tmp_path / "foo.yaml").write_text(the_foo(replicas=7))
    _, out, _ = use(story, "what-if --lose-cluster cluster3 -f foo.yaml --cluster cluster1")
    assert "held: Apply cluster3: deployments.apps default/example-foo: cluster3 does not answer" in out
    assert "Delete" not in out
    assert "cluster3:\n" not in out


def collecting(directory: Path, **garbage: Any) -> None:
    """Configure the collector as well."""
    config = {"apiVersion": "crosscurrent.dev/v1alpha1", "kind": "Config", "reconcilers": ["foo", "garbage"]}
    (directory / "crosscurrent.yaml").write_text(yaml.safe_dump({**config, "garbage": garbage}))


def test_a_foo_that_nobody_saw_go_would_cost_its_deployments_at_the_collectors_rate(
    story: MemoryLog, use: Use, tmp_path: Path
) -> None:
    collecting(tmp_path, deletes_per_second=0.5)
    _, out, _ = use(story, "what-if --missing cluster1/foos")
    assert actions(out) == ["Delete deployments.apps default/example-foo"] * 2
    assert "(garbage cluster2: deployments.apps default/example-foo)" in out
    assert "rate cap: 1 deletes in cluster3, at most 0.5 a second, would take 2 s" in out


def test_the_breaker_would_hold_what_follows_from_owners_that_nobody_saw_go(
    story: MemoryLog, use: Use, tmp_path: Path
) -> None:
    collecting(tmp_path, brake={"absolute": 0, "percent": 0})
    _, out, _ = use(story, "what-if --missing cluster1/foos/default/example-foo")
    assert out.splitlines()[0] == "Nothing would be done."
    assert "the breaker trips for fleet: 1 owners missing that nobody saw go" in out
    assert "brakes: 2 deletes would be held, as said above" in out


def test_the_same_state_and_no_change_of_intent_would_do_nothing(story: MemoryLog, use: Use, tmp_path: Path) -> None:
    (tmp_path / "foo.yaml").write_text(the_foo(replicas=3))
    assert use(story, "what-if -f foo.yaml --cluster cluster1")[1].splitlines()[0] == "Nothing would be done."


def test_another_reconciler_would_do_what_it_wants(story: MemoryLog, use: Use, tmp_path: Path) -> None:
    (tmp_path / "onemore.py").write_text(
        "from crosscurrent import reconciler\n"
        "from reconcilers.foo import foo as old\n\n"
        '@reconciler("foo", watches="samplecontroller.k8s.io/v1alpha1/foos", owns=["apps/v1/deployments"])\n'
        "def foo(view, request):\n"
        "    decision = old(view, request)\n"
        "    for action in decision.actions:\n"
        '        if type(action).__name__ == "Apply":\n'
        '            action.body["spec"]["paused"] = True\n'
        "    return decision\n"
    )
    _, out, _ = use(story, "what-if --reconciler onemore:foo -o json")
    applied = [one["action"] for one in json.loads(out)["actions"] if one["action"]["action"] == "Apply"]
    assert len(applied) == 2
    assert all(one["body"]["spec"]["paused"] for one in applied)


def test_a_past_state_can_be_forked_too(story: MemoryLog, use: Use, tmp_path: Path) -> None:
    made = next(r.seq for r in story.records("FACTS") if r.subject == subjects.fact(deployment_ref(C3)))
    (tmp_path / "foo.yaml").write_text(the_foo(replicas=7))
    _, out, err = use(story, f"what-if -f foo.yaml --cluster cluster1 --at {made}")
    assert f"sequence {made} of FACTS" in err
    assert "Apply deployments.apps default/example-foo" in actions(out)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("what-if", "nothing is supposed"),
        ("what-if -f foo.yaml", "-f and --cluster go together"),
        ("what-if -f nowhere.yaml --cluster cluster1", "No such file"),
        ("what-if --delete cluster1/foos/default/nobody", "there is no cluster1: foos"),
        ("what-if --delete foos", "is not CLUSTER/TYPE/NAMESPACE/NAME"),
        ("what-if --missing cluster1", "is not CLUSTER/TYPE, CLUSTER/TYPE/NAMESPACE"),
        ("what-if --missing cluster1/foos/elsewhere", "there is nothing of that"),
        ("what-if --lose-cluster clutser1", "did you mean cluster1"),
        ("what-if --reconciler nowhere:foo", "nowhere"),
        ("what-if --lose-cluster cluster1 -o name", "not a form of a plan"),
    ],
)
def test_bad_input_is_answered_with_what_there_is(story: MemoryLog, use: Use, line: str, message: str) -> None:
    code, _, err = use(story, line)
    assert code == 1
    assert message in err


async def test_what_is_foretold_is_what_the_engine_then_does() -> None:
    log = MemoryLog()
    async with working(log) as world:
        await tell_a_story(log, world)
        rows = {r.subject: Stored(r.seq, r.time, r.body) for r in log.records("STATE")}
        entry = decode_entry(log.records("DECISIONS")[-1].body)
        fork = Fork(rows, CLUSTERS, {Request("foo", foo_ref()): entry.targets}, entry.now + 100)
        body = world.objects[foo_ref()]
        fork.put(foo_ref(), {**body, "spec": {**body["spec"], "replicas": 8}})
        foretold = [
            (type(step.action).__name__, step.action.ref) for step in foresee_all(fork, [foo], [foo_ref()]).steps
        ]
        done = len(world.writes)
        await world.put(foo_ref(), {**body, "spec": {**body["spec"], "replicas": 8}})
        await eventually(lambda: world.objects[deployment_ref(C3)]["spec"]["replicas"] == 8)
        await at_rest(log, world)
    assert foretold
    assert sorted(foretold) == sorted(world.writes[done:])
    assert {ref.cluster for _, ref in foretold} <= {C1, C2, C3}
