from __future__ import annotations

import msgspec
import pytest

from engine.sandbox.simulator.builtin import load
from engine.sandbox.simulator.discovery import Discovery, version_priority
from engine.sandbox.simulator.openapi import OpenApi
from engine.sandbox.simulator.resource_types import ResourceType, TypeRegistry
from engine.sandbox.simulator.subresources import subresource_verbs


def custom(version: str, **more: object) -> ResourceType:
    return ResourceType(
        "things.example.com",
        version,
        "things",
        "thing",
        "Thing",
        "ThingList",
        namespaced=True,
        load_schema=lambda: None,  # type: ignore[arg-type, return-value]
        custom=True,
        **more,  # type: ignore[arg-type]
    )


def test_versions_are_told_the_stable_and_newest_first() -> None:
    versions = ["v1alpha1", "v2", "foo1", "v1", "v1beta2", "v11alpha2", "v10", "v1beta1", "bar", "v2beta1"]
    assert sorted(versions, key=version_priority, reverse=True) == [
        "v10",
        "v2",
        "v1",
        "v2beta1",
        "v1beta2",
        "v1beta1",
        "v11alpha2",
        "v1alpha1",
        "foo1",
        "bar",
    ]


def test_documents_follow_what_is_served() -> None:
    types = TypeRegistry(load())
    discovery, openapi = Discovery(types), OpenApi(types, "v1.36.3")
    before = discovery.aggregated(core=False)
    assert discovery.aggregated(core=False) is before
    assert discovery.resources("things.example.com", "v1") is None
    assert openapi.document("apis/things.example.com/v1") is None
    types.add(custom("v1", has_status=True))
    types.add(custom("v2"))
    assert discovery.aggregated(core=False).etag != before.etag
    group = discovery.group("things.example.com")
    assert group is not None
    assert group["preferredVersion"]["version"] == "v2"
    document = discovery.resources("things.example.com", "v1")
    assert document is not None
    assert [one["name"] for one in msgspec.json.decode(document.body)["resources"]] == ["things", "things/status"]
    types.remove("things.example.com", "v1", "things")
    types.remove("things.example.com", "v2", "things")
    assert discovery.aggregated(core=False).etag == before.etag
    assert not discovery.serves("things.example.com", "v1")


@pytest.mark.parametrize("path", sorted({f"apis/{r.group_version}" if r.group else "api/v1" for r in load()}))
def test_every_reference_of_an_openapi_document_is_in_it(path: str) -> None:
    document = OpenApi(TypeRegistry(load()), "v1.36.3").document(path)
    assert document is not None
    schemas = msgspec.json.decode(document.body)["components"]["schemas"]
    text = document.body.decode()
    wanted = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert wanted <= schemas.keys()
    assert "x-go" not in text


def test_an_openapi_document_of_a_custom_resource_has_its_schema_and_the_metadata() -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}}}}}
    openapi = OpenApi(TypeRegistry([custom("v1", openapi_schema=schema)]), "v1.36.3")
    document = openapi.document("apis/things.example.com/v1")
    assert document is not None
    schemas = msgspec.json.decode(document.body)["components"]["schemas"]
    thing = schemas["com.example.things.v1.Thing"]
    assert thing["x-kubernetes-group-version-kind"] == [
        {"group": "things.example.com", "version": "v1", "kind": "Thing"}
    ]
    assert thing["properties"].keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" in schemas


def test_the_index_changes_with_a_definition_and_only_for_it() -> None:
    types = TypeRegistry([*load(), custom("v1", openapi_schema={"type": "object"})])
    openapi = OpenApi(types, "v1.36.3")
    before = msgspec.json.decode(openapi.index().body)["paths"]
    types.add(custom("v1", openapi_schema={"type": "object", "description": "changed"}))
    after = msgspec.json.decode(openapi.index().body)["paths"]
    assert {path for path in before if before[path] != after[path]} == {"apis/things.example.com/v1"}


def test_subresources_have_verbs_of_their_own() -> None:
    pods = next(one for one in load() if one.resource == "pods")
    assert subresource_verbs(pods, "eviction") == ("create",)
    assert subresource_verbs(pods, "status") == ("get", "patch", "update")
    assert subresource_verbs(pods, "zork") == ()
