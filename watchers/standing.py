"""What the log holds: the known-set and the checkpoint of a type, and the record of a cluster (W-20)."""

from __future__ import annotations

import msgspec
import structlog

from engine.core.epoch import Standing
from engine.core.known import Key, Seen
from engine.runtime.ports import FactLog
from schemas import subjects
from schemas.clusters import CLUSTERS, ClusterRecord, cluster_ref
from schemas.facts import FactId, SyncRecord, decode_fact, decode_sync
from schemas.names import ClusterName, Resource, ResourceVersion, comparable, newer

STATE = "STATE"

_log = structlog.get_logger(__name__)


class TypeStanding(msgspec.Struct, frozen=True):
    """What STATE holds of one resource type of one cluster."""

    known: dict[Key, Seen]
    """The objects that it holds as alive."""
    version: ResourceVersion
    """Where a watch may resume; empty where the type must be listed."""
    gap: str
    """Reason of a GAP that stands, e.g. TypeGone."""


async def load_type(log: FactLog, cluster: ClusterName, resource: Resource, current: Standing) -> TypeStanding:
    """Read the known-set and the checkpoint of a type from STATE, headers only.

    A watch may resume at the last sync record if that says synced in this identity and epoch; facts that came after it
    are published in order, so the newest of them is a later checkpoint.

    Raises:
        EventLogError: when STATE cannot be read.

    """
    # The record first: facts published meanwhile then count, and none is missed.
    sync = await _last_sync(log, cluster, resource)
    known: dict[Key, Seen] = {}
    newest = ResourceVersion("")
    pattern = subjects.facts_of(cluster, resource.group, resource.plural)
    async for record in log.scan(STATE, [pattern], headers_only=True):
        try:
            ref, fact = subjects.parse_fact(record.subject), FactId.parse(record.id)
        except ValueError:
            _log.warning("not a fact in STATE", subject=record.subject, id=record.id)
            continue
        old = (fact.identity, fact.epoch) != (current.identity, current.epoch)
        if not old and comparable(fact.version) and (not newest or newer(fact.version, newest)):
            newest = fact.version
        if not fact.deleted:
            known[ref.namespace, ref.name] = Seen(fact.uid, fact.version, old)
    gap = sync.data.reason if sync is not None and not sync.synced else ""
    here = sync is not None and (sync.identity, sync.epoch) == (current.identity, current.epoch)
    if sync is None or not here or not sync.synced or not sync.resourceversion:
        return TypeStanding(known, ResourceVersion(""), gap)
    version = sync.resourceversion
    if newest and comparable(version) and newer(newest, version):
        version = newest
    return TypeStanding(known, version, gap)


async def load_cluster(log: FactLog, cluster: ClusterName) -> ClusterRecord | None:
    """Return the last record of a cluster, None where there is none or it cannot be read.

    Raises:
        EventLogError: when STATE cannot be read.

    """
    subject = subjects.fact(cluster_ref(cluster))
    stored = (await log.last(STATE, [subject])).get(subject)
    if stored is None:
        return None
    try:
        fact = decode_fact(stored.body)
        return None if fact.deleted else msgspec.json.decode(fact.data, type=ClusterRecord)
    except msgspec.DecodeError as error:
        _log.warning("the cluster's record cannot be read", cluster=cluster, group=CLUSTERS.group, error=str(error))
        return None


async def _last_sync(log: FactLog, cluster: ClusterName, resource: Resource) -> SyncRecord | None:
    subject = subjects.sync(cluster, resource.group, resource.plural)
    stored = (await log.last(STATE, [subject])).get(subject)
    if stored is None:
        return None
    try:
        return decode_sync(stored.body)
    except msgspec.DecodeError:
        return None
