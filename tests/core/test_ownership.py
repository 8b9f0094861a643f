"""A reference across clusters survives the annotation; what cannot be read is no reference."""

from __future__ import annotations

import json

import pytest

from engine.core.ownership import OWNER_LABEL, OWNERS_ANNOTATION, OwnerReference, owned, owner_references
from schemas.names import ClusterId, Uid

OWNER = OwnerReference(
    cluster_id=ClusterId("id"),
    api_version="g/v1",
    kind="Foo",
    name="n",
    uid=Uid("u"),
    namespace="ns",
    controller=True,
    block_owner_deletion=True,
    resource="foos",
)


def test_an_owned_body_names_its_owner_by_annotation_and_label() -> None:
    body = owned({"metadata": {"name": "x", "labels": {"a": "b"}}}, OWNER)

    assert owner_references(body["metadata"]) == (OWNER,)
    assert body["metadata"]["labels"] == {"a": "b", OWNER_LABEL: "u"}
    entry = json.loads(body["metadata"]["annotations"][OWNERS_ANNOTATION])[0]
    assert entry["clusterID"] == "id"
    assert entry["blockOwnerDeletion"] is True


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", '[{"uid": "u"}]', '[{"clusterID": 1}]', None, 7])
def test_a_malformed_reference_is_no_reference(text: object) -> None:
    assert owner_references({"annotations": {OWNERS_ANNOTATION: text}}) == ()


def test_one_bad_entry_does_not_hide_the_good_one() -> None:
    good = json.loads(owned({"metadata": {}}, OWNER)["metadata"]["annotations"][OWNERS_ANNOTATION])
    assert owner_references({"annotations": {OWNERS_ANNOTATION: json.dumps([{"x": 1}, *good])}}) == (OWNER,)
