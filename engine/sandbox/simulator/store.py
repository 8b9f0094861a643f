"""What one simulated cluster stores, as etcd and the API server's watch cache do together: versions, history, subscriptions.

In: new states of objects from `writes` and `deletion`. Out: current states, consistent lists of the recent past, and what
changed since a version, for those who watch. Objects are dictionaries that nobody changes once they are here; a change
makes new ones along its path, so history, watchers and snapshots hold references. What an object means, who may write it
and which selector asks for it is decided elsewhere.

Keys are `namespace/name`, or `name` for cluster-scoped types: their order as text is the order of lists, as in etcd.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import msgspec

from engine.sandbox.simulator.resource_types import ResourceType, TypeKey

Json = dict[str, Any]

HISTORY_LIMIT = 10_000
"""Changes kept per type: what a watch may be behind. kube-apiserver keeps between 100 and 102,400, by age."""

_SNAPSHOTS_KEPT = 8
"""Past states per type that are kept for paged lists; any of them can be made again from the history."""

_TYPE_META = ("kind", "apiVersion")

_encode = msgspec.json.Encoder().encode


class Revision:
    """One state of one object: immutable, encoded at most once.

    Attributes:
        rtype: the type (and version) in which `object` is written.
        key: `namespace/name` or `name`.
        rv: resourceVersion as a number.
        object: the whole object; nobody changes it.
        settled: etcd of a real server would hold the object as it is here. It does not hold all that is filled in when it is
            read: a new claim's phase, labels of a job's template, defaults of another version; and it keeps empty labels
            of a custom resource, which no read shows. The next write changes that, if nothing else.

    """

    __slots__ = ("_bytes", "_views", "key", "object", "rtype", "rv", "settled")

    def __init__(self, rtype: ResourceType, key: str, rv: int, obj: Json, *, settled: bool = True) -> None:
        self.rtype = rtype
        self.key = key
        self.rv = rv
        self.object = obj
        self.settled = settled
        self._bytes: bytes | None = None
        self._views: dict[int, Revision] | None = None

    @property
    def encoded(self) -> bytes:
        """The object as JSON, its kind and apiVersion first."""
        if self._bytes is None:
            rest = {name: value for name, value in self.object.items() if name not in _TYPE_META}
            self._bytes = _head(self.rtype) + _encode(rest)[1:]
        return self._bytes

    @property
    def encoded_item(self) -> bytes:
        """The object as JSON as an item of a list, where built-in types leave out kind and apiVersion."""
        return self.encoded if self.rtype.custom else b"{" + self.encoded[len(_head(self.rtype)) :]

    @property
    def namespace(self) -> str:
        """Namespace; empty: cluster-scoped."""
        namespace, slash, _ = self.key.partition("/")
        return namespace if slash else ""

    @property
    def name(self) -> str:
        """Name."""
        return self.key.rpartition("/")[2]

    def view(self, rtype: ResourceType, convert: Callable[[ResourceType, Json], Json]) -> Revision:
        """Return this state in another version of its type, converted at most once.

        Args:
            rtype: the version wanted.
            convert: makes the object of the version from the stored one.

        """
        if rtype is self.rtype:
            return self
        if self._views is None:
            self._views = {}
        view = self._views.get(id(rtype))  # equal types may have different schemas; the view keeps its type alive
        if view is None:
            view = self._views[id(rtype)] = Revision(rtype, self.key, self.rv, convert(rtype, self.object))
        return view


class Change:
    """One write: how a type's state went from one resourceVersion to the next.

    Attributes:
        type: ADDED, MODIFIED or DELETED.
        current: the new state; of a deletion: the last state, with the deletion's resourceVersion.
        previous: the state before; None: there was none.
        rv: resourceVersion of the write.
        events: what watchers have made of it, by event type, for other watchers to share.

    """

    __slots__ = ("_departed", "current", "events", "previous", "rv", "type")

    def __init__(
        self, kind: Literal["ADDED", "MODIFIED", "DELETED"], current: Revision, previous: Revision | None
    ) -> None:
        self.type = kind
        self.current = current
        self.previous = previous
        self.rv = current.rv
        self.events: dict[str, Any] = {}
        self._departed = current if kind == "DELETED" else None

    @property
    def departed(self) -> Revision:
        """What a watch gets whose selector the object has left: the state before, with the change's resourceVersion."""
        if self._departed is None:
            previous = self.previous or self.current
            self._departed = _with_version(previous.rtype, previous.key, self.rv, previous.object)
        return self._departed


