"""How answers may be asked for: tables, metadata alone, YAML, compressed; and what tells clients what is served."""

from __future__ import annotations

import json
import re

import yaml

from tests.api_session import ApiSession
from tests.contracts.api_server.servers import Place, config_map

TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def test_a_table_has_the_types_columns(place: Place) -> None:
    await place.make_deployment(replicas=2)
    await place.make_map(data={"a": "1", "b": "2"})
    table = await place.session.get(place.deployments, accept=TABLE)
    assert (table.body["kind"], table.body["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    columns = [(column["name"], column["priority"]) for column in table.body["columnDefinitions"]]
    assert columns == [
        ("Name", 0), ("Ready", 0), ("Up-to-date", 0), ("Available", 0), ("Age", 0),
        ("Containers", 1), ("Images", 1), ("Selector", 1),
    ]  # fmt: skip
    (row,) = table.body["rows"]
    assert row["cells"][:4] == ["a", "0/2", 0, 0]
    assert re.fullmatch(r"\d+s", row["cells"][4])
    assert row["cells"][5:] == ["main", "nginx:1", "app=a"]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    maps = await place.session.get(f"{place.maps}/a", accept=TABLE)
    assert [row["cells"][:2] for row in maps.body["rows"]] == [["a", 2]]


async def test_a_tables_rows_hold_what_is_asked_for(place: Place) -> None:
    made = await place.make_map()
    whole = await place.session.get(f"{place.maps}/a", accept=TABLE, includeObject="Object")
    assert whole.body["rows"][0]["object"] == made.body
    nothing = await place.session.get(f"{place.maps}/a", accept=TABLE, includeObject="None")
    assert nothing.body["rows"][0]["object"] is None


async def test_a_watch_can_be_of_tables(place: Place) -> None:
    start = (await place.session.get(place.maps)).version
    async with place.session.watch(place.maps, accept=TABLE, resourceVersion=start) as stream:
        await place.make_map("a")
        await place.make_map("b")
        first, second = await stream.take(2)
    assert first["object"]["kind"] == second["object"]["kind"] == "Table"
    assert first["object"]["columnDefinitions"]
    assert second["object"]["columnDefinitions"] is None  # said once
    assert [one["object"]["rows"][0]["cells"][0] for one in (first, second)] == ["a", "b"]


async def test_metadata_alone_can_be_asked_for(place: Place) -> None:
    made = await place.make_map(data={"a": "1"})
    one = await place.session.get(f"{place.maps}/a", accept=METADATA)
    assert one.body == {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": made.metadata}
    many = await place.session.get(place.maps, accept=METADATA_LIST)
    assert many.body["kind"] == "PartialObjectMetadataList"
    assert [item["metadata"] for item in many.body["items"]] == [made.metadata]
    patched = await place.session.patch(f"{place.maps}/a", {"data": {"b": "2"}}, accept=METADATA)
    assert patched.body["kind"] == "PartialObjectMetadata"


async def test_a_form_that_is_not_known_falls_back_or_is_refused(place: Place) -> None:
    made = await place.make_map()
    unknown = TABLE.replace("v1", "v9")
    refused = await place.session.get(f"{place.maps}/a", accept=unknown)
    assert refused.failed() == (406, "NotAcceptable")
    fallback = await place.session.get(f"{place.maps}/a", accept=f"{unknown},application/json")
    assert fallback.body == made.body


async def test_yaml_goes_in_and_comes_out(place: Place) -> None:
    text = yaml.safe_dump(config_map("a", {"k": "text\nof two lines"}))
    made = await place.session.post(place.maps, text.encode(), content_type="application/yaml")
    assert made.status == 201
    answer = await place.session.get(f"{place.maps}/a", accept="application/yaml")
    assert answer.headers["Content-Type"] == "application/yaml"
    assert yaml.safe_load(answer.body) == made.body


async def test_the_version_is_told(session: ApiSession) -> None:
    version = await session.get("/version")
    assert version.body["gitVersion"] == "v1.36.3"
    assert (version.body["major"], version.body["minor"]) == ("1", "36")


async def test_health_is_told(session: ApiSession) -> None:
    for path in ("/healthz", "/livez", "/readyz"):
        assert (await session.get(path)).body == "ok"
    verbose = await session.get("/readyz", verbose="true")
    assert verbose.body.startswith("[+]ping ok\n")
    assert verbose.body.endswith("readyz check passed\n")


async def test_groups_and_versions_are_discovered_one_by_one(session: ApiSession) -> None:
    core = await session.get("/api")
    assert (core.body["kind"], core.body["versions"]) == ("APIVersions", ["v1"])
    groups = {group["name"]: group for group in (await session.get("/apis")).body["groups"]}
    assert groups["apps"]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert "" not in groups
    assert (await session.get("/apis/apps")).body["kind"] == "APIGroup"
    resources = {one["name"]: one for one in (await session.get("/apis/apps/v1")).body["resources"]}
    assert resources["deployments"] | {"storageVersionHash": ""} == {
        "name": "deployments",
        "singularName": "deployment",
        "namespaced": True,
        "kind": "Deployment",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["deploy"],
        "categories": ["all"],
        "storageVersionHash": "",
    }
    assert resources["deployments/scale"]["kind"] == "Scale"
    assert resources["deployments/scale"]["group"] == "autoscaling"
    assert resources["deployments/status"]["verbs"] == ["get", "patch", "update"]


async def test_everything_is_discovered_at_once(session: ApiSession) -> None:
    answer = await session.get("/apis", accept=AGGREGATED)
    assert answer.headers["Content-Type"] == AGGREGATED
    assert (answer.body["kind"], answer.body["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2")
    apps = next(group for group in answer.body["items"] if group["metadata"]["name"] == "apps")
    (version,) = apps["versions"]
    resources = {one["resource"]: one for one in version["resources"]}
    assert resources["deployments"]["responseKind"] == {"group": "", "version": "", "kind": "Deployment"}
    assert resources["deployments"]["scope"] == "Namespaced"
    assert {one["subresource"] for one in resources["deployments"]["subresources"]} == {"scale", "status"}
    core = await session.get("/api", accept=AGGREGATED)
    assert [group["metadata"].get("name", "") for group in core.body["items"]] == [""]


async def test_schemas_are_told_group_by_group(session: ApiSession) -> None:
    index = json.loads((await session.get("/openapi/v3")).body)
    assert {"api/v1", "apis/apps/v1"} <= index["paths"].keys()
    document = await session.get(index["paths"]["apis/apps/v1"]["serverRelativeURL"])
    assert document.body["openapi"].startswith("3.0")
    schemas = document.body["components"]["schemas"]
    spec = schemas["io.k8s.api.apps.v1.DeploymentSpec"]
    assert spec["properties"]["replicas"] == {**spec["properties"]["replicas"], "type": "integer", "format": "int32"}
    path = document.body["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    assert "fieldValidation" in {parameter["name"] for parameter in path["patch"]["parameters"]}


async def test_a_large_list_is_compressed_when_that_is_accepted(place: Place) -> None:
    for name in ("a", "b"):
        await place.make_map(name, {"k": "x" * 100_000})
    answer = await place.session.get(place.maps, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.names == ["a", "b"]
    plain = await place.session.get(place.maps, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
