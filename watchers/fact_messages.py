"""Messages of one resource type in one epoch of one cluster: changes and sync records, ready to publish."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from engine.core.federated_secrets import FederatedRedactor
from engine.core.known import Change
from engine.core.objects import NULL, ObjectRefused, Stripped, strip
from engine.core.redaction import Redactor
from engine.core.watch_states import Sync
from engine.runtime.ports import Message
from schemas import subjects
from schemas.facts import FactId, FactType, SyncData, SyncRecord, encode_fact, encode_sync, source
from schemas.names import ClusterId, ClusterName, ObjectRef, Resource

_PLAIN = re.compile(r"[A-Za-z0-9_:.\-]+")
"""Text that needs no escaping in JSON."""
_PLAIN_MANAGERS = re.compile(r"[A-Za-z0-9_:.\-/= ]*")
_NAMESPACES = 10_000
"""Escaped namespaces remembered per type; beyond that they are computed again."""


def rfc3339(wall: float) -> str:
    """Return a wall time in seconds since the epoch as RFC 3339 UTC with milliseconds."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class FactMessages:
    """Encodes for one (cluster, identity, epoch, resource); everything that is the same for all facts is made once.

    Args:
        cluster: configured name.
        identity: of the cluster.
        epoch: of the cluster.
        resource: the type.
        ttl: seconds that tombstones live.
        run: distinguishes this run's sync records.
        redactor: for what may hold values of Secrets, else None.

    """

    def __init__(
        self,
        *,
        cluster: ClusterName,
        identity: ClusterId,
        epoch: int,
        resource: Resource,
        ttl: float,
        run: str,
        redactor: Redactor | FederatedRedactor | None = None,
    ) -> None:
        self.cluster, self.identity, self.epoch, self.resource = cluster, identity, epoch, resource
        self._ttl, self._run, self._syncs = ttl, run, 0
        self._strip = redactor.strip if redactor is not None else strip
        self._sync_subject = subjects.sync(cluster, resource.group, resource.plural)
        self._subject = subjects.facts_of(cluster, resource.group, resource.plural).removesuffix(">")
        self._id = f"{identity}/{epoch}/{resource.group}/{resource.plural}/"
        self._namespaces: dict[str, str] = {}
        self._plain = all(_PLAIN.fullmatch(text) for text in (cluster, identity, resource.plural))
        self._source = f'","source":"{source(cluster, resource)}","type":"'
        self._place = f'","datacontenttype":"application/json","cluster":"{cluster}","identity":"{identity}",'

    def change(self, change: Change, time: str) -> tuple[Message, str]:
        """Return the message of a fact seen at `time` (RFC 3339), and why its body had to be left out, if it had."""
        stripped, refused = Stripped(NULL), ""
        if change.object is not None:
            try:
                stripped = self._strip(change.object)
            except ObjectRefused as error:
                refused = str(error)
        return self._message(change, time, stripped), refused

    def without_body(self, change: Change, time: str) -> Message:
        """Return the message of a fact that says no more than which object and version it is."""
        return self._message(change, time, Stripped(NULL))

    def sync(self, sync: Sync, time: str) -> Message:
        """Return the message of a sync record; each has an id of its own, so that none is taken for a duplicate."""
        self._syncs += 1
        name = f"{self._id}sync/{self._run}/{self._syncs}"
        record = SyncRecord(
            id=name,
            type=sync.type,
            subject=str(self.resource),
            time=time,
            cluster=self.cluster,
            identity=self.identity,
            epoch=self.epoch,
            resourceversion=sync.version,
            data=SyncData(sync=sync.sync, reason=sync.reason, objects=sync.objects),
        )
        return Message(subject=self._sync_subject, body=encode_sync(record, self.resource), id=name)

    def _message(self, change: Change, time: str, stripped: Stripped) -> Message:
        deleted = change.type is FactType.DELETED
        namespace, name = change.namespace, change.name
        verb = "deleted" if deleted else "live"
        tail = f"/{change.sync}" if change.sync else ""
        fact_id = f"{self._id}{change.uid}/{change.version}/{verb}{tail}"
        subject = f"{self._subject}{self._namespace(namespace)}.{subjects.escape(name)}"
        if (
            self._plain
            and _PLAIN.fullmatch(f"{namespace}{name}{change.uid}{change.version}")
            and _PLAIN_MANAGERS.fullmatch(stripped.managers)
        ):
            place = f"{namespace}/{name}" if namespace else name
            managers = f'","managers":"{stripped.managers}' if stripped.managers else ""
            head = (
                f'{{"specversion":"1.0","id":"{fact_id}{self._source}{change.type.value}","subject":"{place}",'
                f'"time":"{time}{self._place}"epoch":{self.epoch},"uid":"{change.uid}",'
                f'"resourceversion":"{change.version}","cause":"{change.cause.value}{managers}","data":'
            )
            body = b"%b%b}" % (head.encode(), stripped.data)
        else:
            body = self._encode(change, time, stripped)
        return Message(subject=subject, body=body, id=fact_id, ttl=self._ttl if deleted else 0.0)

    def _encode(self, change: Change, time: str, stripped: Stripped) -> bytes:
        group, plural = self.resource.group, self.resource.plural
        deleted = change.type is FactType.DELETED
        return encode_fact(
            FactId(self.identity, self.epoch, group, plural, change.uid, change.version, deleted, change.sync),
            change.type,
            ObjectRef(self.cluster, group, plural, change.namespace, change.name),
            self.resource,
            cause=change.cause,
            time=time,
            managers=stripped.managers,
            data=stripped.data,
        )

    def _namespace(self, namespace: str) -> str:
        token = self._namespaces.get(namespace)
        if token is None:
            token = subjects.escape(namespace) if namespace else "_"
            if len(self._namespaces) < _NAMESPACES:
                self._namespaces[namespace] = token
        return token
