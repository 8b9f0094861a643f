"""Messages are, byte for byte, what the schema's own encoder makes, only faster."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.known import Change
from engine.core.objects import strip
from engine.core.watch_states import Sync
from schemas import subjects
from schemas.facts import Cause, FactId, FactType, SyncType, decode_fact, decode_sync, encode_fact
from schemas.names import ClusterId, ClusterName, ObjectRef, Resource, ResourceVersion, Uid
from watchers.fact_messages import FactMessages

DEPLOYMENTS = Resource("apps", "v1", "deployments")
NAME = st.sampled_from(["web-1", "a.b", "system:node:x", 'q"uote', "back\\slash", "é", "*", ">", "x y", "\x01", "%"])


def messages(resource: Resource = DEPLOYMENTS, cluster: str = "c1") -> FactMessages:
    identity = ClusterId("5f6c1a52")
    return FactMessages(
        cluster=ClusterName(cluster), identity=identity, epoch=7, resource=resource, ttl=60.0, run="run"
    )


@given(
    name=NAME,
    namespace=NAME | st.just(""),
    kind=st.sampled_from(FactType),
    cause=st.sampled_from(Cause),
    sync=st.sampled_from(["", "run-1"]),
    manager=st.sampled_from(["", "kubectl", "crosscurrent/foo"]),
    resource=st.sampled_from([DEPLOYMENTS, Resource("", "v1", "configmaps")]),
    cluster=st.sampled_from(["c1", "my.cluster", 'odd"name']),
)
def test_a_message_equals_what_encode_fact_makes(
    name: str,
    namespace: str,
    kind: FactType,
    cause: Cause,
    sync: str,
    manager: str,
    resource: Resource,
    cluster: str,
) -> None:
    fields = [{"manager": manager, "operation": "Apply", "fieldsV1": {}}] if manager else []
    raw = json.dumps({"metadata": {"name": name, "managedFields": fields}}).encode()
    change = Change(kind, namespace, name, Uid("u-1"), ResourceVersion("12"), cause, msgspec.Raw(raw), sync)
    message, refused = messages(resource, cluster).change(change, "2026-01-01T00:00:00.000Z")
    ref = ObjectRef(ClusterName(cluster), resource.group, resource.plural, namespace, name)
    deleted = kind is FactType.DELETED
    group, plural = resource.group, resource.plural
    fact_id = FactId(ClusterId("5f6c1a52"), 7, group, plural, Uid("u-1"), ResourceVersion("12"), deleted, sync)
    stripped = strip(raw)
    expected = encode_fact(
        fact_id,
        kind,
        ref,
        resource,
        cause=cause,
        time="2026-01-01T00:00:00.000Z",
        managers=stripped.managers,
        data=stripped.data,
    )
    assert not refused
    assert message.body == expected
    assert message.subject == subjects.fact(ref)
    assert message.id == str(fact_id)
    assert FactId.parse(message.id) == fact_id
    assert message.ttl == (60.0 if deleted else 0.0)


def test_an_object_that_must_not_be_published_becomes_a_fact_without_a_body() -> None:
    deep = b'{"metadata":{"name":"x"},"spec":' + b"[" * 300 + b"]" * 300 + b"}"
    change = Change(FactType.ADDED, "ns", "x", Uid("u"), ResourceVersion("1"), Cause.OBSERVED, msgspec.Raw(deep))
    message, refused = messages().change(change, "now")
    assert refused == "nested deeper than 128"
    assert bytes(decode_fact(message.body).data) == b"null"


def test_every_sync_record_has_an_id_of_its_own() -> None:
    encoder, sync = messages(), Sync(SyncType.GAP, ResourceVersion("5"), "run-1", "Expired")
    first, second = encoder.sync(sync, "t"), encoder.sync(sync, "t")
    assert first.id != second.id
    assert first.subject == "sync.c1.apps.deployments"
    record = decode_sync(first.body)
    assert (record.type, record.resourceversion, record.data.reason) == (SyncType.GAP, "5", "Expired")
    assert (record.identity, record.epoch) == ("5f6c1a52", 7)


@pytest.mark.parametrize("value", [{"a": 1}, {"a": [1, 2, {"b": None}]}])
def test_the_data_is_the_objects_own_json(value: Any) -> None:
    raw = json.dumps({"metadata": {"name": "x", "managedFields": []}, "spec": value}).encode()
    change = Change(FactType.ADDED, "", "x", Uid("u"), ResourceVersion("1"), Cause.LISTED, msgspec.Raw(raw))
    message, _ = messages().change(change, "now")
    assert json.loads(message.body)["data"] == {"metadata": {"name": "x"}, "spec": value}
