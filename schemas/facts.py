"""Facts and sync records: what watchers saw, as CloudEvents JSON (structured mode) around the object's own bytes.

On the wire a fact is one JSON document: the CloudEvents attributes, our extension attributes (lower case, simple values
only, as CloudEvents asks) and `data`, the object as the API server sent it less `managedFields`. Writers splice and never
re-encode an object; readers decode the envelope and leave `data` raw until they need it.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from schemas.names import ClusterId, ClusterName, ObjectRef, Resource, ResourceVersion, Uid


class FactType(StrEnum):
    """CloudEvents type of a fact."""

    ADDED = "dev.crosscurrent.object.added.v1"
    UPDATED = "dev.crosscurrent.object.updated.v1"
    DELETED = "dev.crosscurrent.object.deleted.v1"


class Cause(StrEnum):
    """How a watcher came to know."""

    OBSERVED = "observed"
    """A watch event said so."""
    LISTED = "listed"
    """The object was in a list or an initial watch snapshot."""
    INFERRED = "inferred"
    """A known object was missing from a consistent list: a deletion that nobody saw. Never proof (XGC-15)."""


class SyncType(StrEnum):
    """CloudEvents type of a sync record: where the watch of one resource in one cluster stands."""

    STARTED = "dev.crosscurrent.sync.started.v1"
    """A list has begun; contents are UNKNOWN until COMPLETED."""
    COMPLETED = "dev.crosscurrent.sync.completed.v1"
    BOOKMARK = "dev.crosscurrent.sync.bookmark.v1"
    """The watch has passed this resourceVersion."""
    GAP = "dev.crosscurrent.sync.gap.v1"
    """Facts may be missing before this point; `reason` says why. Contents are UNKNOWN until COMPLETED."""


class FactId(msgspec.Struct, frozen=True):
    """The identity of a fact, and its `Nats-Msg-Id`; readers are idempotent by it.

    `sync` is empty but in a healing pass, where it keeps the broker's duplicate window from swallowing the fact.
    """

    identity: ClusterId
    epoch: int
    group: str
    resource: str
    uid: Uid
    version: ResourceVersion
    deleted: bool = False
    sync: str = ""

    def __str__(self) -> str:
        verb = "deleted" if self.deleted else "live"
        tail = f"/{self.sync}" if self.sync else ""
        return f"{self.identity}/{self.epoch}/{self.group}/{self.resource}/{self.uid}/{self.version}/{verb}{tail}"

    @classmethod
    def parse(cls, text: str) -> FactId:
        """Read the text form.

        Raises:
            ValueError: when it is not a fact's id.

        """
        parts = text.split("/")
        if len(parts) not in (7, 8) or parts[6] not in ("live", "deleted"):
            message = f"{text!r} is not the id of a fact"
            raise ValueError(message)
        identity, epoch, group, resource, uid, version, verb = parts[:7]
        return cls(
            ClusterId(identity),
            int(epoch),
            group,
            resource,
            Uid(uid),
            ResourceVersion(version),
            verb == "deleted",
            parts[7] if len(parts) == 8 else "",
        )


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope of a fact as readers see it. `data` is the object's JSON, or `null` where its last state is unknown."""

    id: str
    type: FactType
    subject: str
    """`namespace/name`, or `name` of a cluster-scoped object."""
    time: str
    """When the watcher saw it, RFC 3339 UTC. Informational: nothing is decided by it."""
    cluster: ClusterName
    identity: ClusterId
    epoch: int
    uid: Uid
    resourceversion: ResourceVersion
    cause: Cause = Cause.OBSERVED
    managers: str = ""
    """`manager=hash` of each `crosscurrent/*` field manager's fieldsV1, space separated; `:status` marks the subresource."""
    traceparent: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def deleted(self) -> bool:
        """Whether this is a tombstone."""
        return self.type is FactType.DELETED

    def manager_hash(self, manager: str) -> str:
        """Return the fieldsV1 hash of a field manager, empty where it owns nothing."""
        for entry in self.managers.split():
            name, _, digest = entry.rpartition("=")
            if name == manager:
                return digest
        return ""


