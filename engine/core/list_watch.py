"""Listing and watching one resource type of one cluster, as a pure state machine.

The loop around it (`watchers/type_watch.py`) asks `request` what to do, does it, and feeds what came back to `step`.

Rules
    An initial list is a WatchList stream, or a paged LIST where the server cannot do that (W-01, W-02, F-32); both are
    quorum reads, so W-08's first try at the last resourceVersion is not needed (W-04). A list is swapped in when it is
    complete (W-01, W-03, W-07), deletions first (W-19); only when it exceeds `FLUSH_BYTES` are its objects published
    early, and contents are UNKNOWN until SYNC_COMPLETED either way. No list or probe may be older than what this epoch
    has seen (W-04, W-17). Bookmarks move the checkpoint and are never objects (W-10). A line that cannot be read is
    never passed over: the watch resumes before it, and after `UNREADABLE_LIMIT` times the type is listed anew (W-25).
    Lost connections and refusals keep the resourceVersion (W-12 to W-15); only an expired one lists anew.
    STARTED, GAP and COMPLETED bracket every time in which a missing row proves nothing.

States
    Empty: nothing is current. Exits: Streaming or Paging (Go).
    Streaming: a WatchList is read. Exits: Watching (end bookmark), Waiting, Empty, Stopped.
    Paging: a LIST is read. Exits: Resuming (last page), Waiting, Empty, Stopped.
    Probing: before a watch is resumed after a restart or any failure, one quorum read checks that the server has not
        gone back in time (W-17). Exits: Vouching, Resuming, Waiting, Empty, Stopped.
    Vouching: the newest known object is asked for, because versions that went back may have caught up since
        (`witness.py`). Exits: Resuming, Waiting, Empty, Stopped.
    Resuming: a watch is being opened at the last resourceVersion. Exits: Watching, Waiting, Empty, Stopped.
    Watching: lines become facts. Exits: Resuming (orderly end), Waiting, Empty, Stopped.
    Waiting: back-off. Exits: the state it waits for (Go), Empty.
    Stopped: the type is no longer served, or the server went back in time. No exit: the cluster's loop decides.

Not here
    Requests, sockets, idle time-outs and truncated lines (`ClusterApi.stream` raises, the loop feeds Lost, W-16); the
    known-set, which the loop keeps by `known.apply`; encoding and publishing; identity and epochs (`epoch.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard, assert_never

import msgspec

from engine.core.backoff import draw, succeeded
from engine.core.known import Change, Key, Known, Seen, apply, listed, observe, replace
from engine.core.watch_failures import (
    broken,
    empty,
    fall_back,
    lost,
    refused,
    relist,
    stream_error,
    wait,
    watch_error,
)
from engine.core.watch_states import (
    Course,
    Empty,
    Ended,
    GetList,
    Go,
    Halt,
    Input,
    Lines,
    Listed,
    Lost,
    Opened,
    OpenWatch,
    Outputs,
    Overdue,
    Paging,
    Pause,
    Probing,
    Refused,
    Resuming,
    Resync,
    Snapshot,
    State,
    Stopped,
    Streaming,
    Sync,
    Trouble,
    Vouching,
    Waiting,
    Wanted,
    Watching,
    WentBack,
)
from engine.core.watch_wire import (
    Item,
    Unreadable,
    decode_bookmark,
    decode_head,
    decode_line,
    decode_page,
    decode_status,
)
from engine.core.witness import call_witness, hear, question
from schemas.facts import SyncType
from schemas.names import ResourceVersion, comparable, newer

PAGE_OBJECTS = 500
"""Objects per page of a LIST: client-go's and kubectl's page size."""
WATCH_SECONDS = 300.0
"""A watch asks to be closed after this to twice this, at random, so that watches move between API servers (W-09)."""
IDLE_SECONDS = 150.0
"""Bookmarks come each minute: two and a half without a byte mean a half-open connection (W-16)."""
STREAM_SECONDS = 120.0
"""Initial events that have not ended by then never will, or come faster in pages (F-32)."""
FLUSH_BYTES = 32 * 1024 * 1024
"""A list's bodies held in memory before they are published early."""
SHORT_WATCH_SECONDS = 1.0
"""A watch that ended sooner without a line has failed (W-15)."""
UNREADABLE_LIMIT = 3
"""Tries at an unreadable line before the type is listed anew (W-25)."""
MARK_SECONDS = 50.0
"""Least time between two published bookmarks of a type: about one a minute, as the server sends them."""