@dataclass(frozen=True, slots=True)
class StoreSnapshot:
    """Everything a store held at one moment, for `Store.restore`."""

    rv: int
    objects: dict[TypeKey, dict[str, Revision]]


class Collection:
    """The objects of one type: their current state and their history."""

    def __init__(self, rv: int) -> None:
        self.objects: dict[str, Revision] = {}
        self.floor = rv
        """Changes after this version are all known; asking for earlier ones is answered 410."""
        self.watch_floor = rv
        """The same for watches; a new watch cache knows less than what is stored."""
        self.watch_term = 0
        """Rises with `end_watches`."""
        self.watch_end = 0
        """The position up to which watches of earlier terms still tell."""
        self.last_change = rv
        self.history: list[Change] = []
        self.trimmed = 0
        """How many changes were dropped from the start of `history`."""
        self.listeners: set[Callable[[], None]] = set()
        self._keys: list[str] = []
        self._past: dict[int, list[Revision]] = {}

    def __iter__(self) -> Iterator[Revision]:
        return iter([self.objects[key] for key in self._keys])

    def in_namespace(self, namespace: str) -> list[Revision]:
        """Return the current objects of one namespace, or all if it is empty, in order."""
        start, end = self._range(namespace)
        objects = self.objects
        return [objects[key] for key in self._keys[start:end]]

    def at(self, rv: int) -> list[Revision] | None:
        """Return the objects as they were at a version, in order; None: it is too long ago."""
        if rv >= self.last_change:
            return list(self)
        if rv < self.floor:
            return None
        past = self._past.get(rv)
        if past is None:
            past = self._undone(rv)
            self._past[rv] = past
            if len(self._past) > _SNAPSHOTS_KEPT:
                del self._past[next(iter(self._past))]
        return past

    def position(self, rv: int) -> int:
        """Return the position in the history of the first change after a version."""
        history = self.history
        low, high = 0, len(history)
        while low < high:
            middle = (low + high) // 2
            if history[middle].rv <= rv:
                low = middle + 1
            else:
                high = middle
        return self.trimmed + low

    @property
    def end(self) -> int:
        """The position after the newest change."""
        return self.trimmed + len(self.history)

    def since(self, position: int, most: int) -> Sequence[Change] | None:
        """Return up to `most` changes from a position on; None: some of them are dropped already."""
        if position < self.trimmed:
            return None
        start = position - self.trimmed
        return self.history[start : start + most]

    def record(self, change: Change, limit: int) -> None:
        """Make a change the newest state."""
        key = change.current.key
        if change.type == "ADDED":
            self._insert(key)
            self.objects[key] = change.current
        elif change.type == "MODIFIED":
            self.objects[key] = change.current
        else:
            del self.objects[key]
            del self._keys[bisect_left(self._keys, key)]
        self.last_change = change.rv
        self.history.append(change)
        if len(self.history) > limit + limit // 4:
            self._trim(len(self.history) - limit)

    def replace(self, objects: dict[str, Revision], rv: int) -> None:
        """Hold these objects instead, and forget the history."""
        self.objects = dict(objects)
        self._keys = sorted(objects)
        self.last_change = self.floor = self.watch_floor = rv
        self.trimmed = self.end + 1  # every position handed out before is gone
        self.history = []
        self._past.clear()

    def compact(self, rv: int) -> None:
        """Answer 410 to whoever asks for changes up to a version; subscriptions under way go on."""
        self.floor = max(self.floor, rv)
        self.watch_floor = max(self.watch_floor, rv)
        self._past.clear()

    def end_watches(self, rv: int) -> None:
        """End watches under way once they have told what was so far; new ones from before a version get 410."""
        self.watch_floor = max(self.watch_floor, rv)
        self.watch_term += 1
        self.watch_end = self.end

    def _insert(self, key: str) -> None:
        if self._keys and key < self._keys[-1]:
            insort(self._keys, key)
        else:
            self._keys.append(key)

    def _range(self, namespace: str) -> tuple[int, int]:
        if not namespace:
            return 0, len(self._keys)
        return bisect_left(self._keys, f"{namespace}/"), bisect_left(self._keys, f"{namespace}0")  # 0 comes after /

    def _trim(self, count: int) -> None:
        self.floor = max(self.floor, self.history[count - 1].rv)
        self.watch_floor = max(self.watch_floor, self.floor)
        self.trimmed += count
        del self.history[:count]

    def _undone(self, rv: int) -> list[Revision]:
        objects = dict(self.objects)
        for change in reversed(self.history):
            if change.rv <= rv:
                break
            if change.previous is None:
                del objects[change.current.key]
            else:
                objects[change.previous.key] = change.previous
        return [objects[key] for key in sorted(objects)]


