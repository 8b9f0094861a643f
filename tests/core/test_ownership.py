"""A reference across clusters survives the annotation; what cannot be read is no reference."""

from __future__ import annotations

import json

import msgspec
import pytest

from engine.core.ownership import (
    ADMIRALTY_ANNOTATION,
    OWNER_LABEL,
    OWNERS_ANNOTATION,
    OwnerReference,
    all_references,
    owned,
    owner_label,
    owner_references,
    without,
)
from schemas.names import ClusterId, ClusterName, Uid

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


ADMIRALTY = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "name": "web",
    "namespace": "shop",
    "uid": "u-legacy",
    "clusterName": "cluster1",
    "controller": True,
    "blockOwnerDeletion": True,
}


def test_multicluster_controllers_reference_is_read_and_its_cluster_found_by_name() -> None:
    metadata = {"annotations": {ADMIRALTY_ANNOTATION: msgspec.json.encode(ADMIRALTY).decode()}}
    (found,) = all_references(metadata, {ClusterName("cluster1"): ClusterId("id-1")})
    assert (found.cluster_id, found.uid, found.block_owner_deletion) == ("id-1", "u-legacy", True)
    (elsewhere,) = all_references(metadata, {})
    assert elsewhere.cluster_id == ""
    assert all_references({"annotations": {ADMIRALTY_ANNOTATION: "[]"}}) == ()


def test_dropping_a_reference_takes_its_label_along_and_leaves_what_cannot_be_read() -> None:
    one, two = (
        OwnerReference(
            cluster_id=ClusterId("id-1"), api_version="v1", kind="ConfigMap", name=name, uid=Uid(f"u-{name}")
        )
        for name in ("one", "two")
    )
    entries = [*msgspec.to_builtins([one, two]), {"future": True}]
    metadata = {
        "annotations": {OWNERS_ANNOTATION: msgspec.json.encode(entries).decode()},
        "labels": {OWNER_LABEL: "u-one", owner_label(Uid("u-two")): ""},
    }
    patch = without(metadata, [one])
    assert msgspec.json.decode(patch["annotations"][OWNERS_ANNOTATION]) == entries[1:]
    assert patch["labels"] == {OWNER_LABEL: None}
    freed = without(metadata, [], unblock=[two])
    assert msgspec.json.decode(freed["annotations"][OWNERS_ANNOTATION])[1]["blockOwnerDeletion"] is False


def test_dropping_the_last_reference_takes_the_annotation_away() -> None:
    one = OwnerReference(cluster_id=ClusterId("i"), api_version="v1", kind="ConfigMap", name="n", uid=Uid("u"))
    metadata = {"annotations": {OWNERS_ANNOTATION: msgspec.json.encode([one]).decode()}}
    assert without(metadata, [one]) == {"annotations": {OWNERS_ANNOTATION: None}}
