"""What a member may say of itself, and that it may say nothing of others (SEC-18)."""

from __future__ import annotations

import msgspec
import pytest

from engine.core.known import Change
from engine.core.member_rights import MemberIdentity, may_read, problem_of
from engine.core.watch_states import Sync
from engine.runtime.ports import Message
from schemas import subjects
from schemas.clusters import CLUSTERS, ClusterMeta, ClusterRecord, ClusterState, ClusterStatus, cluster_ref
from schemas.facts import Cause, FactId, FactType, SyncType, encode_fact
from schemas.members import LogMessage
from schemas.names import ClusterId, ClusterName, Resource, ResourceVersion, Uid
from watchers.fact_messages import FactMessages

DEPLOYMENTS = Resource("apps", "v1", "deployments")
ME = MemberIdentity(ClusterName("a.b"), ClusterId("id-1"))


def told(message: Message) -> LogMessage:
    return LogMessage(message.subject, message.body, message.id)


def fact(cluster: str = ME.cluster, identity: str = ME.identity, name: str = "web") -> LogMessage:
    messages = FactMessages(
        cluster=ClusterName(cluster), identity=ClusterId(identity), epoch=1, resource=DEPLOYMENTS, ttl=60, run="r"
    )
    change = Change(
        type=FactType.DELETED,
        cause=Cause.OBSERVED,
        namespace="ns",
        name=name,
        uid=Uid(name),
        version=ResourceVersion("7"),
    )
    return told(messages.change(change, "2026-11-26T00:00:00Z")[0])


def sync(cluster: str = ME.cluster, identity: str = ME.identity) -> LogMessage:
    messages = FactMessages(
        cluster=ClusterName(cluster), identity=ClusterId(identity), epoch=1, resource=DEPLOYMENTS, ttl=60, run="r"
    )
    return told(messages.sync(Sync(SyncType.COMPLETED, ResourceVersion("7")), "2026-11-26T00:00:00Z"))


def record(
    at: str = ME.cluster, name: str = ME.cluster, identity: str = ME.identity, uid: str | None = None
) -> LogMessage:
    status = ClusterStatus(state=ClusterState.LIVE, identity=ClusterId(identity), epoch=1)
    body = ClusterRecord(
        metadata=ClusterMeta(name=ClusterName(name), uid=ClusterId(identity if uid is None else uid)), status=status
    )
    ref = cluster_ref(ClusterName(at))
    fact_id = FactId(ClusterId(ME.identity), 1, ref.group, ref.resource, Uid(ME.identity), ResourceVersion("1"))
    encoded = encode_fact(
        fact_id,
        FactType.UPDATED,
        msgspec.structs.replace(ref, cluster=ME.cluster),
        CLUSTERS,
        cause=Cause.OBSERVED,
        time="",
        data=msgspec.json.encode(body),
    )
    return LogMessage(subjects.fact(ref), encoded, str(fact_id))


@pytest.mark.parametrize("message", [fact(), fact(name="with.dot * >"), sync(), record()])
def test_a_member_says_what_its_watcher_says(message: LogMessage) -> None:
    assert problem_of(ME, message) == ""


OWN, FOREIGN = fact(), fact("c", "id-2")
LIES = {
    "another's fact": FOREIGN,
    "another's sync record": sync("c", "id-2"),
    "its own subject around another's fact": LogMessage(OWN.subject, FOREIGN.body, OWN.id),
    "another's subject around its own fact": LogMessage(FOREIGN.subject, OWN.body, OWN.id),
    "another's identity": fact(identity="id-2"),
    "another's identity in a sync record": sync(identity="id-2"),
    "the id of another's fact, which would silence that": LogMessage(OWN.subject, OWN.body, FOREIGN.id),
    "no id": LogMessage(OWN.subject, OWN.body, ""),
    "another's identity in its record": record(identity="id-2"),
    "another's identity in its record's metadata": record(uid="id-2"),
    "another's name in its record": record(name="c"),
    "the record of another": record(at="c", name="c"),
    "a subject of another stream": LogMessage(OWN.subject.replace("facts", "requests", 1), OWN.body, OWN.id),
    "a command of the protocol in its subject": LogMessage(f"{OWN.subject}\r\nPUB x 0\r\n", OWN.body, OWN.id),
    "a wildcard": LogMessage(subjects.facts_of(ME.cluster), OWN.body, OWN.id),
    "what is no fact": LogMessage(OWN.subject, b"{}", OWN.id),
    "nothing": LogMessage("", b"", ""),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_member_cannot_say(lie: str) -> None:
    assert problem_of(ME, LIES[lie])


def test_a_header_cannot_be_smuggled_in_through_an_id() -> None:
    body = OWN.body.replace(OWN.id.encode(), f"{OWN.id}\\r\\nNats-Rollup: sub".encode())
    message = LogMessage(OWN.subject, body, f"{OWN.id}\r\nNats-Rollup: sub")
    assert problem_of(ME, message)


def test_a_member_reads_only_what_is_its_own() -> None:
    assert may_read(ME, OWN.subject)
    assert may_read(ME, subjects.facts_of(ME.cluster, "apps", "deployments"))
    for pattern in ("facts.>", "facts.*.>", ">", "", FOREIGN.subject, "decisions.a%2Eb.>", "facts.a.b"):
        assert not may_read(ME, pattern)
