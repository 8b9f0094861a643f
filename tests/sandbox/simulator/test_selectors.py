"""What selectors mean and how they are refused. Every text was put to kube-apiserver 1.36.3; the answers are its."""

from __future__ import annotations

import pytest

from engine.sandbox.simulator.errors import ApiError
from engine.sandbox.simulator.resource_types import ResourceType
from engine.sandbox.simulator.schema import Schema
from engine.sandbox.simulator.selectors import label_selector, parse_field_selector, parse_label_selector

A_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
A_KEY = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
WITH_PREFIX = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
UNPARSED = "unable to parse requirement:"
GREATER = "'Gt', 'Lt'"
OPERATORS = "in, notin, =, ==, !=, gt, lt"


def resource(group: str, name: str, *, custom: bool = False, fields: tuple[str, ...] = ()) -> ResourceType:
    return ResourceType(group, "v1", name, name, name, name, True, Schema, custom=custom, selectable_fields=fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a in", "unable to parse requirement: found '' expected: '('"),
        ("a,,b", "found ',', expected: identifier after ','"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("a=(b)", "unable to parse requirement: found '(', expected: identifier"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("(a)", "found '(', expected: !, identifier, or 'end of string'"),
        (
            "a>x",
            f'{UNPARSED} values[0]: Invalid value: "x": for {GREATER} operators, the value must be an integer',
        ),
        ("a=-b", f'unable to parse requirement: values[0][a]: Invalid value: "-b": {A_VALUE}'),
        (
            "A/B/C=d",
            f'{UNPARSED} <nil>: Invalid value: "A/B/C": a valid label key {A_KEY} {WITH_PREFIX}',
        ),
        ("a=b,", "found '', expected: identifier after ','"),
        ("a!=b c", "found 'c', expected: ',' or 'end of string'"),
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        ("é=1", f'unable to parse requirement: <nil>: Invalid value: "é": name part {A_KEY}'),
        (
            f"a={'x' * 64}",
            f'unable to parse requirement: values[0][a]: Invalid value: "{"x" * 64}": must be no more than 63 bytes',
        ),
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("a b", f"unable to parse requirement: found 'b', expected: {OPERATORS}"),
        ("a!b", f"unable to parse requirement: found '!', expected: {OPERATORS}"),
        ("!a in (b)", "found 'in', expected: ',' or 'end of string'"),
        ("a in (b,=)", "unable to parse requirement: found '=', expected: ',', or identifier"),
        ("a in ()b", "found 'b', expected: ',' or 'end of string'"),
    ],
)
def test_a_label_selector_that_says_nothing_is_refused_in_the_servers_words(text: str, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_label_selector(text)
    assert (caught.value.code, caught.value.reason, caught.value.message) == (400, "BadRequest", message)


@pytest.mark.parametrize(
    ("text", "labels", "selected"),
    [
        ("", {}, True),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("!a", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b,c!=d", {"a": "b"}, True),
        ("a=", {"a": ""}, True),
        ("a=", {}, False),
        ("a!=b", {"a": "b"}, False),
        ("a!=b", {}, True),
        ("x in (,a,)", {"x": ""}, True),
        ("x in (a,b)", {"x": "c"}, False),
        ("x notin ()", {"x": ""}, False),
        ("x notin (a)", {}, True),
        ("a in (in)", {"a": "in"}, True),
        ("in in (a)", {"in": "a"}, True),
        ("a>1", {"a": "2"}, True),
        ("a>1", {"a": "x"}, False),
        ("a<1", {}, False),
        ("  a = b , c ", {"a": "b", "c": "d"}, True),
    ],
)
def test_a_label_selector_selects(text: str, labels: dict[str, str], selected: bool) -> None:
    assert parse_label_selector(text).matches(labels) is selected


def test_a_selector_object_means_the_same_as_its_text() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "gone", "operator": "DoesNotExist"},
        {"key": "there", "operator": "Exists"},
        {"key": "x", "operator": "NotIn", "values": ["y"]},
    ]
    selector = label_selector({"matchLabels": {"app": "web"}, "matchExpressions": expressions})
    assert selector is not None
    assert selector.matches({"app": "web", "tier": "b", "there": ""})
    assert not selector.matches({"app": "web", "tier": "b", "there": "", "gone": ""})
    assert not selector.matches({"app": "web", "tier": "b", "there": "", "x": "y"})
    assert label_selector(None) is None


@pytest.mark.parametrize(
    ("group", "name", "text", "message"),
    [
        ("", "configmaps", "metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
        ("", "configmaps", "metadata.name=a=b", "invalid field selector: unescaped character in value: 61"),
        ("", "configmaps", "metadata.name=a\\x", "invalid field selector: invalid escape sequence: \\x"),
        ("", "configmaps", "metadata.name=a\\", "invalid field selector: invalid escape sequence: \\"),
        (
            "",
            "configmaps",
            "a!b=c",
            '"a!b" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        ("", "configmaps", "=x", '"" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("", "pods", "spec.foo=1", "field label not supported: spec.foo"),
        (
            "apps",
            "deployments",
            "spec.foo=1",
            '"spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        ("batch", "jobs", "spec.foo=1", 'field label "spec.foo" not supported for Job'),
        ("events.k8s.io", "events", "spec.foo=1", "field label not supported: spec.foo"),
    ],
)
def test_a_field_selector_that_says_nothing_is_refused_in_the_servers_words(
    group: str, name: str, text: str, message: str
) -> None:
    with pytest.raises(ApiError) as caught:
        parse_field_selector(text, resource(group, name))
    assert (caught.value.code, caught.value.message) == (400, message)


@pytest.mark.parametrize(
    ("kind", "text", "obj", "selected"),
    [
        (resource("", "pods"), "spec.nodeName=", {"spec": {}}, True),
        (resource("", "pods"), "spec.hostNetwork=false", {"spec": {}}, True),
        (resource("", "pods"), "status.phase!=Running", {"status": {"phase": "Running"}}, False),
        (resource("", "nodes"), "spec.unschedulable=true", {"spec": {"unschedulable": True}}, True),
        (resource("batch", "jobs"), "status.successful=0", {}, True),
        (resource("", "events"), "source=kubelet", {"source": {"component": "kubelet"}}, True),
        (resource("", "configmaps"), "metadata.name=a,", {"metadata": {"name": "a"}}, True),
        (resource("", "configmaps"), "metadata.name=a\\,b", {"metadata": {"name": "a,b"}}, True),
        (resource("x.io", "foos", custom=True, fields=("spec.n",)), "spec.n=3", {"spec": {"n": 3}}, True),
    ],
)
def test_a_field_selector_selects(kind: ResourceType, text: str, obj: dict, selected: bool) -> None:
    assert parse_field_selector(text, kind).matches(obj) is selected


def test_a_selector_tells_the_value_that_it_pins_down() -> None:
    selector = parse_field_selector("metadata.name==a,metadata.namespace!=b", resource("", "configmaps"))
    assert selector.exact("metadata.name") == "a"
    assert selector.exact("metadata.namespace") == ""
