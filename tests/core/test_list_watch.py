"""The transition table of the list-watch machine, one row per (state, input), and the rules that the table cannot show."""

from __future__ import annotations

import inspect
import itertools
import json
from typing import Any, get_args

import msgspec
import pytest

from engine.core import list_watch
from engine.core.known import Change, Key, Seen
from engine.core.list_watch import FLUSH_BYTES, IllegalInput, begin, request, step
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
    Output,
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
    Watching,
    WentBack,
)
from schemas.facts import Cause, FactType, SyncType
from schemas.names import ResourceVersion

NOW = 1000.0


def an_object(name: str, version: int, uid: str = "", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "ns", "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": metadata, **more}


def event(kind: str, name: str, version: int, uid: str = "") -> bytes:
    return json.dumps({"type": kind, "object": an_object(name, version, uid)}).encode()


def bookmark(version: int, *, ends: object = None) -> bytes:
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    if ends is not None:
        metadata["annotations"] = {"k8s.io/initial-events-end": ends}
    return json.dumps({"type": "BOOKMARK", "object": {"kind": "Deployment", "metadata": metadata}}).encode()


def error(code: int, reason: str = "", message: str = "") -> bytes:
    status = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return json.dumps({"type": "ERROR", "object": status}).encode()


def a_page(version: int, *objects: dict[str, Any], more: str = "") -> bytes:
    metadata = {"resourceVersion": str(version), **({"continue": more} if more else {})}
    body = {"kind": "DeploymentList", "apiVersion": "apps/v1", "metadata": metadata, "items": list(objects)}
    return json.dumps(body).encode()


def course(version: int | str = 10, **more: Any) -> Course:
    return Course(seed=1, run="run", kind="Deployment", version=ResourceVersion(str(version)), **more)


SNAPSHOT = Snapshot("run-0")
STATES: dict[str, State] = {
    "Empty": Empty(course(), "run-0"),
    "Streaming, unopened": Streaming(course(), SNAPSHOT),
    "Streaming": Streaming(course(), SNAPSHOT, NOW),
    "Paging": Paging(course(), SNAPSHOT),
    "Probing": Probing(course()),
    "Vouching": Vouching(course(), ("ns", "a"), Seen("uid-a", "8")),
    "Vouching, exact": Vouching(course(), ("ns", "a"), Seen("uid-a", "8"), exact=True),
    "Resuming": Resuming(course()),
    "Watching": Watching(course(), NOW - 60, 1),
    "Waiting": Waiting(course(), NOW + 1, Probing(course())),
    "Stopped": Stopped(course(), "TypeGone"),
}
INPUTS: dict[str, Input] = {
    "Go": Go(NOW),
    "Opened": Opened(NOW),
    "Lines": Lines(NOW, [event("ADDED", "a", 11)]),
    "Lines, end": Lines(NOW, [event("ADDED", "a", 11), bookmark(12, ends="true"), event("ADDED", "b", 13)]),
    "Lines, unreadable": Lines(NOW, [b"{"]),
    "Lines, 410": Lines(NOW, [error(410, "Expired")]),
    "Lines, 429": Lines(NOW, [error(429, "TooManyRequests")]),
    "Lines, 500": Lines(NOW, [error(500, "InternalError")]),
    "Lines, too large": Lines(NOW, [error(504, "Timeout", "Too large resource version: 11, current: 9")]),
    "Lines, corrupt": Lines(NOW, [error(500, "StoreReadError")]),
    "Listed": Listed(NOW, a_page(12)),
    "Listed, more": Listed(NOW, a_page(12, more="token")),
    "Listed, older": Listed(NOW, a_page(9)),
    "Listed, unreadable": Listed(NOW, b'{"kind":"Table"}'),
    "Refused 400": Refused(NOW, 400),
    "Refused 401": Refused(NOW, 401),
    "Refused 403": Refused(NOW, 403),
    "Refused 404": Refused(NOW, 404),
    "Refused 410": Refused(NOW, 410),
    "Refused 422": Refused(NOW, 422),
    "Refused 429": Refused(NOW, 429, b"", 7.0),
    "Refused 503": Refused(NOW, 503, b"", 7.0),
    "Refused 504": Refused(NOW, 504, b'{"message":"Too large resource version: 11, current: 9"}'),
    "Lost": Lost(NOW, "reset"),
    "Overdue": Overdue(NOW),
    "Ended": Ended(NOW),
    "Resync": Resync(NOW, "why"),
}
LINES = [name for name in INPUTS if name.startswith("Lines")]
LISTED = [name for name in INPUTS if name.startswith("Listed")]
REFUSED = [name for name in INPUTS if name.startswith("Refused")]


