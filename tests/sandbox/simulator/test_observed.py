"""The simulator answers as a real kube-apiserver 1.36.3 did: its answers are kept in `observed/*.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from engine.sandbox.simulator.cel import compiled
from engine.sandbox.simulator.cel.texts import to_string
from engine.sandbox.simulator.crd_rules import RuleSet
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.options import WriteOptions
from engine.sandbox.simulator.resource_types import ResourceType
from tests.sandbox.simulator.clusters import NO_CONTROLLERS, Cluster, Json, define
from tests.sandbox.simulator.observed import (
    answers,
    expressions,
    stories,
    texts,
    updates,
    wrong_definitions,
    wrong_objects,
)
from tests.sandbox.simulator.observed.good_objects import GOOD, good
from tests.sandbox.simulator.observed.sessions import CONFIG_MAPS, DEPLOYMENTS, MERGE, Request, requests

NAMESPACE = "observed"
DRY = WriteOptions(dry_run=True)


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    made = Cluster(NO_CONTROLLERS)
    made.make("namespaces", NAMESPACE)
    define(made, stories.DEFINITION)
    return made


def type_of(cluster: Cluster, obj: Json) -> ResourceType:
    group, _, version = obj["apiVersion"].rpartition("/")
    found = cluster.types.find_kind(group, version, obj["kind"])
    assert found is not None
    return found


def tried(cluster: Cluster, obj: Json) -> Json:
    """Return what is said of an object that is created without being stored."""
    rtype = type_of(cluster, obj)
    try:
        answer = cluster.create(rtype, NAMESPACE if rtype.namespaced else "", "", obj, DRY)
    except ApiError as error:
        return answers.refusal(error.code, error.status())
    return answers.refusal(answer.code, answer.object)


def patched(
    cluster: Cluster, kind: ResourceType, name: str, body: Any, media_type: str, **options: Any
) -> tuple[int, Json]:
    """Return the code and the body of a patch's answer."""
    namespace = NAMESPACE if kind.namespaced else ""
    try:
        answer = cluster.patch(kind, namespace, name, body, WriteOptions(**options), patch_type=media_type)
    except ApiError as error:
        return error.code, error.status()
    return answer.code, answer.object


@pytest.mark.parametrize("obj", GOOD, ids=lambda obj: obj["kind"])
def test_good_objects_are_taken(cluster: Cluster, obj: Json) -> None:
    assert tried(cluster, obj) == {"code": 201}


@pytest.mark.parametrize(("name", "obj"), wrong_objects.wrong_objects())
def test_wrong_objects_are_refused_with_the_same_causes(cluster: Cluster, name: str, obj: Json) -> None:
    assert tried(cluster, obj) == answers.kept("refusals")[name]


@pytest.mark.parametrize(("name", "obj"), wrong_definitions.wrong_definitions())
def test_wrong_definitions_are_refused_with_the_same_causes(cluster: Cluster, name: str, obj: Json) -> None:
    assert tried(cluster, obj) == answers.kept("definitions")[name]


@pytest.mark.parametrize("field", texts.TABLE)
def test_times_addresses_and_host_names_are_read_alike(cluster: Cluster, field: str) -> None:
    found, kept = {}, {}
    for name, obj in texts.cases(field):
        rtype = type_of(cluster, obj)
        try:
            answer = cluster.create(rtype, NAMESPACE if rtype.namespaced else "", "", obj, DRY)
            code, body, warnings = answer.code, answer.object, answer.warnings
        except ApiError as error:
            code, body, warnings = error.code, error.status(), error.warnings
        found[name] = texts.said(field, code, body, [*filter(None, [rtype.warning]), *warnings])
        kept[name] = answers.kept("texts")[name]
    assert found == kept


@pytest.mark.parametrize(("kind", "subresource", "obj"), updates.cases())
def test_changes_are_refused_with_the_same_causes(cluster: Cluster, kind: str, subresource: str, obj: Json) -> None:
    rtype = type_of(cluster, obj)
    namespace = NAMESPACE if rtype.namespaced else ""
    cluster.create(rtype, namespace, "", obj)
    found, kept = {}, {}
    for number, (field, value) in enumerate(updates.CHANGES[kind, subresource]):
        body = updates.patch(field, value)
        code, answer = patched(
            cluster, rtype, obj["metadata"]["name"], body, MERGE, dry_run=True, subresource=subresource
        )
        name = f"{kind} {subresource} {number} {field}"
        found[name], kept[name] = answers.refusal(code, answer), answers.kept("updates")[name]
    assert found == kept


@pytest.mark.parametrize(("kind", "size"), [("ConfigMap", CONFIG_MAPS), ("Deployment", DEPLOYMENTS)])
def test_a_session_of_several_managers_has_the_same_answers(cluster: Cluster, kind: str, size: tuple[int, int]) -> None:
    rtype = type_of(cluster, good(kind))
    session = answers.kept("config_map_session" if kind == "ConfigMap" else "deployment_session")
    for number, (one, kept) in enumerate(zip(requests(kind, *size), session, strict=True)):
        options = {"field_manager": one.manager, "force": one.force, "subresource": one.subresource}
        found = answers.written(*patched(cluster, rtype, "s", one.body, one.media_type, **options))
        assert (number, found) == (number, kept)


def story_answers(cluster: Cluster, story: str) -> dict[str, Json]:
    kind, _ = stories.STORIES[story]
    rtype = type_of(cluster, {"apiVersion": stories.KINDS[kind], "kind": kind})
    found = {}
    for number, one in enumerate(stories.requests(story)):
        code, body, warnings = written(cluster, rtype, stories.object_name(story), one, is_first=number == 0)
        found[f"{story} {number}"] = answers.with_warnings(answers.written(code, body), warnings)
    return found


def written(
    cluster: Cluster, kind: ResourceType, name: str, one: Request, *, is_first: bool
) -> tuple[int, Json, Sequence[str]]:
    options = WriteOptions(field_manager=one.manager, force=one.force, subresource=one.subresource)
    try:
        if one.media_type != stories.REPLACE:
            answer = cluster.patch(kind, NAMESPACE, name, one.body, options, patch_type=one.media_type)
        elif is_first:
            answer = cluster.create(kind, NAMESPACE, "", one.body, options)
        else:
            answer = cluster.replace(kind, NAMESPACE, name, one.body, options)
    except ApiError as error:
        return error.code, error.status(), error.warnings
    return answer.code, answer.object, answer.warnings


@pytest.mark.parametrize("story", stories.STORIES)
def test_the_writes_of_a_story_have_the_same_answers(cluster: Cluster, story: str) -> None:
    kept = answers.kept("stories")
    for name, found in story_answers(cluster, story).items():
        assert (name, found) == (name, kept[name])


@pytest.mark.parametrize("text", expressions.VALUES)
def test_expressions_have_the_same_values(text: str) -> None:
    assert to_string(compiled(text, ())({})).strip() == answers.kept("values")[text]


@pytest.mark.parametrize("text", expressions.ERRORS)
def test_rules_that_fail_say_the_same(text: str) -> None:
    rules = RuleSet(expressions.schema({"e": expressions.field(text)}))
    (cause,) = rules.causes({"spec": {"e": "v"}}, None)
    assert cause.message == answers.kept("errors")[text]
