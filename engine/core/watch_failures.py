"""What refusals and losses do to the list-watch machine: wait, resume, list anew, or stop (W-03, W-07, W-12 to W-15).

A failure never says anything about objects. It keeps the checkpoint unless the server has forgotten that.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from engine.core.backoff import draw, failed
from engine.core.watch_states import (
    Course,
    Empty,
    Lost,
    Outputs,
    Paging,
    Probing,
    Resuming,
    State,
    Stopped,
    Streaming,
    Sync,
    Trouble,
    Vouching,
    Waiting,
    Watching,
    WentBack,
)
from engine.core.watch_wire import Status
from schemas.facts import SyncType
from schemas.names import ResourceVersion

STREAM_TRIES = 2
"""WatchLists that broke off before their end, after which LIST is used."""


def empty(course: Course, *, heal: bool = False) -> Empty:
    """Return the state before a list, with a sync identifier that no other list of any run has."""
    sync = f"{course.run}-{course.count}"
    return Empty(_replace(course, count=course.count + 1), sync, heal)


def relist(course: Course, reason: str, *, heal: bool = False) -> tuple[Empty, Outputs]:
    """Give up the checkpoint: contents are UNKNOWN until the next list completes."""
    anew = empty(_replace(course, gap=reason, unreadable=0), heal=heal)
    return anew, [Sync(SyncType.GAP, course.version, anew.sync, reason)]


def lost(state: Streaming | Paging | Probing | Vouching | Resuming | Watching, given: Lost) -> tuple[State, Outputs]:
    """Wait and try again from where `again` says; refused connections do not list anew (W-14)."""
    if isinstance(state, Streaming) and state.opened_at is not None:
        return broken(state, given.now, given.message)
    return wait(state, given.now), [Trouble("Unreachable", given.message)]


def refused(
    state: Streaming | Paging | Probing | Vouching | Resuming, now: float, status: Status, retry_after: float
) -> tuple[State, Outputs]:
    """Handle an HTTP error (W-13)."""
    code = status.code
    said: Outputs = [Trouble(_reason(status), f"{code} {status.message}")]
    if code in (401, 403):
        return _denied(state, now, status, said)
    if code == 404:
        course = _replace(state.course, gap="TypeGone")
        said.append(Sync(SyncType.GAP, course.version, f"{course.run}-{course.count}", "TypeGone"))
        return Stopped(course, "TypeGone"), said
    if isinstance(state, Paging) and status.expired and state.next:
        # Never the token that comes with the refusal: it continues with another snapshot (W-07).
        return _replace(again(state), whole=True), said
    if isinstance(state, Resuming) and (status.expired or status.too_large):
        return _expire(state.course, said, status, now)
    if isinstance(state, Vouching) and status.too_large:
        version = ResourceVersion(state.seen.version)
        return Stopped(state.course, "Restored"), [*said, WentBack(version, ResourceVersion(""))]
    if (
        code in (408, 429)
        or code >= 500
        or isinstance(state, Paging)
        or (isinstance(state, Streaming) and status.expired)
    ):
        if isinstance(state, Streaming) and code >= 500:
            state = _replace(state, course=_replace(state.course, broken_streams=state.course.broken_streams + 1))
            if state.course.broken_streams > STREAM_TRIES:
                return fall_back(state, f"{code} {status.message}")
        return wait(state, now, retry_after), said
    if isinstance(state, Streaming):
        return fall_back(state, f"{code} {status.message}")  # W-02
    if isinstance(state, Probing | Vouching):
        return Resuming(state.course), said
    anew, gap = relist(state.course, _reason(status))
    return wait(anew, now), said + gap


def watch_error(course: Course, said: Outputs, status: Status, now: float) -> tuple[State, Outputs]:
    """Handle an ERROR line of an open watch (W-12)."""
    said.append(Trouble(status.reason or "WatchFailed", f"{status.code} {status.message}"))
    if not (status.expired or status.too_large or status.reason == "StoreReadError"):
        return wait(Resuming(course), now), said
    return _expire(course, said, status, now)


def stream_error(state: Streaming, status: Status, now: float) -> tuple[State, Outputs]:
    """Handle an ERROR line before the initial events have ended: LIST instead unless only this try failed (W-02)."""
    if status.expired or status.too_large or status.code == 429:
        return wait(state, now), [Trouble(status.reason or "WatchListFailed", status.message)]
    return fall_back(state, f"{status.code} {status.message}")


def broken(state: Streaming, now: float, why: str) -> tuple[State, Outputs]:
    """Throw a WatchList away that broke off before its end (W-03)."""
    broken = state.course.broken_streams + 1
    state = _replace(state, course=_replace(state.course, broken_streams=broken))
    if broken >= STREAM_TRIES:
        return fall_back(state, f"broke off {broken} times before the initial events ended: {why}")
    return wait(state, now), [Trouble("WatchListBroken", why)]


def fall_back(state: Streaming, why: str) -> tuple[State, Outputs]:
    """Use paged LISTs from now on, at once and for the life of this watch (W-02)."""
    course = _replace(state.course, watch_list=False)
    return _replace(again(state), course=course), [Trouble("WatchListUnavailable", why)]


def wait(
    state: Empty | Streaming | Paging | Probing | Vouching | Resuming | Watching, now: float, retry_after: float = 0.0
) -> Waiting:
    """Return the back-off after a failure of `state`; `retry_after` seconds are obeyed at least."""
    course = state.course
    backoff, seconds = failed(course.backoff, now, draw(course.seed, course.count), retry_after)
    course = _replace(course, backoff=backoff, count=course.count + 1)
    return Waiting(course, now + seconds, _replace(again(state), course=course))


def again(state: Empty | Streaming | Paging | Probing | Vouching | Resuming | Watching) -> Empty | Probing:
    """Return where a failed state starts again: a list from its beginning, a watch with the check of its checkpoint.

    Any failure may be the server's restart, and behind any restart may be a restore (W-17).
    """
    match state:
        case Empty():
            return state
        case Streaming(course=course, snapshot=snapshot):
            return Empty(course, snapshot.sync, snapshot.heal, announced=True)
        case Paging(course=course, snapshot=snapshot):
            return Empty(course, snapshot.sync, snapshot.heal, announced=True, whole=state.whole)
        case Probing(course=course) | Vouching(course=course) | Resuming(course=course) | Watching(course=course):
            return Probing(course)
        case _:
            assert_never(state)


def _denied(
    state: Streaming | Paging | Probing | Vouching | Resuming, now: float, status: Status, said: Outputs
) -> tuple[State, Outputs]:
    reason, course = _reason(status), state.course
    # One 401 is a credential being renewed; what is known stays proven until the server insists.
    if course.gap.partition(":")[0] != reason and (status.code == 403 or course.backoff.failures > 0):
        reason = f"{reason}: {status.message}"
        said.append(Sync(SyncType.GAP, course.version, f"{course.run}-{course.count}", reason))
        course = _replace(course, gap=reason, count=course.count + 1)
    return wait(_replace(state, course=course), now), said


def _expire(course: Course, said: Outputs, status: Status, now: float) -> tuple[State, Outputs]:
    reason = "Expired" if status.expired else "TooLarge" if status.too_large else status.reason
    anew, gap = relist(course, reason)
    # The first time is normal after a quiet or disconnected hour; in a storm of them each list costs the server dear.
    pause = course.backoff.failures > 0
    waiting = wait(anew, now)
    return waiting if pause else _replace(waiting, until=now), said + gap


def _reason(status: Status) -> str:
    return {401: "Unauthorized", 403: "Forbidden", 404: "TypeGone", 429: "TooManyRequests"}.get(
        status.code, status.reason or "ServerError"
    )


_replace = msgspec.structs.replace
