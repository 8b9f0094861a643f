"""Watches: from a version, from now, with initial events; bookmarks, selectors, the end and the forgotten past."""

from __future__ import annotations

import pytest

from tests.api_session import Json, WatchRefused
from tests.contracts.api_server.servers import Place

WATCH_LIST = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


def told(events: list[Json]) -> list[tuple[str, str]]:
    """(type, name) of each event."""
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


def ends_initial_events(event: Json) -> bool:
    annotations = event["object"]["metadata"].get("annotations", {})
    return bool(event["type"] == "BOOKMARK" and annotations.get(INITIAL_EVENTS_END) == "true")


async def test_a_watch_from_a_version_tells_all_that_came_after_it_in_order(place: Place) -> None:
    session, maps = place.session, place.maps
    start = (await session.get(maps)).version
    made = await place.make_map()
    changed = await session.patch(f"{maps}/a", {"data": {"k": "1"}})
    async with session.watch(maps, resourceVersion=start) as stream:
        past = await stream.take(2)
        await session.delete(f"{maps}/a")
        present = await stream.take(1)
    assert told(past + present) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert [event["object"]["metadata"]["resourceVersion"] for event in past] == [made.version, changed.version]
    assert past[1]["object"] == changed.body


async def test_a_deletion_is_told_with_the_last_state_and_a_version_of_its_own(place: Place) -> None:
    made = await place.make_map(data={"k": "1"})
    async with place.session.watch(place.maps, resourceVersion=made.version) as stream:
        await place.session.delete(f"{place.maps}/a")
        (deleted,) = await stream.take(1)
    assert deleted["type"] == "DELETED"
    assert deleted["object"]["data"] == {"k": "1"}
    assert deleted["object"]["metadata"]["uid"] == made.uid
    assert int(deleted["object"]["metadata"]["resourceVersion"]) > int(made.version)


@pytest.mark.parametrize("query", [{}, {"resourceVersion": "0"}], ids=["no version", "zero"])
async def test_a_watch_from_no_version_tells_first_what_is_there(place: Place, query: dict[str, str]) -> None:
    await place.make_map("b")
    await place.make_map("a")
    # The cache that answers "zero" may be older than the writes: it is asked until it has seen them.
    await place.session.get(place.maps)
    async with place.session.watch(place.maps, **query) as stream:
        existing = await stream.take(2)
        await place.make_map("c")
        (new,) = await stream.take(1)
    assert sorted(told(existing)) == [("ADDED", "a"), ("ADDED", "b")]
    assert told([new]) == [("ADDED", "c")]


async def test_a_watch_list_says_where_its_initial_events_end(place: Place) -> None:
    last = None
    for name in ("a", "b"):
        last = await place.make_map(name)
    assert last
    async with place.session.watch(place.maps, **WATCH_LIST) as stream:
        initial = await stream.until(ends_initial_events)
        await place.make_map("c")
        (new,) = await stream.take(1)
    assert told(initial) == [("ADDED", "a"), ("ADDED", "b"), ("BOOKMARK", "")]
    bookmark = initial[-1]["object"]
    assert (bookmark["kind"], bookmark["apiVersion"]) == ("ConfigMap", "v1")
    assert int(bookmark["metadata"]["resourceVersion"]) >= int(last.version)
    assert told([new]) == [("ADDED", "c")]


async def test_a_watch_list_of_nothing_ends_at_once(place: Place) -> None:
    async with place.session.watch(place.maps, **WATCH_LIST) as stream:
        assert told(await stream.take(1)) == [("BOOKMARK", "")]


async def test_a_watch_list_is_selected(place: Place) -> None:
    await place.make_map("a", labels={"app": "x"})
    await place.make_map("b")
    async with place.session.watch(place.maps, labelSelector="app=x", **WATCH_LIST) as stream:
        assert told(await stream.until(ends_initial_events)) == [("ADDED", "a"), ("BOOKMARK", "")]


