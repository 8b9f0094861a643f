"""Custom resources: definitions, structural schemas, defaults, validation, pruning, subresources, versions, and their end."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from tests.api_session import APPLY, STRATEGIC_PATCH, Answer, ApiSession, Json
from tests.contracts.api_server.servers import Place

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
numbers = itertools.count(1)

SCHEMA: Json = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["color"],
            "properties": {
                "color": {"type": "string", "enum": ["red", "green"]},
                "size": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
                "title": {"type": "string", "maxLength": 5, "pattern": "^[a-z]*$"},
                "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "parts": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {"name": {"type": "string"}, "count": {"type": "integer", "default": 1}},
                    },
                },
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "percent": {"x-kubernetes-int-or-string": True},
                "nested": {
                    "type": "object",
                    "default": {},
                    "properties": {"mode": {"type": "string", "default": "auto"}},
                },
                "replicas": {"type": "integer"},
                "low": {"type": "integer"},
                "high": {"type": "integer"},
            },
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.low) || !has(self.high) || self.low <= self.high",
                    "message": "low must not be above high",
                }
            ],
        },
        "status": {"type": "object", "properties": {"phase": {"type": "string"}, "replicas": {"type": "integer"}}},
    },
}


_NOT_CHECKED = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation"
)
RULES_NOT_CHECKED = ("FieldValueInvalid", f"Invalid value: null: {_NOT_CHECKED}", "<nil>")


class Things:
    """A type of one's own, and its objects."""

    def __init__(self, place: Place, group: str) -> None:
        self.place = place
        self.group = group
        self.session = place.session
        self.path = place.path("things", group=f"{group}/v1")

    def thing(self, name: str = "a", **spec: Any) -> Json:
        return {
            "apiVersion": f"{self.group}/v1",
            "kind": "Thing",
            "metadata": {"name": name},
            "spec": {"color": "red", **spec},
        }

    async def make(self, name: str = "a", **spec: Any) -> Answer:
        return await self.session.post(self.path, self.thing(name, **spec))


def definition(group: str, **spec: Any) -> Json:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": SCHEMA},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
        },
        "additionalPrinterColumns": [{"name": "Color", "type": "string", "jsonPath": ".spec.color"}],
    }
    names = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList", "shortNames": ["th"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version], **spec},
    }


async def define(session: ApiSession, body: Json) -> Answer:
    """Create a definition, and return once its objects can be listed."""
    made = await session.post(CRDS, body)
    assert made.status == 201, made
    group, plural = body["spec"]["group"], body["spec"]["names"]["plural"]
    async with asyncio.timeout(20):
        while (await session.get(f"/apis/{group}/v1/{plural}")).status != 200:
            await asyncio.sleep(0.02)
    return made


@pytest.fixture
async def things(place: Place) -> Things:
    group = f"g{next(numbers)}.contract.example.com"
    await define(place.session, definition(group))
    return Things(place, group)


async def test_a_definition_is_established_once_its_names_are_accepted(things: Things) -> None:
    found = await things.session.get(f"{CRDS}/things.{things.group}")
    conditions = {one["type"]: (one["status"], one["reason"]) for one in found.body["status"]["conditions"]}
    assert conditions == {"NamesAccepted": ("True", "NoConflicts"), "Established": ("True", "InitialNamesAccepted")}
    assert found.body["status"]["acceptedNames"]["kind"] == "Thing"
    assert found.body["status"]["storedVersions"] == ["v1"]
    assert found.body["spec"]["conversion"] == {"strategy": "None"}


async def test_defaults_are_filled_in_and_unknown_fields_pruned(things: Things) -> None:
    made = await things.make(unknown=1, nested={"more": 1}, free={"any": [1, {"thing": None}]}, parts=[{"name": "p"}])
    assert made.status == 201
    assert made.body["spec"] == {
        "color": "red",
        "size": 3,
        "nested": {"mode": "auto"},
        "free": {"any": [1, {"thing": None}]},
        "parts": [{"name": "p", "count": 1}],
    }
    assert made.metadata["generation"] == 1


