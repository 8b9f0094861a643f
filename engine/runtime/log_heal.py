"""Finding and mending what breaks the streams, above all the sourcing of FACTS into STATE (DESIGN §5).

Seen on nats-server 2.15, each with its sign:

- a stream is gone: it is made again;
- a stream lives another life than before: somebody else made it again;
- FACTS was re-created: it is not the one that STATE was anchored to. The broker notices sometimes, after seconds;
- FACTS was set back (a backup, a lost tail): STATE has read sequences that FACTS does not have, or what FACTS has at a
  sequence is not what it had. The broker skips new facts, silently, until the sequences have caught up;
- FACTS' limits overtook the source: its first sequence lies behind what STATE has read;
- the source stands still: the broker's retry can take 40 s; removing and adding the source takes 0.2 s;
- a consumer stands beyond the end of its stream.

What was lost cannot be read from here: the answer to every finding is that the watchers list again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
import structlog

from engine.runtime import log_wire as wire
from engine.runtime.jetstream import Connection, Json
from engine.runtime.log_catch_up import source_position
from engine.runtime.log_setup import (
    ANCHOR,
    ANCHORED_BEHIND,
    ANCHORED_TO,
    anchor,
    drop_if_beyond,
    prepare_streams,
    stream_info,
)
from engine.runtime.ports import EventLogError
from engine.runtime.streams import FACTS, STATE, StreamSpec

STALLED_SECONDS = 3.0
"""A source that lags and has not moved for so long is kicked; a running one lags about a millisecond. Left alone, it took
20 s or 40 s to find the new leader of FACTS in a cluster of three."""

_log = structlog.get_logger(__name__)


class _Mark(msgspec.Struct, frozen=True):
    """A fact that STATE has read: what FACTS holds at this sequence, for as long as it holds it."""

    seq: int
    subject: str
    id: str


class Healer:
    """Looks after the streams for one process."""

    def __init__(self, connection: Connection, specs: Iterable[StreamSpec], *, replicas: int) -> None:
        """Look after the streams in `specs`, which come in the order of their creation."""
        self._connection = connection
        self._specs = tuple(specs)
        self._replicas = replicas
        self._lock = asyncio.Lock()
        self._lives: dict[str, str] = {}
        self._anchor = ""
        self._mark: _Mark | None = None
        self._sound_at = ""
        """The broker's time when FACTS and STATE were last seen to agree."""
        self._moved = (0, 0.0)
        """Position of the source, and when it was first seen there."""

    async def prepare(self) -> None:
        """Create or migrate the streams; what that changes is no finding.

        Raises:
            EventLogError: see `EventLog.prepare`.

        """
        async with self._lock:
            await prepare_streams(self._connection, self._specs, replicas=self._replicas)
            for spec in self._specs:
                if info := await stream_info(self._connection, spec.name):
                    self._note_life(spec.name, info)

    async def heal(self) -> list[str]:
        """Return what was found and mended, in words.

        Raises:
            EventLogError: when the broker does not answer, or a stream cannot be mended.

        """
        async with self._lock:
            created = await prepare_streams(self._connection, self._specs, replicas=self._replicas)
            findings = [f"stream {name} was missing and has been created" for name in created]
            # STATE before FACTS: whatever STATE has read by then, FACTS must have.
            infos = await self._infos(*sorted((spec.name for spec in self._specs), key=lambda name: name != STATE))
            findings += [
                f"stream {name} has been re-created by someone else"
                for name, info in infos.items()
                if self._note_life(name, info) and name not in created
            ]
            findings += await self._check_source(infos[STATE], infos[FACTS])
            for name, info in infos.items():
                if name != STATE or _has_caught_up(info, infos[FACTS]):
                    findings += await self._check_consumers(name, int(info["state"]["last_seq"]))
        return _told(findings)

    async def check_source(self) -> list[str]:
        """Look only at the sourcing of FACTS into STATE; return what was found and mended.

        Raises:
            EventLogError: when the broker does not answer, or one of the two is gone.

        """
        async with self._lock:
            infos = await self._infos(STATE, FACTS)
            return _told(await self._check_source(infos[STATE], infos[FACTS]))

    async def _infos(self, *names: str) -> dict[str, Json]:
        infos = {}
        for name in names:
            info = await stream_info(self._connection, name)
            if info is None:
                raise EventLogError(f"stream {name} is not there")
            infos[name] = info
        return infos

    def _note_life(self, name: str, info: Json) -> bool:
        """Remember which life of a stream this is; return whether it is another than before."""
        before, now = self._lives.get(name), str(info["created"])
        self._lives[name] = now
        return before is not None and before != now

    # --- sourcing ---

    async def _check_source(self, state: Json, facts: Json) -> list[str]:
        metadata = state["config"].get("metadata", {})
        anchored_elsewhere = self._note_anchor(f"{state['created']} {metadata.get(ANCHOR, 0)}", state["created"])
        position = source_position(state)
        first, last = int(facts["state"]["first_seq"]), int(facts["state"]["last_seq"])
        if metadata.get(ANCHORED_TO, facts["created"]) != facts["created"]:
            finding, start = "FACTS was re-created; STATE now follows the new one", 1
        elif position is not None and position > last:
            finding = f"FACTS was set back from sequence {position} to {last}; STATE follows it from there"
            start = await self._first_since_sound(last)
        elif await self._is_rewritten(state):
            finding = "FACTS was set back and has been written to since; STATE follows what was written"
            start = await self._first_since_sound(last)
        elif position is not None and first > position + 1:
            finding, start = f"facts {position + 1} to {first - 1} expired before STATE had read them", first
        else:
            await self._kick_if_stalled(state, position, last)
            self._mark = await self._read_mark(state) or self._mark
            self._sound_at = str(facts.get("ts", ""))
            return ["STATE has been anchored anew by someone else"] if anchored_elsewhere else []
        await self._anchor_anew(state, facts, start)
        return [finding]

    def _note_anchor(self, anchor: str, life: str) -> bool:
        """Remember how STATE is anchored; return whether another process has changed that."""
        before, self._anchor = self._anchor, anchor
        if before == anchor:
            return False
        self._mark, self._sound_at = None, ""
        return before.startswith(life)

    async def _anchor_anew(self, state: Json, facts: Json, start: int) -> None:
        metadata = state["config"].get("metadata", {})
        number = int(metadata.get(ANCHOR, 0)) + 1
        settings = anchor(FACTS, facts, number=number, start=start, behind=int(state["state"]["last_seq"]))
        config = {**state["config"], **settings, "metadata": {**metadata, **settings["metadata"]}}
        await self._connection.api(f"STREAM.UPDATE.{STATE}", config)
        self._note_anchor(f"{state['created']} {number}", state["created"])

    async def _kick_if_stalled(self, state: Json, position: int | None, last: int) -> None:
        now = asyncio.get_running_loop().time()
        if position is None or position >= last or position != self._moved[0]:
            self._moved = (position or 0, now)
        elif now - self._moved[1] > STALLED_SECONDS:
            _log.warning("the source of STATE stands still, adding it anew", at=position, last=last)
            config = state["config"]
            await self._connection.api(f"STREAM.UPDATE.{STATE}", {**config, "sources": []})
            await self._connection.api(f"STREAM.UPDATE.{STATE}", config)
            self._moved = (position, now)

    async def _read_mark(self, state: Json) -> _Mark | None:
        """Return the fact that STATE read last since it was anchored, as far as it still shows."""
        answer = await self._get(STATE, {"last_by_subj": ">"})
        if answer is None:
            return None
        origin = wire.header(answer.headers, b"Nats-Stream-Source").split(b" ")
        if len(origin) < 2 or origin[0] != FACTS.encode():
            return None
        record = wire.stored_record(answer.headers, answer.body)
        if record.seq <= int(state["config"].get("metadata", {}).get(ANCHORED_BEHIND, 0)):
            return None
        return _Mark(int(origin[1]), record.subject, record.id)

    async def _is_rewritten(self, state: Json) -> bool:
        """Return whether FACTS holds another fact than before at the sequence that was last looked at."""
        mark = self._mark or await self._read_mark(state)
        if mark is None:
            return False
        answer = await self._get(FACTS, {"seq": mark.seq})
        if answer is None:
            return False  # expired: nothing to compare with
        record = wire.stored_record(answer.headers, answer.body)
        return (record.subject, record.id) != (mark.subject, mark.id)

    async def _first_since_sound(self, last: int) -> int:
        """Return the sequence of the first fact since FACTS and STATE were seen to agree, or of the next one to come."""
        if self._sound_at:
            wanted = {"start_time": self._sound_at, "next_by_subj": ">", "batch": 1}
            if answer := await self._get(FACTS, wanted):
                return wire.stored_record(answer.headers, b"").seq
        return last + 1

    async def _get(self, stream: str, what: Json) -> wire.Answer | None:
        answer = await self._connection.request(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(what))
        return None if answer.status else answer

    # --- consumers ---

    async def _check_consumers(self, stream: str, last: int) -> list[str]:
        findings: list[str] = []
        offset = 0
        while True:
            page = await self._connection.api(f"CONSUMER.LIST.{stream}", {"offset": offset})
            consumers = page.get("consumers") or []
            for info in consumers:
                if await drop_if_beyond(self._connection, stream, info, last):
                    findings += [f"consumer {info['name']} stood beyond the end of {stream} and begins anew"]
            offset += len(consumers)
            if not consumers or offset >= int(page.get("total", 0)):
                return findings


def _has_caught_up(state: Json, facts: Json) -> bool:
    """Return whether STATE has all of FACTS: after a crash its consumers are ahead of it for a moment, and rightly."""
    position = source_position(state)
    return position is not None and position >= int(facts["state"]["last_seq"])


def _told(findings: list[str]) -> list[str]:
    for finding in findings:
        _log.warning("event log mended", finding=finding)
    return findings
