"""The words of the list-watch machine: its states, what can happen to it, what it says and what it wants done.

`engine/core/list_watch.py` holds the rules. Every union here is closed: its `match` statements end in `assert_never`.
"""

from __future__ import annotations

import msgspec

from engine.core.backoff import Backoff
from engine.core.known import Change, Key, Seen
from engine.core.watch_wire import Item
from schemas.facts import SyncType
from schemas.names import ResourceVersion

LIST_TIMEOUT_SECONDS = 60.0
"""For one page; API servers answer or give up within 60 s (`--request-timeout`)."""


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
    """About to resume: a quorum read asks whether the server has gone back in time."""

    course: Course


class Vouching(msgspec.Struct, frozen=True):
    """About to resume: the newest object that is known (the witness) shows whether the server has kept that history.

    A restored server's own writes can raise its resourceVersions past what was lost within seconds; then only what
    stands at a resourceVersion tells the histories apart.
    """

    course: Course
    key: Key
    seen: Seen
    exact: bool = False
    """Ask for the state at the witness's own resourceVersion, because the present one does not tell."""


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
    then: Empty | Probing


class Stopped(msgspec.Struct, frozen=True):
    """The end of this watch."""

    course: Course
    reason: str


State = Empty | Streaming | Paging | Probing | Vouching | Resuming | Watching | Waiting | Stopped


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


class Overdue(msgspec.Struct, frozen=True):
    """The initial events have not ended in the time that `OpenWatch.limit` gave them."""

    now: float


class Ended(msgspec.Struct, frozen=True):
    """The server closed a watch in order, or we did to let the broker catch up (W-23)."""

    now: float


class Resync(msgspec.Struct, frozen=True):
    """Someone found that the log lacks facts: list anew, and if `heal` publish everything."""

    now: float
    reason: str
    heal: bool = True


Input = Go | Opened | Lines | Listed | Refused | Lost | Overdue | Ended | Resync


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
    """Empty where what was known is not in the server's history at all."""


Output = Change | Sync | Trouble | WentBack
Outputs = list[Output]


class GetList(msgspec.Struct, frozen=True):
    """Send one list request, feed Listed, Refused or Lost."""

    params: dict[str, str]
    timeout: float = LIST_TIMEOUT_SECONDS
    metadata_only: bool = False
    namespace: str = ""
    """Only of this one; empty: of all, or of a type that has none."""


class OpenWatch(msgspec.Struct, frozen=True):
    """Open a watch, feed Opened and Lines, or Refused; at its end Ended or Lost; Overdue if `limit` asks for it."""

    params: dict[str, str]
    idle_timeout: float
    limit: float = 0.0
    """Seconds after which to feed Overdue if the state is Streaming then; 0: never."""


class Pause(msgspec.Struct, frozen=True):
    """Wait until then (monotonic seconds), feed Go."""

    until: float


class Halt(msgspec.Struct, frozen=True):
    """Nothing more to do."""

    reason: str


Wanted = GetList | OpenWatch | Pause | Halt
