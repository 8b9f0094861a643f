"""Lists: selectors, pages of one moment, versions, and what happens when that moment has been forgotten."""

from __future__ import annotations

import pytest

from tests.contracts.api_server.servers import Place

LABELLED = {"a": {"app": "x"}, "b": {"app": "y", "tier": "z"}, "c": {"app": "x", "tier": "w"}, "d": {}}


@pytest.fixture
async def labelled(place: Place) -> Place:
    for name, labels in LABELLED.items():
        await place.make_map(name, labels=labels)
    return place


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("app=x", ["a", "c"]),
        ("app==x", ["a", "c"]),
        ("app!=x", ["b", "d"]),
        ("app in (x, y)", ["a", "b", "c"]),
        ("app notin (x)", ["b", "d"]),
        ("tier", ["b", "c"]),
        ("!tier", ["a", "d"]),
        ("app=x,tier", ["c"]),
        ("app=", []),
        ("", ["a", "b", "c", "d"]),
    ],
)
async def test_a_label_selector_picks_what_matches(labelled: Place, selector: str, names: list[str]) -> None:
    assert (await labelled.session.get(labelled.maps, labelSelector=selector)).names == names


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("metadata.name=b", ["b"]),
        ("metadata.name!=b", ["a", "c", "d"]),
        ("metadata.name=b,metadata.name=c", []),
        ("metadata.namespace=elsewhere", []),
    ],
)
async def test_a_field_selector_picks_what_matches(labelled: Place, selector: str, names: list[str]) -> None:
    assert (await labelled.session.get(labelled.maps, fieldSelector=selector)).names == names


async def test_types_have_fields_of_their_own_to_select(place: Place) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "main", "image": "nginx"}]}}
    for name, node in (("a", "n1"), ("b", "")):
        body = {**pod, "metadata": {"name": name}, "spec": {**pod["spec"], **({"nodeName": node} if node else {})}}  # type: ignore[dict-item]
        assert (await place.session.post(place.path("pods"), body)).status == 201
    assert (await place.session.get(place.path("pods"), fieldSelector="spec.nodeName=n1")).names == ["a"]
    assert (await place.session.get(place.path("pods"), fieldSelector="status.phase=Pending,spec.nodeName=")).names == [
        "b"
    ]


async def test_pages_are_of_one_moment(labelled: Place) -> None:
    session, maps = labelled.session, labelled.maps
    first = await session.get(maps, limit=2)
    assert first.names == ["a", "b"]
    assert first.metadata["remainingItemCount"] == 2
    await session.delete(f"{maps}/c")
    await labelled.make_map("cc")
    second = await session.get(maps, limit=1, **{"continue": first.metadata["continue"]})
    third = await session.get(maps, limit=5, **{"continue": second.metadata["continue"]})
    assert (second.names, third.names) == (["c"], ["d"])
    assert {first.version, second.version, third.version} == {first.version}
    assert "continue" not in third.metadata
    assert "remainingItemCount" not in third.metadata
    assert (await session.get(maps)).names == ["a", "b", "cc", "d"]


async def test_how_much_remains_is_not_said_of_a_selection(labelled: Place) -> None:
    page = await labelled.session.get(labelled.maps, limit=1, labelSelector="app=x")
    assert page.names == ["a"]
    assert "remainingItemCount" not in page.metadata
    rest = await labelled.session.get(labelled.maps, labelSelector="app=x", **{"continue": page.metadata["continue"]})
    assert rest.names == ["c"]


async def test_a_page_that_holds_all_has_no_token(labelled: Place) -> None:
    whole = await labelled.session.get(labelled.maps, limit=4)
    assert len(whole.names) == 4
    assert "continue" not in whole.metadata


async def test_a_token_takes_no_version_and_no_nonsense(labelled: Place) -> None:
    page = await labelled.session.get(labelled.maps, limit=1)
    token = page.metadata["continue"]
    versioned = await labelled.session.get(labelled.maps, resourceVersion=page.version, **{"continue": token})
    assert versioned.failed() == (400, "BadRequest")
    assert versioned.message == "specifying resource version is not allowed when using continue"
    nonsense = await labelled.session.get(labelled.maps, **{"continue": "zzz"})
    assert nonsense.failed() == (400, "BadRequest")
    assert nonsense.message.startswith("invalid continue token: continue key is not valid: ")


async def test_an_exact_version_is_that_moment(labelled: Place) -> None:
    session, maps = labelled.session, labelled.maps
    then = (await session.get(maps)).version
    await session.delete(f"{maps}/c")
    await session.patch(f"{maps}/a", {"data": {"k": "1"}})
    exact = await session.get(maps, resourceVersion=then, resourceVersionMatch="Exact")
    assert (exact.version, exact.names) == (then, ["a", "b", "c", "d"])
    assert "data" not in exact.body["items"][0]
    at_least = await session.get(maps, resourceVersion=then, resourceVersionMatch="NotOlderThan")
    assert at_least.names == ["a", "b", "d"]
    assert int(at_least.version) > int(then)


async def test_a_lists_version_is_never_older_than_what_was_written_before_it(place: Place) -> None:
    empty = await place.session.get(place.maps)
    made = await place.make_map()
    listed = await place.session.get(place.maps)
    assert int(empty.version) < int(made.version) <= int(listed.version)


async def test_a_list_over_all_namespaces_is_ordered_by_namespace_and_name(labelled: Place) -> None:
    everywhere = await labelled.session.get("/api/v1/configmaps")
    keys = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in everywhere.body["items"]]
    assert keys == sorted(keys)
    assert [name for namespace, name in keys if namespace == labelled.namespace] == ["a", "b", "c", "d"]


async def test_items_of_a_list_do_not_repeat_their_type(labelled: Place) -> None:
    listed = await labelled.session.get(labelled.maps)
    assert (listed.body["kind"], listed.body["apiVersion"]) == ("ConfigMapList", "v1")
    assert not any("kind" in item or "apiVersion" in item for item in listed.body["items"])


async def test_an_empty_list_is_a_list(place: Place) -> None:
    assert (await place.session.get(place.maps)).body["items"] == []
