"""The store: order, history, the past, and what watchers get of it."""

from __future__ import annotations

from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.schema import Schema
from engine.sandbox.simulator.store import Collection, Store, object_key

THING = ResourceType("", "v1", "things", "thing", "Thing", "ThingList", True, lambda: Schema({}))


def put(store: Store, name: str, namespace: str = "a", **data: str) -> int:
    key = object_key(namespace, name)
    return store.put(THING, key, {"kind": "Thing", "apiVersion": "v1", "metadata": {"name": name}, **data}).rv


def names(collection: Collection, rv: int | None = None) -> list[str] | None:
    found = list(collection) if rv is None else collection.at(rv)
    return None if found is None else [one.key for one in found]


def test_keys_are_in_the_order_of_etcd_where_a_slash_comes_after_a_dash() -> None:
    store = Store()
    for namespace in ("a", "a-b", "b", "a0"):
        put(store, "x", namespace)
    assert names(store.collection(THING.key)) == ["a-b/x", "a/x", "a0/x", "b/x"]
    assert [one.key for one in store.collection(THING.key).in_namespace("a")] == ["a/x"]


def test_the_past_is_listed_as_it_was() -> None:
    store = Store()
    first = put(store, "x")
    second = put(store, "y")
    put(store, "x", text="changed")
    store.remove(THING.key, "a/y")
    things = store.collection(THING.key)
    assert names(things, first) == ["a/x"]
    assert names(things, second) == ["a/x", "a/y"]
    old = things.at(second)
    assert old is not None
    assert "text" not in old[0].object
    assert names(things, store.rv) == ["a/x"]


def test_a_compaction_forgets_the_past_but_cuts_no_subscription() -> None:
    store = Store()
    things = store.collection(THING.key)
    position = things.end
    version = put(store, "x")
    put(store, "y")
    store.compact()
    assert things.at(version) is None
    changes = things.since(position, 10)
    assert changes is not None
    assert [one.type for one in changes] == ["ADDED", "ADDED"]


def test_a_full_history_drops_its_oldest_changes_and_says_so() -> None:
    store = Store(history_limit=8)
    things = store.collection(THING.key)
    start = things.end
    versions = [put(store, "x", text=str(number)) for number in range(20)]
    assert things.since(start, 10) is None, "whoever is that far behind has missed something"
    assert things.floor >= versions[8]
    assert len(things.history) <= 10
    assert things.since(things.position(versions[-2]), 10) == things.history[-1:]


def test_a_deletion_shows_the_last_state_with_the_version_of_the_deletion() -> None:
    store = Store()
    put(store, "x", text="last")
    gone = store.remove(THING.key, "a/x")
    assert gone.object["text"] == "last"
    assert gone.object["metadata"]["resourceVersion"] == str(store.rv)


def test_a_restore_goes_back_and_ends_every_subscription() -> None:
    store = Store()
    put(store, "x")
    snapshot = store.snapshot()
    put(store, "y")
    things = store.collection(THING.key)
    position = things.end
    woken: list[str] = []
    things.listeners.add(lambda: woken.append("woken"))
    store.restore(snapshot)
    assert store.rv == snapshot.rv
    assert names(things) == ["a/x"]
    assert things.since(position, 1) is None
    assert woken == ["woken"]


def test_a_snapshot_does_not_see_later_writes() -> None:
    store = Store()
    put(store, "x")
    snapshot = store.snapshot()
    put(store, "x", text="later")
    store.remove(THING.key, "a/x")
    assert "text" not in snapshot.objects[THING.key]["a/x"].object


def test_an_object_is_encoded_with_its_kind_first_and_without_it_in_lists() -> None:
    store = Store()
    put(store, "x", text="t")
    revision = store.collection(THING.key).objects["a/x"]
    assert (
        revision.encoded
        == b'{"kind":"Thing","apiVersion":"v1","metadata":{"name":"x","resourceVersion":"2"},"text":"t"}'
    )
    assert revision.encoded_item == b'{"metadata":{"name":"x","resourceVersion":"2"},"text":"t"}'
    assert revision.encoded is revision.encoded