class IllegalInput(ValueError):
    """Raised when an input cannot occur in a state; the state is unchanged."""


def begin(course: Course) -> State:
    """Return the first state: resume at `course.version` if there is one, else list."""
    return Probing(course) if course.version else empty(course)


def request(state: State) -> Wanted:
    """Return what the loop has to do in a state."""
    match state:
        case Empty():
            return Pause(0.0)
        case Waiting(until=until):
            return Pause(until)
        case Streaming(course=course):
            initial = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
            return OpenWatch(_watch_params(course) | initial, IDLE_SECONDS, STREAM_SECONDS)
        case Paging(next=token, whole=whole):
            limit = {} if whole else {"limit": str(PAGE_OBJECTS)}
            return GetList(limit | ({"continue": token} if token else {}))  # no resourceVersion: W-04, W-06
        case Probing():
            return GetList({"limit": "1"}, metadata_only=True)
        case Vouching():
            return question(state)
        case Resuming(course=course) | Watching(course=course):
            return OpenWatch(_watch_params(course) | {"resourceVersion": course.version}, IDLE_SECONDS)
        case Stopped(reason=reason):
            return Halt(reason)
        case _:
            assert_never(state)


def step(state: State, given: Input, known: Known) -> tuple[State, Outputs]:
    """Return the next state and what is to be published or told, in order.

    Args:
        state: where the watch stands.
        given: what happened.
        known: what the log holds, all earlier outputs applied; only read.

    Raises:
        IllegalInput: when the input cannot occur in this state.

    """
    match given:
        case Resync() if not isinstance(state, Stopped):
            return _resync(state, given)
        case Lost() if isinstance(state, Streaming | Paging | Probing | Vouching | Resuming | Watching):
            return lost(state, given)
        case Refused() if isinstance(state, Paging | Probing | Vouching | Resuming) or _unopened(state):
            status = _replace(decode_status(given.body, given.status), code=given.status)
            return refused(state, given.now, status, given.retry_after)
        case Go() if isinstance(state, Empty):
            return _start(state)
        case Go() if isinstance(state, Waiting):
            return state.then, []
        case _:
            return _answered(state, given, known)


def _answered(state: State, given: Input, known: Known) -> tuple[State, Outputs]:
    match state, given:
        case (Streaming(opened_at=None), Opened()):
            return _replace(state, opened_at=given.now), []
        case (Resuming(course=course), Opened()):
            return _opened(course, given.now)
        case (Paging() | Probing() | Vouching(), Listed()):
            return _list(state, given, known)
        case (Watching(), Lines()):
            return _follow(state, given, known)
        case (Streaming(opened_at=float()), Lines()):
            return _stream(state, given, known)
        case (Streaming(opened_at=float()), Overdue()):
            return fall_back(state, f"initial events had not ended after {STREAM_SECONDS:.0f} s")
        case (Watching() | Streaming(opened_at=float()), Ended()):
            return _ended(state, given)
        case _:
            message = f"{type(given).__name__} cannot occur in {type(state).__name__}"
            raise IllegalInput(message)


def _unopened(state: State) -> TypeGuard[Streaming]:
    return isinstance(state, Streaming) and state.opened_at is None


def _start(state: Empty) -> tuple[State, Outputs]:
    course, snapshot = state.course, Snapshot(state.sync, state.heal)
    said: Outputs = [] if state.announced else [Sync(SyncType.STARTED, course.version, state.sync)]
    if course.watch_list and not state.whole:
        return Streaming(course, snapshot), said
    return Paging(course, snapshot, whole=state.whole), said


def _resync(state: State, given: Resync) -> tuple[State, Outputs]:
    healing = given.heal
    match state:
        case Empty(heal=True) | Waiting(then=Empty(heal=True)):
            healing = True
        case Streaming(snapshot=snapshot) | Paging(snapshot=snapshot):
            healing = healing or snapshot.heal
        case _:
            pass
    return relist(state.course, given.reason, heal=healing)


