"""The loop around the list-watch machine for one resource type of one cluster: requests in, facts out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import structlog

from engine.core.backoff import Backoff, draw
from engine.core.epoch import Standing
from engine.core.federated_secrets import redactor_for
from engine.core.known import Change, Key, Seen, apply
from engine.core.list_watch import begin, request, step
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
    Pause,
    Refused,
    Resync,
    State,
    Stopped,
    Streaming,
    Sync,
    Trouble,
    Waiting,
    Watching,
    WentBack,
)
from engine.runtime.ports import (
    Clock,
    ClusterApi,
    ClusterUnreachable,
    CredentialsRejected,
    EventLogError,
    FactLog,
    Reply,
)
from schemas.facts import SyncType
from schemas.names import ClusterName
from watchers.discovery import Served
from watchers.fact_messages import FactMessages
from watchers.probe import LIST_METADATA, retry_after
from watchers.publisher import Lane, Publisher
from watchers.settings import WatchSettings
from watchers.standing import load_type
from watchers.statistics import TypeStatistics
from watchers.waiting import wait_either

RELOAD_SECONDS = 1.0
"""Between tries at reading STATE, which is on our side."""
STOPPING_REASONS = ("Unreachable", "Unauthorized")
"""Troubles that are probably the whole cluster's."""


