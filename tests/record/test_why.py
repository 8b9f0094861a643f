"""`why` tells the chain that the record holds; `why-not` what holds an object back."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from crosscurrent.chain import read_chain
from engine.runtime.event_log import NatsEventLog
from engine.runtime.ports import Message
from engine.sandbox.memory_log import MemoryLog
from schemas import subjects
from schemas.actions import Outcome, Result
from schemas.clusters import ClusterState
from schemas.config import BrakeConfig, GarbageConfig
from schemas.decisions import decode_entry
from tests.builders import C2, C3, deployment_ref, foo_body, foo_ref
from tests.garbage.simulated_world import Made
from tests.garbage.simulated_world import World as SimulatedWorld
from tests.garbage.simulated_world import run as run_in_clusters
from tests.record.conftest import Use
from tests.record.engine_run import a_story, at_rest, tell_a_story, working
from tests.world import eventually

BRAKES = "/apis/crosscurrent.dev/v1alpha1/deletionbrakes"


def plain(text: str) -> list[str]:
    """Return the lines of a tree without what differs between runs."""
    text = re.sub(r"20\d\d-\S+Z", "TIME", text)
    text = re.sub(r"code [0-9a-f]+", "code CODE", text)
    return re.sub(r"(fact|resourceVersion|decision|read fact) \d+", r"\1 #", text).splitlines()


@pytest.fixture
def story() -> MemoryLog:
    return asyncio.run(a_story())


def test_a_scaled_deployment_comes_from_its_foo_in_another_cluster(story: MemoryLog, use: Use) -> None:
    code, out, _ = use(story, "why cluster3 deployments default/example-foo")
    assert code == 0
    lines = plain(out)
    assert lines[:3] == [
        "fact # cluster1: foos.samplecontroller.k8s.io default/example-foo updated at TIME (observed, resourceVersion #)",
        "│   .spec.replicas: 1 → 3",
        "└ request foo cluster1: foos.samplecontroller.k8s.io default/example-foo"
        if len([line for line in lines if line[:1] in "└├"]) == 1
        else "├ request foo cluster1: foos.samplecontroller.k8s.io default/example-foo",
    ]
    text = "\n".join(lines)
    assert "decision # at TIME by foo, code CODE, on worker-1" in text
    assert "read fact #: cluster3: deployments.apps default/example-foo" in text
    assert "Apply cluster2: deployments.apps default/example-foo → done, resourceVersion #" in text
    [asked] = [line for line in lines if line.endswith("◄ asked for")]
    assert "cluster3: deployments.apps default/example-foo updated at TIME" in asked
    assert lines[lines.index(asked) + 1].strip(" │") == ".spec.replicas: 1 → 3"


def test_a_repaired_deployment_comes_from_the_edit_of_it(story: MemoryLog, use: Use) -> None:
    _, out, _ = use(story, "why cluster2 deploy example-foo")
    lines = plain(out)
    assert lines[0].startswith("fact # cluster2: deployments.apps default/example-foo updated")
    assert lines[1] == "│   .spec.replicas: 3 → 9"
    [asked] = [index for index, line in enumerate(lines) if line.endswith("◄ asked for")]
    assert lines[asked + 1].strip(" │") == ".spec.replicas: 9 → 3"
    assert "Apply cluster3" not in out, "nothing differed there"


def test_who_set_a_field_is_told_from_who_wrote_last(story: MemoryLog, use: Use) -> None:
    _, out, _ = use(story, "why cluster1 foos default/example-foo --field .spec.replicas")
    assert re.match(r"\.spec\.replicas is 3 since fact \d+, \S+: not set by this engine\n", out)
    _, out, _ = use(story, "why cluster3 deploy default/example-foo --field .spec.replicas")
    assert re.match(r"\.spec\.replicas is 3 since fact \d+, \S+: set by foo \(code [0-9a-f]+\)\n", out)
    _, out, _ = use(story, "why cluster3 deploy default/example-foo --field .metadata.name")
    assert out.startswith('.metadata.name is "example-foo" since before the record begins: set by foo')


def test_the_whole_chain_as_a_document(story: MemoryLog, use: Use) -> None:
    _, out, _ = use(story, "why cluster3 deployments default/example-foo -o json")
    chain = json.loads(out)
    decided = chain["decisions"][0]
    assert (
        decided["cause"]
        == f"facts.cluster1.samplecontroller%2Ek8s%2Eio.foos.default.example-foo@{chain['origin']['sequence']}"
    )
    facts = {record.seq: record.subject for record in story.records("FACTS")}
    assert decided["read"], "its inputs are in the record"
    assert all(facts[seq] == subject for subject, seq in decided["read"].items())
    made = [action["fact"]["sequence"] for action in decided["actions"] if action["fact"]]
    assert chain["asked"]["sequence"] in made
    assert all(seq > chain["origin"]["sequence"] for seq in made)


def test_every_recorded_decision_names_the_facts_that_it_read(story: MemoryLog) -> None:
    facts = {record.seq: record.subject for record in story.records("FACTS")}
    entries = [decode_entry(record.body) for record in story.records("DECISIONS")]
    assert entries
    for entry in entries:
        assert len(entry.facts) == len(entry.inputs)
        assert {facts[seq] for seq in entry.read.values()} == set(entry.read)


async def refused(_: object) -> Outcome:
    return Outcome(
        action="Apply", ref=deployment_ref(C2), result=Result.REFUSED, code=403, reason="Forbidden", message="no"
    )


async def held(cluster_lost: bool) -> MemoryLog:
    log = MemoryLog()
    async with working(log) as world:
        if cluster_lost:
            await world.set_state(C3, ClusterState.SUSPECT)
        else:
            world.hook = lambda action: refused(action) if action.ref == deployment_ref(C2) else nothing()
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: deployment_ref(C2 if cluster_lost else C3) in world.objects)
        await at_rest(log, world)
    return log


async def nothing() -> None:
    return None


def test_a_refused_write_and_a_lost_cluster_are_what_holds_an_object(use: Use) -> None:
    code, out, _ = use(asyncio.run(held(cluster_lost=False)), "why-not cluster1 foos default/example-foo")
    assert code == 1
    assert "cluster2: deployments.apps default/example-foo failed" in out
    assert "403 Forbidden: no" in out
    code, out, _ = use(asyncio.run(held(cluster_lost=True)), "why-not cluster1 foos example-foo")
    assert code == 1
    assert "✗ cluster cluster3: suspect" in out


def test_nothing_holds_what_is_as_it_should_be(story: MemoryLog, use: Use) -> None:
    code, out, _ = use(story, "why-not cluster1 foos default/example-foo")
    assert (code, out.splitlines()[-1]) == (0, "Nothing holds it.")


def test_a_request_that_waits_and_an_object_that_is_gone_are_said(story: MemoryLog, use: Use) -> None:
    subject = subjects.keyed(subjects.REQUESTS, "foo", foo_ref())
    asyncio.run(story.append("REQUESTS", Message(subject=subject, body=b"")))
    _, out, _ = use(story, "why-not cluster1 foos default/example-foo -o json")
    assert "request to foo" in [finding["check"] for finding in json.loads(out)["findings"]]
    _, out, _ = use(story, "why-not cluster1 foos default/nobody")
    assert "STATE has never seen" in out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("why clutser1 foos x", "did you mean cluster1"),
        ("why cluster1 fooz x", "did you mean foos"),
        ("why cluster1 foos a/b/c", "neither NAME nor NAMESPACE/NAME"),
        ("why cluster1 foos default/nobody", "the record holds no fact of"),
        ("why cluster1 foos shop/x -n default", "name two namespaces"),
        ("why cluster1 foos x -o name", "not a form of a chain"),
    ],
)
def test_bad_input_is_answered_with_what_there_is(story: MemoryLog, use: Use, line: str, message: str) -> None:
    code, _, err = use(story, line)
    assert code == 1
    assert message in err


def collected() -> tuple[MemoryLog, Made, Made]:
    """Return the record of a delete across clusters, the owner and the dependent that followed it."""
    found: list[tuple[MemoryLog, Made, Made]] = []

    async def story(world: SimulatedWorld) -> None:
        owner, dependent = await world.pair()
        await world.known(dependent)
        await world.delete(owner)
        await world.gone(owner, dependent)
        await world.clock.sleep(10.0)  # the watchers have seen it
        found.append((world.log, owner, dependent))

    run_in_clusters(story)
    return found[0]


def test_a_delete_across_clusters_says_who_deleted_what_and_on_which_evidence(use: Use) -> None:
    log, owner, dependent = collected()
    code, out, err = use(log, f"why {dependent.site.name} configmaps default/{dependent.name}")
    assert code == 0, err
    lines = out.splitlines()
    [asked] = [line for line in lines if line.endswith("◄ asked for")]
    assert f"configmaps default/{dependent.name} deleted at" in asked
    assert "others wrote it" not in out
    [begin] = [index for index, line in enumerate(lines) if line.startswith("deleted by ")]
    assert re.fullmatch(r"deleted by crosscurrent crosscurrent/garbage at 20\d\d-\S+Z: OwnersAbsent", lines[begin])
    assert re.fullmatch(rf"├ uid {dependent.uid}, resourceVersion \d+, Background", lines[begin + 1])
    who = f"ConfigMap default/{owner.name} ({owner.uid}) in cluster {owner.site.identity}"
    assert lines[begin + 2] == f"└ owner {who}: dangling, seen or asked for"
    looks = [line.split() for line in lines[begin + 3 :]]
    assert [words[1] for words in looks] == ["NotFound", "NotFound"]
    assert looks[0][0] < looks[1][0]
    _, out, _ = use(log, f"why {dependent.site.name} configmaps default/{dependent.name} -o json")
    spec = json.loads(out)["deletion"]
    assert (spec["uid"], spec["owners"][0]["uid"]) == (dependent.uid, owner.uid)
    _, out, _ = use(log, f"why {owner.site.name} configmaps default/{owner.name}")
    assert "deleted at" in out
    assert "deleted by" not in out, "a person did"
    _, out, _ = use(log, f"events {dependent.site.name}/deletions/default --snapshot --no-watch -o json")
    assert json.loads(out)["data"]["spec"] == spec


def test_the_breaker_that_holds_a_delete_is_what_holds_an_object(use: Use) -> None:
    found: list[tuple[MemoryLog, Made]] = []

    async def story(world: SimulatedWorld) -> None:
        made = [await world.pair(f"owner{number}") for number in range(5)]
        await world.dismiss("a")
        for owner, _ in made:
            await world.remove_by_hand(owner)
        world.a.cluster.compact()  # nobody will ever have seen them go
        world.engage("a")
        while not json.loads((await world.a.ask("GET", BRAKES)).body)["items"]:
            await world.clock.sleep(1.0)
        await world.kept(*(dependent for _, dependent in made), seconds=60.0)
        found.append((world.log, made[0][1]))

    run_in_clusters(story, config=GarbageConfig(brake=BrakeConfig(absolute=4)))
    log, held_back = found[0]
    code, out, _ = use(log, f"why-not {held_back.site.name} configmaps default/{held_back.name}")
    assert code == 1, out
    assert re.search(rf"✗ .*{held_back.name} failed \d+ times.*BrakeTripped: .* look at DeletionBrake", out), out


@pytest.mark.broker
async def test_the_chain_of_a_story_on_a_real_broker(broker_log: NatsEventLog) -> None:
    log = broker_log
    async with working(log) as world:
        await tell_a_story(log, world)
    chain = await read_chain(log, deployment_ref(C3))
    assert chain.origin.told is not None
    assert chain.origin.told.ref == foo_ref()
    assert chain.decisions[0][0].cause[1] == chain.origin.told.seq
    assert any(told is not None and told.seq == chain.asked.seq for _, told in chain.decisions[0][1])
