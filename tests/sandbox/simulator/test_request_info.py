from __future__ import annotations

import pytest

from engine.sandbox.simulator.request_info import RequestInfo, is_true, parse_query, parse_request


def shown(info: RequestInfo) -> tuple[str, ...]:
    return info.verb, info.group, info.version, info.resource, info.subresource, info.namespace, info.name


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/api/v1/pods", ("list", "", "v1", "pods", "", "", "")),
        ("GET", "/api/v1/namespaces/a/pods/b", ("get", "", "v1", "pods", "", "a", "b")),
        ("GET", "/api/v1/namespaces/a/pods/b/log", ("get", "", "v1", "pods", "log", "a", "b")),
        ("GET", "/api/v1/namespaces/a", ("get", "", "v1", "namespaces", "", "a", "a")),
        ("PUT", "/api/v1/namespaces/a/finalize", ("update", "", "v1", "namespaces", "finalize", "a", "a")),
        ("GET", "/api/v1/namespaces", ("list", "", "v1", "namespaces", "", "", "")),
        ("POST", "/apis/apps/v1/namespaces/a/deployments", ("create", "apps", "v1", "deployments", "", "a", "")),
        ("PATCH", "/apis/apps/v1/namespaces/a/deployments/b", ("patch", "apps", "v1", "deployments", "", "a", "b")),
        ("DELETE", "/apis/g.io/v1/things/b", ("delete", "g.io", "v1", "things", "", "", "b")),
        ("DELETE", "/apis/g.io/v1/things", ("deletecollection", "g.io", "v1", "things", "", "", "")),
        ("GET", "/api/v1/pods?watch=1", ("watch", "", "v1", "pods", "", "", "")),
        ("GET", "/api/v1/pods?watch=false", ("list", "", "v1", "pods", "", "", "")),
        ("GET", "/api/v1/watch/namespaces/a/pods/b", ("watch", "", "v1", "pods", "", "a", "b")),
        ("GET", "/api/v1/namespaces/a/configmaps/x%2Ey", ("get", "", "v1", "configmaps", "", "a", "x.y")),
    ],
)
def test_a_resource_path_says_what_is_wanted(method: str, target: str, expected: tuple[str, ...]) -> None:
    info = parse_request(method, target)
    assert info.is_resource
    assert shown(info) == expected


@pytest.mark.parametrize(
    "target", ["/", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/healthz", "/version"]
)
def test_other_paths_are_no_resources(target: str) -> None:
    info = parse_request("GET", target)
    assert not info.is_resource
    assert (info.verb, info.path) == ("get", target)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a=1", True), ("a=true", True), ("a=", True), ("a=no", True), ("a=false", False), ("a=0", False), ("", False)],
)
def test_a_boolean_is_true_unless_it_says_no(text: str, expected: bool) -> None:
    assert is_true(parse_query(text), "a") is expected


def test_a_parameter_keeps_all_of_its_values() -> None:
    assert parse_query("dryRun=All&dryRun=x&b=%2C+") == {"dryRun": ["All", "x"], "b": [", "]}
