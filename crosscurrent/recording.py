"""Recordings: a slice of the record in one file, to be replayed anywhere."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from crosscurrent.cuts import stamp
from crosscurrent.errors import UserError
from crosscurrent.selection import Filter
from engine.core.history import Cut, Stored, seconds
from engine.core.replay import Case, Recorded, cases
from engine.runtime.past import EVERYTHING, Horizon, read_past
from engine.runtime.ports import EventLog
from schemas import subjects
from schemas.clusters import CLUSTERS
from schemas.decisions import Entry, decode_entry
from schemas.names import ClusterName, ObjectRef
from schemas.recordings import (
    VERSION,
    End,
    Header,
    Line,
    RecordedEntry,
    RecordedFact,
    decode_line,
    encode_line,
    version_of,
)


class Recording(msgspec.Struct, frozen=True):
    """What a file holds."""

    header: Header
    facts: tuple[RecordedFact, ...]
    entries: tuple[RecordedEntry, ...]

    def recorded(self) -> Recorded:
        """Return its facts for replay."""
        found = ((fact.subject, Stored(fact.seq, fact.time, bytes(fact.body))) for fact in self.facts)
        return Recorded(found, self.header.clusters)

    def cases(self) -> list[Case]:
        """Return its decisions that can be asked again, in the order in which they were made."""
        return list(cases((one.seq, one.time, one.subject, one.body) for one in self.entries))


class Slice(msgspec.Struct, frozen=True):
    """What to record."""

    first: Cut
    """Decisions made after this ..."""
    last: Cut
    """... up to this."""
    chosen: Filter = Filter()
    """Which keys, by their objects."""
    text: str = ""
    """The filter as it was written; empty: all keys, and then the facts of their types are whole."""


async def record(log: EventLog, wanted: Slice, clusters: Sequence[ClusterName], horizon: Horizon) -> Recording:
    """Read a slice of the record: decisions, the facts that they read, and those of their types.

    Raises:
        EventLogError: when the broker fails.

    """
    entries = await _entries(log, wanted)
    needed = {place for one in entries for place in _needed(one.body)}
    foreseen = {fact_id for one in entries for fact_id in one.body.foreseen}
    types = [] if wanted.text else _types(entries)
    found: dict[tuple[str, int], Stored] = {}
    if horizon.begin.seq:
        for subject, stored in (await read_past(log, horizon.begin, EVERYTHING, horizon)).rows.items():
            if (subject, stored.seq) in needed:
                found[subject, stored.seq] = stored
    if types:
        for subject, stored in (await read_past(log, wanted.first, types, horizon)).rows.items():
            found[subject, stored.seq] = stored
    # A foreseen fact came after the decision that foresaw it: up to the end of the record, not of the slice.
    async for one in log.replay("FACTS", EVERYTHING, after=horizon.begin.seq, until=horizon.end.seq):
        inside = wanted.first.seq < one.seq <= wanted.last.seq
        of_type = inside and any(subjects.matches(pattern, one.subject) for pattern in types)
        if of_type or (one.subject, one.seq) in needed or one.id in foreseen:
            found[one.subject, one.seq] = Stored(one.seq, one.time, one.body)
    header = Header(
        after=wanted.first.seq,
        until=wanted.last.seq,
        time=stamp(min(wanted.last.time, horizon.end.time)),
        clusters=tuple(clusters),
        filter=wanted.text,
    )
    facts = sorted(found.items(), key=lambda item: item[0][1])
    return Recording(
        header,
        tuple(RecordedFact(seq, stored.time, subject, msgspec.Raw(stored.body)) for (subject, seq), stored in facts),
        tuple(entries),
    )


def write(recording: Recording, path: Path) -> int:
    """Write a recording whole or not at all, compressed if the name ends in `.gz`; return its size in bytes.

    Raises:
        UserError: when it cannot be written.

    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with _opened(temporary, "wb", packed=path.suffix == ".gz") as file:
            lines: tuple[Line, ...] = (recording.header, *recording.facts, *recording.entries)
            for line in lines:
                file.write(encode_line(line).replace(b"\n", b" ") + b"\n")
            file.write(encode_line(End(len(recording.facts), len(recording.entries))) + b"\n")
        temporary.replace(path)
        return path.stat().st_size
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: {error.strerror}", "name a file in a directory that can be written") from error