def row(state: str, *cells: str) -> dict[tuple[str, str], str]:
    """Read `input -> next state` cells; `>` after Waiting names what it waits for."""
    return {(state, given): after for given, _, after in (cell.partition(" -> ") for cell in cells)}


TABLE: dict[tuple[str, str], str] = {
    **row("Empty", "Go -> Streaming", "Resync -> Empty"),
    **row("Waiting", "Go -> Probing", "Resync -> Empty"),
    **row(
        "Streaming, unopened",
        "Opened -> Streaming",
        *(f"{name} -> Waiting>Empty" for name in ("Refused 401", "Refused 403", "Refused 410", "Refused 429")),
        *(f"{name} -> Waiting>Empty" for name in ("Refused 503", "Refused 504", "Lost")),
        *(f"{name} -> Empty" for name in ("Refused 400", "Refused 422", "Resync")),
        "Refused 404 -> Stopped",
    ),
    **row(
        "Streaming",
        "Lines -> Streaming",
        "Lines, end -> Watching",
        *(f"Lines, {name} -> Waiting>Empty" for name in ("unreadable", "410", "429", "too large")),
        *(f"{name} -> Empty" for name in ("Lines, 500", "Lines, corrupt", "Overdue", "Resync")),
        *(f"{name} -> Waiting>Empty" for name in ("Lost", "Ended")),
    ),
    **row(
        "Paging",
        "Listed -> Resuming",
        "Listed, more -> Paging",
        "Listed, older -> Stopped",
        "Listed, unreadable -> Waiting>Empty",
        *(f"{name} -> Waiting>Empty" for name in (*REFUSED, "Lost") if name != "Refused 404"),
        "Refused 404 -> Stopped",
        "Resync -> Empty",
    ),
    **row(
        "Probing",
        "Listed -> Resuming",
        "Listed, more -> Resuming",
        "Listed, older -> Stopped",
        "Listed, unreadable -> Waiting>Probing",
        *(f"Refused {code} -> Waiting>Probing" for code in (401, 403, 429, 503, 504)),
        *(f"Refused {code} -> Resuming" for code in (400, 410, 422)),
        "Refused 404 -> Stopped",
        "Lost -> Waiting>Probing",
        "Resync -> Empty",
    ),
    **row(
        "Vouching",
        *(f"Listed{more} -> Vouching" for more in ("", ", more", ", older")),
        "Listed, unreadable -> Waiting>Probing",
        *(f"Refused {code} -> Waiting>Probing" for code in (401, 403, 429, 503)),
        *(f"Refused {code} -> Resuming" for code in (400, 410, 422)),
        *(f"Refused {code} -> Stopped" for code in (404, 504)),
        "Lost -> Waiting>Probing",
        "Resync -> Empty",
    ),
    **row(
        "Vouching, exact",
        *(f"Listed{more} -> Resuming" for more in ("", ", more", ", older")),  # answered at another version
        "Listed, unreadable -> Waiting>Probing",
        *(f"Refused {code} -> Waiting>Probing" for code in (401, 403, 429, 503)),
        *(f"Refused {code} -> Resuming" for code in (400, 410, 422)),
        *(f"Refused {code} -> Stopped" for code in (404, 504)),
        "Lost -> Waiting>Probing",
        "Resync -> Empty",
    ),
    **row(
        "Resuming",
        "Opened -> Watching",
        *(f"Refused {code} -> Waiting>Probing" for code in (401, 403, 429, 503)),
        *(f"Refused {code} -> Waiting>Empty" for code in (400, 410, 422, 504)),
        "Refused 404 -> Stopped",
        "Lost -> Waiting>Probing",
        "Resync -> Empty",
    ),
    **row(
        "Watching",
        "Lines -> Watching",
        "Lines, end -> Watching",
        *(f"Lines, {name} -> Waiting>Probing" for name in ("unreadable", "429", "500")),
        *(f"Lines, {name} -> Waiting>Empty" for name in ("410", "too large", "corrupt")),
        "Lost -> Waiting>Probing",
        "Ended -> Resuming",
        "Resync -> Empty",
    ),
}


def name_of(state: State) -> str:
    return f"Waiting>{type(state.then).__name__}" if isinstance(state, Waiting) else type(state).__name__


