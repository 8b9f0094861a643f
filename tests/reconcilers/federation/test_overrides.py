"""Overrides: JSON pointers, the old dotted paths, selectors, variables; and placements."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconcilers.federation.overrides import FORBIDDEN, OverrideFailed, overridden, read_overrides, resolved
from reconcilers.federation.selection import Malformed, Placement, Selector
from schemas.names import ClusterName

TEMPLATE = {
    "metadata": {"labels": {"app": "x", "a/b": "slash", "t~e": "tilde"}},
    "spec": {"replicas": 3, "list": ["a", "b"]},
}
CLUSTERS = {
    ClusterName("c1"): {"region": "eu"},
    ClusterName("c2"): {"region": "us", "gpu": "yes"},
    ClusterName("c3"): {},
}


def changed(*operations: dict[str, Any], dotted: bool = False, cluster: str = "c1") -> dict[str, Any]:
    overrides = read_overrides([{"clusterName": "c1", "clusterOverrides": list(operations)}], "o", dotted=dotted)
    return overridden(TEMPLATE, overrides, cluster, {"region": "eu"})


@pytest.mark.parametrize(
    ("operation", "place", "expected"),
    [
        ({"path": "/spec/replicas", "value": 5}, ("spec", "replicas"), 5),
        ({"op": "replace", "path": "/spec/list/1", "value": "z"}, ("spec", "list"), ["a", "z"]),
        ({"op": "add", "path": "/spec/list/1", "value": "z"}, ("spec", "list"), ["a", "z", "b"]),
        ({"op": "add", "path": "/spec/list/-", "value": "z"}, ("spec", "list"), ["a", "b", "z"]),
        ({"op": "add", "path": "/spec/list/2", "value": "z"}, ("spec", "list"), ["a", "b", "z"]),
        ({"op": "remove", "path": "/spec/list/0"}, ("spec", "list"), ["b"]),
        ({"op": "add", "path": "/spec/new", "value": None}, ("spec", "new"), None),
        ({"path": "/metadata/labels/a~1b", "value": "y"}, ("metadata", "labels", "a/b"), "y"),
        ({"path": "/metadata/labels/t~0e", "value": "y"}, ("metadata", "labels", "t~e"), "y"),
    ],
)
def test_operations_are_those_of_json_patch(operation: dict[str, Any], place: tuple[str, ...], expected: Any) -> None:
    found: Any = changed(operation)
    for key in place:
        found = found[key]
    assert found == expected


def test_the_template_itself_never_changes() -> None:
    before = deepcopy(TEMPLATE)
    changed({"op": "add", "path": "/spec/list/-", "value": "z"}, {"path": "/spec/replicas", "value": 9})
    assert before == TEMPLATE


def test_other_clusters_get_the_template_as_it_is() -> None:
    assert changed({"path": "/spec/replicas", "value": 5}, cluster="c2") is TEMPLATE


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        ({"path": "/spec/nothing", "value": 1}, "there is nothing at this path"),
        ({"op": "remove", "path": "/spec/nothing"}, "there is nothing at this path"),
        ({"path": "/no/where", "value": 1}, "there is no 'no' on the way"),
        ({"path": "/spec/list/2", "value": 1}, "the list has 2 items"),
        ({"op": "add", "path": "/spec/list/3", "value": 1}, "the list has 2 items"),
        ({"path": "/spec/list/01", "value": 1}, "no index"),
        ({"path": "/spec/replicas/x", "value": 1}, "neither a mapping nor a list"),
        ({"path": "/spec/replicas", "value": "${cluster.labels.zone}"}, "has no label 'zone'"),
        ({"path": "/spec/replicas", "value": "${zone}"}, "unknown variable"),
    ],
)
def test_what_does_not_fit_the_template_says_where_and_why(operation: dict[str, Any], says: str) -> None:
    with pytest.raises(OverrideFailed, match=r"o\[0\].clusterOverrides\[0\]") as caught:
        changed(operation)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ([{"clusterName": "c1"}, {"clusterName": "c1"}], "appears a second time"),
        ([{"clusterName": "c1", "clusterSelector": {}}], "both clusterName and clusterSelector"),
        ([{}], "o[0].clusterName"),
        (["x"], "o[0]: expected a mapping, not text"),
        ({"a": 1}, "o: expected a list, not a mapping"),
        (
            [{"clusterName": "c1", "clusterOverrides": [{"path": "/a", "value": 1}, {"path": "/a", "value": 2}]}],
            "second time",
        ),
        ([{"clusterName": "c1", "clusterOverrides": [{"path": "a.b", "value": 1}]}], "must begin with '/'"),
        ([{"clusterName": "c1", "clusterOverrides": [{"path": "/a~2", "value": 1}]}], "must be followed by 0 or 1"),
        ([{"clusterName": "c1", "clusterOverrides": [{"op": "move", "path": "/a"}]}], "none of add, remove, replace"),
        ([{"clusterName": "c1", "clusterOverrides": [{"path": "/a"}]}], "needs a value"),
    ],
)
def test_what_cannot_be_understood_is_named(overrides: Any, says: str) -> None:
    with pytest.raises(Malformed) as caught:
        read_overrides(overrides, "o", dotted=False)
    assert says in str(caught.value)


@pytest.mark.parametrize("path", [*FORBIDDEN, "/metadata", "/metadata/name/x", "/kind/x"])
def test_a_forbidden_path_is_refused_and_so_is_what_contains_it(path: str) -> None:
    with pytest.raises(Malformed, match="may not be overridden"):
        read_overrides([{"clusterName": "c1", "clusterOverrides": [{"path": path, "value": 1}]}], "o", dotted=False)


def test_dotted_paths_set_a_value_and_make_what_lies_above_it() -> None:
    found = changed({"path": "spec.replicas", "value": 5}, {"path": "spec.new.deep", "value": 1}, dotted=True)
    assert (found["spec"]["replicas"], found["spec"]["new"]) == (5, {"deep": 1})
    with pytest.raises(Malformed, match="may not be overridden"):
        changed({"path": "metadata.name", "value": "x"}, dotted=True)


def test_the_last_of_several_overrides_wins() -> None:
    overrides = read_overrides(
        [
            {"clusterSelector": {}, "clusterOverrides": [{"path": "/spec/replicas", "value": 1}]},
            {"clusterName": "c1", "clusterOverrides": [{"path": "/spec/replicas", "value": 2}]},
            {
                "clusterSelector": {"matchLabels": {"region": "us"}},
                "clusterOverrides": [{"path": "/spec/replicas", "value": 3}],
            },
        ],
        "o",
        dotted=False,
    )
    found = {
        name: overridden(TEMPLATE, overrides, name, labels)["spec"]["replicas"] for name, labels in CLUSTERS.items()
    }
    assert found == {"c1": 2, "c2": 3, "c3": 1}


def test_variables_are_filled_in_wherever_a_value_has_strings() -> None:
    value = {"a": ["${cluster.name}:$${cluster.name}", 1], "b": "${cluster.labels.region}/${cluster.name}"}
    assert resolved(value, "c1", {"region": "eu"}) == {"a": ["c1:${cluster.name}", 1], "b": "eu/c1"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # of a busy machine
@given(st.dictionaries(st.text(min_size=1, max_size=4), json_values, max_size=4), st.data())
def test_an_added_value_is_found_at_its_pointer_and_removed_again(body: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(
        st.text(min_size=1, max_size=4).filter(lambda name: name not in body and name not in ("metadata", "kind"))
    )
    pointer = "/" + key.replace("~", "~0").replace("/", "~1")
    add = read_overrides(
        [{"clusterName": "c", "clusterOverrides": [{"op": "add", "path": pointer, "value": 7}]}], "o", dotted=False
    )
    remove = read_overrides(
        [{"clusterName": "c", "clusterOverrides": [{"op": "remove", "path": pointer}]}], "o", dotted=False
    )
    added = overridden(body, add, "c", {})
    assert added == {**body, key: 7}
    assert overridden(added, remove, "c", {}) == body


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(json_values)
def test_no_json_value_makes_reading_fail_otherwise_than_by_saying_so(value: Any) -> None:
    for read in (
        lambda: Placement.read(value, "p"),
        lambda: read_overrides(value, "o", dotted=True),
        lambda: Selector.read(value, "s"),
    ):
        with suppress(Malformed):
            read()


@pytest.mark.parametrize(
    ("placement", "expected"),
    [
        ({}, ()),
        (None, ()),
        ({"clusters": []}, ()),
        ({"clusters": [], "clusterSelector": {}}, ()),
        ({"clusters": [{"name": "c2"}, {"name": "c1"}, {"name": "gone"}], "clusterSelector": {}}, ("c1", "c2")),
        ({"clusterSelector": {}}, ("c1", "c2", "c3")),
        ({"clusterSelector": {"matchLabels": {"region": "us"}}}, ("c2",)),
        ({"clusterSelector": {"matchExpressions": [{"key": "region", "operator": "Exists"}]}}, ("c1", "c2")),
        ({"clusterSelector": {"matchExpressions": [{"key": "region", "operator": "DoesNotExist"}]}}, ("c3",)),
        (
            {"clusterSelector": {"matchExpressions": [{"key": "region", "operator": "In", "values": ["eu", "x"]}]}},
            ("c1",),
        ),
        (
            {"clusterSelector": {"matchExpressions": [{"key": "region", "operator": "NotIn", "values": ["eu"]}]}},
            ("c2", "c3"),
        ),
        (
            {
                "clusterSelector": {
                    "matchLabels": {"region": "us"},
                    "matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}],
                }
            },
            (),
        ),
    ],
)
def test_a_placement_selects(placement: Any, expected: tuple[str, ...]) -> None:
    assert Placement.read(placement, "p").select(CLUSTERS) == expected


def test_listed_clusters_that_there_are_not_are_named() -> None:
    assert Placement.read({"clusters": [{"name": "c1"}, {"name": "gone"}]}, "p").unknown(CLUSTERS) == ("gone",)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ({"key": "a", "operator": "Gt", "values": ["1"]}, "none of In, NotIn"),
        ({"key": "a", "operator": "In"}, "needs at least one value"),
        ({"key": "a", "operator": "Exists", "values": ["x"]}, "needs no values"),
        ({"operator": "Exists"}, "key"),
    ],
)
def test_a_malformed_selector_is_named(expression: Any, says: str) -> None:
    with pytest.raises(Malformed) as caught:
        Selector.read({"matchExpressions": [expression]}, "s")
    assert says in str(caught.value)