class TypeWatch:
    """Watches one type until it is no longer served or the server goes back in time.

    Args:
        served: the type.
        cluster: configured name of the cluster.
        standing: identity and epoch of the cluster.
        api: the cluster.
        log: where STATE is read.
        clock: time.
        publisher: where facts go.
        settings: of the watchers.
        gate: set while the cluster answers; no request is sent while it is not.
        alarm: called when the cluster itself seems to be in trouble, with the reason.
        changed: called when `settled` may have changed.

    """

    def __init__(
        self,
        served: Served,
        *,
        cluster: ClusterName,
        standing: Standing,
        api: ClusterApi,
        log: FactLog,
        clock: Clock,
        publisher: Publisher,
        settings: WatchSettings,
        gate: asyncio.Event,
        alarm: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self.served = served
        self._cluster, self._standing, self._settings = cluster, standing, settings
        self._api, self._log_store, self._clock, self._publisher = api, log, clock, publisher
        self._gate, self._alarm, self._changed = gate, alarm, changed
        run = publisher.ticket()
        self._lane = Lane(str(served.resource), self._messages(run), self._on_drop)
        self._known: dict[Key, Seen] = {}
        seed = settings.seed + hash_text(f"{cluster}/{served.resource}")
        self._course = Course(seed, run, served.kind, backoff=Backoff(cap=settings.retry_cap_seconds))
        self._state: State = Empty(self._course, "")
        self._wake = asyncio.Event()
        self._heal, self._reload, self._reopen = "", False, False
        self._trouble = ""
        self._requests = self._relists = self._events = self._reconnects = 0
        self._last_event = 0.0
        self._log = structlog.get_logger(__name__).bind(cluster=cluster, resource=str(served.resource))

    async def run(self) -> str:
        """Watch until it ends, and return why: `TypeGone` or `Restored`."""
        self._publisher.open(self._lane)
        try:
            while True:
                await self._load()
                ended = await self._drive()
                if ended:
                    return ended
        finally:
            self._publisher.close(self._lane)

    def heal(self, reason: str) -> None:
        """Begin a healing pass: list again and publish everything, whatever the log seems to hold (DESIGN §5)."""
        self._heal, self._reload = reason, True
        self._wake.set()

    def poke(self, *, reopen: bool = False) -> None:
        """End a wait now; with `reopen` also close an open watch, so that the server says whether the type is served."""
        self._reopen = reopen and isinstance(self._state, Watching)
        if self._reopen or isinstance(self._state, Waiting):
            self._wake.set()

    @property
    def settled(self) -> bool:
        """Whether it watches, or has run into a trouble of its own that the cluster need not wait for."""
        if isinstance(self._state, Waiting):
            return self._trouble not in STOPPING_REASONS
        return isinstance(self._state, Watching | Stopped)

    @property
    def watching(self) -> bool:
        """Whether its contents are current."""
        return isinstance(self._state, Watching)

    def statistics(self) -> TypeStatistics:
        """Return what it has done so far."""
        course = self._state.course
        return TypeStatistics(
            resource=self.served.resource,
            state=type(self._state).__name__,
            synced=isinstance(self._state, Watching) and not course.gap,
            trouble=self._trouble,
            requests=self._requests,
            relists=self._relists,
            events=self._events,
            reconnects=self._reconnects,
            last_event=self._last_event,
            lag=self._lane.lag,
            objects=len(self._known),
            version=course.version,
        )

    def _messages(self, run: str) -> FactMessages:
        sealed_for = self._standing.identity if self._settings.seal_secrets else None
        return FactMessages(
            cluster=self._cluster,
            identity=self._standing.identity,
            epoch=self._standing.epoch,
            resource=self.served.resource,
            ttl=self._settings.tombstone_ttl_seconds,
            run=run,
            redactor=redactor_for(self.served.resource, self._settings.redaction_key, sealed_for),
        )

    async def _load(self) -> None:
        """Begin from what STATE holds."""
        while True:
            try:
                loaded = await load_type(self._log_store, self._cluster, self.served.resource, self._standing)
                break
            except EventLogError as error:
                self._log.warning("STATE cannot be read, trying again", error=str(error))
                await self._clock.sleep(RELOAD_SECONDS)
        # A healing pass publishes everything anyway; what is still on its way to STATE may need a tombstone.
        self._known = {**self._known, **loaded.known} if self._heal else loaded.known
        self._reload = False
        # The count goes on, so that no sync identifier of this run names two lists.
        course = msgspec.structs.replace(self._course, count=self._state.course.count, version=loaded.version)
        self._state = begin(course)
        self._log.info("watch begins", objects=len(loaded.known), version=loaded.version)

    async def _drive(self) -> str:
        """Do what the machine wants until it stops (return why) or what it knows was dropped (return nothing)."""
        while not self._reload:
            self._obey()
            wanted = request(self._state)
            match wanted:
                case Halt(reason=reason):
                    return reason
                case Pause(until=until):
                    await wait_either(self._wake, until - self._clock.monotonic(), self._clock)
                    if not self._reload:
                        self._feed(Go(self._clock.monotonic()))
                case GetList() | OpenWatch():
                    await self._gate.wait()
                    await self._publisher.room.wait()
                    await self._ask(wanted)
        return ""

    def _obey(self) -> None:
        """Do what `heal` and `poke` asked for."""
        self._wake.clear()
        reopen, self._reopen = self._reopen, False
        if self._heal and not isinstance(self._state, Stopped):
            reason, self._heal = self._heal, ""
            self._log.warning("healing pass begins", reason=reason)
            self._feed(Resync(self._clock.monotonic(), reason))
        elif reopen and isinstance(self._state, Watching):
            self._feed(Ended(self._clock.monotonic()))

    async def _ask(self, wanted: GetList | OpenWatch) -> None:
        """Send the machine's request; being called upon from outside ends it."""
        asking = self._list(wanted) if isinstance(wanted, GetList) else self._watch(wanted)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(asking, name=f"ask {self._cluster} {self.served.resource}")
            waked = group.create_task(self._wake.wait(), name="wake")
            limit = wanted.limit if isinstance(wanted, OpenWatch) else 0.0
            if limit:
                await self._limit(limit, (asked, waked))
            await asyncio.wait((asked, waked), return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            waked.cancel()

    async def _limit(self, seconds: float, others: tuple[asyncio.Task[Any], ...]) -> None:
        """Give the initial events their time."""
        async with asyncio.TaskGroup() as group:
            nap = group.create_task(self._clock.sleep(seconds), name="limit")
            await asyncio.wait((nap, *others), return_when=asyncio.FIRST_COMPLETED)
            nap.cancel()
        if not any(task.done() for task in others) and isinstance(self._state, Streaming):
            self._feed(Overdue(self._clock.monotonic()) if self._state.opened_at is not None else self._silence())
            others[0].cancel()

    def _silence(self) -> Lost:
        return Lost(self._clock.monotonic(), "no answer to a watch")

    async def _list(self, wanted: GetList) -> None:
        self._requests += 1
        accept = LIST_METADATA if wanted.metadata_only else "application/json"
        path = self.served.within(wanted.namespace)
        try:
            reply = await self._api.request("GET", path, params=wanted.params, accept=accept, timeout=wanted.timeout)
        except ClusterUnreachable as error:
            self._feed(Lost(self._clock.monotonic(), str(error)))
        except CredentialsRejected as error:
            self._feed(Refused(self._clock.monotonic(), 401, str(error).encode()))
        else:
            now = self._clock.monotonic()
            self._feed(Listed(now, reply.body) if reply.status == 200 else self._refusal(reply))

    async def _watch(self, wanted: OpenWatch) -> None:
        self._requests += 1
        stream = self._api.stream(self.served.path, params=wanted.params, idle_timeout=wanted.idle_timeout)
        try:
            await self._read(stream)
        except ClusterUnreachable as error:
            self._feed(Lost(self._clock.monotonic(), str(error)))
        except CredentialsRejected as error:
            self._feed(Refused(self._clock.monotonic(), 401, str(error).encode()))
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    async def _read(self, stream: AsyncIterator[Reply | list[bytes]]) -> None:
        """Feed an open watch's lines. Nothing is awaited between taking lines and offering their facts."""
        opened = False
        async for item in stream:
            if isinstance(item, Reply):
                opened = item.status == 200
                self._reconnects += opened
                self._feed(Opened(self._clock.monotonic()) if opened else self._refusal(item))
                if not opened:
                    return
                continue
            self._last_event = self._clock.time()
            self._feed(Lines(self._clock.monotonic(), item))
            if not isinstance(self._state, Watching | Streaming):
                return
            if self._publisher.full and not await wait_either(
                self._publisher.room, self._settings.patience_seconds, self._clock
            ):
                break  # the server drops slow watchers: better to close and resume (W-23)
        now = self._clock.monotonic()
        self._feed(Ended(now) if opened else Lost(now, "the server sent nothing"))

    def _refusal(self, reply: Reply) -> Refused:
        return Refused(self._clock.monotonic(), reply.status, reply.body, retry_after(reply))

    def _feed(self, given: Input) -> None:
        if self._reload:
            return  # earlier facts were dropped: a later one in STATE would be taken for the checkpoint
        before = self._state
        self._state, outputs = step(before, given, self._known)
        self._tell(outputs)
        entries = [output for output in outputs if isinstance(output, Change | Sync)]
        apply((entry for entry in entries if isinstance(entry, Change)), self._known)
        self._events += len(entries)
        self._publisher.offer(self._lane, entries)
        if isinstance(self._state, Watching) and not isinstance(before, Watching):
            self._trouble = ""
        if type(before) is not type(self._state):
            self._changed()

    def _tell(self, outputs: list[Output]) -> None:
        """Log what operators want to know, and alarm the cluster's loop where it may be the cluster."""
        for output in outputs:
            match output:
                case Change():
                    pass
                case Sync():
                    self._relists += output.type is SyncType.STARTED
                    if output.type is not SyncType.BOOKMARK:
                        self._log.info("sync", type=output.type.value, reason=output.reason, objects=output.objects)
                case Trouble():
                    self._trouble = output.reason
                    waits = self._state.until - self._clock.monotonic() if isinstance(self._state, Waiting) else 0.0
                    self._log.warning("watch in trouble", reason=output.reason, message=output.message, retry_in=waits)
                    if output.reason in STOPPING_REASONS:
                        self._alarm(output.reason)
                case WentBack():
                    self._log.error("the server went back in time", last=output.last, shown=output.shown)

    def _on_drop(self) -> None:
        self._reload = True
        self._wake.set()


def hash_text(text: str) -> int:
    """Return a small number that is always the same for a text; Python's own hash differs from run to run."""
    return int(draw(int.from_bytes(text.encode(), "big"), 0) * 2**31)
