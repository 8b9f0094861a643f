"""What a member may say: facts and sync records of its own cluster, under its own identity (SEC-18). Pure.

A member that was broken into must not be able to make others believe things of other clusters: that an owner there is gone,
for one, which would get its dependents deleted. So the subject, the id (it may silence another message of the same id), the
envelope, and the cluster's record, by which everybody tells identities, all have to name the member and nobody else.
"""

from __future__ import annotations

import msgspec

from schemas import subjects
from schemas.clusters import CLUSTERS, ClusterRecord, cluster_ref
from schemas.facts import decode_fact, decode_sync
from schemas.members import LogMessage
from schemas.names import ClusterId, ClusterName


class MemberIdentity(msgspec.Struct, frozen=True):
    """Who a member is, by its ClusterJoin."""

    cluster: ClusterName
    identity: ClusterId


def problem_of(member: MemberIdentity, message: LogMessage) -> str:
    """Return what a member may not say in a message, empty where it may."""
    said = _said(message)
    if said is None:
        return f"{message.subject!r} holds no fact or sync record"
    about, name, cluster, identity = said
    if (about, cluster) != (member.cluster, member.cluster):
        return f"{message.subject} is not about {member.cluster}"
    record = subjects.fact(cluster_ref(member.cluster))
    if message.subject == record:
        known = ("", member.identity)  # empty while it does not answer: that proves nothing
        if identity not in known or not _is_record(member, message, identity):
            return f"the record of {member.cluster} names another cluster"
    elif message.subject.startswith(subjects.facts_of(member.cluster, CLUSTERS.group, CLUSTERS.plural)[:-1]):
        return f"{message.subject} is not the record of {member.cluster}"
    elif identity != member.identity:
        return f"{message.subject} has another identity than {member.cluster} joined with"
    # What stands in a header must not begin another.
    if name != message.id or message.id.partition("/")[0] != identity or not message.id.isprintable():
        return f"the id of {message.subject} is not the one that it must have"
    return ""


def may_read(member: MemberIdentity, pattern: str) -> bool:
    """Return whether a member may read what a subject or filter of STATE matches: facts and sync records of its own."""
    tokens = pattern.split(".")
    return tokens[0] in (subjects.FACTS, subjects.SYNC) and tokens[1:2] == [subjects.escape(member.cluster)]


def _said(message: LogMessage) -> tuple[ClusterName, str, ClusterName, ClusterId] | None:
    """Return (cluster of the subject, id, cluster and identity of the envelope); None where it is not as we write it."""
    try:
        if message.subject.startswith(f"{subjects.SYNC}."):
            place = subjects.parse_sync(message.subject)
            record = decode_sync(message.body)
            said = (place[0], record.id, record.cluster, record.identity)
            written = subjects.sync(*place)
        else:
            ref = subjects.parse_fact(message.subject)
            fact = decode_fact(message.body)
            said = (ref.cluster, fact.id, fact.cluster, fact.identity)
            written = subjects.fact(ref)
    except (ValueError, msgspec.DecodeError):
        return None
    # Spelt in another way it might hold what the protocol takes for a command.
    return said if written == message.subject else None


def _is_record(member: MemberIdentity, message: LogMessage, identity: ClusterId) -> bool:
    try:
        record = msgspec.json.decode(decode_fact(message.body).data, type=ClusterRecord)
    except msgspec.DecodeError:
        return False
    return (record.metadata.name, record.metadata.uid, record.status.identity) == (member.cluster, identity, identity)
