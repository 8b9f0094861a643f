"""Foreseen facts: the server's answer to a write is the fact that the watch will bring, or it is left to the watch."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.core.foresight import foresee, is_foreseen
from engine.core.known import Change
from engine.core.objects import MAX_DEPTH
from engine.core.view import Known, View
from schemas.decisions import Entry, EntryState, decode_foresight, encode_entry
from schemas.facts import Cause, FactType, decode_fact
from schemas.names import ObjectRef, ResourceVersion, Uid
from tests.builders import C1, C2, DEPLOYMENTS, FOOS, a_view, deployment_ref, foo_body, foo_ref, identity
from watchers.fact_messages import FactMessages

TYPES = (FOOS, DEPLOYMENTS)
CHILD = deployment_ref(C2)


def answer(**metadata: Any) -> bytes:
    """A Deployment as a server answers an apply of ours."""
    managed = [{"manager": "crosscurrent/foo", "operation": "Apply", "fieldsV1": {"f:spec": {}}}]
    meta = {"name": "example-foo", "namespace": "default", "uid": "child", "resourceVersion": "21"}
    return msgspec.json.encode(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta | {"managedFields": managed} | metadata,
            "spec": {"replicas": 2},
        }
    )


def seen(body: bytes = b"", ref: ObjectRef = CHILD, types: Any = TYPES) -> tuple[View, tuple[str, ...]]:
    view = a_view((foo_ref(), foo_body()))
    return view, foresee(view, {ref: body or answer()}, types)


def test_an_answer_becomes_the_fact_that_the_watcher_will_publish() -> None:
    view, ids = seen()
    watcher = FactMessages(cluster=C2, identity=identity(C2), epoch=1, resource=DEPLOYMENTS, ttl=1.0, run="r")
    shown = Change(
        FactType.UPDATED,
        "default",
        "example-foo",
        Uid("child"),
        ResourceVersion("21"),
        Cause.OBSERVED,
        msgspec.Raw(answer()),
    )
    message, _ = watcher.change(shown, "")
    assert ids == (message.id,)
    assert view.rows[CHILD].fact == decode_fact(message.body)


def test_a_written_object_is_in_view_in_the_place_of_what_was_known() -> None:
    view = a_view((foo_ref(), foo_body()), (CHILD, msgspec.json.decode(answer(resourceVersion="20"))))
    before = view.get(CHILD)
    foresee(view, {CHILD: answer()}, TYPES)
    after = view.get(CHILD)
    assert before is not None
    assert after is not None
    assert (before.version, after.version, after.seq) == ("20", "21", before.seq)
    assert view.known(CHILD) is Known.PRESENT


@pytest.mark.parametrize(
    ("body", "ref", "types"),
    [
        (answer(), CHILD, (FOOS,)),
        (answer(), CHILD, (FOOS, msgspec.structs.replace(DEPLOYMENTS, version="v1beta1"))),
        (answer(deletionTimestamp="2026-11-23T00:00:00Z"), CHILD, TYPES),
        (answer(), ObjectRef(C2, "", "secrets", "default", "s"), TYPES),
        (answer(), CHILD.on(type(C1)("undeclared")), TYPES),
        (
            answer(x="[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)).replace(b'"[', b"[").replace(b']"', b"]"),
            CHILD,
            TYPES,
        ),
        (b'{"kind":"Status"}', CHILD, TYPES),
    ],
    ids=["not its type", "another version", "being deleted", "secret", "undeclared cluster", "too deep", "no object"],
)
def test_what_the_watch_may_show_otherwise_is_left_to_it(body: bytes, ref: ObjectRef, types: Any) -> None:
    view, ids = seen(body, ref, types)
    assert ids == ()
    assert ref not in view.rows


def test_only_the_very_fact_is_foreseen_and_only_by_the_same_code() -> None:
    whole = Entry(state=EntryState.CLOSED, worker="w", reconciler="foo", code="c1", now=0.0, foreseen=("a/1", "a/2"))
    entry = decode_foresight(encode_entry(whole))
    assert is_foreseen(entry, "a/2", "c1")
    assert not is_foreseen(entry, "a/2", "c2")
    assert not is_foreseen(entry, "a/3", "c1")
    assert not is_foreseen(entry, "", "c1")
