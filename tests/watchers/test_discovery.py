"""Aggregated discovery, and which of the served types are wanted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.runtime.ports import Reply
from schemas.names import Resource
from tests.watchers.fake_cluster import FakeCluster
from tests.watchers.virtual_time import VirtualClock, run
from watchers.discovery import Discovered, DiscoveryFailed, Served, discover, wanted


def a_resource(plural: str, *verbs: str) -> dict[str, Any]:
    return {"resource": plural, "responseKind": {"kind": plural.title()}, "verbs": list(verbs or ("list", "watch"))}


def answers(core: Any, groups: Any, status: int = 200) -> FakeCluster:
    cluster = FakeCluster(VirtualClock())
    bodies = {"/api": core, "/apis": groups}
    cluster.refuse = lambda path, params: Reply(status, json.dumps(bodies[path]).encode()) if path in bodies else None
    return cluster


def groups(*items: dict[str, Any], kind: str = "APIGroupDiscoveryList") -> dict[str, Any]:
    return {"kind": kind, "items": list(items)}


def a_group(name: str, *versions: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name} if name else {}, "versions": list(versions)}


def a_version(name: str, *resources: dict[str, Any], freshness: str = "Current") -> dict[str, Any]:
    return {"version": name, "resources": list(resources), "freshness": freshness}


def found_in(cluster: FakeCluster) -> Discovered:
    found: list[Discovered] = []

    async def story() -> None:
        found.append(await discover(cluster))

    run(story())
    return found[0]


def test_types_that_can_be_listed_and_watched_are_found() -> None:
    core = groups(a_group("", a_version("v1", a_resource("pods"), a_resource("bindings", "create"))))
    rest = groups(a_group("apps", a_version("v1", a_resource("deployments")), a_version("v2", freshness="Stale")))
    found = found_in(answers(core, rest))
    assert [str(served.resource) for served in found.types] == ["v1/pods", "apps/v1/deployments"]
    assert [served.path for served in found.types] == ["/api/v1/pods", "/apis/apps/v1/deployments"]
    assert found.unsure == {"apps/v2"}


@pytest.mark.parametrize(
    ("core", "rest", "status"),
    [
        (groups(), groups(), 200),
        (groups(), groups(kind="APIGroupList"), 200),
        ([], {}, 200),
        (groups(), groups(), 503),
    ],
)
def test_an_answer_that_says_nothing_proves_nothing(core: Any, rest: Any, status: int) -> None:
    with pytest.raises(DiscoveryFailed):
        found_in(answers(core, rest, status))


def served(*names: str) -> list[Served]:
    return [Served(Resource.parse(name), "Kind") for name in names]


def test_everything_is_each_type_once_without_secrets_and_without_events_twice() -> None:
    types = served(
        "v1/events", "v1/secrets", "apps/v1/deployments", "autoscaling/v2/scalers", "autoscaling/v1/scalers"
    ) + served("events.k8s.io/v1/events")
    assert [str(one.resource) for one in wanted(("*/*",), types)] == [
        "v1/events",
        "apps/v1/deployments",
        "autoscaling/v2/scalers",
    ]


def test_what_is_named_is_taken_in_the_version_that_is_named() -> None:
    types = served("v1/secrets", "autoscaling/v2/scalers", "autoscaling/v1/scalers")
    names = ("v1/secrets", "autoscaling/v1/scalers", "example.com/v1/absent")
    assert [str(one.resource) for one in wanted(names, types)] == ["v1/secrets", "autoscaling/v1/scalers"]
    assert [str(one.resource) for one in wanted((*names, "*/*"), types)] == ["v1/secrets", "autoscaling/v1/scalers"]
