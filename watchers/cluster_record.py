"""The record of a cluster as a fact, for whoever has something to say of the cluster."""

from __future__ import annotations

import msgspec

from engine.runtime.ports import Clock, FactLog, Message
from schemas import subjects
from schemas.clusters import CLUSTERS, ClusterMeta, ClusterRecord, ClusterState, ClusterStatus, cluster_ref
from schemas.facts import Cause, FactId, FactType, encode_fact
from schemas.names import ClusterName, ResourceVersion, Uid
from watchers.fact_messages import rfc3339
from watchers.standing import load_cluster


def record_message(name: ClusterName, status: ClusterStatus, labels: dict[str, str], version: int) -> Message:
    """Return the message of a cluster's record.

    Args:
        name: of the cluster.
        status: what is known of it.
        labels: of the cluster.
        version: larger than that of every record before; milliseconds since the epoch, mostly.

    """
    record = ClusterRecord(metadata=ClusterMeta(name=name, uid=status.identity, labels=labels), status=status)
    ref = cluster_ref(name)
    fact_id = FactId(
        status.identity,
        status.epoch,
        ref.group,
        ref.resource,
        Uid(status.identity),
        ResourceVersion(str(version)),
    )
    body = encode_fact(
        fact_id,
        FactType.UPDATED,
        ref,
        CLUSTERS,
        cause=Cause.OBSERVED,
        time=rfc3339(version / 1000),
        data=msgspec.json.encode(record),
    )
    return Message(subject=subjects.fact(ref), body=body, id=str(fact_id))


async def restate(log: FactLog, clock: Clock, name: ClusterName, reason: str, message: str) -> ClusterStatus | None:
    """Publish that a cluster is suspect, although its watcher does not say so; return what was said before.

    Args:
        log: where to.
        clock: time.
        name: of the cluster; nothing is published of one that has no record, or this one already.
        reason: CamelCase.
        message: for people.

    Raises:
        EventLogError: when it cannot be told whether it was published.

    """
    record = await load_cluster(log, name)
    if record is None or record.status.reason == reason:
        return None
    now = clock.time()
    status = msgspec.structs.replace(
        record.status, state=ClusterState.SUSPECT, reason=reason, message=message, since=rfc3339(now)
    )
    await log.publish([record_message(name, status, record.metadata.labels, int(now * 1000))])
    return record.status