def read(path: Path) -> Recording:
    """Read a recording.

    Raises:
        UserError: when it is none, is cut, or is of a newer version.

    """
    facts: list[RecordedFact] = []
    entries: list[RecordedEntry] = []
    header, end = None, None
    for number, text in enumerate(_lines(path), 1):
        if number == 1:
            _check_version(path, text)
        try:
            line = decode_line(text)
        except msgspec.DecodeError as error:
            raise UserError(
                f"{path}, line {number}: {error}", "the file is cut or was edited: record it again"
            ) from error
        match line:
            case Header():
                header = line
            case RecordedFact():
                facts.append(line)
            case RecordedEntry():
                entries.append(line)
            case End():
                end = line
    if header is None or end != End(len(facts), len(entries)):
        there = f"{len(facts)} facts and {len(entries)} entries are there"
        lacks = f"of {end.facts} and {end.entries}" if end else "and its end is missing"
        raise UserError(f"{path} is cut: {there}, {lacks}", "record it again, or copy it whole")
    return Recording(header, tuple(facts), tuple(entries))


def _check_version(path: Path, text: bytes) -> None:
    version = version_of(text)
    if not version:
        raise UserError(f"{path} is not a recording", "`crosscurrent record FILE` makes one")
    if version > VERSION:
        raise UserError(
            f"{path} has version {version} of the format, this program reads up to {VERSION}",
            "replay it with the version of crosscurrent that recorded it, or a later one",
        )


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with _opened(path, "rb", packed=packed) as lines:
            yield from lines
    except EOFError as error:
        raise UserError(
            f"{path} is cut: its compressed data ends early", "record it again, or copy it whole"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}", "name a file that `crosscurrent record` made") from error


def _opened(path: Path, mode: str, *, packed: bool) -> IO[bytes]:
    # No name and no time in a compressed file: the same recording is the same file.
    return gzip.GzipFile(path, mode, mtime=0) if packed else path.open(mode)  # type: ignore[return-value]


async def _entries(log: EventLog, wanted: Slice) -> list[RecordedEntry]:
    found = []
    last = await log.last_sequence("DECISIONS")
    async for one in log.replay("DECISIONS", [f"{subjects.DECISIONS}.>"], after=0, until=last):
        _, ref = subjects.parse_keyed(one.subject)
        if wanted.first.time <= seconds(one.time) <= wanted.last.time and wanted.chosen.shows_fact(ref):
            found.append(RecordedEntry(one.seq, one.time, one.subject, decode_entry(one.body)))
    return found


def _needed(entry: Entry) -> Iterator[tuple[str, int]]:
    yield from entry.read.items()
    subject, _, seq = entry.cause.rpartition("@")
    if subject and seq.isdigit():
        yield subject, int(seq)


def _types(entries: Iterable[RecordedEntry]) -> list[str]:
    """Return filters for everything of the types that decisions read, and for how clusters and types stood."""
    kinds = {(ref.group, ref.resource) for one in entries for ref in _places(one.body)}
    found = [subjects.facts_of("*", group, resource) for group, resource in sorted(kinds)]
    return [*found, subjects.facts_of("*", CLUSTERS.group, CLUSTERS.plural), f"{subjects.SYNC}.>"] if entries else []


def _places(entry: Entry) -> Iterator[ObjectRef]:
    for subject in entry.inputs:
        if subject.startswith(f"{subjects.FACTS}."):
            yield subjects.parse_fact(subject)