class Store:
    """Everything that one cluster holds.

    Args:
        history_limit: changes kept per type.

    Attributes:
        rv: resourceVersion of the newest write.
        observers: called after each write with its type and change, in order: journal, collector, controllers.
        epoch: rises with each restore; what was subscribed before has ended.

    """

    def __init__(self, *, history_limit: int = HISTORY_LIMIT) -> None:
        self.rv = 1
        self.epoch = 0
        self.observers: list[Callable[[TypeKey, Change], None]] = []
        self._history_limit = history_limit
        self._collections: dict[TypeKey, Collection] = {}

    def collection(self, key: TypeKey) -> Collection:
        """Return a type's objects; a type never seen is empty."""
        found = self._collections.get(key)
        if found is None:
            found = self._collections[key] = Collection(self.rv)
        return found

    def get(self, key: TypeKey, name: str) -> Revision | None:
        """Return the current state of the object with a key, or None."""
        found = self._collections.get(key)
        return found.objects.get(name) if found else None

    def put(self, rtype: ResourceType, key: str, obj: Json, *, settled: bool = True) -> Revision:
        """Store a new state and return it; `obj` gets its resourceVersion in a copy of its metadata."""
        collection = self.collection(rtype.key)
        previous = collection.objects.get(key)
        self.rv += 1
        current = _with_version(rtype, key, self.rv, obj, settled=settled)
        self._commit(rtype.key, collection, Change("MODIFIED" if previous else "ADDED", current, previous))
        return current

    def remove(self, key: TypeKey, name: str) -> Revision:
        """Drop an object that is there and return its last state, with the resourceVersion of the removal."""
        collection = self.collection(key)
        previous = collection.objects[name]
        self.rv += 1
        current = _with_version(previous.rtype, name, self.rv, previous.object)
        self._commit(key, collection, Change("DELETED", current, previous))
        return current

    def compact(self) -> None:
        """Forget the past, as etcd's compaction and a full watch cache do: lists and watches of earlier versions get 410."""
        for collection in self._collections.values():
            collection.compact(self.rv)

    def drop(self, key: TypeKey) -> None:
        """Forget a type that is no longer served, and end its watches."""
        self.end_watches(key)
        self._collections.pop(key, None)

    def end_watches(self, key: TypeKey) -> None:
        """End a type's watches, and have new ones begin no earlier than now, as a new watch cache does."""
        collection = self._collections.get(key)
        if collection is not None:
            collection.end_watches(self.rv)
            _wake(collection)

    def snapshot(self) -> StoreSnapshot:
        """Return what is stored now; later writes do not change it."""
        return StoreSnapshot(self.rv, {key: dict(one.objects) for key, one in self._collections.items()})

    def restore(self, snapshot: StoreSnapshot) -> None:
        """Go back to a snapshot as after an etcd restore: versions run backwards, history is lost, watches end."""
        self.rv = snapshot.rv
        self.epoch += 1
        for key in snapshot.objects:
            self.collection(key)
        for key, collection in self._collections.items():
            collection.replace(snapshot.objects.get(key, {}), self.rv)
            _wake(collection)

    def type_keys(self) -> list[TypeKey]:
        """Return the types that have a collection, served or not."""
        return list(self._collections)

    def _commit(self, key: TypeKey, collection: Collection, change: Change) -> None:
        collection.record(change, self._history_limit)
        for observer in self.observers:
            observer(key, change)
        if collection.listeners:
            _wake(collection)


def object_key(namespace: str, name: str) -> str:
    """Return the key of an object; an empty namespace is a cluster-scoped one."""
    return f"{namespace}/{name}" if namespace else name


@cache
def _type_head(kind: str, group_version: str) -> bytes:
    return f'{{"kind":"{kind}","apiVersion":"{group_version}",'.encode()


def _head(rtype: ResourceType) -> bytes:
    return _type_head(rtype.kind, rtype.group_version)


def _wake(collection: Collection) -> None:
    for listener in tuple(collection.listeners):
        listener()


def _with_version(rtype: ResourceType, key: str, rv: int, obj: Json, *, settled: bool = True) -> Revision:
    versioned = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(rv)}}
    return Revision(rtype, key, rv, versioned, settled=settled)
