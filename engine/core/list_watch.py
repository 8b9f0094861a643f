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
    Probing: before a watch is resumed after a restart or a lost connection, one quorum read checks that the server has
        not gone back in time (W-17). Exits: Resuming, Waiting, Empty, Stopped.
    Resuming: a watch is being opened at the last resourceVersion. Exits: Watching, Waiting, Empty, Stopped.
    Watching: lines become facts. Exits: Resuming (orderly end), Waiting, Empty, Stopped.
    Waiting: back-off. Exits: the state it waits for (Go), Empty.
    Stopped: the type is no longer served, or the server went back in time. No exit: the cluster's loop decides.

Not here
    Requests, sockets, idle time-outs and truncated lines (`ClusterApi.stream` raises, the loop feeds Lost, W-16); the
    known-set, which the loop keeps by `known.apply`; encoding and publishing; identity and epochs (`epoch.py`).
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from engine.core.backoff import Backoff, draw, failed, succeeded
from engine.core.known import Change, Key, Known, Seen, listed, observe, replace
from engine.core.watch_wire import (
    Item,
    Page,
    Status,
    Unreadable,
    decode_bookmark,
    decode_head,
    decode_line,
    decode_page,
    decode_status,
)
from schemas.facts import SyncType
from schemas.names import ResourceVersion, comparable, newer

PAGE_OBJECTS = 500
"""Objects per page of a LIST: client-go's and kubectl's page size."""
LIST_TIMEOUT_SECONDS = 60.0
"""For one page; API servers answer or give up within 60 s (`--request-timeout`)."""
WATCH_SECONDS = 300.0
"""A watch asks to be closed after this to twice this, at random, so that watches move between API servers (W-09)."""
IDLE_SECONDS = 150.0
"""Bookmarks come each minute: two and a half without a byte mean a half-open connection (W-16)."""
STREAM_IDLE_SECONDS = 30.0
"""The same before the initial events have ended: no server pauses that long between them."""
STREAM_SECONDS = 120.0
"""Initial events that have not ended by then never will (F-32): LIST instead."""
STREAM_TRIES = 2
"""WatchLists that broke off before their end, after which LIST is used."""
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


class Course(msgspec.Struct, frozen=True):
    """What outlives each state of one type's watch."""

    seed: int
    """Of all jitter."""
    run: str
    """Distinguishes the sync identifiers of this run from those of any other."""
    kind: str = ""
    """Kind that objects must be of (W-25); empty: unknown."""
    count: int = 0
    """Steps that drew jitter or named a sync so far."""
    version: ResourceVersion = ResourceVersion("")
    """The checkpoint: everything up to here is among the outputs so far. Never goes back within an epoch."""
    backoff: Backoff = Backoff()
    watch_list: bool = True
    """Whether the server is believed to stream initial events."""
    broken_streams: int = 0
    unreadable: int = 0
    """Tries at the same unreadable line."""
    gap: str = ""
    """Reason of the GAP that stands since the last COMPLETED or BOOKMARK."""
    marked: ResourceVersion = ResourceVersion("")
    """Version of the last published COMPLETED or BOOKMARK."""
    marked_at: float = 0.0


class Snapshot(msgspec.Struct, frozen=True):
    """A list under way."""

    sync: str
    heal: bool = False
    """Publish every object, also those that the log seems to hold (DESIGN §5)."""
    chunks: tuple[tuple[Item, ...], ...] = ()
    bytes: int = 0
    """Of the bodies in `chunks`."""


class Empty(msgspec.Struct, frozen=True):
    """Nothing is current: contents are UNKNOWN until a list completes."""

    course: Course
    sync: str
    heal: bool = False
    announced: bool = False
    """Whether STARTED has been published for `sync`: a retry is the same sync."""
    whole: bool = False
    """LIST without paging: a continue token expired in between (W-07)."""


class Streaming(msgspec.Struct, frozen=True):
    """Initial events of a WatchList are read."""

    course: Course
    snapshot: Snapshot
    opened_at: float | None = None


class Paging(msgspec.Struct, frozen=True):
    """Pages of a LIST are read."""

    course: Course
    snapshot: Snapshot
    version: ResourceVersion = ResourceVersion("")
    """Of the first page; every page must have it (W-06)."""
    next: str = ""
    whole: bool = False


class Probing(msgspec.Struct, frozen=True):
    """About to resume: has the server gone back in time?"""

    course: Course


class Resuming(msgspec.Struct, frozen=True):
    """A watch at `course.version` is being opened."""

    course: Course


class Watching(msgspec.Struct, frozen=True):
    """A watch is open and everything before it is known."""

    course: Course
    opened_at: float
    lines: int = 0


class Waiting(msgspec.Struct, frozen=True):
    """Backing off."""

    course: Course
    until: float
    then: Empty | Probing | Resuming