async def test_unknown_fields_are_warned_of_or_refused(things: Things) -> None:
    body = {**things.thing(unknown=1), "more": True}
    warned = await things.session.post(things.path, body, fieldValidation="Warn", dryRun="All")
    assert sorted(warned.warnings) == ['299 - "unknown field \\"more\\""', '299 - "unknown field \\"spec.unknown\\""']
    strict = await things.session.post(things.path, body, fieldValidation="Strict")
    assert strict.failed() == (400, "BadRequest")
    assert 'strict decoding error: unknown field "more", unknown field "spec.unknown"' in strict.message


@pytest.mark.parametrize(
    ("spec", "reason", "message", "path"),
    [
        (
            {"color": "pink"},
            "FieldValueNotSupported",
            'Unsupported value: "pink": supported values: "red", "green"',
            "spec.color",
        ),
        (
            {"size": 10},
            "FieldValueInvalid",
            "Invalid value: 10: spec.size in body should be less than or equal to 9",
            "spec.size",
        ),
        ({"title": "toolong"}, "FieldValueTooLong", "Too long: may not be more than 5 bytes", "spec.title"),
        (
            {"title": "A"},
            "FieldValueInvalid",
            "Invalid value: \"A\": spec.title in body should match '^[a-z]*$'",
            "spec.title",
        ),
        ({"tags": ["a", "a"]}, "FieldValueDuplicate", 'Duplicate value: "a"', "spec.tags[1]"),
        ({"parts": [{"count": 1}]}, "FieldValueRequired", "Required value", "spec.parts[0].name"),
        (
            {"size": "big"},
            "FieldValueTypeInvalid",
            'Invalid value: "string": spec.size in body must be of type integer: "string"',
            "spec.size",
        ),
        (
            {"tags": "x"},
            "FieldValueTypeInvalid",
            'Invalid value: "string": spec.tags in body must be of type array: "string"',
            "spec.tags",
        ),
        ({"low": 2, "high": 1}, "FieldValueInvalid", "Invalid value: low must not be above high", "spec"),
    ],
    ids=["enum", "maximum", "maxLength", "pattern", "set", "required", "type", "list type", "rule"],
)
async def test_what_the_schema_forbids_is_invalid(
    things: Things, spec: Json, reason: str, message: str, path: str
) -> None:
    refused = await things.make(**spec)
    assert refused.failed() == (422, "Invalid")
    assert (reason, message, path) in refused.causes
    assert [cause for cause in refused.causes if cause != RULES_NOT_CHECKED] == [(reason, message, path)]
    assert refused.details["kind"] == "Thing"
    assert refused.details["group"] == things.group
    assert refused.message.startswith(f'Thing.{things.group} "a" is invalid: ')


async def test_rules_are_not_checked_of_what_is_malformed(things: Things) -> None:
    assert RULES_NOT_CHECKED in (await things.make(color="pink")).causes
    assert RULES_NOT_CHECKED not in (await things.make(low=2, high=1)).causes


async def test_every_fault_is_a_cause(things: Things) -> None:
    body = things.thing(size=0, title="A")
    del body["spec"]["color"]
    refused = await things.session.post(things.path, body)
    paths = [path for *_, path in refused.causes if path != "<nil>"]
    assert sorted(paths) == ["spec.color", "spec.size", "spec.title"]


async def test_lists_are_merged_by_the_schemas_keys(things: Things) -> None:
    path = f"{things.path}/a"
    await things.session.apply(path, things.thing(parts=[{"name": "p"}, {"name": "q"}], tags=["x"]), "one")
    both = await things.session.apply(path, things.thing(parts=[{"name": "r"}], tags=["y"]), "two")
    assert both.status == 200, both
    assert {part["name"] for part in both.body["spec"]["parts"]} == {"p", "q", "r"}
    assert set(both.body["spec"]["tags"]) == {"x", "y"}
    fewer = await things.session.apply(path, things.thing(parts=[{"name": "p"}]), "one")
    assert {part["name"] for part in fewer.body["spec"]["parts"]} == {"p", "r"}
    assert fewer.body["spec"]["tags"] == ["y"]


async def test_a_strategic_merge_patch_of_a_custom_resource_is_not_served(things: Things) -> None:
    await things.make()
    refused = await things.session.patch(f"{things.path}/a", {"spec": {"size": 1}}, STRATEGIC_PATCH)
    assert refused.failed() == (415, "UnsupportedMediaType")
    assert refused.message == (
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
        "application/merge-patch+json, application/apply-patch+yaml"
    )


