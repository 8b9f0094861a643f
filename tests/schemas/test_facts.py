"""Facts are CloudEvents around untouched bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.facts import Cause, FactId, FactType, SyncType, decode_fact, decode_sync, encode_fact
from schemas.names import ClusterId, ResourceVersion, Uid
from tests.builders import C1, DEPLOYMENTS, deployment_ref, sync_fact

ID = FactId(ClusterId("id"), 3, "apps", "deployments", Uid("u"), ResourceVersion("12"))


def test_a_fact_is_a_cloudevent_that_any_json_reader_understands() -> None:
    data = b'{"metadata": {"name":"x" } ,"spec":1e2}'
    body = encode_fact(ID, FactType.ADDED, deployment_ref(C1), DEPLOYMENTS, cause=Cause.LISTED, time="t", data=data)
    event = json.loads(body)

    assert data in body
    assert {name: event[name] for name in ("specversion", "id", "source", "type", "subject", "datacontenttype")} == {
        "specversion": "1.0",
        "id": "id/3/apps/deployments/u/12/live",
        "source": "/clusters/cluster1/apis/apps/v1/deployments",
        "type": "dev.crosscurrent.object.added.v1",
        "subject": "default/example-foo",
        "datacontenttype": "application/json",
    }
    assert all(name.isalnum() and name.islower() for name in event)
    assert all(isinstance(value, str | int) for name, value in event.items() if name != "data")


def test_a_reader_gets_back_what_was_written() -> None:
    body = encode_fact(
        ID,
        FactType.DELETED,
        deployment_ref(C1),
        DEPLOYMENTS,
        cause=Cause.INFERRED,
        time="t",
        managers="crosscurrent/foo=ab",
    )
    fact = decode_fact(body)

    assert fact.deleted
    assert (fact.cause, fact.epoch, bytes(fact.data)) == (Cause.INFERRED, 3, b"null")
    assert fact.manager_hash("crosscurrent/foo") == "ab"
    assert not fact.manager_hash("crosscurrent/fo")


@given(st.booleans(), st.sampled_from(["", "s1"]), st.integers(min_value=0))
def test_the_id_of_a_fact_round_trips(deleted: bool, sync: str, epoch: int) -> None:
    fact_id = FactId(ClusterId("id"), epoch, "", "pods", Uid("u"), ResourceVersion("1"), deleted, sync)
    assert FactId.parse(str(fact_id)) == fact_id


@pytest.mark.parametrize("text", ["", "a/b", "i/1/g/r/u/1/gone", "i/x/g/r/u/1/live"])
def test_another_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not the id|invalid literal"):
        FactId.parse(text)


@pytest.mark.parametrize(
    ("kind", "synced"),
    [(SyncType.STARTED, False), (SyncType.COMPLETED, True), (SyncType.BOOKMARK, True), (SyncType.GAP, False)],
)
def test_contents_are_known_after_completion_only(kind: SyncType, synced: bool) -> None:
    assert decode_sync(sync_fact(C1, DEPLOYMENTS, kind)).synced is synced