class SyncData(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a sync record says besides its place."""

    sync: str = ""
    """Identifier of the list that started."""
    reason: str = ""
    """Of a gap, and of the bookmark that ends one."""
    objects: int = 0
    """How many objects the completed list held."""


class SyncRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A sync record: the standing of one resource's watch. Subject `sync.<cluster>.<group>.<resource>`."""

    id: str
    type: SyncType
    subject: str
    time: str
    cluster: ClusterName
    identity: ClusterId
    epoch: int
    resourceversion: ResourceVersion = ResourceVersion("")
    data: SyncData = SyncData()

    @property
    def synced(self) -> bool:
        """Whether a row missing from the view means absent rather than unknown."""
        return self.type in (SyncType.COMPLETED, SyncType.BOOKMARK)

    @property
    def ends_gap(self) -> bool:
        """Whether that was unknown until now, so that whoever waited for it must look again."""
        return self.type is SyncType.COMPLETED or (self.type is SyncType.BOOKMARK and bool(self.data.reason))


def decode_fact(body: bytes) -> Fact:
    """Decode a fact's envelope; `data` stays raw.

    Raises:
        msgspec.DecodeError: when the body is not one.

    """
    return _fact.decode(body)


def decode_sync(body: bytes) -> SyncRecord:
    """Decode a sync record.

    Raises:
        msgspec.DecodeError: when the body is not one.

    """
    return _sync.decode(body)


def source(cluster: ClusterName, resource: Resource) -> str:
    """Return the CloudEvents source of a resource's facts, e.g. `/clusters/c1/apis/apps/v1/deployments`."""
    root = f"apis/{resource.group}" if resource.group else "api"
    return f"/clusters/{cluster}/{root}/{resource.version}/{resource.plural}"


def encode_fact(
    fact_id: FactId,
    fact_type: FactType,
    ref: ObjectRef,
    resource: Resource,
    *,
    cause: Cause,
    time: str,
    managers: str = "",
    traceparent: str = "",
    data: bytes = b"null",
) -> bytes:
    """Return a fact's bytes with `data` spliced in untouched. `data` must be one valid JSON value."""
    head = _Head(
        id=str(fact_id),
        source=source(ref.cluster, resource),
        type=fact_type,
        subject=f"{ref.namespace}/{ref.name}" if ref.namespace else ref.name,
        time=time,
        cluster=ref.cluster,
        identity=fact_id.identity,
        epoch=fact_id.epoch,
        uid=fact_id.uid,
        resourceversion=fact_id.version,
        cause=cause,
        managers=managers,
        traceparent=traceparent,
    )
    return b'%b,"data":%b}' % (_encoder.encode(head)[:-1], data)


def encode_sync(record: SyncRecord, resource: Resource) -> bytes:
    """Return a sync record's bytes."""
    document = {
        "specversion": "1.0",
        "source": source(record.cluster, resource),
        "datacontenttype": "application/json",
        **msgspec.structs.asdict(record),
    }
    return _encoder.encode(document)


class _Head(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything of a fact but `data`, in the order it is written."""

    specversion: str = msgspec.field(default_factory=lambda: "1.0")  # a factory, or omit_defaults would drop it
    id: str
    source: str
    type: FactType
    subject: str
    time: str
    datacontenttype: str = msgspec.field(default_factory=lambda: "application/json")
    cluster: ClusterName
    identity: ClusterId
    epoch: int
    uid: Uid
    resourceversion: ResourceVersion
    cause: Cause
    managers: str = ""
    traceparent: str = ""


_encoder = msgspec.json.Encoder()
_fact = msgspec.json.Decoder(Fact)
_sync = msgspec.json.Decoder(SyncRecord)