async def test_a_watch_without_initial_events_tells_only_what_is_new(place: Place) -> None:
    await place.make_map("a")
    query = {**WATCH_LIST, "sendInitialEvents": "false"}
    async with place.session.watch(place.maps, **query) as stream:
        await place.make_map("b")
        assert told(await stream.take(1)) == [("ADDED", "b")]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"sendInitialEvents": "true"}, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
        (
            {"resourceVersionMatch": "NotOlderThan"},
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
    ],
    ids=["initial events without a match", "a match without initial events"],
)
async def test_a_watch_that_asks_for_what_does_not_go_together_is_refused(
    place: Place, query: dict[str, str], message: str
) -> None:
    with pytest.raises(WatchRefused) as refused:
        async with place.session.watch(place.maps, **query):
            pass
    assert refused.value.answer.failed() == (422, "Invalid")
    assert refused.value.answer.message == (
        f'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: {message}'
    )


async def test_what_comes_to_match_a_selector_is_added_and_what_ceases_to_is_deleted(place: Place) -> None:
    session, maps = place.session, place.maps
    await place.make_map("a", labels={"app": "x"})
    made = await place.make_map("b", labels={"app": "y"})
    async with session.watch(maps, resourceVersion=made.version, labelSelector="app=x") as stream:
        await session.patch(f"{maps}/a", {"metadata": {"labels": {"app": "y"}}, "data": {"k": "new"}})
        await session.patch(f"{maps}/b", {"metadata": {"labels": {"app": "x"}}})
        changed = await session.patch(f"{maps}/b", {"data": {"k": "1"}})
        await session.delete(f"{maps}/a")
        await session.delete(f"{maps}/b")
        events = await stream.take(4)
    assert told(events) == [("DELETED", "a"), ("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]
    # What left is told as it was while it matched, at the version of the write by which it left.
    assert "data" not in events[0]["object"]
    assert events[0]["object"]["metadata"]["labels"] == {"app": "x"}
    assert int(events[0]["object"]["metadata"]["resourceVersion"]) > int(made.version)
    assert events[2]["object"] == changed.body


async def test_a_field_selector_narrows_a_watch(place: Place) -> None:
    start = (await place.session.get(place.maps)).version
    async with place.session.watch(place.maps, resourceVersion=start, fieldSelector="metadata.name=b") as stream:
        await place.make_map("a")
        await place.make_map("b")
        assert told(await stream.take(1)) == [("ADDED", "b")]


async def test_a_watch_ends_when_its_time_is_up(place: Place) -> None:
    made = await place.make_map()
    async with place.session.watch(place.maps, resourceVersion=made.version, timeoutSeconds=1) as stream:
        assert await stream.rest() == []


async def test_a_bookmark_comes_before_the_end_and_moves_the_version_on(place: Place) -> None:
    session = place.session
    made = await place.make_map()
    query = {"resourceVersion": made.version, "allowWatchBookmarks": "true", "timeoutSeconds": 4}
    async with session.watch(place.maps, **query) as stream:
        elsewhere = await session.post(
            "/api/v1/namespaces/default/configmaps", {"metadata": {"generateName": "other-"}}
        )
        events = await stream.rest()
    assert {event["type"] for event in events} == {"BOOKMARK"}
    bookmark = events[-1]["object"]
    assert (bookmark["kind"], bookmark["apiVersion"]) == ("ConfigMap", "v1")
    assert bookmark["metadata"] == {"resourceVersion": elsewhere.version}


async def test_a_watch_of_the_future_waits(place: Place) -> None:
    async with place.session.watch(place.maps, resourceVersion="99999999", timeoutSeconds=1) as stream:
        assert await stream.rest() == []


async def test_a_watch_of_metadata_tells_nothing_else(place: Place) -> None:
    start = (await place.session.get(place.maps)).version
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    async with place.session.watch(place.maps, accept=accept, resourceVersion=start) as stream:
        made = await place.make_map(data={"k": "1"}, labels={"app": "x"})
        (event,) = await stream.take(1)
    assert event["object"]["kind"] == "PartialObjectMetadata"
    assert event["object"].keys() == {"kind", "apiVersion", "metadata"}
    assert event["object"]["metadata"] == made.metadata


async def test_a_watch_of_one_name_through_the_old_path_still_works(place: Place) -> None:
    await place.make_map()
    path = f"/api/v1/watch/namespaces/{place.namespace}/configmaps"
    async with place.session.watch(path, timeoutSeconds=1) as stream:
        assert told(await stream.rest()) == [("ADDED", "a")]
