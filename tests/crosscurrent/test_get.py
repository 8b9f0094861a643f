"""`crosscurrent get` as its users call it: kubectl's arguments, its columns and its manners."""

from __future__ import annotations

import asyncio
import json

import pytest
import yaml

from crosscurrent.commands.get import Question, follow_objects
from crosscurrent.errors import UsageError, UserError
from crosscurrent.listing import Style
from crosscurrent.output import Format
from crosscurrent.selectors import Selector
from crosscurrent.targets import Target, parse_targets
from engine.sandbox.memory_log import MemoryLog
from schemas.names import ObjectRef, Resource
from tests.crosscurrent.conftest import C1, C2, DEPLOYMENTS, Command, deployment, object_fact, sync_record

Capture = pytest.CaptureFixture[str]
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions")


def test_get_lists_one_namespace_by_default_and_all_when_asked(command: Command) -> None:
    head, only = command("get deployments").rows()
    assert head == ["CLUSTER", "NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert only[:3] == ["cluster2", "example-foo", "2/3"]
    head, *both = command("get deployments -A").rows()
    assert head[:3] == ["CLUSTER", "NAMESPACE", "NAME"]
    assert [row[:3] for row in both] == [["cluster2", "default", "example-foo"], ["cluster2", "shop", "web"]]
    assert command("get deployments -n shop --no-headers").rows()[0][:2] == ["cluster2", "web"]


@pytest.mark.parametrize(
    "spelling",
    ["deployments", "deployment", "Deployment", "deploy", "deployments.apps", "deployments.v1.apps",
     "apps/v1/deployments", "deploy.apps", "deploy/example-foo", "deploy example-foo", "apps/v1/deployments/example-foo",
     "cluster2/deployments.apps/default/example-foo", "deploy/example-foo deployments/example-foo"],
)  # fmt: skip
def test_a_type_and_an_object_may_be_spelled_as_kubectl_allows(command: Command, spelling: str) -> None:
    lines = command(f"get {spelling} -o name").out.splitlines()
    assert set(lines) == {"cluster2/deployments.apps/default/example-foo"}


def test_what_is_printed_as_names_can_be_asked_for_again(command: Command) -> None:
    names = command("get deploy,foos,nodes -A -o name").out.split()
    assert len(names) == 4
    assert command(f"get {' '.join(names)} -o name").out.split() == names


def test_several_types_make_several_tables_whose_names_carry_the_kind(command: Command) -> None:
    deployments, foos = command("get deploy,foos").out.split("\n\n")
    assert deployments.splitlines()[1].split()[1] == "x.apps/example-foo"
    assert foos.splitlines()[0].split()[:4] == ["CLUSTER", "NAME", "DEPLOYMENT", "REPLICAS"]


def test_several_names_are_several_rows_and_each_missing_one_is_an_error(command: Command) -> None:
    answer = command("get deploy example-foo nope nix")
    assert answer.code == 1
    assert [row[1] for row in answer.rows()] == ["NAME", "example-foo"]
    assert answer.err.splitlines() == [
        'error: deployments.apps "nope" not found in namespace default of any cluster',
        'error: deployments.apps "nix" not found in namespace default of any cluster',
    ]
    assert command("get deploy nope --ignore-not-found") == (0, "", "")


def test_an_unknown_type_is_answered_with_near_matches(command: Command) -> None:
    assert (
        "error: no watched resource type 'deplyments'; did you mean deployments.apps?" in command("get deplyments").err
    )
    assert "watched types: nodes, deployments.apps, clusters.crosscurrent.dev" in command("get zzz").err


def test_an_unknown_cluster_is_answered_with_near_matches(command: Command) -> None:
    answer = command("get deploy --cluster clutser2")
    assert answer.err.splitlines()[0] == "error: no cluster 'clutser2'"
    assert "did you mean cluster2" in answer.err
    assert "clusters that have reported: cluster1, cluster2" in command("get deploy --cluster nowhere").err
    assert command("get deploy --cluster cluster1,cluster2 -o name").out.count("\n") == 1
    assert command("get deploy --cluster cluster1").err == (
        "No deployments.apps found in namespace default of cluster cluster1.\n"
    )


def test_get_by_name_answers_the_object_itself_with_its_cluster(command: Command) -> None:
    document = yaml.safe_load(command("get foo example-foo -o yaml").out)
    assert document["spec"] == {"deploymentName": "example-foo", "replicas": 1}
    assert document["metadata"]["annotations"] == {"crosscurrent.dev/cluster": "cluster1"}
    assert json.loads(command("get foo -o json").out)["kind"] == "List"
    assert json.loads(command("get foo -l nope -o json").out)["items"] == []


def test_get_finds_what_has_no_namespace_and_a_dot_in_its_name(command: Command) -> None:
    assert command("get no node.example.com -o name").out == "cluster1/nodes/_/node.example.com\n"
    assert command("get no -A").rows()[0][:2] == ["CLUSTER", "NAME"]


def test_what_is_missing_is_not_found_only_where_its_type_is_synced(command: Command) -> None:
    answer = command("get foo nope --cluster cluster2")
    assert answer.code == 1
    assert "unknown, because cluster2 is not synced" in answer.err
    assert "foos.samplecontroller.k8s.io of cluster2 is not synced (410 Gone)" in answer.err
    assert "crosscurrent doctor" in answer.err


def test_clusters_can_be_got_like_any_object(command: Command) -> None:
    assert command("get clusters").rows()[1][:3] == ["cluster1", "cluster1", "live"]


async def labelled(log: MemoryLog) -> None:
    body = {"metadata": {"name": "web", "namespace": "default", "uid": "u", "labels": {"app": "web"}}, "kind": "X"}
    await log.publish([object_fact(deployment(C1, "web"), DEPLOYMENTS, {**body, "spec": {"replicas": 2}}, version="9")])


def test_labels_and_fields_select(fleet: MemoryLog, command: Command) -> None:
    asyncio.run(labelled(fleet))
    assert command("get deploy -l app=web -o name").out == "cluster1/deployments.apps/default/web\n"
    assert command("get deploy -l app!=web -o name").out == "cluster2/deployments.apps/default/example-foo\n"
    assert command("get deploy --field-selector spec.replicas=3 -o name").out.startswith("cluster2/")
    assert command("get deploy --field-selector metadata.name!=web -o name").out.startswith("cluster2/")
    assert [row[-1] for row in command("get deploy --show-labels").rows()] == ["LABELS", "app=web", "-"]


def test_wide_shows_what_kubectl_shows_there(command: Command) -> None:
    assert command("get deploy -o wide").rows()[0][-4:] == ["AGE", "CONTAINERS", "IMAGES", "SELECTOR"]


def test_a_custom_type_has_the_columns_of_its_definition(fleet: MemoryLog, command: Command) -> None:
    assert command("get foos").rows()[0] == ["CLUSTER", "NAME", "DEPLOYMENT", "REPLICAS", "READY", "REASON", "AGE"]
    assert "MESSAGE" in command("get foos -o wide").rows()[0]
    assert command("get clusters -o wide").rows()[0] == ["CLUSTER", "NAME", "STATE", "VERSION", "IDENTITY"]
    columns = [{"name": "Count", "type": "integer", "jsonPath": ".spec.replicas"}]
    spec = {"versions": [{"name": "v1alpha1", "storage": True, "additionalPrinterColumns": columns}]}
    ref = ObjectRef(C2, DEFINITIONS.group, DEFINITIONS.plural, "", "foos.samplecontroller.k8s.io")
    asyncio.run(fleet.publish([object_fact(ref, DEFINITIONS, {"spec": spec})]))
    assert [row[1:] for row in command("get foos").rows()] == [["NAME", "COUNT"], ["example-foo", "1"]]


def test_a_custom_type_without_a_definition_has_an_age(fleet: MemoryLog, command: Command) -> None:
    widgets = Resource("example.dev", "v1", "widgets")
    ref = ObjectRef(C1, widgets.group, widgets.plural, "default", "w")
    asyncio.run(fleet.publish([sync_record(C1, widgets), object_fact(ref, widgets)]))
    assert command("get widgets").rows()[0] == ["CLUSTER", "NAME", "AGE"]


async def watch(fleet: MemoryLog, question: Question, style: Style, capsys: Capture) -> list[list[str]]:
    """Watch while a Deployment is made, changed and deleted, and another is touched; return the cells."""
    lines: list[list[str]] = []

    async def printed() -> None:
        while not (more := capsys.readouterr().out):
            await asyncio.sleep(0.001)
        lines.extend(line.split() for line in more.splitlines())

    web = deployment(C1, "web")
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        following = group.create_task(follow_objects(fleet, question, style))
        await printed()
        for version, replicas in (("10", 1), ("11", 2)):
            await fleet.publish([object_fact(web, DEPLOYMENTS, {"spec": {"replicas": replicas}}, version=version)])
            if question.selector.everything:
                await printed()
        await fleet.publish([object_fact(deployment(C2, "web", "shop"), DEPLOYMENTS, version="12")])
        await fleet.publish([object_fact(web, DEPLOYMENTS, version="13", deleted=True)])
        await printed()
        following.cancel()
    return lines


DEPLOY = (Target(resource="deploy"),)


async def test_a_watch_goes_on_with_a_line_for_each_change(fleet: MemoryLog, capsys: Capture) -> None:
    lines = await watch(fleet, Question(targets=DEPLOY), Style(), capsys)
    assert [line[:3] for line in lines] == [
        ["CLUSTER", "NAME", "READY"],
        ["cluster2", "example-foo", "2/3"],
        ["cluster1", "web", "0/1"],
        ["cluster1", "web", "0/2"],
        ["cluster1", "web", "0/2"],
    ]


async def test_a_watch_can_say_what_became_of_each_object(fleet: MemoryLog, capsys: Capture) -> None:
    lines = await watch(fleet, Question(targets=DEPLOY), Style(changes=True), capsys)
    assert [line[0] for line in lines] == ["EVENT", "ADDED", "ADDED", "MODIFIED", "DELETED"]


async def test_what_the_selector_lets_go_of_is_deleted_from_a_watch(fleet: MemoryLog, capsys: Capture) -> None:
    await labelled(fleet)
    question = Question(targets=DEPLOY, selector=Selector("app"))
    lines = await watch(fleet, question, Style(changes=True), capsys)
    assert [line[:3] for line in lines[1:]] == [["ADDED", "cluster1", "web"], ["DELETED", "cluster1", "web"]]


async def test_a_watch_can_print_documents(fleet: MemoryLog, capsys: Capture) -> None:
    following = asyncio.create_task(
        follow_objects(fleet, Question(targets=DEPLOY), Style(form=Format.YAML, changes=True))
    )
    await asyncio.sleep(0.02)
    following.cancel()
    (document,) = yaml.safe_load_all(capsys.readouterr().out)
    assert document["type"] == "ADDED"
    assert document["object"]["metadata"]["name"] == "example-foo"


async def test_a_watch_of_what_is_not_there_ends_at_once(fleet: MemoryLog) -> None:
    with pytest.raises(UserError, match="not found"):
        await follow_objects(fleet, Question(targets=(Target(resource="deploy", names=("nope",)),)), Style())
    with pytest.raises(UsageError, match="cannot be watched at once"):
        await follow_objects(fleet, Question(targets=(*DEPLOY, Target(resource="foo"))), Style())


@pytest.mark.parametrize(
    ("words", "targets"),
    [
        ("deploy,foos a b", [("deploy", ("a", "b")), ("foos", ("a", "b"))]),
        ("v1/configmaps", [("v1/configmaps", ())]),
        ("v1/configmaps/a v1/configmaps/b", [("v1/configmaps", ("a", "b"))]),
        ("apps/v1beta1/deployments web web", [("apps/v1beta1/deployments", ("web",))]),
        ("svc/a deploy/b svc/c", [("svc", ("a", "c")), ("deploy", ("b",))]),
    ],
)
def test_arguments_are_read_as_kubectl_reads_them(words: str, targets: list[tuple[str, tuple[str, ...]]]) -> None:
    assert [(target.resource, target.names) for target in parse_targets(words.split())] == targets


@pytest.mark.parametrize("words", [[], [""], ["deploy/"], ["/x"], ["deploy/x", "foo"], ["a/b/c/d/e"]])
def test_arguments_that_name_nothing_are_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_targets(words)
