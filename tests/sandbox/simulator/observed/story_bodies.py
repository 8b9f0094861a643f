"""What stories of writes are about: kinds of objects, a custom one among them, and short ways to write bodies."""

from __future__ import annotations

from typing import Any

from tests.sandbox.simulator.observed.good_objects import Json

KINDS = {
    "ConfigMap": "v1",
    "Deployment": "apps/v1",
    "Service": "v1",
    "ServiceAccount": "v1",
    "Story": "observed.example.com/v1",
}
_TEXT = {"type": "string"}
_ITEM = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": _TEXT, "kind": {**_TEXT, "default": "plain"}, "size": {"type": "integer"}},
}
_FIELDS = {
    "set": {"type": "array", "x-kubernetes-list-type": "set", "items": _TEXT},
    "keyed": {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name", "kind"],
        "items": _ITEM,
    },
    "list": {"type": "array", "items": _TEXT},
    "map": {"type": "object", "additionalProperties": _TEXT},
    "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": _TEXT},
    "deep": {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": _TEXT, "c": _TEXT}}}},
    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "either": {"x-kubernetes-int-or-string": True},
    "defaulted": {**_TEXT, "default": "x"},
    "null": {**_TEXT, "nullable": True},
}
DEFINITION: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "stories.observed.example.com"},
    "spec": {
        "group": "observed.example.com",
        "scope": "Namespaced",
        "names": {"plural": "stories", "singular": "story", "kind": "Story"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": _FIELDS},
                            "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
                        },
                    }
                },
            }
        ],
    },
}


Step = tuple[str, Any]
"""What is done and by whom (`apply m1`, `force m1`, `replace m1`, `merge m1`, `json m1`; ` status` after it), and a body."""


def config(data: Any = None, /, **more: Any) -> Json:
    return {**({"data": data} if data is not None else {}), **more}


def marked(**annotations: str) -> Json:
    return {"metadata": {"annotations": annotations}}


def story(spec: Json | None = None, /, **more: Any) -> Json:
    return {**({"spec": spec} if spec is not None else {}), **more}


def container(name: str = "a", **more: Any) -> Json:
    return {"name": name, "image": f"{name}:1", **more}


def deployment(*containers: Json, pod: Json | None = None, **spec: Any) -> Json:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": list(containers), **(pod or {})}}
    return {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec}}


def pod(patch: Json) -> Json:
    return {"spec": {"template": {"spec": patch}}}


def containers(*patches: Any, **directives: Any) -> Json:
    return pod({"containers": list(patches), **{f"${name}": value for name, value in directives.items()}})
