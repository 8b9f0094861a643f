"""Short stories of writes, each of one object, that show one rule of applies or patches.

In: nothing. Out: requests by the name of their story. They are put to a real server once; its answers are kept beside them.
"""

from __future__ import annotations

import copy
from typing import Any

from tests.sandbox.simulator.observed.good_objects import Json
from tests.sandbox.simulator.observed.sessions import APPLY, MERGE, STRATEGIC, Request

REPLACE = "application/json"
JSON_PATCH = "application/json-patch+json"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

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


def _config(data: Any = None, /, **more: Any) -> Json:
    return {**({"data": data} if data is not None else {}), **more}


def _marked(**annotations: str) -> Json:
    return {"metadata": {"annotations": annotations}}


def _story(spec: Json | None = None, /, **more: Any) -> Json:
    return {**({"spec": spec} if spec is not None else {}), **more}


def _container(name: str = "a", **more: Any) -> Json:
    return {"name": name, "image": f"{name}:1", **more}


def _deployment(*containers: Json, pod: Json | None = None, **spec: Any) -> Json:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": list(containers), **(pod or {})}}
    return {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec}}


def _pod(patch: Json) -> Json:
    return {"spec": {"template": {"spec": patch}}}


def _containers(*patches: Any, **directives: Any) -> Json:
    return _pod({"containers": list(patches), **{f"${name}": value for name, value in directives.items()}})


_Step = tuple[str, Any]
"""What is done and by whom (`apply m1`, `force m1`, `replace m1`, `merge m1`, `json m1`; ` status` after it), and a body."""

_ONE = {"op": "test", "path": "/data/a", "value": "1"}
_TWO_CONTAINERS = _deployment(_container("a", env=[{"name": "A", "value": "1"}]), _container("b"))
_PORT: Json = {"port": 80, "name": "a"}