def _stream(state: Streaming, given: Lines, known: Known) -> tuple[State, Outputs]:
    course = state.course
    items: list[Item] = []
    for index, line in enumerate(given.lines):
        try:
            event = decode_line(line)
            if event.type == "ERROR":
                return stream_error(state, decode_status(event.object), given.now)
            if event.type == "BOOKMARK":
                version, ends = decode_bookmark(event.object)
                if ends:
                    snapshot, said = _add(state.snapshot, items, known)
                    rest = given.lines[index + 1 :]
                    return _streamed(_replace(state, snapshot=snapshot), said, version, rest, given.now, known)
                continue
            items.append(_item(event.type, event.object, course.kind))
        except Unreadable as error:
            return wait(state, given.now), [Trouble("Unreadable", str(error))]
    snapshot, said = _add(state.snapshot, items, known)
    return _replace(state, snapshot=snapshot), said


def _streamed(
    state: Streaming, said: Outputs, version: ResourceVersion, rest: list[bytes], now: float, known: Known
) -> tuple[State, Outputs]:
    course, completed = _complete(state.course, state.snapshot, version, now, known)
    if course is None:
        return Stopped(state.course, "Restored"), [*said, *completed]
    watching = Watching(course, now, 1)
    if not rest:
        return watching, [*said, *completed]
    fresh = dict(known)
    apply((output for output in completed if isinstance(output, Change)), fresh)
    after, more = _follow(watching, Lines(now, rest), fresh)
    return after, [*said, *completed, *more]


def _list(state: Paging | Probing | Vouching, given: Listed, known: Known) -> tuple[State, Outputs]:
    try:
        page = decode_page(given.body, state.course.kind if isinstance(state, Paging) else "")
    except Unreadable as error:
        return wait(state, given.now), [Trouble("Unreadable", str(error))]
    if isinstance(state, Vouching):
        return hear(state, page)
    if _older(page.version, state.course.version):
        return Stopped(state.course, "Restored"), [WentBack(state.course.version, page.version)]
    if isinstance(state, Probing):
        return call_witness(state.course, known), []
    if not page.version or (state.version and page.version != state.version):
        return wait(state, given.now), [Trouble("Inconsistent", "the pages of a list differ in resourceVersion")]
    snapshot, said = _add(state.snapshot, page.items, known)
    if page.next:
        return Paging(state.course, snapshot, page.version, page.next, state.whole), said
    course, completed = _complete(state.course, snapshot, page.version, given.now, known)
    if course is None:
        return Stopped(state.course, "Restored"), [*said, *completed]
    return Resuming(course), [*said, *completed]


def _add(snapshot: Snapshot, items: Sequence[Item], known: Known) -> tuple[Snapshot, Outputs]:
    """Add shown objects to a list under way; bodies that the log holds are let go, and all of them beyond a limit."""
    kept = tuple(items) if snapshot.heal else tuple(_unless_known(item, known) for item in items)
    size = snapshot.bytes + sum(len(bytes(item.object)) for item in kept if item.object is not None)
    chunks = (*snapshot.chunks, kept)
    if size <= FLUSH_BYTES:
        return _replace(snapshot, chunks=chunks, bytes=size), []
    shown = {(item.namespace, item.name): item for chunk in chunks for item in chunk}
    said: Outputs = list(listed(shown.values(), known, snapshot.sync if snapshot.heal else ""))
    bare = tuple(item if item.deleted else _replace(item, object=None) for item in shown.values())
    return _replace(snapshot, chunks=(bare,), bytes=0), said


def _unless_known(item: Item, known: Known) -> Item:
    seen = known.get((item.namespace, item.name))
    same = seen is not None and not seen.old and seen.uid == item.uid and seen.version == item.version
    return _replace(item, object=None) if same else item


def _complete(
    course: Course, snapshot: Snapshot, version: ResourceVersion, now: float, known: Known
) -> tuple[Course | None, Outputs]:
    if _older(version, course.version):
        return None, [WentBack(course.version, version)]
    items = [item for chunk in snapshot.chunks for item in chunk]
    for item in items:
        seen = known.get((item.namespace, item.name))
        if (
            seen is not None
            and not seen.old
            and seen.uid == item.uid
            and _older(item.version, ResourceVersion(seen.version))
        ):
            return None, [WentBack(ResourceVersion(seen.version), item.version)]
    changes, count = replace(items, known, snapshot.sync if snapshot.heal else "")
    course = _replace(
        course,
        version=version,
        backoff=succeeded(course.backoff, now),
        broken_streams=0,
        unreadable=0,
        gap="",
        marked=version,
        marked_at=now,
    )
    return course, [*changes, Sync(SyncType.COMPLETED, version, snapshot.sync, objects=count)]