async def test_status_and_spec_are_written_apart(things: Things) -> None:
    made = await things.session.post(things.path, {**things.thing(), "status": {"phase": "New"}})
    assert "status" not in made.body
    path = f"{things.path}/a"
    status = await things.session.patch(f"{path}/status", {"status": {"phase": "Good"}, "spec": {"size": 1}})
    assert (status.body["status"], status.body["spec"]["size"]) == ({"phase": "Good"}, 3)
    assert status.metadata["generation"] == 1
    ignored = await things.session.patch(path, {"status": {"phase": "Bad"}})
    assert ignored.version == status.version
    changed = await things.session.patch(path, {"spec": {"size": 1}})
    assert changed.metadata["generation"] == 2
    assert changed.body["status"] == {"phase": "Good"}


async def test_a_scale_goes_through_the_paths_of_the_definition(things: Things) -> None:
    await things.make(replicas=2)
    path = f"{things.path}/a/scale"
    assert (await things.session.get(path)).body["spec"] == {"replicas": 2}
    scaled = await things.session.patch(path, {"spec": {"replicas": 5}})
    assert scaled.body["spec"] == {"replicas": 5}
    assert (await things.session.get(f"{things.path}/a")).body["spec"]["replicas"] == 5


async def test_columns_are_the_definitions(things: Things) -> None:
    await things.make()
    table = await things.session.get(things.path, accept="application/json;as=Table;g=meta.k8s.io;v=v1")
    assert [column["name"] for column in table.body["columnDefinitions"]] == ["Name", "Color"]
    assert [row["cells"] for row in table.body["rows"]] == [["a", "red"]]


async def test_a_type_is_found_by_discovery_and_gone_after_its_definition(things: Things) -> None:
    session = things.session
    await things.make()

    async def discovered() -> dict[str, Json]:
        found = await session.get(f"/apis/{things.group}/v1")
        return {one["name"]: one for one in found.body["resources"]} if found.status == 200 else {}

    async with asyncio.timeout(20):
        while not (resources := await discovered()):
            await asyncio.sleep(0.05)
    assert set(resources) == {"things", "things/status", "things/scale"}
    assert resources["things"]["shortNames"] == ["th"]
    assert resources["things"]["verbs"] == [
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "create",
        "update",
        "watch",
    ]
    deleted = await session.delete(f"{CRDS}/things.{things.group}")
    assert deleted.metadata["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    async with asyncio.timeout(20):
        while (await session.get(things.path)).status != 404 or await discovered():
            await asyncio.sleep(0.05)
    assert (await session.get(f"{CRDS}/things.{things.group}")).status == 404


async def test_a_definition_that_is_no_structural_schema_is_refused(session: ApiSession) -> None:
    body = definition("bad.contract.example.com")
    body["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": {"properties": {"spec": {}}}}
    refused = await session.post(CRDS, body)
    assert refused.failed() == (422, "Invalid")
    assert ("FieldValueRequired", "Required value: must not be empty at the root", (
        "spec.validation.openAPIV3Schema.type"
    )) in refused.causes  # fmt: skip


async def test_a_definition_must_be_named_after_what_it_defines(session: ApiSession) -> None:
    body = definition("bad.contract.example.com")
    body["metadata"]["name"] = "other.contract.example.com"
    refused = await session.post(CRDS, body)
    assert refused.failed() == (422, "Invalid")
    assert refused.causes == [
        (
            "FieldValueInvalid",
            'Invalid value: "other.contract.example.com": must be spec.names.plural+"."+spec.group',
            "metadata.name",
        )
    ]


async def test_a_cluster_scoped_type_has_no_namespace(place: Place) -> None:
    group = f"g{next(numbers)}.contract.example.com"
    await define(place.session, definition(group, scope="Cluster"))
    things = Things(place, group)
    made = await place.session.post(f"/apis/{group}/v1/things", things.thing())
    assert made.status == 201
    assert "namespace" not in made.metadata
    assert (await place.session.get(things.path)).status == 404


async def test_applying_creates_with_defaults_that_nobody_owns(things: Things) -> None:
    made = await things.session.request(
        "PATCH", f"{things.path}/a", things.thing(), content_type=APPLY, fieldManager="one"
    )
    assert made.status == 201
    (entry,) = made.metadata["managedFields"]
    assert entry["fieldsV1"] == {"f:spec": {"f:color": {}}}