_OTHER_KINDS: list[_Step] = [
    ("json u2", [{"op": "replace", "path": "", "value": {}}]),
    ("json u2", [{"op": "replace", "path": "", "value": []}]),
    *(
        ("merge u2", content)
        for content in (
            {"kind": 5},
            {"kind": "Zoo"},
            {"kind": "Secret"},
            {"kind": "Status", "apiVersion": "v1"},
            {"apiVersion": [1]},
            {"apiVersion": "a/b/c"},
            {"apiVersion": "apps/v1"},
            {"apiVersion": "observed.example.com/v2"},
        )
    ),
]
_CONFIG_MAPS: dict[str, list[_Step]] = {
    "an update owns what it changes": [
        ("replace u1", _config({"a": "1", "b": "1"})),
        ("replace u2", _config({"a": "2", "b": "1", "c": "1"})),
        ("replace u3", _config({"b": "1"})),
    ],
    "an update to what is there owns nothing": [
        ("replace u1", _config({"a": "1"})),
        ("replace u2", _config({"a": "1"})),
    ],
    "what is applied no more is removed": [
        ("apply m1", _config({"a": "1", "b": "1"}, metadata={"labels": {"a": "1"}})),
        ("apply m1", _config({"b": "1"})),
        ("apply m1", {}),
    ],
    "what another has is not removed": [
        ("apply m1", _config({"a": "1", "b": "1"})),
        ("apply m2", _config({"a": "1"})),
        ("apply m1", _config({"b": "1"})),
        ("apply m2", {}),
    ],
    "what an update changed is not removed": [
        ("apply m1", _config({"a": "1", "b": "1"})),
        ("merge u1", _config({"a": "2"})),
        ("apply m1", _config({"b": "1"})),
    ],
    "one conflict, two, and force": [
        ("apply m1", _config({"a": "1", "b": "1"})),
        ("merge u1", {"data": {"c": "1"}, "metadata": {"labels": {"l.io/x": "1"}}}),
        ("apply m2", _config({"a": "2"})),
        ("apply m2", _config({"a": "2", "b": "2", "c": "2"}, metadata={"labels": {"l.io/x": "2"}})),
        ("force m2", _config({"a": "2", "b": "1", "c": "2"})),
        ("apply m1", _config({"a": "1", "b": "1"})),
    ],
    "a removal by an update takes the field from all": [
        ("apply m1", _config({"a": "1", "b": "1"})),
        ("apply m2", _config({"a": "1"})),
        ("merge u1", _config({"a": None})),
        ("apply m2", _config({"a": "1"})),
    ],
    "the same manager by update and by apply is two": [
        ("replace m1", _config({"a": "1"})),
        ("apply m1", _config({"a": "2"})),
        ("apply m1", _config({"a": "1"})),
        ("apply m1", {}),
    ],
    "what was not tracked is before the first apply": [
        ("replace u1", _config({"a": "1", "b": "1"})),
        ("replace u1", _config({"a": "1", "b": "1"}, metadata={"managedFields": [{}]})),
        ("merge u1", _config({"c": "1"})),
        ("apply m1", _config({"a": "2"})),
        ("force m1", _config({"a": "2"})),
    ],
    "nulls and empties": [
        ("apply m1", {"data": {}, "binaryData": None, "metadata": {"labels": {}, "annotations": None}}),
        ("apply m1", {"data": {"a": ""}}),
        ("apply m2", {"data": {"a": None, "b": "1"}}),
        ("apply m1", {"data": None}),
        ("merge u1", {"data": None}),
    ],
    "managed fields are not applied": [
        ("apply m1", {"metadata": {"managedFields": [{"manager": "x"}]}}),
        ("apply m1", {"metadata": {"managedFields": []}}),
    ],
    "a client moves what it owns": [
        ("replace u1", _config({"a": "1"})),
        (
            "json u2",
            [
                {"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "u9"},
                {"op": "replace", "path": "/metadata/managedFields/0/operation", "value": "Apply"},
            ],
        ),
        ("apply u9", {}),
    ],
    "a client sends managed fields that are none": [
        ("replace u1", _config({"a": "1"})),
        ("json u2", [{"op": "replace", "path": "/metadata/managedFields/0/operation", "value": "Own"}]),
        ("json u2", [{"op": "replace", "path": "/metadata/managedFields/0/fieldsType", "value": "FieldsV2"}]),
        ("json u2", [{"op": "replace", "path": "/metadata/managedFields/0/fieldsV1", "value": {"x": {}}}]),
        ("json u2", [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]),
    ],
    "the oldest of many updaters become one": [("replace u0", _config({"k": "1"}))]
    + [(f"merge u{number}", _config({f"k{number}": "1"})) for number in range(1, 11)],
    "kubectl's last configuration follows its applies": [
        ("replace kubectl", {**_config({"a": "1"}), **_marked(**{LAST_APPLIED: "{}"})}),
        ("apply kubectl", _config({"a": "1", "b": "<&>"})),
        ("apply other", _config({"c": "1"})),
    ],
    "kubectl may change what it applied as a client": [
        (
            "replace kubectl-client-side-apply",
            {
                **_config({"a": "1", "b": "1"}),
                **_marked(
                    **{
                        LAST_APPLIED: '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},'
                        '"data":{"a":"1","b":"0"}}'
                    }
                ),
            },
        ),
        ("apply kubectl", _config({"a": "2"})),
        ("apply kubectl", _config({"b": "2"})),
        ("apply other", _config({"a": "3"})),
    ],
    "an apply of what is no such object": [
        ("apply m1", {"data": 5}),
        ("apply m1", {"data": {"a": 5}}),
        ("apply m1", {"data": {"a": {"b": "c"}}}),
        ("apply m1", {"unknown": 1}),
        ("apply m1", {"kind": "Secret"}),
        ("apply m1", {"apiVersion": "v2"}),
        ("apply m1", {"kind": "", "data": {}}),
        ("apply m1", {"metadata": {"finalizers": ["a.b/c", "a.b/c"]}}),
        ("apply m1", {"metadata": {"ownerReferences": [{"kind": "x"}]}}),
    ],
    "finalizers are a set": [
        ("apply m1", {"metadata": {"finalizers": ["a.b/c", "a.b/d"]}}),
        ("apply m2", {"metadata": {"finalizers": ["a.b/e", "a.b/d"]}}),
        ("apply m1", {"metadata": {"finalizers": ["a.b/c"]}}),
        ("merge u1", {"metadata": {"finalizers": ["a.b/c"]}}),
    ],
    "every operation of a JSON patch": [
        ("replace u1", _config({"a": "1", "b": "2"}, metadata={"finalizers": ["a.b/c", "a.b/d"]})),
        ("json u2", [_ONE, {"op": "add", "path": "/data/c", "value": "3"}, {"op": "remove", "path": "/data/b"}]),
        ("json u2", [{"op": "replace", "path": "/data/a", "value": "9"}]),
        ("json u2", [{"op": "move", "from": "/data/a", "path": "/data/m"}]),
        ("json u2", [{"op": "copy", "from": "/data/m", "path": "/data/n"}]),
        ("json u2", [{"op": "add", "path": "/metadata/finalizers/-", "value": "a.b/e"}]),
        ("json u2", [{"op": "add", "path": "/metadata/finalizers/1", "value": "a.b/f"}]),
        ("json u2", [{"op": "remove", "path": "/metadata/finalizers/0"}]),
        ("json u2", [{"op": "add", "path": "/metadata/annotations", "value": {"a.b/c": "1", "~": "2"}}]),
        ("json u2", [{"op": "replace", "path": "/metadata/annotations/a.b~1c", "value": "3"}]),
        ("json u2", [{"op": "remove", "path": "/metadata/annotations/~0"}]),
        ("json u2", [{"op": "add", "path": "/data", "value": None}]),
        ("json u2", []),
    ],
    "JSON patches that do not fit": [
        ("replace u1", _config({"a": "1"}, metadata={"finalizers": ["a.b/c"]})),
        ("json u2", [{**_ONE, "value": "2"}]),
        ("json u2", [{"op": "remove", "path": "/data/b"}]),
        ("json u2", [{"op": "replace", "path": "/data/b", "value": "2"}]),
        ("json u2", [{"op": "replace", "path": "/binaryData/b", "value": "2"}]),
        ("json u2", [{"op": "add", "path": "/binaryData/b", "value": "2"}]),
        ("json u2", [{"op": "move", "from": "/data/b", "path": "/data/c"}]),
        ("json u2", [{"op": "copy", "from": "/binaryData/b", "path": "/data/c"}]),
        ("json u2", [{"op": "add", "path": "/metadata/finalizers/5", "value": "a.b/e"}]),
        ("json u2", [{"op": "remove", "path": "/metadata/finalizers/x"}]),
        ("json u2", [{"op": "spread", "path": "/data/a"}]),
        ("json u2", [{"op": "add", "value": "2"}]),
        ("json u2", [{"op": "add", "path": "/data/a/b", "value": "2"}]),
        ("json u2", {"op": "add"}),
        ("json u2", ["x"]),
        ("json u2", [{"op": 5, "path": "/data"}]),
        ("json u2", [{"op": "add", "path": "/data", "value": 5}]),
        ("json u2", [{"op": "add", "path": "/data/a", "value": 5}]),
        ("json u2", [{"op": "remove", "path": "/kind"}]),
        ("json u2", [{"op": "replace", "path": "", "value": "x"}]),
        ("json u2", [_ONE] * 10001),
    ],
    "merge patches": [
        ("replace u1", _config({"a": "1", "b": "1"}, metadata={"finalizers": ["a.b/c"]})),
        ("merge u2", {"data": {"a": None, "c": "1", "none": None}}),
        ("merge u2", {"metadata": {"finalizers": ["a.b/d"]}}),
        ("merge u2", {"data": None, "binaryData": {"z": "YQ==", "y": None}}),
        ("merge u2", {"data": []}),
        ("merge u2", {"metadata": None}),
        ("merge u2", {"metadata": {"name": "else"}}),
        ("merge u2", []),
        ("merge u2", "x"),
        ("merge u2", {}),
    ],
    "patches that make something else": [("replace u1", {}), *_OTHER_KINDS, ("merge u2", {"kind": ""})],
    "strategic patches are of the path's kind": [
        ("replace u1", {}),
        ("strategic u2", {"kind": "Secret", "apiVersion": "v2", "data": {"a": "1"}}),
        ("strategic u2", {"kind": None, "apiVersion": None, "data": {"a": "2"}}),
        ("strategic u2", {"kind": 5}),
        ("strategic u2", {"metadata": {"labels": 5}}),
    ],
    "problems of a patch are told in order": [
        ("replace u1", _config({"z": "1"}, metadata={"labels": {"z": "1"}})),
        (
            "json u2",
            [
                {"op": "add", "path": "/metadata/labels", "value": 5},
                {"op": "add", "path": "/metadata/annotations", "value": 6},
            ],
        ),
        ("json u2", [{"op": "add", "path": "/metadata", "value": {"labels": 5, "annotations": 6}}]),
        ("json u2", [{"op": "add", "path": "/z", "value": 5}, {"op": "add", "path": "/a", "value": {"z": 1}}]),
        ("merge u2", {"z": 1, "a": {"z": 1}, "metadata": {"z": 1, "a": 1}}),
        ("merge u2", {"metadata": {"labels": 5, "annotations": 6}}),
        ("strategic u2", {"z": 1, "a": {"z": 1}, "metadata": {"z": 1, "a": 1}}),
    ],
}
_STORIES: dict[str, list[_Step]] = {
    "items of a set": [
        ("apply m1", _story({"set": ["a", "b"]})),
        ("apply m2", _story({"set": ["c", "b"]})),
        ("apply m1", _story({"set": ["a"]})),
        ("apply m2", _story({"set": []})),
        ("apply m1", _story({"set": ["a", "a"]})),
        ("merge u1", _story({"set": ["z", "a"]})),
        ("apply m1", _story({})),
    ],
    "items of a map of items": [
        ("apply m1", _story({"keyed": [{"name": "a", "size": 1}, {"name": "b", "size": 1}]})),
        (
            "apply m2",
            _story({"keyed": [{"name": "c"}, {"name": "a", "kind": "plain"}, {"name": "a", "kind": "other"}]}),
        ),
        ("apply m2", _story({"keyed": [{"name": "b", "size": 2}]})),
        ("force m2", _story({"keyed": [{"name": "b", "size": 2}]})),
        ("apply m1", _story({"keyed": [{"name": "b"}]})),
        ("merge u1", _story({"keyed": [{"name": "b", "size": 3}, {"name": "d"}]})),
        ("apply m1", _story({"keyed": [{"size": 1}]})),
        ("apply m1", _story({"keyed": [{"name": "a"}, {"name": "a", "kind": "plain"}]})),
        ("apply m1", _story({"keyed": ["a"]})),
    ],
    "lists and maps that are one value": [
        ("apply m1", _story({"list": ["a"], "whole": {"a": "1"}})),
        ("apply m2", _story({"list": ["a", "b"], "whole": {"a": "1", "b": "1"}})),
        ("force m2", _story({"list": ["b"], "whole": {"b": "1"}})),
        ("merge u1", _story({"whole": {"c": "1"}})),
        ("apply m2", _story({"list": None})),
    ],
    "entries of a map": [
        ("apply m1", _story({"map": {"a": "1", "b": "1"}})),
        ("apply m2", _story({"map": {"a": "1", "c": "1"}})),
        ("apply m1", _story({"map": {}})),
        ("apply m2", _story()),
    ],
    "fields below fields": [
        ("apply m1", _story({"deep": {"a": {"b": "1", "c": "1"}}})),
        ("apply m1", _story({"deep": {"a": {"b": "1"}}})),
        ("apply m1", _story({"deep": {}})),
        ("merge u1", _story({"deep": {"a": {"b": "2"}}})),
        ("apply m1", _story()),
        ("merge u1", _story({"deep": None})),
    ],
    "what has no schema is owned field by field": [
        ("apply m1", _story({"free": {"a": {"b": 1}, "l": [{"x": 1}], "n": None}})),
        ("apply m2", _story({"free": {"a": {"c": 1.5}, "l": [{"x": 2}]}})),
        ("apply m1", _story({"free": {"l": [{"x": 1}]}})),
    ],
    "a number and a text": [
        ("apply m1", _story({"either": 5})),
        ("apply m1", _story({"either": "5"})),
        ("apply m1", _story({"either": True})),
    ],
    "defaults are nobody's": [
        ("apply m1", _story({})),
        ("apply m2", _story({"defaulted": "y"})),
        ("apply m2", _story({"defaulted": None})),
        ("apply m2", _story({"null": None})),
        ("merge m2", _story({"null": None, "map": {"a": None}})),
    ],
    "the status is the subresource's": [
        ("apply m1", _story({"map": {"a": "1"}}, status={"ready": True})),
        ("apply m2 status", _story({"map": {"a": "2"}}, status={"ready": True})),
        ("apply m1 status", _story(status={"ready": False})),
        ("merge u1", _story({"map": {"b": "1"}}, status={"ready": False})),
        ("merge u1 status", _story({"map": {"c": "1"}}, status={"ready": False})),
        ("apply m2 status", _story()),
    ],
    "a custom resource takes no strategic patch": [("apply m1", _story({})), ("strategic m1", _story({}))],
    "patches that make something else of a custom resource": [
        ("replace u1", {}),
        ("json u2", [{"op": "remove", "path": "/apiVersion"}]),
        *_OTHER_KINDS,
    ],
    "unknown fields of a custom resource": [
        ("apply m1", _story({"unknown": 1})),
        ("replace u1", _story({"unknown": 1, "map": {"a": "1"}})),
        ("merge u1", _story({"unknown": 1})),
        ("merge u1", {"metadata": {"unknown": 1}}),
    ],
}
_DEPLOYMENTS: dict[str, list[_Step]] = {
    "replicas are handed over": [
        ("apply m1", _deployment(_container(), replicas=2)),
        ("merge scaler", {"spec": {"replicas": 5}}),
        ("apply m1", _deployment(_container(), replicas=2)),
        ("apply m1", _deployment(_container())),
        ("apply m2", {"spec": {"replicas": 5}}),
    ],
    "containers keep the applied order": [
        ("apply m1", _deployment(_container("a"), _container("b"))),
        ("apply m2", _deployment(_container("c"), _container("a"))),
        ("apply m1", _deployment(_container("b"), _container("d"))),
    ],
    "one port of two protocols": [
        ("apply m1", _deployment(_container(ports=[{"containerPort": 1}, {"containerPort": 1, "protocol": "UDP"}]))),
        ("apply m1", _deployment(_container(ports=[{"containerPort": 1, "protocol": "UDP"}]))),
        ("apply m2", _deployment(_container(ports=[{"containerPort": 1, "name": "x"}]))),
        ("apply m2", _deployment(_container(ports=[{"containerPort": 1}, {"containerPort": 1}]))),
        ("apply m2", _deployment(_container(ports=[{"name": "x"}]))),
    ],
    "an equal quantity is no change": [
        ("apply m1", _deployment(_container(resources={"limits": {"cpu": "1000m", "memory": "1024Mi"}}))),
        ("apply m2", _deployment(_container(resources={"limits": {"cpu": "1"}}))),
        ("replace u1", _deployment(_container(resources={"limits": {"cpu": "1000m", "memory": "1Gi"}}))),
    ],
    "a selector is one value": [
        ("apply m1", _deployment(_container())),
        ("force m2", {"spec": {"selector": {"matchLabels": {"a": "b", "c": "d"}}}}),
    ],
    "the status of a deployment": [
        ("apply m1", {**_deployment(_container()), "status": {"replicas": 1}}),
        ("merge u1 status", {"status": {"replicas": 2, "conditions": [{"type": "A", "status": "True"}]}}),
        ("apply m2 status", {"status": {"conditions": [{"type": "B", "status": "True"}]}, "spec": {"replicas": 9}}),
        ("apply m1", {**_deployment(_container()), "metadata": {"labels": {"x": "y"}}}),
    ],
    "strategic patches merge by key": [
        ("replace u1", _TWO_CONTAINERS),
        ("strategic u2", _containers({"name": "b", "image": "b:2"}, {"name": "c", "image": "c:1"})),
        ("strategic u2", _containers({"name": "a", "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "3"}]})),
        ("strategic u2", _containers({"name": "a", "command": ["x"], "args": ["y"]})),
        ("strategic u2", _containers({"name": "c", "$patch": "delete"})),
        ("strategic u2", _containers({"name": "a", "env": [{"name": "A", "$patch": "delete"}]})),
        ("strategic u2", {"spec": {"template": {"metadata": {"labels": {"c": "d"}, "annotations": None}}}}),
    ],
    "strategic patches that replace": [
        ("replace u1", _TWO_CONTAINERS),
        ("strategic u2", _containers({"name": "z", "image": "z:1"}, {"$patch": "replace"})),
        ("strategic u2", _pod({"nodeSelector": {"a": "1", "b": "2"}})),
        ("strategic u2", _pod({"nodeSelector": {"$patch": "replace", "c": "3"}})),
        ("strategic u2", _pod({"nodeSelector": {"$patch": "delete"}})),
        ("strategic u2", {"spec": {"strategy": {"$patch": "replace", "type": "Recreate"}}}),
    ],
    "strategic patches that retain keys": [
        ("replace u1", _TWO_CONTAINERS),
        ("strategic u2", {"spec": {"strategy": {"type": "Recreate"}}}),
        ("strategic u2", {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
        ("strategic u2", _pod({"volumes": [{"name": "v", "emptyDir": {}}]})),
        ("strategic u2", _pod({"volumes": [{"name": "v", "configMap": {"name": "c"}}]})),
        (
            "strategic u2",
            _pod({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]}),
        ),
    ],
    "strategic patches that set an order": [
        ("replace u1", _TWO_CONTAINERS),
        ("strategic u2", _pod({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]})),
        (
            "strategic u2",
            _pod(
                {
                    "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}, {"name": "b"}],
                    "containers": [{"name": "c", "image": "c:1"}, {"name": "b", "image": "b:3"}],
                }
            ),
        ),
        (
            "strategic u2",
            _pod({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b", "image": "b:4"}]}),
        ),
        ("strategic u2", _pod({"$setElementOrder/containers": 5})),
    ],
    "strategic patches that cannot be": [
        ("replace u1", _TWO_CONTAINERS),
        ("strategic u2", _containers({"image": "b:2"})),
        ("strategic u2", _containers({"name": "a", "$patch": "drop"})),
        ("strategic u2", _containers({"$patch": "delete"})),
        ("strategic u2", {"spec": {"strategy": {"$patch": "drop"}}}),
        ("strategic u2", {"spec": {"unknown": {"a": 1}}}),
        ("strategic u2", _containers("a")),
        ("strategic u2", {"spec": {"replicas": "x"}}),
        ("strategic u2", {"spec": 5}),
        ("strategic u2", {"$retainKeys": 5}),
        ("strategic u2", {"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}}),
        ("strategic u2", []),
    ],
}
_OTHERS: dict[str, dict[str, list[_Step]]] = {
    "Service": {
        "ports of a service": [
            ("apply m1", {"spec": {"clusterIP": "None", "ports": [_PORT, {"port": 81, "name": "b"}]}}),
            ("apply m2", {"spec": {"ports": [{"port": 81, "name": "b", "protocol": "TCP", "targetPort": "x"}]}}),
            ("strategic u1", {"spec": {"ports": [{"port": 81, "targetPort": 8081}]}}),
            ("strategic u1", {"spec": {"ports": [{"port": 80, "$patch": "delete"}]}}),
            ("apply m1", {"spec": {"ports": [{"port": 81, "name": "b"}], "selector": {"a": "c"}}}),
        ],
    },
    "ServiceAccount": {
        "lists of plain values": [
            ("replace u1", {"metadata": {"finalizers": ["a.b/c", "a.b/d"]}, "imagePullSecrets": [{"name": "x"}]}),
            ("strategic u2", {"metadata": {"finalizers": ["a.b/e", "a.b/c"]}}),
            ("strategic u2", {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a.b/c"]}}),
            (
                "strategic u2",
                {"metadata": {"$setElementOrder/finalizers": ["a.b/f", "a.b/d"], "finalizers": ["a.b/f"]}},
            ),
            ("strategic u2", {"imagePullSecrets": [{"name": "y"}], "secrets": [{"name": "s"}]}),
            ("strategic u2", {"metadata": {"$deleteFromPrimitiveList/finalizers": 5}}),
        ]
    },
}
STORIES: dict[str, tuple[str, list[_Step]]] = {
    name: (kind, steps)
    for kind, stories in (
        ("ConfigMap", _CONFIG_MAPS),
        ("Story", _STORIES),
        ("Deployment", _DEPLOYMENTS),
        *_OTHERS.items(),
    )
    for name, steps in stories.items()
}
"""Kind and steps by name."""

_MEDIA_TYPES = {
    "apply": APPLY,
    "force": APPLY,
    "replace": REPLACE,
    "merge": MERGE,
    "strategic": STRATEGIC,
    "json": JSON_PATCH,
}


def object_name(story: str) -> str:
    """Return the name of a story's object."""
    return "".join(one if one.isalnum() else "-" for one in story.lower())


def requests(story: str) -> list[Request]:
    """Return the writes of a story; applies and replacements are whole objects."""
    kind, steps = STORIES[story]
    found = []
    for what, content in steps:
        verb, manager, *subresource = what.split()
        body = copy.deepcopy(content)
        if verb in {"apply", "force", "replace"} and isinstance(body, dict):
            body = {"apiVersion": KINDS[kind], "kind": kind, **body}
            body["metadata"] = {**(body.get("metadata") or {}), "name": object_name(story)}
        found.append(Request(_MEDIA_TYPES[verb], body, manager, verb == "force", "".join(subresource)))
    return found
