"""A custom resource that is stored in one version and served in two, which differ in a field and its default."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.api_session import JSON_PATCH, Answer, ApiSession
from tests.contracts.api_server.servers import Json, Place, numbers
from tests.contracts.api_server.test_custom_resources import CRDS, define, definition
from tests.contracts.api_server.test_deletion import until

VERSIONS = ("v1", "v2")


class Served:
    """A type of one's own, stored in v1; v2 has the field `extra`, with a default, and no `title`."""

    def __init__(self, place: Place, group: str) -> None:
        self.session = place.session
        self._place = place
        self._group = group

    def path(self, version: str, name: str = "a") -> str:
        return self._place.path("things", name, group=f"{self._group}/{version}")

    def thing(self, version: str, **spec: Any) -> Json:
        metadata = {"name": "a"}
        return {"apiVersion": f"{self._group}/{version}", "kind": "Thing", "metadata": metadata, "spec": spec}

    async def make(self, version: str, **spec: Any) -> Answer:
        made = await self.session.post(self.path(version, ""), self.thing(version, color="red", **spec))
        assert made.status == 201, made
        return made

    async def get(self, version: str) -> Answer:
        return await self.session.get(self.path(version))

    async def version(self) -> str:
        return (await self.get("v1")).version


def two_versions(group: str, *, stored: str, differ: bool) -> Json:
    body = definition(group)
    first = body["spec"]["versions"][0]
    second = copy.deepcopy({**first, "name": "v2"})
    if differ:
        spec = second["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        spec["extra"] = {"type": "string", "default": "x"}
        del spec["title"]
    body["spec"]["versions"] = [{**one, "storage": one["name"] == stored} for one in (first, second)]
    return body


async def serve(place: Place, *, stored: str = "v1", differ: bool = True) -> Served:
    group = f"g{next(numbers)}.versions.example.com"
    await define(place.session, two_versions(group, stored=stored, differ=differ))
    return Served(place, group)


@pytest.fixture
async def alike(place: Place) -> Served:
    return await serve(place, differ=False)


@pytest.fixture
async def unlike(place: Place) -> Served:
    return await serve(place)


async def test_objects_are_served_in_every_version(alike: Served) -> None:
    made = await alike.make("v1")
    other = await alike.get("v2")
    assert other.body["apiVersion"].endswith("/v2")
    assert other.body["spec"] == made.body["spec"]
    assert (other.uid, other.version) == (made.uid, made.version)


Write = Callable[[Served, str, Answer, dict[str, str]], Awaitable[Answer]]

SAME_AGAIN: dict[str, Write] = {
    "replace": lambda one, version, seen, query: one.session.put(one.path(version), seen.body, **query),
    "merge patch": lambda one, version, _, query: one.session.patch(one.path(version), {}, **query),
    "JSON patch": lambda one, version, _, query: one.session.patch(
        one.path(version), [{"op": "replace", "path": "/spec/color", "value": "red"}], JSON_PATCH, **query
    ),
    "apply": lambda one, version, _, query: one.session.apply(
        one.path(version), one.thing(version, color="red"), **query
    ),
    "status": lambda one, version, seen, query: one.session.put(f"{one.path(version)}/status", seen.body, **query),
    "what a status is not": lambda one, version, _, query: one.session.patch(
        f"{one.path(version)}/status", {"spec": {"color": "green"}}, **query
    ),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("made_in", VERSIONS)
async def test_writing_the_same_in_any_version_writes_nothing(alike: Served, made_in: str, version: str) -> None:
    made = await alike.make(made_in)
    await SAME_AGAIN["apply"](alike, version, made, {})
    seen = await alike.get(version)
    for name, write in SAME_AGAIN.items():
        answer = await write(alike, version, seen, {})
        assert (name, answer.status, answer.body) == (name, 200, seen.body)
    assert (await alike.get(version)).body == seen.body


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_dry_run_answers_in_the_version_that_was_asked(alike: Served, version: str) -> None:
    session, path, dry = alike.session, alike.path(version), {"dryRun": "All"}
    wanted = alike.thing(version, color="red")
    answers = {
        "create": await session.post(alike.path(version, ""), wanted, **dry),
        "apply, which creates": await session.apply(path, wanted, **dry),
    }
    made = await alike.make(version)
    answers |= {f"the same by {name}": await write(alike, version, made, dry) for name, write in SAME_AGAIN.items()}
    answers["change"] = await session.patch(path, {"spec": {"size": 4}}, **dry)
    answers["apply"] = await session.apply(path, alike.thing(version, color="red", size=5), force="true", **dry)
    answers["scale"] = await session.patch(f"{path}/scale", {"spec": {"replicas": 3}}, **dry)
    await session.patch(path, {"metadata": {"finalizers": ["example.com/hold"]}})
    answers["delete"] = await session.delete(path, **dry)
    said = {name: answer.body["apiVersion"].rpartition("/")[2] for name, answer in answers.items()}
    assert said == {name: "v1" if name == "scale" else version for name in answers}


async def test_a_default_of_a_version_that_is_not_stored_is_not_read(unlike: Served) -> None:
    made = await unlike.make("v2")
    assert "extra" not in made.body["spec"]
    assert "extra" not in (await unlike.get("v2")).body["spec"]
    listed = await unlike.session.get(unlike.path("v2", ""))
    assert "extra" not in listed.body["items"][0]["spec"]


async def test_so_each_write_through_that_version_is_a_change(unlike: Served) -> None:
    made = await unlike.make("v1")
    first = await unlike.session.patch(unlike.path("v2"), {})
    second = await unlike.session.put(unlike.path("v2"), (await unlike.get("v2")).body)
    assert [one.metadata["generation"] for one in (made, first, second)] == [1, 2, 3]
    assert len({made.version, first.version, second.version}) == 3
    unchanged = await unlike.session.patch(unlike.path("v1"), {})
    assert (unchanged.version, unchanged.metadata["generation"]) == (second.version, 3)


async def test_but_not_an_apply_of_what_is_there(unlike: Served) -> None:
    await unlike.make("v1")
    applied = await unlike.session.apply(unlike.path("v2"), unlike.thing("v2", color="red"))
    again = await unlike.session.apply(unlike.path("v2"), unlike.thing("v2", color="red"))
    assert again.body == applied.body


async def test_what_the_stored_version_does_not_know_is_lost(unlike: Served) -> None:
    made = await unlike.make("v2", extra="mine")
    assert made.body["spec"].keys() == {"color", "nested", "size"}
    assert (await unlike.get("v1")).body["spec"] == made.body["spec"]


async def test_what_a_version_does_not_know_is_not_shown_in_it_and_lost_by_a_write(unlike: Served) -> None:
    await unlike.make("v1", title="abc")
    assert "title" not in (await unlike.get("v2")).body["spec"]
    assert (await unlike.get("v1")).body["spec"]["title"] == "abc"
    await unlike.session.patch(unlike.path("v2"), {"spec": {"size": 4}})
    assert "title" not in (await unlike.get("v1")).body["spec"]


async def test_a_default_of_the_stored_version_is_read_though_it_is_not_stored(place: Place) -> None:
    served = await serve(place, stored="v2")
    made = await served.make("v1")
    read = await served.get("v2")
    assert read.body["spec"]["extra"] == "x"
    assert read.version == made.version
    again = await served.session.patch(served.path("v1"), {})
    assert again.version == made.version
    stored = await served.session.patch(served.path("v2"), {})
    assert stored.version != made.version
    assert stored.metadata["generation"] == 1
    assert (await served.session.patch(served.path("v2"), {})).version == stored.version


async def test_objects_that_were_stored_in_another_version_are_moved_by_the_next_write(place: Place) -> None:
    served = await serve(place, differ=False)
    made = await served.make("v1")
    await store_in(served.session, made.body["apiVersion"].partition("/")[0], "v2")

    async def moved() -> bool:  # a real server takes the new definition in a moment later
        return (await served.session.patch(served.path("v1"), {})).version != made.version

    await until(moved)
    written = await served.session.get(served.path("v1"))
    assert written.metadata["generation"] == 1
    assert (await served.session.patch(served.path("v1"), {})).version == written.version


async def store_in(session: ApiSession, group: str, version: str) -> None:
    found = await session.get(f"{CRDS}/things.{group}")
    versions = [{**one, "storage": one["name"] == version} for one in found.body["spec"]["versions"]]
    changed = await session.patch(f"{CRDS}/things.{group}", {"spec": {"versions": versions}})
    assert changed.status == 200, changed