@pytest.mark.parametrize(("state", "given"), list(itertools.product(STATES, INPUTS)))
def test_every_pair_of_state_and_input_does_what_the_table_says(state: str, given: str) -> None:
    before, expected = STATES[state], TABLE.get((state, given))
    if expected is None:
        with pytest.raises(IllegalInput):
            step(before, INPUTS[given], {})
        return
    after, _ = step(before, INPUTS[given], {})
    assert name_of(after) == expected


def test_the_table_covers_the_unions() -> None:
    assert {name.partition(",")[0] for name in STATES} == {state.__name__ for state in get_args(State)}
    assert {type(given) for given in INPUTS.values()} == set(get_args(Input))
    for state in get_args(State):
        assert f"\n    {state.__name__}: " in (inspect.getdoc(list_watch) or "")


def test_each_state_wants_one_thing() -> None:
    wanted = {name: type(request(state)) for name, state in STATES.items()}
    assert wanted == {
        "Empty": Pause,
        "Streaming, unopened": OpenWatch,
        "Streaming": OpenWatch,
        "Paging": GetList,
        "Probing": GetList,
        "Vouching": GetList,
        "Vouching, exact": GetList,
        "Resuming": OpenWatch,
        "Watching": OpenWatch,
        "Waiting": Pause,
        "Stopped": Halt,
    }


def opened(state: State) -> dict[str, str]:
    wanted = request(state)
    assert isinstance(wanted, OpenWatch | GetList)
    return wanted.params


def test_a_watch_list_asks_for_a_consistent_snapshot() -> None:
    params = opened(STATES["Streaming"])
    assert {key: params[key] for key in params if key != "timeoutSeconds"} == {
        "watch": "true",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
    }


def test_a_watch_asks_to_be_closed_after_five_to_ten_minutes_at_random() -> None:
    seconds = [int(opened(Resuming(course(count=count)))["timeoutSeconds"]) for count in range(200)]
    assert min(seconds) >= 300
    assert max(seconds) <= 600
    assert len(set(seconds)) > 100


def test_later_pages_send_nothing_but_limit_and_token() -> None:
    state, _ = step(STATES["Paging"], INPUTS["Listed, more"], {})
    assert opened(state) == {"limit": "500", "continue": "token"}


def test_a_token_that_expires_gives_one_whole_list_and_its_new_token_is_never_used() -> None:
    state, _ = step(STATES["Paging"], INPUTS["Listed, more"], {})
    body = json.dumps({"code": 410, "reason": "Expired", "metadata": {"continue": "inconsistent"}}).encode()
    state, outputs = step(state, Refused(NOW, 410, body), {})
    state, more = step(state, Go(NOW), {})
    assert isinstance(state, Paging)
    assert opened(state) == {}
    assert not [output for output in outputs + more if isinstance(output, Sync)]


def test_pages_of_two_lists_are_never_mixed() -> None:
    state, _ = step(STATES["Paging"], INPUTS["Listed, more"], {})
    state, outputs = step(state, Listed(NOW, a_page(13)), {})
    assert name_of(state) == "Waiting>Empty"
    assert isinstance(outputs[0], Trouble)


def kinds(outputs: list[Output]) -> list[str]:
    return [
        f"{output.type.name} {output.name} {output.cause.value}"
        if isinstance(output, Change)
        else output.type.name
        if isinstance(output, Sync)
        else type(output).__name__
        for output in outputs
    ]


def test_a_snapshot_is_said_only_when_it_is_complete_and_deletions_come_first() -> None:
    known: dict[Key, Seen] = {
        ("ns", "same"): Seen("uid-same", "3"),
        ("ns", "newer"): Seen("uid-newer", "4"),
        ("ns", "gone"): Seen("uid-gone", "5"),
        ("ns", "again"): Seen("uid-first", "6"),
    }
    lines = [event("ADDED", name, version) for name, version in [("new", 7), ("same", 3), ("newer", 8), ("again", 9)]]
    state, outputs = step(STATES["Streaming"], Lines(NOW, lines), known)
    assert outputs == []
    state, outputs = step(state, Lines(NOW, [bookmark(12, ends="true")]), known)
    assert kinds(outputs) == [
        "DELETED gone inferred",
        "DELETED again inferred",
        "ADDED new listed",
        "UPDATED newer listed",
        "ADDED again listed",
        "COMPLETED",
    ]
    assert outputs[-1] == Sync(SyncType.COMPLETED, ResourceVersion("12"), "run-0", objects=4)
    assert isinstance(state, Watching)
    assert state.course.version == "12"


