"""Random histories: whatever happens between server, watcher and log, the facts fold to what the server holds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.known import Change, Key, Seen, apply
from engine.core.list_watch import begin, request, step
from engine.core.watch_states import (
    Course,
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
    Pause,
    Refused,
    Resync,
    State,
    Streaming,
    Sync,
    Watching,
)
from schemas.facts import Cause, FactType, SyncType
from schemas.names import ResourceVersion, newer

NAMES = ("a", "b", "c", "d")


@dataclass
class Server:
    """Objects and their history; a watch is read line by line, so that it can break off anywhere."""

    version: int = 8  # crosses from one digit to two and three
    uids: int = 0
    compacted: int = 0
    watch_list: bool = True
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: list[tuple[int, bytes]] = field(default_factory=list)

    def write(self, name: str, *, delete: bool) -> None:
        old = self.objects.pop(name, None)
        if delete and old is None:
            return
        self.version += 1
        self.uids += old is None
        uid = old["metadata"]["uid"] if old else f"uid-{self.uids}"
        metadata = {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": str(self.version)}
        body = {"kind": "Foo", "metadata": metadata}
        if not delete:
            self.objects[name] = body
        kind = "DELETED" if delete else "MODIFIED" if old else "ADDED"
        self.history.append((self.version, line(kind, body)))

    def open(self, params: dict[str, str]) -> tuple[list[bytes], int]:
        """Return the first lines of a watch, and the version from which it goes on."""
        if "sendInitialEvents" in params:
            lines = [line("ADDED", body) for body in self.objects.values()]
            end = {"metadata": {"resourceVersion": str(self.version), "annotations": {END: "true"}}}
            return [*lines, line("BOOKMARK", end)], self.version
        at = int(params["resourceVersion"])
        return ([line("ERROR", {"code": 410, "reason": "Expired"})] if at < self.compacted else []), at

    def after(self, version: int) -> list[tuple[int, bytes]]:
        return [entry for entry in self.history if entry[0] > version]

    def page(self, params: dict[str, str]) -> Input:
        items = list(self.objects.values())
        at, start = self.version, 0
        if "continue" in params:
            at, start = (int(part) for part in params["continue"].split(":"))
            if at != self.version:  # this server remembers no older lists
                return Refused(0.0, 410, b'{"code":410,"reason":"Expired"}')
        metadata = {"resourceVersion": str(at)}
        if "limit" in params and len(items) > start + 2:
            metadata["continue"] = f"{at}:{start + 2}"
            items = items[start : start + 2]
        else:
            items = items[start:]
        body = {"kind": "FooList", "apiVersion": "v1", "metadata": metadata, "items": items}
        return Listed(0.0, json.dumps(body).encode())


END = "k8s.io/initial-events-end"


def line(kind: str, body: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode()


class Run:
    """The loop without I/O, and a log that keeps the last fact of each name."""

    def __init__(self) -> None:
        self.server = Server()
        self.log: list[Change | Sync] = []
        self.state_stream: dict[str, Change] = {}
        self.runs = 0
        self.start()

    def start(self) -> None:
        """Begin as after a kill: from nothing but what the log holds."""
        self.runs += 1
        syncs = [entry for entry in self.log if isinstance(entry, Sync)]
        self.known: dict[Key, Seen] = {
            ("ns", name): Seen(fact.uid, fact.version)
            for name, fact in self.state_stream.items()
            if fact.type is not FactType.DELETED
        }
        version = ResourceVersion("")
        if syncs and syncs[-1].type in (SyncType.COMPLETED, SyncType.BOOKMARK):
            version = syncs[-1].version
            for fact in self.state_stream.values():
                version = fact.version if newer(fact.version, version) else version
        self.now = 1000.0 * self.runs
        self.state: State = begin(Course(1, f"run{self.runs}", "Foo", version=version))
        self.pending: list[bytes] = []
        self.position = 0

    def feed(self, given: Input, *, acknowledged: int | None = None) -> None:
        """Step; `acknowledged` facts reach the log, then the watcher is killed."""
        given = msgspec.structs.replace(given, now=self.now)
        self.state, outputs = step(self.state, given, self.known)
        said = [output for output in outputs if isinstance(output, Change | Sync)]
        apply((output for output in said if isinstance(output, Change)), self.known)
        for output in said if acknowledged is None else said[:acknowledged]:
            self.log.append(output)
            if isinstance(output, Change):
                self.state_stream[output.name] = output
        if acknowledged is not None and acknowledged < len(said):
            self.start()

    def turn(self, lines: int = 3, acknowledged: int | None = None) -> None:
        """Do one thing that the machine wants."""
        self.now += 1.0
        wanted = request(self.state)
        match wanted:
            case Pause():
                self.feed(Go(0.0))
            case GetList(params=params):
                self.feed(self.server.page(params), acknowledged=acknowledged)
            case OpenWatch(params=params):
                opened = isinstance(self.state, Watching) or (
                    isinstance(self.state, Streaming) and self.state.opened_at is not None
                )
                if not opened:
                    if "sendInitialEvents" in params and not self.server.watch_list:
                        self.feed(Refused(0.0, 422))
                        return
                    self.feed(Opened(0.0))
                    self.pending, self.position = self.server.open(params)
                    return
                fresh = self.server.after(self.position)
                batch = (self.pending + [text for _, text in fresh])[:lines]
                taken = max(0, len(batch) - len(self.pending))
                self.pending = self.pending[len(batch) :]
                self.position = fresh[taken - 1][0] if taken else self.position
                if not batch:
                    batch = [line("BOOKMARK", {"metadata": {"resourceVersion": str(self.server.version)}})]
                self.feed(Lines(0.0, batch), acknowledged=acknowledged)
            case Halt():
                raise AssertionError(wanted)

    def opened(self) -> bool:
        return isinstance(self.state, Watching) or (
            isinstance(self.state, Streaming) and self.state.opened_at is not None
        )

    def finish(self) -> None:
        """Let it come to rest."""
        for _ in range(40 + 2 * len(self.server.history)):
            self.turn(lines=5)
        assert isinstance(self.state, Watching)


COMMANDS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.booleans()),
    st.tuples(st.just("turn"), st.integers(1, 6)),
    st.tuples(st.sampled_from(["lost", "ended", "compact", "kill", "heal", "flip", "unreadable", "again", "wait"])),
    st.tuples(st.just("crash"), st.integers(0, 4)),
)


def play(run: Run, command: tuple[Any, ...]) -> None:
    match command:
        case ("write", name, delete):
            run.server.write(name, delete=delete)
        case ("turn", lines):
            run.turn(lines)
        case ("crash", acknowledged):
            run.turn(5, acknowledged=acknowledged)
        case ("kill",):
            run.start()
        case ("heal",):
            run.feed(Resync(0.0, "test"))
        case ("compact",):
            run.server.compacted = run.server.version
        case ("flip",):
            run.server.watch_list = not run.server.watch_list
        case ("wait",):
            run.now += 200.0
        case (fault,):
            trouble(run, fault)


def trouble(run: Run, fault: str) -> None:
    """Let something go wrong on the way, where there is a way."""
    if fault == "lost" and not isinstance(request(run.state), Pause):
        run.feed(Lost(0.0))
    elif fault == "ended" and run.opened():
        run.feed(Ended(0.0))
    elif fault == "unreadable" and run.opened():
        run.feed(Lines(0.0, [b'{"type":"MODIFIED","object":{"metadata"']))
    elif fault == "again" and isinstance(run.state, Watching) and run.server.history:
        run.feed(Lines(0.0, [run.server.history[-1][1]] if run.position >= run.server.version else []))


@given(st.booleans(), st.lists(COMMANDS, max_size=60))
@settings(max_examples=600, deadline=None)
def test_the_facts_of_any_history_fold_to_what_the_server_holds(synced: bool, commands: list[tuple[Any, ...]]) -> None:
    run = Run()
    if synced:
        run.server.write("a", delete=False)
        run.finish()
    for command in commands:
        play(run, command)
    run.finish()
    truth = {
        name: (body["metadata"]["uid"], body["metadata"]["resourceVersion"])
        for name, body in run.server.objects.items()
    }
    last = {n: (f.uid, f.version) for n, f in run.state_stream.items() if f.type is not FactType.DELETED}
    assert last == truth
    assert {key[1]: (seen.uid, seen.version) for key, seen in run.known.items()} == truth
    assert fold(run.log) == truth
    check(run.log)


def fold(log: list[Change | Sync]) -> dict[str, tuple[str, str]]:
    """Fold as an idempotent reader does: by uid and version, a tombstone is for ever (W-22)."""
    alive: dict[str, tuple[str, str]] = {}
    buried: set[str] = set()
    for fact in log:
        if isinstance(fact, Sync):
            continue
        uid, version = alive.get(fact.name, ("", ""))
        if fact.type is FactType.DELETED:
            buried.add(fact.uid)
            if uid == fact.uid:
                del alive[fact.name]
        elif fact.uid not in buried and (uid != fact.uid or newer(fact.version, version)):
            alive[fact.name] = (fact.uid, fact.version)
    return alive


def check(log: list[Change | Sync]) -> None:
    """Ordered, Bookmarkable and Terminal (reliability.md §2.2)."""
    mark, observed = 0, 0
    tombstones: set[tuple[str, str]] = set()
    for entry in log:
        if isinstance(entry, Sync):
            if entry.type in (SyncType.COMPLETED, SyncType.BOOKMARK):
                assert int(entry.version) >= mark
                mark = int(entry.version)
            continue
        if entry.cause is Cause.OBSERVED and not entry.sync:
            assert int(entry.version) >= observed
            observed = int(entry.version)
        if entry.cause is Cause.OBSERVED and entry.type is not FactType.DELETED:
            assert int(entry.version) > mark
        if entry.type is FactType.DELETED:
            assert (entry.uid, entry.sync) not in tombstones
            tombstones.add((entry.uid, entry.sync))
