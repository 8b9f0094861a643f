"""Stories of patches of every type: what they do, and why they are refused."""

from __future__ import annotations

from tests.sandbox.simulator.observed.story_bodies import (
    Step,
    config,
    container,
    containers,
    deployment,
    pod,
    story,
)

_ONE = {"op": "test", "path": "/data/a", "value": "1"}
_TWO_CONTAINERS = deployment(container("a", env=[{"name": "A", "value": "1"}]), container("b"))
_OTHER_KINDS: list[Step] = [
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
CONFIG_MAPS: dict[str, list[Step]] = {
    "every operation of a JSON patch": [
        ("replace u1", config({"a": "1", "b": "2"}, metadata={"finalizers": ["a.b/c", "a.b/d"]})),
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
        ("replace u1", config({"a": "1"}, metadata={"finalizers": ["a.b/c"]})),
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
        ("replace u1", config({"a": "1", "b": "1"}, metadata={"finalizers": ["a.b/c"]})),
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
        ("replace u1", config({"z": "1"}, metadata={"labels": {"z": "1"}})),
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
STORIES: dict[str, list[Step]] = {
    "a custom resource takes no strategic patch": [("apply m1", story({})), ("strategic m1", story({}))],
    "patches that make something else of a custom resource": [
        ("replace u1", {}),
        ("json u2", [{"op": "remove", "path": "/apiVersion"}]),
        *_OTHER_KINDS,
    ],
}
DEPLOYMENTS: dict[str, list[Step]] = {
    "strategic patches merge by key": [
        ("replace u1", _TWO_CONTAINERS),
        ("strategic u2", containers({"name": "b", "image": "b:2"}, {"name": "c", "image": "c:1"})),
        ("strategic u2", containers({"name": "a", "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "3"}]})),
        ("strategic u2", containers({"name": "a", "command": ["x"], "args": ["y"]})),
        ("strategic u2", containers({"name": "c", "$patch": "delete"})),
        ("strategic u2", containers({"name": "a", "env": [{"name": "A", "$patch": "delete"}]})),
        ("strategic u2", {"spec": {"template": {"metadata": {"labels": {"c": "d"}, "annotations": None}}}}),
    ],
    "strategic patches that replace": [
        ("replace u1", _TWO_CONTAINERS),
        ("strategic u2", containers({"name": "z", "image": "z:1"}, {"$patch": "replace"})),
        ("strategic u2", pod({"nodeSelector": {"a": "1", "b": "2"}})),
        ("strategic u2", pod({"nodeSelector": {"$patch": "replace", "c": "3"}})),
        ("strategic u2", pod({"nodeSelector": {"$patch": "delete"}})),
        ("strategic u2", {"spec": {"strategy": {"$patch": "replace", "type": "Recreate"}}}),
    ],
    "strategic patches that retain keys": [
        ("replace u1", _TWO_CONTAINERS),
        ("strategic u2", {"spec": {"strategy": {"type": "Recreate"}}}),
        ("strategic u2", {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
        ("strategic u2", pod({"volumes": [{"name": "v", "emptyDir": {}}]})),
        ("strategic u2", pod({"volumes": [{"name": "v", "configMap": {"name": "c"}}]})),
        (
            "strategic u2",
            pod({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]}),
        ),
    ],
    "strategic patches that set an order": [
        ("replace u1", _TWO_CONTAINERS),
        ("strategic u2", pod({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]})),
        (
            "strategic u2",
            pod(
                {
                    "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}, {"name": "b"}],
                    "containers": [{"name": "c", "image": "c:1"}, {"name": "b", "image": "b:3"}],
                }
            ),
        ),
        (
            "strategic u2",
            pod({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b", "image": "b:4"}]}),
        ),
        ("strategic u2", pod({"$setElementOrder/containers": 5})),
    ],
    "strategic patches that cannot be": [
        ("replace u1", _TWO_CONTAINERS),
        ("strategic u2", containers({"image": "b:2"})),
        ("strategic u2", containers({"name": "a", "$patch": "drop"})),
        ("strategic u2", containers({"$patch": "delete"})),
        ("strategic u2", {"spec": {"strategy": {"$patch": "drop"}}}),
        ("strategic u2", {"spec": {"unknown": {"a": 1}}}),
        ("strategic u2", containers("a")),
        ("strategic u2", {"spec": {"replicas": "x"}}),
        ("strategic u2", {"spec": 5}),
        ("strategic u2", {"$retainKeys": 5}),
        ("strategic u2", {"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}}),
        ("strategic u2", []),
    ],
}
SERVICE_ACCOUNTS: dict[str, list[Step]] = {
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
}