@pytest.mark.parametrize("ends", [None, "false", "True", ""])
def test_a_bookmark_without_the_exact_annotation_ends_nothing(ends: str | None) -> None:
    state, outputs = step(STATES["Streaming"], Lines(NOW, [event("ADDED", "a", 11), bookmark(12, ends=ends)]), {})
    assert isinstance(state, Streaming)
    assert outputs == []


def test_a_stream_that_breaks_off_says_nothing_and_begins_again_then_pages() -> None:
    state, _ = step(STATES["Streaming"], Lines(NOW, [event("ADDED", "a", 11)]), {})
    state, outputs = step(state, Ended(NOW), {})
    assert kinds(outputs) == ["Trouble"]
    state, outputs = step(state, Go(NOW), {})
    state, outputs = step(state, Go(NOW), {})
    assert (type(state), outputs) == (Streaming, [])  # STARTED was said
    state, _ = step(state, Opened(NOW), {})
    state, _ = step(state, Lost(NOW), {})
    state, _ = step(state, Go(NOW), {})
    assert isinstance(state, Paging)
    state, outputs = step(state, Listed(NOW, a_page(12)), {})
    assert kinds(outputs) == ["COMPLETED"]


def test_a_list_larger_than_memory_is_said_in_parts_and_completes_once() -> None:
    text = "x" * (FLUSH_BYTES // 3)
    state: State = STATES["Paging"]
    known: dict[Key, Seen] = {("ns", "gone"): Seen("u", "1")}
    said: list[Output] = []
    for number in range(6):
        page = a_page(50, an_object(f"n{number}", 20 + number, text=text), more="" if number == 5 else "t")
        state, outputs = step(state, Listed(NOW, page), known)
        for output in outputs:
            if isinstance(output, Change) and output.type is not FactType.DELETED:
                known["ns", output.name] = Seen(output.uid, output.version)
        said += outputs
    words = kinds(said)
    assert sorted(word for word in words if word.startswith("ADDED")) == [f"ADDED n{n} listed" for n in range(6)]
    assert words[-1] == "COMPLETED"
    assert "DELETED gone inferred" in words
    assert isinstance(said[-1], Sync)
    assert said[-1].objects == 6


def test_a_server_that_went_back_in_time_stops_the_watch() -> None:
    for state, given in [
        (STATES["Probing"], Listed(NOW, a_page(9))),
        (STATES["Paging"], Listed(NOW, a_page(9))),
        (STATES["Streaming"], Lines(NOW, [bookmark(9, ends="true")])),
    ]:
        after, outputs = step(state, given, {})
        assert isinstance(after, Stopped)
        assert outputs == [WentBack(ResourceVersion("10"), ResourceVersion("9"))]


def vouched(known: dict[Key, Seen], *answers: bytes) -> tuple[State, list[Output]]:
    """Probe and ask the witness until it has told."""
    state, outputs = step(Probing(course(30)), Listed(NOW, a_page(40)), known)
    for answer in answers:
        assert isinstance(state, Vouching)
        state, outputs = step(state, Listed(NOW, answer), known)
    return state, outputs


KNOWN: dict[Key, Seen] = {
    ("ns", "old"): Seen("uid-old", "99", old=True),
    ("ns", "a"): Seen("uid-a", "8"),
    ("ns", "b"): Seen("uid-b", "20"),
}


def test_the_newest_object_of_this_epoch_is_asked_for_as_a_list_first_now_and_then_at_its_own_version() -> None:
    now, _ = vouched(KNOWN)
    assert request(now) == GetList(
        {"fieldSelector": "metadata.name=b", "limit": "1"}, metadata_only=True, namespace="ns"
    )
    then, _ = vouched(KNOWN, a_page(40))
    exact = {"fieldSelector": "metadata.name=b", "resourceVersion": "20", "resourceVersionMatch": "Exact"}
    assert request(then) == GetList(exact, metadata_only=True, namespace="ns")


def test_a_watch_resumes_where_the_witness_stands_as_it_is_known_now_or_then() -> None:
    for answers in (
        [a_page(40, an_object("b", 20))],
        [a_page(40, an_object("b", 35)), a_page(20, an_object("b", 20))],
        [a_page(40), a_page(20, an_object("b", 20))],
        [a_page(40, an_object("b", 35, "second")), a_page(20, an_object("b", 20))],
    ):
        assert vouched(KNOWN, *answers) == (Resuming(course(30)), [])


def test_a_history_without_the_witness_is_another_one_though_its_versions_are_higher() -> None:
    older = vouched(KNOWN, a_page(40, an_object("b", 15)))
    assert older == (Stopped(course(30), "Restored"), [WentBack(ResourceVersion("20"), ResourceVersion("15"))])
    lost = Stopped(course(30), "Restored"), [WentBack(ResourceVersion("20"), ResourceVersion(""))]
    for answers in (
        [a_page(40), a_page(20)],  # it was created after the snapshot
        [a_page(40, an_object("b", 35)), a_page(20, an_object("b", 20, "other"))],
        [a_page(40, an_object("b", 35, "second")), a_page(20)],
    ):
        assert vouched(KNOWN, *answers) == lost
    changed = vouched(KNOWN, a_page(40, an_object("b", 35)), a_page(20, an_object("b", 15)))  # before and since
    assert changed == older


def test_a_server_that_does_not_keep_to_the_question_is_no_witness_of_a_restore() -> None:
    for answers in (
        [a_page(40, an_object("a", 8))],  # ignores the selector
        [a_page(40), a_page(40)],  # ignores the version
    ):
        assert vouched(KNOWN, *answers) == (Resuming(course(30)), [])
    compacted = step(vouched(KNOWN, a_page(40))[0], Refused(NOW, 410), KNOWN)[0]
    assert isinstance(compacted, Resuming)


def test_a_list_that_shows_an_object_older_than_it_is_known_is_of_a_restored_server() -> None:
    known: dict[Key, Seen] = {("ns", "a"): Seen("uid-a", "8")}
    after, outputs = step(STATES["Paging"], Listed(NOW, a_page(12, an_object("a", 7))), known)
    assert (name_of(after), outputs) == ("Stopped", [WentBack(ResourceVersion("8"), ResourceVersion("7"))])
    recreated = an_object("a", 7, "second")
    assert name_of(step(STATES["Paging"], Listed(NOW, a_page(12, recreated)), known)[0]) == "Resuming"


def test_versions_that_do_not_compare_are_never_older() -> None:
    after, _ = step(Probing(course("x/7")), Listed(NOW, a_page(9)), {})
    assert isinstance(after, Resuming)


def test_events_become_facts_and_duplicates_none() -> None:
    known: dict[Key, Seen] = {("ns", "a"): Seen("uid-a", "8")}
    lines = [
        event("MODIFIED", "a", 8),
        event("MODIFIED", "a", 11),
        event("ADDED", "b", 12),
        event("MODIFIED", "b", 12),
        event("DELETED", "b", 13),
        event("ADDED", "b", 14, uid="second"),
        event("MODIFIED", "a", 15, uid="other"),
        event("DELETED", "unknown", 16),
    ]
    state, outputs = step(STATES["Watching"], Lines(NOW, lines), known)
    assert kinds(outputs) == [
        "UPDATED a observed",
        "ADDED b observed",
        "DELETED b observed",
        "ADDED b observed",
        "DELETED a inferred",
        "ADDED a observed",
        "DELETED unknown observed",
    ]
    assert state.course.version == "16"


def test_a_deletion_has_the_version_that_it_was_deleted_at() -> None:
    _, outputs = step(STATES["Watching"], Lines(NOW, [event("DELETED", "a", 21)]), {("ns", "a"): Seen("uid-a", "8")})
    assert isinstance(outputs[0], Change)
    assert (outputs[0].version, outputs[0].cause, outputs[0].object is None) == ("21", Cause.OBSERVED, False)


def test_an_unreadable_line_is_retried_three_times_from_before_it_and_then_listed() -> None:
    state: State = STATES["Watching"]
    for attempt in range(3):
        good = [event("ADDED", "a", 11)] if attempt == 0 else []
        state, outputs = step(state, Lines(NOW, [*good, b'{"type":"ADDED"', event("ADDED", "c", 30)]), {})
        assert state.course.version == "11"
        assert not any(isinstance(output, Change) and output.name == "c" for output in outputs)
        if attempt < 2:
            state, _ = step(state, Go(NOW), {})
            state, _ = step(state, Listed(NOW, a_page(11)), {})
            state, _ = step(state, Opened(NOW), {})
    assert name_of(state) == "Waiting>Empty"
    assert kinds(outputs)[-1] == "GAP"


def test_bookmarks_move_the_checkpoint_and_are_said_only_when_due() -> None:
    watching = Watching(course(marked=ResourceVersion("10"), marked_at=NOW), NOW)
    state, outputs = step(watching, Lines(NOW + 10, [bookmark(20)]), {})
    assert (state.course.version, outputs) == ("20", [])
    state, outputs = step(state, Lines(NOW + 60, [bookmark(20)]), {})
    assert outputs == [Sync(SyncType.BOOKMARK, ResourceVersion("20"))]
    state, outputs = step(state, Lines(NOW + 600, [bookmark(20)]), {})
    assert outputs == []
    state, outputs = step(state, Lines(NOW + 700, [bookmark(15)]), {})
    assert (state.course.version, outputs) == ("20", [])


def test_a_gap_is_said_once_and_ends_with_a_bookmark() -> None:
    state: State = STATES["Probing"]
    said = []
    for _ in range(3):
        state, outputs = step(state, Refused(NOW, 403, b'{"message":"no"}'), {})
        said += [output for output in outputs if isinstance(output, Sync)]
        state, _ = step(state, Go(NOW), {})
    assert [(sync.type, sync.reason) for sync in said] == [(SyncType.GAP, "Forbidden: no")]
    state, _ = step(state, Listed(NOW, a_page(10)), {})
    state, outputs = step(state, Opened(NOW), {})
    assert outputs == []
    state, outputs = step(state, Lines(NOW, [event("ADDED", "a", 11)]), {})
    assert kinds(outputs) == ["ADDED a observed"]
    state, outputs = step(state, Lines(NOW, [bookmark(11)]), {})
    assert outputs == [Sync(SyncType.BOOKMARK, ResourceVersion("11"), reason="Forbidden: no")]
    state, outputs = step(state, Lines(NOW + 600, [bookmark(12)]), {})
    assert outputs == [Sync(SyncType.BOOKMARK, ResourceVersion("12"))]


def test_a_server_that_asks_for_time_gets_at_least_that() -> None:
    for status in (429, 503):
        state, _ = step(STATES["Resuming"], Refused(NOW, status, b"", 17.0), {})
        assert isinstance(state, Waiting)
        assert state.until >= NOW + 17.0


def test_an_expired_watch_lists_at_once_the_first_time_and_waits_the_next() -> None:
    waits = []
    state: State = STATES["Watching"]
    for _ in range(4):
        state, _ = step(state, Lines(NOW, [error(410, "Expired")]), {})
        assert isinstance(state, Waiting)
        waits.append(state.until - NOW)
        state, _ = step(state, Go(NOW), {})
        state, _ = step(state, Go(NOW), {})
        state, _ = step(state, Opened(NOW), {})
        state, _ = step(state, Lines(NOW, [bookmark(50, ends="true")]), {})
    assert waits[0] == 0
    assert waits[1] < waits[2] < waits[3]


def test_a_healing_pass_says_everything_again_under_its_own_name() -> None:
    known = {("ns", "a"): Seen("uid-a", "8"), ("ns", "ghost"): Seen("uid-ghost", "7")}
    state, outputs = step(STATES["Watching"], Resync(NOW, "lost facts"), known)
    assert kinds(outputs) == ["GAP"]
    state, more = step(state, Go(NOW), known)
    state, _ = step(state, Opened(NOW), known)
    state, facts = step(state, Lines(NOW, [event("ADDED", "a", 8), bookmark(12, ends="true")]), known)
    assert kinds([*more, *facts]) == ["STARTED", "DELETED ghost inferred", "UPDATED a listed", "COMPLETED"]
    assert {fact.sync for fact in [*outputs, *more, *facts] if isinstance(fact, Change | Sync)} == {"run-0"}


def test_a_watch_that_begins_without_a_checkpoint_lists_and_with_one_probes() -> None:
    assert isinstance(begin(course("")), Empty)
    assert isinstance(begin(course(10)), Probing)


def test_a_watch_that_ends_at_once_without_a_line_counts_as_a_failure() -> None:
    state, _ = step(STATES["Resuming"], Opened(NOW), {})
    after, _ = step(state, Ended(NOW + 0.5), {})
    assert name_of(after) == "Waiting>Probing"
    after, _ = step(state, Ended(NOW + 1.5), {})
    assert isinstance(after, Resuming)


def test_step_never_changes_its_arguments() -> None:
    for state, given in itertools.product(STATES.values(), INPUTS.values()):
        known = {("ns", "a"): Seen("uid-a", "8")}
        before = (msgspec.json.encode(str(state)), dict(known))
        try:
            first = step(state, given, known)
            assert step(state, given, known) == first
        except IllegalInput:
            pass
        assert (msgspec.json.encode(str(state)), known) == before
