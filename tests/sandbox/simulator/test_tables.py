"""Tables, printer by printer; that they are what a real server answers is in the contract suite."""

from __future__ import annotations

from typing import Any

import pytest

from engine.sandbox.simulator.builtin import load
from engine.sandbox.simulator.human import age, duration, first_few, label_selector
from engine.sandbox.simulator.json_path import compiled
from engine.sandbox.simulator.resource_types import PrinterColumn, ResourceType
from engine.sandbox.simulator.tables import table

NOW = 1_800_000_000.0
CREATED = "2027-01-15T07:59:30Z"
"""Half a minute before NOW."""
TYPES = {rtype.key: rtype for rtype in load()}


def shown(group: str, resource: str, obj: dict[str, Any], include: str = "") -> dict[str, Any]:
    full = {"metadata": {"name": "a", "creationTimestamp": CREATED}, **obj}
    return table(TYPES[group, resource], [full], {}, version="meta.k8s.io/v1", include=include, now=NOW)


def cells(group: str, resource: str, **fields: Any) -> list[Any]:
    found: list[Any] = shown(group, resource, fields)["rows"][0]["cells"]
    return found


def running(name: str, *, ready: bool = True, restarts: int = 0, **more: Any) -> dict[str, Any]:
    return {"name": name, "ready": ready, "restartCount": restarts, "state": {"running": {}}, **more}


ONE = {"containers": [{"name": "a", "image": "i"}]}


