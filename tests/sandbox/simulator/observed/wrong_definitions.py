"""Definitions of custom resources that are wrong, and rules in CEL with the values that they are put to."""

from __future__ import annotations

from tests.sandbox.simulator.observed.changes import DELETED, Change, changed
from tests.sandbox.simulator.observed.good_objects import Json

DEFINITION: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "bars.e.com"},
    "spec": {
        "group": "e.com",
        "scope": "Namespaced",
        "names": {"plural": "bars", "kind": "Bar"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "a": {"type": "string"},
                                    "l": {
                                        "type": "array",
                                        "items": {
                                            "type": "object",
                                            "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
                                        },
                                    },
                                },
                            }
                        },
                    }
                },
            }
        ],
    },
}
_VERSION = "spec.versions.0."
_ROOT = _VERSION + "schema.openAPIV3Schema."
_SPEC = _ROOT + "properties.spec."
_LIST = _SPEC + "properties.l."
_FIELD = _SPEC + "properties.a"
CHANGES: list[Change] = [
    ("metadata.name", "x.e.com"),
    ("spec.group", ""),
    ("spec.group", "A"),
    ("spec.group", "x"),
    ("spec.scope", "x"),
    ("spec.scope", DELETED),
    ("spec.names.plural", ""),
    ("spec.names.plural", "A"),
    ("spec.names.kind", ""),
    ("spec.names.kind", "bar_"),
    ("spec.names.listKind", "Bar"),
    ("spec.names.shortNames", ["A"]),
    ("spec.names.categories", ["a b"]),
    ("spec.versions", []),
    (_VERSION + "name", "A"),
    (_VERSION + "storage", False),
    (_VERSION + "schema", DELETED),
    (_VERSION + "schema", {}),
    (_VERSION + "deprecationWarning", "x"),
    (_VERSION + "deprecated", True),
    ("spec.preserveUnknownFields", True),
    ("spec.conversion", {"strategy": "Webhook"}),
    ("spec.conversion", {"strategy": "x"}),
    (
        "spec.conversion",
        {"strategy": "Webhook", "webhook": {"conversionReviewVersions": [], "clientConfig": {"url": "http://x"}}},
    ),
    ("spec.conversion", {"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"]}}),
    (
        _VERSION + "additionalPrinterColumns",
        [{"name": "", "type": "x", "jsonPath": ""}, {"name": "a", "type": "string", "jsonPath": "x", "format": "z"}],
    ),
    (_VERSION + "subresources", {"scale": {"specReplicasPath": "", "statusReplicasPath": "x"}}),
    (
        _VERSION + "subresources",
        {"scale": {"specReplicasPath": ".status.x", "statusReplicasPath": ".spec.x", "labelSelectorPath": ".x"}},
    ),
    (_VERSION + "subresources", {"status": {}}),
    (_VERSION + "selectableFields", [{"jsonPath": ".spec.a"}]),
    (
        _VERSION + "selectableFields",
        [
            {"jsonPath": ".spec.zz"},
            {"jsonPath": ""},
            {"jsonPath": ".spec.l"},
            {"jsonPath": ".spec.a"},
            {"jsonPath": ".spec.a"},
        ],
    ),
    (
        "spec.versions.1",
        {"name": "v1", "served": True, "storage": False, "schema": {"openAPIV3Schema": {"type": "object"}}},
    ),
    (
        "spec.versions.1",
        {
            "name": "v2",
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"x": {}}}},
        },
    ),
    (_ROOT + "type", DELETED),
    (_ROOT + "type", "string"),
    (_ROOT + "nullable", True),
    (_ROOT + "additionalProperties", True),
    (_ROOT + "properties.metadata", {"type": "object", "properties": {"name": {"type": "string"}}}),
    (_ROOT + "properties.metadata", {"type": "object", "properties": {"labels": {"type": "object"}}}),
    (_ROOT + "properties.metadata", {"type": "string"}),
    (_ROOT + "properties.kind", {"type": "integer"}),
    (_SPEC + "type", DELETED),
    (_SPEC + "type", "foo"),
    (_SPEC + "additionalProperties", {"type": "string"}),
    (_SPEC + "additionalProperties", {}),
    (_SPEC + "additionalProperties", False),
    (_SPEC + "uniqueItems", True),
    (_FIELD, {}),
    (_FIELD, {"type": "array"}),
    (_FIELD, {"type": "string", "id": "x"}),
    (_FIELD, {"type": "string", "$ref": "x"}),
    (_FIELD, {"type": "string", "definitions": {"a": {"type": "string"}}}),
    (_FIELD, {"type": "null"}),
    (_FIELD, {"type": "object", "patternProperties": {"a": {"type": "string"}}}),
    (_FIELD, {"type": "object", "x-kubernetes-preserve-unknown-fields": False}),
    (_FIELD, {"type": "array", "items": [{"type": "string"}]}),
    (_FIELD, {"x-kubernetes-int-or-string": True}),
    (_FIELD, {"x-kubernetes-int-or-string": True, "x-kubernetes-preserve-unknown-fields": True}),
    (_FIELD, {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
    (
        _FIELD,
        {
            "x-kubernetes-int-or-string": True,
            "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "a"}],
        },
    ),
    (_FIELD, {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}]}),
    (_FIELD, {"type": "object", "x-kubernetes-embedded-resource": True}),
    (_FIELD, {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}),
    (_FIELD, {"type": "string", "x-kubernetes-embedded-resource": True}),
    (
        _FIELD,
        {
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "properties": {"kind": {"type": "integer"}, "metadata": {"type": "string"}, "spec": {"type": "object"}},
        },
    ),
    (_FIELD, {"type": "string", "x-kubernetes-map-type": "atomic"}),
    (_FIELD, {"type": "object", "x-kubernetes-map-type": "foo"}),
    (_FIELD, {"type": "string", "x-kubernetes-list-type": "set"}),
    (_LIST + "x-kubernetes-list-type", "foo"),
    (_LIST + "x-kubernetes-list-type", "set"),
    (_LIST + "x-kubernetes-list-type", "map"),
    (_LIST + "x-kubernetes-list-map-keys", ["k"]),
    (
        _FIELD,
        {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k", "z", "k", "o"],
            "items": {
                "type": "object",
                "properties": {"k": {"type": "string", "nullable": True}, "o": {"type": "object"}},
            },
        },
    ),
    (
        _FIELD,
        {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}},
        },
    ),
    (
        _FIELD,
        {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "string"},
        },
    ),
    (_FIELD, {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "nullable": True}}),
    (
        _FIELD,
        {
            "type": "array",
            "x-kubernetes-list-type": "set",
            "items": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        },
    ),
    (_SPEC + "anyOf", [{"properties": {"z": {"minLength": 1}}}]),
    (
        _SPEC + "allOf",
        [
            {
                "type": "object",
                "description": "x",
                "properties": {"a": {"minLength": 1, "default": "x", "nullable": True}},
                "additionalProperties": {"type": "string"},
            }
        ],
    ),
    (_SPEC + "oneOf", [{"required": ["a"]}, {"required": ["l"]}]),
    (_SPEC + "not", {"properties": {"metadata": {"type": "object"}}}),
    (_ROOT + "anyOf", [{"properties": {"spec": {"properties": {"q": {"minimum": 3}}}}}]),
    (_SPEC + "anyOf", [{"items": {"minimum": 1}}]),
    (_FIELD, {"type": "string", "default": 3}),
    (_FIELD, {"type": "string", "default": "x"}),
    (_FIELD, {"type": "object", "properties": {"q": {"type": "string"}}, "default": {"z": 1}}),
    (_FIELD, {"type": "string", "enum": ["a"], "default": "b"}),
    (_ROOT + "properties.metadata", {"type": "object", "default": {"name": "x"}}),
    (_ROOT + "default", {"spec": {}}),
    (_FIELD, {"type": "object", "additionalProperties": {"type": "string", "default": "x"}}),
    (_FIELD, {"type": "string", "x-kubernetes-validations": [{"rule": ""}]}),
    (
        _FIELD,
        {
            "type": "string",
            "x-kubernetes-validations": [
                {"rule": "true", "message": " "},
                {"rule": "true", "message": "a\nb"},
                {"rule": "true\n&& true"},
                {"rule": "true", "reason": "x"},
                {"rule": "true", "fieldPath": " "},
                {"rule": "true", "fieldPath": ".a"},
                {"rule": "true", "messageExpression": " "},
            ],
        },
    ),
    ("metadata", {"name": "bars.x.k8s.io"}),
]


def wrong_definitions() -> list[tuple[str, Json]]:
    """Return all wrong definitions, each with a name."""
    return [(f"{number} {path}", changed(DEFINITION, path, value)) for number, (path, value) in enumerate(CHANGES)]
