"""Stories of several managers that apply and update: who owns what, what is removed, and who is refused."""

from __future__ import annotations

from tests.sandbox.simulator.observed.good_objects import Json
from tests.sandbox.simulator.observed.story_bodies import Step, config, container, deployment, marked, story

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_PORT: Json = {"port": 80, "name": "a"}

CONFIG_MAPS: dict[str, list[Step]] = {
    "an update owns what it changes": [
        ("replace u1", config({"a": "1", "b": "1"})),
        ("replace u2", config({"a": "2", "b": "1", "c": "1"})),
        ("replace u3", config({"b": "1"})),
    ],
    "an update to what is there owns nothing": [
        ("replace u1", config({"a": "1"})),
        ("replace u2", config({"a": "1"})),
    ],
    "what is applied no more is removed": [
        ("apply m1", config({"a": "1", "b": "1"}, metadata={"labels": {"a": "1"}})),
        ("apply m1", config({"b": "1"})),
        ("apply m1", {}),
    ],
    "what another has is not removed": [
        ("apply m1", config({"a": "1", "b": "1"})),
        ("apply m2", config({"a": "1"})),
        ("apply m1", config({"b": "1"})),
        ("apply m2", {}),
    ],
    "what an update changed is not removed": [
        ("apply m1", config({"a": "1", "b": "1"})),
        ("merge u1", config({"a": "2"})),
        ("apply m1", config({"b": "1"})),
    ],
    "one conflict, two, and force": [
        ("apply m1", config({"a": "1", "b": "1"})),
        ("merge u1", {"data": {"c": "1"}, "metadata": {"labels": {"l.io/x": "1"}}}),
        ("apply m2", config({"a": "2"})),
        ("apply m2", config({"a": "2", "b": "2", "c": "2"}, metadata={"labels": {"l.io/x": "2"}})),
        ("force m2", config({"a": "2", "b": "1", "c": "2"})),
        ("apply m1", config({"a": "1", "b": "1"})),
    ],
    "a removal by an update takes the field from all": [
        ("apply m1", config({"a": "1", "b": "1"})),
        ("apply m2", config({"a": "1"})),
        ("merge u1", config({"a": None})),
        ("apply m2", config({"a": "1"})),
    ],
    "the same manager by update and by apply is two": [
        ("replace m1", config({"a": "1"})),
        ("apply m1", config({"a": "2"})),
        ("apply m1", config({"a": "1"})),
        ("apply m1", {}),
    ],
    "what was not tracked is before the first apply": [
        ("replace u1", config({"a": "1", "b": "1"})),
        ("replace u1", config({"a": "1", "b": "1"}, metadata={"managedFields": [{}]})),
        ("merge u1", config({"c": "1"})),
        ("apply m1", config({"a": "2"})),
        ("force m1", config({"a": "2"})),
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
        ("replace u1", config({"a": "1"})),
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
        ("replace u1", config({"a": "1"})),
        ("json u2", [{"op": "replace", "path": "/metadata/managedFields/0/operation", "value": "Own"}]),
        ("json u2", [{"op": "replace", "path": "/metadata/managedFields/0/fieldsType", "value": "FieldsV2"}]),
        ("json u2", [{"op": "replace", "path": "/metadata/managedFields/0/fieldsV1", "value": {"x": {}}}]),
        ("json u2", [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]),
    ],
    "the oldest of many updaters become one": [("replace u0", config({"k": "1"}))]
    + [(f"merge u{number}", config({f"k{number}": "1"})) for number in range(1, 11)],
    "kubectl's last configuration follows its applies": [
        ("replace kubectl", {**config({"a": "1"}), **marked(**{LAST_APPLIED: "{}"})}),
        ("apply kubectl", config({"a": "1", "b": "<&>"})),
        ("apply other", config({"c": "1"})),
    ],
    "kubectl may change what it applied as a client": [
        (
            "replace kubectl-client-side-apply",
            {
                **config({"a": "1", "b": "1"}),
                **marked(
                    **{
                        LAST_APPLIED: '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},'
                        '"data":{"a":"1","b":"0"}}'
                    }
                ),
            },
        ),
        ("apply kubectl", config({"a": "2"})),
        ("apply kubectl", config({"b": "2"})),
        ("apply other", config({"a": "3"})),
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
}
STORIES: dict[str, list[Step]] = {
    "items of a set": [
        ("apply m1", story({"set": ["a", "b"]})),
        ("apply m2", story({"set": ["c", "b"]})),
        ("apply m1", story({"set": ["a"]})),
        ("apply m2", story({"set": []})),
        ("apply m1", story({"set": ["a", "a"]})),
        ("merge u1", story({"set": ["z", "a"]})),
        ("apply m1", story({})),
    ],
    "items of a map of items": [
        ("apply m1", story({"keyed": [{"name": "a", "size": 1}, {"name": "b", "size": 1}]})),
        (
            "apply m2",
            story({"keyed": [{"name": "c"}, {"name": "a", "kind": "plain"}, {"name": "a", "kind": "other"}]}),
        ),
        ("apply m2", story({"keyed": [{"name": "b", "size": 2}]})),
        ("force m2", story({"keyed": [{"name": "b", "size": 2}]})),
        ("apply m1", story({"keyed": [{"name": "b"}]})),
        ("merge u1", story({"keyed": [{"name": "b", "size": 3}, {"name": "d"}]})),
        ("apply m1", story({"keyed": [{"size": 1}]})),
        ("apply m1", story({"keyed": [{"name": "a"}, {"name": "a", "kind": "plain"}]})),
        ("apply m1", story({"keyed": ["a"]})),
    ],
    "lists and maps that are one value": [
        ("apply m1", story({"list": ["a"], "whole": {"a": "1"}})),
        ("apply m2", story({"list": ["a", "b"], "whole": {"a": "1", "b": "1"}})),
        ("force m2", story({"list": ["b"], "whole": {"b": "1"}})),
        ("merge u1", story({"whole": {"c": "1"}})),
        ("apply m2", story({"list": None})),
    ],
    "entries of a map": [
        ("apply m1", story({"map": {"a": "1", "b": "1"}})),
        ("apply m2", story({"map": {"a": "1", "c": "1"}})),
        ("apply m1", story({"map": {}})),
        ("apply m2", story()),
    ],
    "fields below fields": [
        ("apply m1", story({"deep": {"a": {"b": "1", "c": "1"}}})),
        ("apply m1", story({"deep": {"a": {"b": "1"}}})),
        ("apply m1", story({"deep": {}})),
        ("merge u1", story({"deep": {"a": {"b": "2"}}})),
        ("apply m1", story()),
        ("merge u1", story({"deep": None})),
    ],
    "what has no schema is owned field by field": [
        ("apply m1", story({"free": {"a": {"b": 1}, "l": [{"x": 1}], "n": None}})),
        ("apply m2", story({"free": {"a": {"c": 1.5}, "l": [{"x": 2}]}})),
        ("apply m1", story({"free": {"l": [{"x": 1}]}})),
    ],
    "a number and a text": [
        ("apply m1", story({"either": 5})),
        ("apply m1", story({"either": "5"})),
        ("apply m1", story({"either": True})),
    ],
    "defaults are nobody's": [
        ("apply m1", story({})),
        ("apply m2", story({"defaulted": "y"})),
        ("apply m2", story({"defaulted": None})),
        ("apply m2", story({"null": None})),
        ("merge m2", story({"null": None, "map": {"a": None}})),
    ],
    "the status is the subresource's": [
        ("apply m1", story({"map": {"a": "1"}}, status={"ready": True})),
        ("apply m2 status", story({"map": {"a": "2"}}, status={"ready": True})),
        ("apply m1 status", story(status={"ready": False})),
        ("merge u1", story({"map": {"b": "1"}}, status={"ready": False})),
        ("merge u1 status", story({"map": {"c": "1"}}, status={"ready": False})),
        ("apply m2 status", story()),
    ],
    "unknown fields of a custom resource": [
        ("apply m1", story({"unknown": 1})),
        ("replace u1", story({"unknown": 1, "map": {"a": "1"}})),
        ("merge u1", story({"unknown": 1})),
        ("merge u1", {"metadata": {"unknown": 1}}),
    ],
}
DEPLOYMENTS: dict[str, list[Step]] = {
    "replicas are handed over": [
        ("apply m1", deployment(container(), replicas=2)),
        ("merge scaler", {"spec": {"replicas": 5}}),
        ("apply m1", deployment(container(), replicas=2)),
        ("apply m1", deployment(container())),
        ("apply m2", {"spec": {"replicas": 5}}),
    ],
    "containers keep the applied order": [
        ("apply m1", deployment(container("a"), container("b"))),
        ("apply m2", deployment(container("c"), container("a"))),
        ("apply m1", deployment(container("b"), container("d"))),
    ],
    "one port of two protocols": [
        ("apply m1", deployment(container(ports=[{"containerPort": 1}, {"containerPort": 1, "protocol": "UDP"}]))),
        ("apply m1", deployment(container(ports=[{"containerPort": 1, "protocol": "UDP"}]))),
        ("apply m2", deployment(container(ports=[{"containerPort": 1, "name": "x"}]))),
        ("apply m2", deployment(container(ports=[{"containerPort": 1}, {"containerPort": 1}]))),
        ("apply m2", deployment(container(ports=[{"name": "x"}]))),
    ],
    "an equal quantity is no change": [
        ("apply m1", deployment(container(resources={"limits": {"cpu": "1000m", "memory": "1024Mi"}}))),
        ("apply m2", deployment(container(resources={"limits": {"cpu": "1"}}))),
        ("replace u1", deployment(container(resources={"limits": {"cpu": "1000m", "memory": "1Gi"}}))),
    ],
    "a selector is one value": [
        ("apply m1", deployment(container())),
        ("force m2", {"spec": {"selector": {"matchLabels": {"a": "b", "c": "d"}}}}),
    ],
    "the status of a deployment": [
        ("apply m1", {**deployment(container()), "status": {"replicas": 1}}),
        ("merge u1 status", {"status": {"replicas": 2, "conditions": [{"type": "A", "status": "True"}]}}),
        ("apply m2 status", {"status": {"conditions": [{"type": "B", "status": "True"}]}, "spec": {"replicas": 9}}),
        ("apply m1", {**deployment(container()), "metadata": {"labels": {"x": "y"}}}),
    ],
}
SERVICES: dict[str, list[Step]] = {
    "ports of a service": [
        ("apply m1", {"spec": {"clusterIP": "None", "ports": [_PORT, {"port": 81, "name": "b"}]}}),
        ("apply m2", {"spec": {"ports": [{"port": 81, "name": "b", "protocol": "TCP", "targetPort": "x"}]}}),
        ("strategic u1", {"spec": {"ports": [{"port": 81, "targetPort": 8081}]}}),
        ("strategic u1", {"spec": {"ports": [{"port": 80, "$patch": "delete"}]}}),
        ("apply m1", {"spec": {"ports": [{"port": 81, "name": "b"}], "selector": {"a": "c"}}}),
    ],
}
