"""Entries of DECISIONS: the lock, the fence, the intent log and the memory of a key (DESIGN §5)."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from schemas.actions import Action, Json, Outcome, Propagation
from schemas.names import ObjectRef, ResourceVersion, Uid


class EntryState(StrEnum):
    """Where a key stands."""

    OPEN = "open"
    """A worker is performing; nobody else may until it closes or its lease runs out."""
    CLOSED = "closed"
    PARKED = "parked"
    """Given up after repeated failure; `reason` says why. A change of the inputs tries again."""
    RETIRED = "retired"
    """The object is gone and nothing is left to do; the entry expires."""


class Target(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a key remembers of one object that it writes, carried from entry to entry."""

    ref: ObjectRef
    slot: str
    """Which of our writes to it: `apply`, `status`, `finalizer`, `delete`, `patch`, `event`."""
    desired: str = ""
    """Hash of the intent last accepted by the server."""
    fields: str = ""
    """Hash of our field manager's fieldsV1 right after that."""
    settled: str = ""
    """Hash of what the server made of the intent where it stores it otherwise (`1000m` as `1`), once seen to be stable."""
    uid: Uid = Uid("")
    version: ResourceVersion = ResourceVersion("")
    """resourceVersion right after our last write; the view is stale for this target until it has passed it."""
    closed_at: float = 0.0
    """Wall time of that write, seconds since the epoch."""
    value: Json | None = None
    """The status that we wrote, so that what we said before is known before the watch shows it."""
    renew_at: float = 0.0
    """Wall time at which an issued credential is to be renewed; 0: nothing was issued."""
    expires_at: float = 0.0
    """Wall time at which it expires."""
    look_at: float = 0.0
    """Wall time at which what is not watched is looked at again."""
    attempted: str = ""
    """Hash of the intent last attempted, if it did not succeed."""
    attempts: int = 0
    """How often in a row it failed."""
    not_before: float = 0.0
    """Wall time before which it is not tried again, seconds since the epoch."""
    cluster_seq: int = 0
    """Sequence of the cluster's record when it failed: a newer record means the cluster changed, so try at once."""
    code: int = 0
    reason: str = ""
    message: str = ""
    """Why it failed, in the server's words; empty when it did not."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of a key. Appended only with the sequence of the entry before it as precondition."""

    state: EntryState
    worker: str
    reconciler: str
    code: str
    """Digest of the reconciler's code."""
    now: float
    """The `view.now` that the decision saw, seconds since the epoch."""
    lease: float = 0.0
    """Seconds for which an open entry holds the key, counted by each waiter from when it first saw the entry."""
    incarnation: str = ""
    """Which STATE stream `inputs` count in: a re-created stream starts its sequences anew."""
    inputs: dict[str, int] = {}
    """STATE sequence of every row the decision read, by subject; 0 for a missing row. Never goes backwards."""
    facts: tuple[int, ...] = ()
    """FACTS sequence of each of `inputs`, in their order: history counts in these. 0 for what an entry before had read."""
    shown: int = 0
    """How many of `inputs`, from the first, the reconciler had before it when it decided; the others that were read are what
    its answer writes."""
    propagation: Propagation | None = None
    """How the deletion of the key's object was asked for, as far as the reconciler was told."""
    actions: tuple[Action, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    targets: tuple[Target, ...] = ()
    foreseen: tuple[str, ...] = ()
    """Ids of the facts of our own writes under this lock that were in view before the watch showed them."""
    failures: int = 0
    """How often in a row the reconciler itself failed."""
    reason: str = ""
    cause: str = ""
    """What woke the key: `subject@sequence` of a fact or sync record in FACTS, `timer`, or empty for a full evaluation."""

    @property
    def read(self) -> dict[str, int]:
        """FACTS sequence of every row that this decision read, by subject; a row that was missing is not there."""
        return {subject: seq for subject, seq in zip(self.inputs, self.facts, strict=False) if seq}


def encode_entry(entry: Entry) -> bytes:
    """Return an entry's bytes."""
    return _encoder.encode(entry)


def decode_entry(body: bytes) -> Entry:
    """Decode an entry.

    Raises:
        msgspec.DecodeError: when the body is not one.

    """
    return _decoder.decode(body)


class Foresight(msgspec.Struct, frozen=True):
    """As much of an entry as says what its key has foreseen; the rest, most of it, is skipped over."""

    state: EntryState
    code: str
    foreseen: tuple[str, ...] = ()


def decode_foresight(body: bytes) -> Foresight:
    """Decode what an entry's key has foreseen.

    Raises:
        msgspec.DecodeError: when the body is not an entry.

    """
    return _foresight.decode(body)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)
_foresight = msgspec.json.Decoder(Foresight)