@pytest.mark.parametrize(
    ("spec", "status", "expected"),
    [
        (ONE, {"phase": "Pending"}, ["0/1", "Pending", "0"]),
        (ONE, {"phase": "Running", "containerStatuses": [running("a")]}, ["1/1", "Running", "0"]),
        (
            ONE,
            {
                "phase": "Running",
                "containerStatuses": [
                    running("a", restarts=2, lastState={"terminated": {"finishedAt": "2027-01-15T07:59:00Z"}})
                ],
            },
            ["1/1", "Running", "2 (60s ago)"],
        ),
        (
            ONE,
            {
                "phase": "Running",
                "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
            },
            ["0/1", "CrashLoopBackOff", "0"],
        ),
        (
            ONE,
            {"phase": "Failed", "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 3}}}]},
            ["0/1", "ExitCode:3", "0"],
        ),
        (
            {**ONE, "initContainers": [{"name": "i"}]},
            {"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]},
            ["0/1", "Init:0/1", "0"],
        ),
        (
            {**ONE, "initContainers": [{"name": "i"}]},
            {
                "phase": "Pending",
                "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}],
            },
            ["0/1", "Init:Error", "0"],
        ),
        (
            {**ONE, "initContainers": [{"name": "s", "restartPolicy": "Always"}]},
            {
                "phase": "Running",
                "initContainerStatuses": [running("s", started=True)],
                "containerStatuses": [running("a")],
            },
            ["2/2", "Running", "0"],
        ),
        (
            ONE,
            {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [
                    {"name": "b", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
                    running("a"),
                ],
            },
            ["1/1", "Running", "0"],
        ),
        (
            ONE,
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]},
            ["0/1", "SchedulingGated", "0"],
        ),
    ],
)
def test_a_pods_status_sums_up_its_containers(
    spec: dict[str, Any], status: dict[str, Any], expected: list[str]
) -> None:
    row = cells("", "pods", spec=spec, status=status)
    assert row[1:4] == expected
    assert row[4:] == ["30s", "<none>", "<none>", "<none>", "<none>"]


def test_a_pod_that_is_deleted_is_terminating_unless_it_has_ended() -> None:
    metadata = {"name": "a", "creationTimestamp": CREATED, "deletionTimestamp": CREATED}
    assert cells("", "pods", metadata=metadata, spec=ONE, status={"phase": "Running"})[2] == "Terminating"
    assert cells("", "pods", metadata=metadata, spec=ONE, status={"phase": "Succeeded"})[2] == "Succeeded"


def test_a_finished_pods_row_says_so() -> None:
    row = shown("", "pods", {"spec": ONE, "status": {"phase": "Succeeded"}})["rows"][0]
    assert row["conditions"][0]["reason"] == "Succeeded"


TEMPLATE = {"spec": {"containers": [{"name": "x", "image": "i"}, {"name": "y", "image": "j"}]}}
SELECTOR = {"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "t", "operator": "In", "values": ["2", "1"]}]}


@pytest.mark.parametrize(
    ("group", "resource", "fields", "expected"),
    [
        ("", "configmaps", {"data": {"a": ""}, "binaryData": {"b": ""}}, ["a", 2, "30s"]),
        ("", "secrets", {"type": "Opaque", "data": {"a": ""}}, ["a", "Opaque", 1, "30s"]),
        ("", "namespaces", {"status": {"phase": "Active"}}, ["a", "Active", "30s"]),
        (
            "apps",
            "deployments",
            {
                "spec": {"replicas": 3, "selector": SELECTOR, "template": TEMPLATE},
                "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1},
            },
            ["a", "1/3", 2, 1, "30s", "x,y", "i,j", "app=a,t in (1,2)"],
        ),
        (
            "apps",
            "replicasets",
            {"spec": {"replicas": 3, "template": TEMPLATE, "selector": SELECTOR}, "status": {"replicas": 2}},
            ["a", 3, 2, 0, "30s", "x,y", "i,j", "app=a,t in (1,2)"],
        ),
        ("apps", "statefulsets", {"spec": {"replicas": 2, "template": TEMPLATE}}, ["a", "0/2", "30s", "x,y", "i,j"]),
        (
            "",
            "services",
            {
                "spec": {
                    "type": "NodePort",
                    "clusterIPs": ["10.0.0.1"],
                    "ports": [{"port": 80, "nodePort": 30000, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
                    "selector": {"b": "c"},
                }
            },
            ["a", "NodePort", "10.0.0.1", "<none>", "80:30000/TCP,53/UDP", "30s", "b=c"],
        ),
        (
            "",
            "services",
            {"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}},
            ["a", "LoadBalancer", "<none>", "1.2.3.4", "<none>", "30s", "<none>"],
        ),
        (
            "batch",
            "jobs",
            {
                "spec": {"completions": 2, "template": TEMPLATE},
                "status": {
                    "succeeded": 2,
                    "startTime": CREATED,
                    "completionTime": "2027-01-15T07:59:50Z",
                    "conditions": [{"type": "Complete", "status": "True"}],
                },
            },
            ["a", "Complete", "2/2", "20s", "30s", "x,y", "i,j", "<none>"],
        ),
        (
            "batch",
            "cronjobs",
            {"spec": {"schedule": "* * * * *", "suspend": False, "jobTemplate": {"spec": {"template": TEMPLATE}}}},
            ["a", "* * * * *", "<none>", "False", 0, "<none>", "30s", "x,y", "i,j", "<none>"],
        ),
        (
            "autoscaling",
            "horizontalpodautoscalers",
            {
                "spec": {
                    "maxReplicas": 5,
                    "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                    "metrics": [
                        {
                            "type": "Resource",
                            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
                        }
                    ],
                },
                "status": {
                    "currentReplicas": 2,
                    "currentMetrics": [
                        {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 40}}}
                    ],
                },
            },
            ["a", "Deployment/web", "cpu: 40%/80%", "<unset>", 5, 2, "30s"],
        ),
        (
            "networking.k8s.io",
            "ingresses",
            {"spec": {"rules": [{"host": f"h{i}"} for i in range(5)], "tls": [{}], "ingressClassName": "n"}},
            ["a", "n", "h0,h1,h2 + 2 more...", "", "80, 443", "30s"],
        ),
        (
            "policy",
            "poddisruptionbudgets",
            {"spec": {"minAvailable": "50%"}, "status": {"disruptionsAllowed": 1}},
            ["a", "50%", "N/A", 1, "30s"],
        ),
        (
            "rbac.authorization.k8s.io",
            "rolebindings",
            {
                "roleRef": {"kind": "Role", "name": "r"},
                "subjects": [
                    {"kind": "User", "name": "u"},
                    {"kind": "Group", "name": "g"},
                    {"kind": "ServiceAccount", "namespace": "n", "name": "s"},
                ],
            },
            ["a", "Role/r", "30s", "u", "g", "n/s"],
        ),
        ("coordination.k8s.io", "leases", {"spec": {"holderIdentity": "me"}}, ["a", "me", "30s"]),
        ("", "limitranges", {}, ["a", CREATED]),
    ],
)
def test_a_row_has_the_cells_of_its_type(
    group: str, resource: str, fields: dict[str, Any], expected: list[Any]
) -> None:
    assert cells(group, resource, **fields) == expected


@pytest.mark.parametrize("rtype", load(), ids=lambda rtype: rtype.resource)
def test_every_type_prints_an_object_that_says_nothing(rtype: ResourceType) -> None:
    made = table(rtype, [{"metadata": {"name": "a"}}], {}, version="meta.k8s.io/v1", include="None", now=NOW)
    assert len(made["rows"][0]["cells"]) == len(made["columnDefinitions"])
    assert made["rows"][0]["object"] is None


def test_what_is_included_of_an_object_is_asked_for() -> None:
    fields = {"data": {"k": "v"}}
    assert shown("", "configmaps", fields)["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert shown("", "configmaps", fields, "Object")["rows"][0]["object"]["data"] == {"k": "v"}


def test_a_custom_resource_has_the_columns_of_its_definition() -> None:
    columns = (
        PrinterColumn("Size", "integer", ".spec.size"),
        PrinterColumn("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
        PrinterColumn("Since", "date", ".status.since"),
        PrinterColumn("On", "boolean", ".spec.on"),
        PrinterColumn("None", "string", ".spec.nothing"),
    )
    rtype = ResourceType(
        "g.io",
        "v1",
        "things",
        "thing",
        "Thing",
        "ThingList",
        True,
        lambda: None,
        custom=True,
        columns=columns,  # type: ignore[arg-type, return-value]
    )
    thing = {
        "metadata": {"name": "a"},
        "spec": {"size": 3, "on": True},
        "status": {"since": CREATED, "conditions": [{"type": "X", "status": "?"}, {"type": "Ready", "status": "True"}]},
    }
    made = table(rtype, [thing], {}, version="meta.k8s.io/v1", include="", now=NOW)
    assert [column["name"] for column in made["columnDefinitions"]] == ["Name", "Size", "Ready", "Since", "On", "None"]
    assert made["rows"][0]["cells"] == ["a", 3, "True", "30s", True, None]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".a.b", [1]),
        ("{.a.b}", [1]),
        ("$.a.b", [1]),
        (".a['x.y']", [2]),
        (r".a.x\.y", [2]),
        (".l[0].n", ["p"]),
        (".l[-1].n", ["q"]),
        (".l[*].n", ["p", "q"]),
        (".l[?(@.n=='q')].v", [True]),
        (".l[?(@.v!=true)].n", ["p"]),
        (".nothing.here", []),
        (".a[0]", []),
    ],
)
def test_a_json_path_finds_what_is_there(path: str, expected: list[Any]) -> None:
    obj = {"a": {"b": 1, "x.y": 2}, "l": [{"n": "p", "v": False}, {"n": "q", "v": True}]}
    assert compiled(path)(obj) == expected


def test_a_path_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="unrecognized JSON path"):
        compiled(".a[?(@]")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (312, "5m12s"),
        (3600, "60m"),
        (10_800, "3h"),
        (12_000, "3h20m"),
        (86_400, "24h"),
        (187_200, "2d4h"),
        (864_000, "10d"),
        (86_400 * 800, "2y70d"),
        (86_400 * 365 * 9, "9y"),
    ],
)
def test_a_length_of_time_is_told_in_few_figures(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_an_age_needs_a_time() -> None:
    assert [age(None, NOW), age("", NOW), age("soon", NOW), age(5, NOW)] == [
        "<unknown>",
        "<unknown>",
        "<invalid>",
        "<invalid>",
    ]


def test_selectors_and_lists_are_cut_to_what_fits() -> None:
    expressions = [
        {"key": "a", "operator": "Exists"},
        {"key": "b", "operator": "DoesNotExist"},
        {"key": "c", "operator": "NotIn", "values": ["x"]},
    ]
    assert label_selector({"matchExpressions": expressions}) == "a,!b,c notin (x)"
    assert label_selector({}) == "<none>"
    assert first_few(["a", "b", "c", "d"]) == "a,b,c + 1 more..."