def _opened(course: Course, now: float) -> tuple[State, Outputs]:
    return Watching(_replace(course, backoff=succeeded(course.backoff, now)), now), []


def _follow(state: Watching, given: Lines, known: Known) -> tuple[State, Outputs]:
    """Turn lines into facts; the one hot path. `fresh` overlays what this batch changes, None for a deletion."""
    course, said = state.course, Outputs()
    version, bookmark = course.version, False
    fresh: dict[Key, Seen | None] = {}
    for line in given.lines:
        try:
            event = decode_line(line)
            if event.type == "BOOKMARK":
                passed, _ = decode_bookmark(event.object)
                bookmark = True
            elif event.type == "ERROR":
                return watch_error(_advance(course, version, given.now), said, decode_status(event.object), given.now)
            else:
                item = _item(event.type, event.object, course.kind)
                key = (item.namespace, item.name)
                seen = fresh[key] if key in fresh else known.get(key)
                replayed = item.deleted and seen is None and not newer(item.version, version)
                if not replayed and (changes := observe(item, seen)):
                    said.extend(changes)
                    fresh[key] = None if item.deleted else Seen(item.uid, item.version)
                passed = item.version
        except Unreadable as error:
            return _unreadable(course, version, said, str(error), given.now)
        if newer(passed, version):
            version = passed
    course = _advance(course, version, given.now)
    if bookmark and (course.gap or (version != course.marked and given.now - course.marked_at >= MARK_SECONDS)):
        said.append(Sync(SyncType.BOOKMARK, version, reason=course.gap))
        course = _replace(course, gap="", marked=version, marked_at=given.now)
    return Watching(course, state.opened_at, state.lines + len(given.lines)), said


def _advance(course: Course, version: ResourceVersion, now: float) -> Course:
    unreadable = course.unreadable if version == course.version else 0
    return _replace(course, version=version, backoff=succeeded(course.backoff, now), unreadable=unreadable)


def _item(watch_type: str, raw: msgspec.Raw, kind: str) -> Item:
    if watch_type not in ("ADDED", "MODIFIED", "DELETED"):
        message = f"watch event of type {watch_type[:32]!r}"
        raise Unreadable(message)
    meta = decode_head(raw, kind)
    version = ResourceVersion(meta.resourceVersion)  # of a deletion: the deletion's own (W-18)
    return Item(meta.namespace, meta.name, meta.uid, version, raw, watch_type == "DELETED")


def _unreadable(course: Course, version: ResourceVersion, said: Outputs, why: str, now: float) -> tuple[State, Outputs]:
    course = _advance(course, version, now)
    course = _replace(course, unreadable=course.unreadable + 1)
    said.append(Trouble("Unreadable", why))
    if course.unreadable < UNREADABLE_LIMIT:
        return wait(Resuming(course), now), said
    anew, gap = relist(course, "Unreadable")
    return wait(anew, now), said + gap


def _ended(state: Watching | Streaming, given: Ended) -> tuple[State, Outputs]:
    if isinstance(state, Streaming):
        return broken(state, given.now, "the server closed the watch")
    course = _replace(state.course, backoff=succeeded(state.course.backoff, given.now))
    if state.lines == 0 and given.now - state.opened_at < SHORT_WATCH_SECONDS:
        return wait(Resuming(course), given.now), [Trouble("WatchTooShort", "closed at once, without an event")]
    return Resuming(course), []


def _older(shown: ResourceVersion, last: ResourceVersion) -> bool:
    return comparable(shown) and comparable(last) and newer(last, shown)


def _watch_params(course: Course) -> dict[str, str]:
    seconds = WATCH_SECONDS * (1.0 + draw(course.seed, course.count))
    return {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": f"{seconds:.0f}"}


_replace = msgspec.structs.replace
