"""The file of a recording: one JSON document a line, so that any tool can read it, and a cut file shows.

    {"line":"header", ...}     what it is, once
    {"line":"fact", ...}       facts and sync records, by their sequence in FACTS
    {"line":"entry", ...}      entries of DECISIONS, by their sequence there
    {"line":"end", ...}        how many there were

Bodies are those of the streams, byte for byte. Values of Secrets were hashes before they came there (DESIGN §2.8).
"""

from __future__ import annotations

import msgspec

from schemas.decisions import Entry
from schemas.names import ClusterName

VERSION = 1
"""Raised when an old reader would misread a newer file; what is only added does not raise it."""


class Header(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", tag="header"):
    """What was recorded."""

    version: int = VERSION
    after: int
    """Sequence of FACTS behind which everything of the recorded types is in the file."""
    until: int
    """Sequence of FACTS that it goes up to."""
    time: str
    """When it was recorded, RFC 3339 UTC."""
    clusters: tuple[ClusterName, ...]
    """The declared clusters, those that had never reported too."""
    filter: str = ""
    """Which keys; empty: all of them, and then the state of their types is whole."""


class RecordedFact(msgspec.Struct, frozen=True, tag_field="line", tag="fact"):
    """A fact or sync record."""

    seq: int
    time: str
    """When the broker stored it, RFC 3339."""
    subject: str
    body: msgspec.Raw


class RecordedEntry(msgspec.Struct, frozen=True, tag_field="line", tag="entry"):
    """An entry of DECISIONS."""

    seq: int
    time: str
    subject: str
    body: Entry


class End(msgspec.Struct, frozen=True, tag_field="line", tag="end"):
    """That the file is whole."""

    facts: int
    entries: int


Line = Header | RecordedFact | RecordedEntry | End


class _Version(msgspec.Struct):
    """As much of a header as a reader of any version can tell."""

    line: str
    version: int


def encode_line(line: Line) -> bytes:
    """Return one line, without its end."""
    return _encoder.encode(line)


def decode_line(text: bytes) -> Line:
    """Read one line.

    Raises:
        msgspec.DecodeError: when it is none.

    """
    return _decoder.decode(text)


def version_of(text: bytes) -> int:
    """Return the version of a header, 0 if the line is no header of a recording."""
    try:
        found = msgspec.json.decode(text, type=_Version)
    except msgspec.DecodeError:
        return 0
    return found.version if found.line == "header" else 0


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)