class Stopped(msgspec.Struct, frozen=True):
    """The end of this watch."""

    course: Course
    reason: str


State = Empty | Streaming | Paging | Probing | Resuming | Watching | Waiting | Stopped


class Go(msgspec.Struct, frozen=True):
    """A wait is over, or there was none."""

    now: float


class Opened(msgspec.Struct, frozen=True):
    """The server answered 200 to a watch."""

    now: float


class Lines(msgspec.Struct, frozen=True):
    """Whole lines of a watch."""

    now: float
    lines: list[bytes]


class Listed(msgspec.Struct, frozen=True):
    """The server answered 200 to a list."""

    now: float
    body: bytes


class Refused(msgspec.Struct, frozen=True):
    """The server answered with another status."""

    now: float
    status: int
    body: bytes = b""
    retry_after: float = 0.0


class Lost(msgspec.Struct, frozen=True):
    """No answer came, or the connection broke, idled or was cut off inside a line."""

    now: float
    message: str = ""


class Ended(msgspec.Struct, frozen=True):
    """The server closed a watch in order, or we did to let the broker catch up (W-23)."""

    now: float


class Resync(msgspec.Struct, frozen=True):
    """Someone found that the log lacks facts: list anew, and if `heal` publish everything."""

    now: float
    reason: str
    heal: bool = True


Input = Go | Opened | Lines | Listed | Refused | Lost | Ended | Resync


class Sync(msgspec.Struct, frozen=True):
    """A sync record to publish."""

    type: SyncType
    version: ResourceVersion = ResourceVersion("")
    sync: str = ""
    reason: str = ""
    objects: int = 0


class Trouble(msgspec.Struct, frozen=True):
    """Something that operators want to know; `reason` is CamelCase, `message` the server's words."""

    reason: str
    message: str = ""


class WentBack(msgspec.Struct, frozen=True):
    """The server is older than what this epoch has seen: a new epoch must begin (W-04, W-17)."""

    last: ResourceVersion
    shown: ResourceVersion


Output = Change | Sync | Trouble | WentBack
Outputs = list[Output]


class GetList(msgspec.Struct, frozen=True):
    """Send one list request, feed Listed, Refused or Lost."""

    params: dict[str, str]
    timeout: float = LIST_TIMEOUT_SECONDS
    metadata_only: bool = False


class OpenWatch(msgspec.Struct, frozen=True):
    """Open a watch, feed Opened and Lines, or Refused; at its end Ended or Lost."""

    params: dict[str, str]
    idle_timeout: float


class Pause(msgspec.Struct, frozen=True):
    """Wait until then (monotonic seconds), feed Go."""

    until: float


class Halt(msgspec.Struct, frozen=True):
    """Nothing more to do."""

    reason: str


Wanted = GetList | OpenWatch | Pause | Halt


def begin(course: Course) -> State:
    """Return the first state: resume at `course.version` if there is one, else list."""
    return Probing(course) if course.version else _empty(course)


def request(state: State) -> Wanted:
    """Return what the loop has to do in a state."""
    match state:
        case Empty():
            return Pause(0.0)
        case Waiting(until=until):
            return Pause(until)
        case Streaming(course=course):
            initial = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
            return OpenWatch(_watch_params(course) | initial, STREAM_IDLE_SECONDS)
        case Paging(next=token, whole=whole):
            limit = {} if whole else {"limit": str(PAGE_OBJECTS)}
            return GetList(limit | ({"continue": token} if token else {}))  # no resourceVersion: W-04, W-06
        case Probing():
            return GetList({"limit": "1"}, metadata_only=True)
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
    match state, given:
        case (Stopped(), _):
            raise _illegal(state, given)
        case (_, Resync()):
            return _resync(state, given)
        case (Empty(), Go()):
            return _start(state)
        case (Waiting(), Go()):
            return state.then, []
        case (Streaming(), Opened()):
            return _replace(state, opened_at=given.now), []
        case (Streaming(opened_at=float()), Lines()):
            return _stream(state, given, known)
        case (Paging() | Probing(), Listed()):
            return _list(state, given, known)
        case (Resuming(course=course), Opened()):
            return _opened(course, given.now)
        case (Watching(), Lines()):
            return _follow(state, given, known)
        case (Watching() | Streaming(opened_at=float()), Ended()):
            return _ended(state, given)
        case (Streaming() | Paging() | Probing() | Resuming() | Watching(), Lost()):
            return _lost(state, given)
        case (Streaming(opened_at=None) | Paging() | Probing() | Resuming(), Refused()):
            status = decode_status(given.body, given.status)
            return _refused(state, given.now, _replace(status, code=given.status), given.retry_after)
        case _:
            raise _illegal(state, given)
