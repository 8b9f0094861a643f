"""A custom resource with a structural schema that uses what such schemas have: the scripts' Widget."""

from __future__ import annotations

from tests.differential.kinds import Json, Kind

WIDGET_API = "differential.example.com/v1"

WIDGETS_CRD: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.differential.example.com"},
    "spec": {
        "group": "differential.example.com",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "shortNames": ["wd"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
                "selectableFields": [{"jsonPath": ".spec.color"}],
                "additionalPrinterColumns": [
                    {"name": "Color", "type": "string", "jsonPath": ".spec.color"},
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "required": ["spec"],
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["color"],
                                "properties": {
                                    "replicas": {"type": "integer", "format": "int32", "minimum": 0},
                                    "color": {"type": "string", "enum": ["red", "green", "blue"]},
                                    "size": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
                                    "ratio": {"type": "number", "exclusiveMinimum": True, "minimum": 0},
                                    "title": {
                                        "type": "string",
                                        "maxLength": 8,
                                        "minLength": 1,
                                        "pattern": "^[a-z]+$",
                                    },
                                    "when": {"type": "string", "format": "date-time"},
                                    "percent": {"x-kubernetes-int-or-string": True},
                                    "note": {"type": "string", "nullable": True},
                                    "tags": {
                                        "type": "array",
                                        "maxItems": 3,
                                        "items": {"type": "string"},
                                        "x-kubernetes-list-type": "set",
                                    },
                                    "steps": {
                                        "type": "array",
                                        "items": {"type": "string"},
                                        "x-kubernetes-list-type": "atomic",
                                    },
                                    "parts": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["name"],
                                        "items": {
                                            "type": "object",
                                            "required": ["name"],
                                            "properties": {
                                                "name": {"type": "string"},
                                                "count": {"type": "integer", "default": 1},
                                                "unit": {"type": "string"},
                                            },
                                        },
                                    },
                                    "limits": {"type": "object", "additionalProperties": {"type": "integer"}},
                                    "pair": {
                                        "type": "object",
                                        "x-kubernetes-map-type": "atomic",
                                        "properties": {"left": {"type": "string"}, "right": {"type": "string"}},
                                    },
                                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                    "nested": {
                                        "type": "object",
                                        "default": {},
                                        "properties": {
                                            "mode": {"type": "string", "default": "auto"},
                                            "on": {"type": "boolean"},
                                        },
                                    },
                                },
                            },
                            "status": {
                                "type": "object",
                                "properties": {
                                    "replicas": {"type": "integer"},
                                    "selector": {"type": "string"},
                                    "phase": {"type": "string"},
                                    "conditions": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["type"],
                                        "items": {
                                            "type": "object",
                                            "required": ["type", "status"],
                                            "properties": {
                                                "type": {"type": "string"},
                                                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                                            },
                                        },
                                    },
                                },
                            },
                        },
                    }
                },
            }
        ],
    },
}

WIDGET = Kind(
    WIDGET_API,
    "Widget",
    "widgets",
    required={"spec": {"color": "red"}},
    fields={
        "spec.color": ("red", "green", "blue"),
        "spec.replicas": (0, 2, None),
        "spec.size": (1, 10, None),
        "spec.ratio": (0.5, 2),
        "spec.title": ("abc", "z"),
        "spec.when": ("2026-01-02T03:04:05Z",),
        "spec.percent": (5, "10%"),
        "spec.note": ("n", None),
        "spec.tags": (["a", "b"], ["b"], [], ["c", "a"]),
        "spec.steps": (["x", "y"], ["y"], ["x", "x"]),
        "spec.parts": (
            [{"name": "p", "count": 2}],
            [{"name": "q"}, {"name": "p", "unit": "kg"}],
            [{"name": "p"}, {"name": "q", "count": 3}, {"name": "r"}],
            [],
        ),
        "spec.limits": ({"a": 1}, {"b": 2, "a": 3}, None),
        "spec.limits.a": (1, 2, None),
        "spec.pair": ({"left": "l"}, {"left": "x", "right": "y"}),
        "spec.free": ({"any": {"thing": [1, "2", None]}}, {"other": True}),
        "spec.nested": ({}, {"mode": "manual"}, {"on": True}),
        "spec.nested.mode": ("auto", "manual", None),
        "unknown": ({"gone": 1},),
    },
    refused={
        "spec": (None, "x", {}),
        "spec.color": ("pink", 3, None),
        "spec.size": (0, 11, "x", 1.5),
        "spec.ratio": (0, -1, "x"),
        "spec.title": ("", "ABC", "waytoolong"),
        "spec.when": ("yesterday",),
        "spec.percent": (True, 1.5),
        "spec.tags": (["a", "a"], ["a", "b", "c", "d"], "x", [1]),
        "spec.parts": ([{"count": 1}], [{"name": "p"}, {"name": "p"}], {"name": "p"}),
        "spec.limits": ({"a": "x"}, [1]),
        "spec.replicas": (-1,),
    },
    status={
        "status.replicas": (1, 2),
        "status.phase": ("Good", "Bad"),
        "status.selector": ("app=x",),
        "status.conditions": ([{"type": "Ready", "status": "True"}], [{"type": "Ready", "status": "Maybe"}]),
        "status.unknown": (1,),
    },
    scale=True,
    weight=5,
    field_selectors=("spec.color=red",),
)
