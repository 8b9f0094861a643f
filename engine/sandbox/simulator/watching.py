"""One watch: the changes of a type since a version, as the events that one client asked for.

In: a collection's history, a namespace and selectors. Out: events in order, each encoded once for all watchers that see
it the same way. A subscription holds its place in the history, not a queue of its own: a write costs nothing per watcher
but a wake-up. How long a watch lasts, when bookmarks are due and how lines go out is the HTTP layer's work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from engine.sandbox.simulator.decoding import zero
from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.store import Change, Collection, Json, Revision

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
Matcher = Callable[[Json], bool]
Convert = Callable[[ResourceType, Json], Json]

_encode = msgspec.json.Encoder().encode
_PREFIXES = {
    one: f'{{"type":"{one}","object":'.encode() for one in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR")
}


class WatchEvent:
    """One event of a watch.

    Attributes:
        type: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR.
        object: the object, the bookmark or the Status; shared with the store: do not change it.
        revision: the stored state behind `object`; None: bookmarks and errors.

    """

    __slots__ = ("_line", "object", "revision", "type")

    def __init__(self, kind: EventType, obj: Json, revision: Revision | None = None) -> None:
        self.type = kind
        self.object = obj
        self.revision = revision
        self._line: bytes | None = None

    def line(self) -> bytes:
        """Return the event as one line of a watch stream, with its newline."""
        if self._line is None:
            body = self.revision.encoded if self.revision else _encode(self.object)
            self._line = b"".join((_PREFIXES[self.type], body, b"}\n"))
        return self._line


class Subscription:
    """A watch under way. Take events until `ended` is set and nothing is pending; then close it.

    Made by `SimulatedCluster.watch`.

    Attributes:
        initial: events to send before those that `take` gives: the current objects, a bookmark that ends them, or one ERROR.
        ended: no further events will come: the watch has fallen behind the history, its type is gone, or the cluster was
            restored. What a real server does then is close the stream.

    """

    def __init__(
        self,
        collection: Collection,
        rtype: ResourceType,
        *,
        after: int,
        position: int,
        convert: Convert,
        namespace: str = "",
        matches: Matcher | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.initial: deque[WatchEvent] = deque()
        self.ended = False
        self._collection = collection
        self._rtype = rtype
        self._after = after
        self._position = position
        self._term = collection.watch_term
        self._convert = convert
        self._prefix = f"{namespace}/" if namespace else ""
        self._matches = matches
        self._on_change = on_change
        if on_change is not None:
            collection.listeners.add(on_change)

    @property
    def pending(self) -> bool:
        """Whether `take` has something to do, be it only to find that the watch has ended."""
        collection = self._collection
        return not self.ended and (self._position != collection.end or self._term != collection.watch_term)

    def take(self, most: int = 1000) -> list[WatchEvent]:
        """Return the next events, of up to `most` changes; none may match."""
        collection = self._collection
        if self._term != collection.watch_term:
            most = min(most, collection.watch_end - self._position)
        changes = None if self.ended or most <= 0 else collection.since(self._position, most)
        if changes is None:
            self.ended = True
            return []
        self._position += len(changes)
        return self._events(changes)

    def bookmark(self, rv: int) -> WatchEvent:
        """Return a bookmark; send it only when nothing is pending.

        Args:
            rv: resourceVersion up to which the client has seen everything: the cluster's, when nothing is pending.

        """
        return bookmark(self._rtype, rv)

    def close(self) -> None:
        """Stop watching."""
        self.ended = True
        if self._on_change is not None:
            self._collection.listeners.discard(self._on_change)

    def _events(self, changes: Sequence[Change]) -> list[WatchEvent]:
        events = []
        for change in changes:
            if change.rv <= self._after or not change.current.key.startswith(self._prefix):
                continue
            if self._matches is None:
                events.append(self._shared(change, change.type, change.current))
            elif event := self._selected(change, self._matches):
                events.append(event)
        return events

    def _selected(self, change: Change, matches: Matcher) -> WatchEvent | None:
        """Return what a selector makes of a change: an object may enter and leave what it selects."""
        previous = change.previous
        was = previous is not None and matches(self._view(previous).object)
        if change.type != "DELETED" and matches(self._view(change.current).object):
            return self._shared(change, "MODIFIED" if was else "ADDED", change.current)
        return self._shared(change, "DELETED", change.departed) if was else None

    def _shared(self, change: Change, kind: Literal["ADDED", "MODIFIED", "DELETED"], state: Revision) -> WatchEvent:
        if state.rtype is not self._rtype:
            state = self._view(state)
            return WatchEvent(kind, state.object, state)
        event = change.events.get(kind)
        if event is None:
            event = change.events[kind] = WatchEvent(kind, state.object, state)
        return event

    def _view(self, state: Revision) -> Revision:
        return state.view(self._rtype, self._convert)


def bookmark(rtype: ResourceType, rv: int, *, initial_events_end: bool = False) -> WatchEvent:
    """Return a bookmark of a type; `initial_events_end` marks the one that ends a WatchList's initial events."""
    metadata: Json = {"resourceVersion": str(rv)}
    if initial_events_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    empty = {} if rtype.custom else zero(rtype.schema)
    head = {"kind": rtype.kind, "apiVersion": rtype.group_version}
    return WatchEvent("BOOKMARK", {**empty, **head, "metadata": metadata})


def failure(error: ApiError) -> WatchEvent:
    """Return the event with which a stream that has begun tells of an error."""
    return WatchEvent("ERROR", error.status())
