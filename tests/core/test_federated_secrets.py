"""Federated objects redacted: whatever is written into one, and wherever, no value of a Secret is published with it."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.federated_secrets import FederatedRedactor, redactor_for
from engine.core.objects import ObjectRefused, strip
from engine.core.redaction import Redactor
from engine.core.sealing import Place, Sealer
from schemas.federation_forms import NOT_BASE64, NOT_TEXT, held_at, is_elsewhere, split_path
from schemas.names import ClusterId, Resource

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
KEY = b"0123456789abcdef"
IDENTITY = ClusterId("id-1")
FEDERATED = Resource("types.kubefed.io", "v1beta1", "federatedsecrets")
OLD = Resource("types.kubefed.k8s.io", "v1alpha1", "federatedsecrets")
GENERIC = Resource("crosscurrent.dev", "v1alpha1", "federatedobjects")
SECRET = {"apiVersion": "v1", "kind": "Secret"}


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def an_object(spec: Any, **more: Any) -> bytes:
    metadata = {
        "name": "it",
        "namespace": "default",
        "labels": {"kept": "yes"},
        "annotations": {LAST_APPLIED: json.dumps(spec), "kept": "yes"},
        "managedFields": [{"manager": "crosscurrent/federation", "operation": "Apply", "fieldsV1": {"f:metadata": {}}}],
    }
    return json.dumps({"apiVersion": "x/v1", "kind": "X", "metadata": metadata, "spec": spec, **more}).encode()


def published(spec: Any, resource: Resource = FEDERATED, *, seal: bool = True, key: bytes = KEY, **more: Any) -> bytes:
    redactor = redactor_for(resource, key, IDENTITY if seal else None)
    assert redactor is not None
    return redactor.strip(an_object(spec, **more)).data


def seen(spec: Any, resource: Resource = FEDERATED, **given: Any) -> Any:
    return json.loads(published(spec, resource, **given))["spec"]


def opened(text: str, resource: Resource = FEDERATED) -> str:
    place = Place(IDENTITY, resource.group, resource.plural, "default", "it")
    return Sealer(KEY).open(text, place).decode()


# --- nothing leaks ---

CANARY = st.integers(1000, 9999).map(lambda n: f"canary {n} é")
"""No key, name or path of anything: wherever it stands it was put there by mistake."""
NUMBER = st.integers(77_000_000, 77_999_999)
ODD = st.recursive(
    CANARY | CANARY.map(encoded) | NUMBER | NUMBER.map(float),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(CANARY | st.sampled_from(["a", "data"]), inner, max_size=3)
    ),
    max_leaves=4,
)
NO_TEXT = ODD.filter(lambda value: not isinstance(value, str))
KEYS = st.sampled_from(["password", "tls.key", "a_b", "sealed"]) | CANARY
MAPPING = st.dictionaries(KEYS, ODD, max_size=4)
VALUES = MAPPING | ODD
LABELS = st.dictionaries(st.sampled_from(["a", "b"]), NO_TEXT, max_size=2) | st.fixed_dictionaries({LAST_APPLIED: ODD})
METADATA = st.fixed_dictionaries(
    {},
    optional={"labels": LABELS, "annotations": LABELS, "name": NO_TEXT, "data": ODD, "finalizers": st.lists(NO_TEXT)},
)
TEMPLATE = st.fixed_dictionaries(
    {},
    optional={
        "data": VALUES,
        "stringData": VALUES,
        "metadata": METADATA | ODD,
        "type": NO_TEXT,
        "immutable": ODD,
        "stringdata": ODD,
        "spec": ODD,
        "binaryData": VALUES,
    },
)
PATHS = st.sampled_from(
    [
        *(
            "/data",
            "/data/a",
            "/data/tls.key",
            "/data/a/b",
            "data",
            "data.a",
            "data.tls.key",
            "/stringData",
            "stringData.a",
        ),
        *(
            "/Data/a",
            "/~2",
            "",
            "/",
            "//",
            "/spec/a",
            "spec.a",
            "/metadata",
            "/kind",
            "/metadata/finalizers/-",
            "/immutable",
        ),
        *("metadata/labels/a", "/data~1a", "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"),
    ]
)
OPERATION = (
    st.fixed_dictionaries({"path": PATHS, "value": ODD | MAPPING})
    | st.fixed_dictionaries({"path": st.sampled_from(["/type", "type", "/metadata/labels/a"]), "value": NO_TEXT})
    | st.fixed_dictionaries({"path": st.sampled_from(["/metadata/labels", "metadata.annotations"]), "value": LABELS})
    | st.fixed_dictionaries({"path": ODD, "value": ODD, "op": NO_TEXT, "extra": ODD})
)
OVERRIDE = st.fixed_dictionaries(
    {},
    optional={
        "clusterName": NO_TEXT,
        "clusterSelector": NO_TEXT,
        "clusterOverrides": st.lists(OPERATION | ODD, max_size=3) | ODD,
        "value": ODD,
    },
)
SPEC = st.fixed_dictionaries(
    {"template": TEMPLATE | ODD},
    optional={
        "overrides": st.lists(OVERRIDE | ODD, max_size=3) | ODD,
        "placement": ODD,
        "retainReplicas": ODD,
        "data": ODD,
    },
)
KINDS = st.sampled_from(
    [
        SECRET,
        {},
        {"kind": "Secret"},
        {"apiVersion": "v1"},
        {"apiVersion": "v1", "kind": "Sercet"},
        {"apiVersion": "apps/v1", "kind": "Secret"},
        {"apiVersion": ["v1"], "kind": "ConfigMap"},
        {"apiVersion": "v1", "kind": {"kind": "ConfigMap"}},
        {"apiVersion": "/v1", "kind": "secret "},
    ]
)


def leaves(value: Any) -> set[str]:
    """Return every text and number in a value, keys included."""
    if isinstance(value, dict):
        return set().union(*(leaves(one) for pair in value.items() for one in pair))
    if isinstance(value, list):
        return set().union(*(leaves(one) for one in value))
    return {str(value)}


def forms(value: str) -> list[str]:
    """Return a value as JSON may show it, and in base64 wherever in a longer text it may stand."""
    if value.startswith("canary"):
        shifted = [b64encode(b"x" * shift + value.encode()).decode()[4:-4] for shift in range(3)]
        return [value, json.dumps(value)[1:-1], *shifted]
    return [value.rstrip("=")] if value.startswith("Y2FuYXJ5") else [value.removesuffix(".0")]


@given(SPEC, KINDS, st.sampled_from([FEDERATED, OLD, GENERIC]), st.booleans())
def test_no_value_is_published_wherever_it_was_written(
    spec: dict[str, Any], kind: dict[str, Any], resource: Resource, seal: bool
) -> None:
    if isinstance(spec["template"], dict):
        spec["template"] |= kind
    out = published(spec, resource, seal=seal, data={"a": "canary 1234 é"}).decode()
    hidden = {one for one in leaves(spec) if one.startswith(("canary", "Y2FuYXJ5", "77"))} | {"canary 1234 é"}
    assert [form for one in hidden for form in forms(one) if form in out] == []
    assert "managedFields" not in out


def test_what_kubectl_noted_of_the_template_is_hidden_and_so_is_a_path_that_may_be_a_value() -> None:
    notes = {LAST_APPLIED: "canary", "kept": "yes"}
    changes = [
        {"op": "add", "path": "/metadata/annotations", "value": notes},
        {
            "op": "add",
            "path": "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
            "value": "canary",
        },
        {"path": "canary", "value": "/data/a"},
    ]
    spec = {"template": {"metadata": {"annotations": notes}}, "overrides": [{"clusterOverrides": changes}]}
    out = published(spec)
    assert b"canary" not in out
    assert out.count(b'"kept":"yes"') == 3


@given(
    st.dictionaries(st.sampled_from("abc"), st.binary(max_size=40)), st.dictionaries(st.sampled_from("abc"), st.text())
)
def test_values_can_be_opened_at_their_place_and_have_one_form_however_they_were_written(
    data: dict[str, bytes], texts: dict[str, str]
) -> None:
    template = {"data": {key: b64encode(value).decode() for key, value in data.items()}, "stringData": texts}
    shown = seen({"template": template})["template"]
    place = Place(IDENTITY, FEDERATED.group, FEDERATED.plural, "default", "it")
    assert {key: Sealer(KEY).open(one, place) for key, one in shown["data"].items()} == data
    assert {key: opened(one) for key, one in shown["stringData"].items()} == texts
    again = {"data": {key: encoded(text) for key, text in texts.items()}}
    assert seen({"template": again})["template"]["data"] == shown["stringData"]


@pytest.mark.parametrize(
    ("path", "value", "holds"),
    [
        ("/data/tls.key", encoded("v"), "v"),
        ("/stringData/tls.key", "v", "v"),
        ("data.password", encoded("v"), "v"),
        ("stringData.password", "v", "v"),
        ("/data/a", "dg\n==\n", "v"),
    ],
)
def test_the_values_of_overrides_are_sealed_like_those_of_the_template(path: str, value: str, holds: str) -> None:
    operation = {"op": "add", "path": path, "value": value}
    override = {"clusterName": "c2", "clusterOverrides": [operation]}
    shown = seen({"template": {}, "overrides": [override]})["overrides"][0]
    assert shown["clusterName"] == "c2"
    (given_,) = shown["clusterOverrides"]
    assert (given_["op"], given_["path"], opened(given_["value"])) == ("add", path, holds)


def test_a_whole_mapping_in_an_override_is_sealed_value_by_value() -> None:
    operation = {"path": "/data", "value": {"a": encoded("1"), "b": encoded("2")}}
    override = {"clusterSelector": {"matchLabels": {"region": "eu"}}, "clusterOverrides": [operation]}
    shown = seen({"template": {}, "overrides": [override]})["overrides"][0]
    assert shown["clusterSelector"] == override["clusterSelector"]
    assert {key: opened(one) for key, one in shown["clusterOverrides"][0]["value"].items()} == {"a": "1", "b": "2"}


def test_what_holds_no_value_is_kept() -> None:
    template = {
        **SECRET,
        "type": "x/y",
        "immutable": True,
        "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
    }
    changes = [
        {"op": "replace", "path": "/type", "value": "Opaque"},
        {"path": "/immutable", "value": False},
        {"op": "add", "path": "/metadata/labels/a", "value": "${cluster.name}"},
        {"op": "remove", "path": "/data/a"},
        {"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}},
    ]
    expressions = [{"key": "region", "operator": "In", "values": ["eu"]}]
    spec = {
        "template": template,
        "placement": {"clusters": [{"name": "c1"}], "clusterSelector": {"matchExpressions": expressions}},
        "overrides": [{"clusterName": "c1", "clusterOverrides": changes}],
    }
    assert seen(spec) == spec
    whole = json.loads(published(spec, status={"observedGeneration": 3}))
    assert whole["status"] == {"observedGeneration": 3}
    assert whole["metadata"]["labels"] == {"kept": "yes"}
    assert whole["metadata"]["annotations"]["kept"] == "yes"
    assert whole["metadata"]["annotations"][LAST_APPLIED].startswith("hmac:")


def test_what_cannot_be_a_value_says_so_and_no_more() -> None:
    template = {"data": {"a": "no base64!", "b": 7, "c": "é"}, "stringData": {"pin": 1234, "none": None}}
    shown = seen({"template": template})["template"]
    assert shown["data"] == {"a": NOT_BASE64, "b": NOT_TEXT, "c": NOT_BASE64}
    assert shown["stringData"] == {"pin": NOT_TEXT, "none": NOT_TEXT}


def test_a_text_that_looks_sealed_is_sealed_once_more() -> None:
    stolen = Sealer(KEY).seal(b"hunter2", Place(IDENTITY, "", "secrets", "default", "it"))
    own = Sealer(KEY).seal(b"hunter2", Place(IDENTITY, FEDERATED.group, FEDERATED.plural, "default", "it"))
    template = {"data": {"a": stolen, "b": own}, "stringData": {"a": stolen, "b": own, "c": NOT_TEXT, "d": "hmac:0:1"}}
    shown = seen({"template": template})["template"]
    assert set(shown["data"].values()) == {NOT_BASE64}
    assert {key: opened(one) for key, one in shown["stringData"].items()} == template["stringData"]


def test_without_sealing_there_are_hashes_as_for_secrets() -> None:
    shown = seen({"template": {"data": {"a": encoded("hunter2")}}}, seal=False)["template"]
    assert shown["data"]["a"] == Redactor(KEY).hash(b"hunter2")


# --- which objects, and which without a key ---


@pytest.mark.parametrize(
    "kind",
    [
        {"apiVersion": "v1", "kind": "ConfigMap"},
        {"apiVersion": "apps/v1", "kind": "Deployment"},
        {"apiVersion": "example.dev/v1", "kind": "Secret"},
    ],
)
def test_what_is_certainly_no_secret_is_published_as_it_is_but_for_what_kubectl_noted(kind: dict[str, str]) -> None:
    spec = {"template": {**kind, "data": {"a": "b"}}, "overrides": [{"clusterOverrides": [{"path": "/x", "value": 1}]}]}
    for key in (KEY, b""):
        whole = json.loads(published(spec, GENERIC, key=key))
        assert whole["spec"] == spec
        assert not whole["metadata"]["annotations"].get(LAST_APPLIED, "hmac:").startswith("{")
        assert whole["metadata"]["annotations"]["kept"] == "yes"


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {},
        {"template": None},
        {"template": []},
        {"template": {"kind": "ConfigMap"}},
        {"template": SECRET},
        {"template": {"apiVersion": "v1", "kind": "ConfigMap"}, "resource": "secrets"},
        {"template": {"apiVersion": "v1", "kind": "ConfigMap"}, "resource": ["x"]},
        {"template": {"apiVersion": "v1", "kind": "SECRET"}},
        {"template": {"apiVersion": "v1", "kind": "Deployment"}},
        {"template": {"apiVersion": "batch/v1", "kind": "secrets"}},
    ],
)
def test_what_might_be_a_secret_is_not_published_without_a_key(spec: Any) -> None:
    assert not is_elsewhere(spec)
    with pytest.raises(ObjectRefused, match="there is no key"):
        published(spec, GENERIC, key=b"")


def test_a_federated_secret_is_not_published_without_a_key_whatever_it_says() -> None:
    with pytest.raises(ObjectRefused, match="there is no key"):
        published({"template": {"apiVersion": "v1", "kind": "ConfigMap"}}, key=b"")


def test_types_that_hold_no_secrets_are_not_redacted() -> None:
    assert redactor_for(Resource("", "v1", "configmaps"), KEY, IDENTITY) is None
    assert redactor_for(Resource("types.kubefed.io", "v1beta1", "federatedconfigmaps"), KEY, None) is None
    assert isinstance(redactor_for(Resource("", "v1", "secrets"), KEY, None), Redactor)
    assert isinstance(
        redactor_for(Resource("types.example.dev", "v1", "federatedsecrets"), KEY, None), FederatedRedactor
    )


@pytest.mark.parametrize("raw", [b"[]", b'{"spec":{}}', b'{"metadata":{"name":"x"},"spec":{"template":' + b"[" * 9000])
def test_what_is_not_understood_is_refused(raw: bytes) -> None:
    with pytest.raises(ObjectRefused) as caught:
        FederatedRedactor(FEDERATED, Redactor(KEY)).strip(raw)
    assert "[[" not in str(caught.value)


def test_our_managers_hashes_stay() -> None:
    raw = an_object({"template": SECRET})
    assert FederatedRedactor(FEDERATED, Redactor(KEY)).strip(raw).managers == strip(raw).managers != ""


@pytest.mark.parametrize(
    ("path", "holds"),
    [
        ("/data", "values"),
        ("/data/", None),
        ("/data/a", "value"),
        ("/data/a~1b", None),
        ("/stringData/a.b", "value"),
        ("data.a.b", None),
        ("data.a", "value"),
        ("/metadata/labels/example.dev~1a", "text"),
        ("/metadata/name", None),
        ("/", None),
        ("", None),
        ("/data~2", None),
        (7, None),
    ],
)
def test_paths_lead_where_a_secret_holds_something_or_nowhere(path: object, holds: str | None) -> None:
    assert held_at(split_path(path)) == holds
