"""Federated Secrets as values: what is published of one, what is decided about it, and what can be opened then."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.federated_secrets import redactor_for
from engine.core.redaction import Redactor
from engine.core.sealing import Place, Sealer
from engine.core.view import KubeObject
from reconcilers.federation import federation
from reconcilers.federation.forms import owned, read
from reconcilers.federation.selection import Malformed
from schemas.actions import Apply, PatchStatus
from schemas.decisions import Target
from schemas.federation import DEFAULT_TYPES, FederationConfig
from schemas.federation_forms import is_elsewhere
from schemas.names import ObjectRef, Resource
from tests.builders import C1, C2, C3, identity
from tests.reconcilers.federation.test_federation import applied, conditions, decide, everywhere, of, world

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
KEY = b"0123456789abcdef"
CONFIG = FederationConfig(types=("v1/secrets", "v1/configmaps", "apps/v1/deployments"))
TYPES = {
    "types.kubefed.io": Resource("types.kubefed.io", "v1beta1", "federatedsecrets"),
    "types.kubefed.k8s.io": Resource("types.kubefed.k8s.io", "v1alpha1", "federatedsecrets"),
    "crosscurrent.dev": Resource("crosscurrent.dev", "v1alpha1", "federatedobjects"),
}
Given = tuple[ObjectRef, dict[str, Any]]


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def a_secret(group: str = "types.kubefed.io", *, seal: bool = True, **spec: Any) -> Given:
    """A federated Secret as its watcher publishes it."""
    kind = TYPES[group]
    ref = ObjectRef(C1, group, kind.plural, "default", "it")
    metadata = {"name": "it", "namespace": "default", "uid": "fed-uid", "resourceVersion": "1", "generation": 1}
    names = {
        "apiVersion": kind.api_version,
        "kind": "FederatedSecret" if group != "crosscurrent.dev" else "FederatedObject",
    }
    redactor = redactor_for(kind, KEY, identity(C1) if seal else None)
    assert redactor is not None
    whole = {**names, "metadata": metadata, "spec": {"placement": everywhere(), **spec}}
    return ref, json.loads(redactor.strip(json.dumps(whole).encode()).data)


def decided(found: Given, view: Any = None) -> list[Any]:
    view = view if view is not None else world(found)
    view.synced |= {(C1, found[0].group, found[0].resource)}
    return decide(found[0], view, CONFIG)


def copies(found: Given) -> dict[Any, Apply]:
    return {one.ref.cluster: one for one in of(decided(found), Apply)}


def values(apply: Apply) -> dict[str, str]:
    """Return what would be opened in the last moment."""
    assert apply.secret_from is not None
    place = Place.of(identity(apply.secret_from.cluster), apply.secret_from)
    return {key: Sealer(KEY).open(one, place).decode() for key, one in apply.body["data"].items()}


def problem(found: Given) -> str:
    actions = decided(found)
    assert not of(actions, Apply)
    assert conditions(actions)["Placed"] == ("False", "Invalid")
    (status,) = of(actions, PatchStatus)
    return str(status.status["conditions"][0]["message"])


@pytest.mark.parametrize("group", sorted(TYPES))
def test_a_copy_has_all_values_in_its_data_and_text_wins(group: str) -> None:
    template = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "x/y",
        "metadata": {"labels": {"a": "b"}, "annotations": {LAST_APPLIED: "{}", "kept": "yes"}},
        "data": {"user": encoded("root"), "password": encoded("loses")},
        "stringData": {"password": "hunter2"},
    }
    found = a_secret(group, template=template)
    apply = copies(found)[C2]
    assert values(apply) == {"user": "root", "password": "hunter2"}
    assert (apply.secret_from, apply.ref) == (found[0], ObjectRef(C2, "", "secrets", "default", "it"))
    assert (apply.kind, apply.body["type"]) == ("Secret", "x/y")
    assert "stringData" not in apply.body
    assert apply.body["metadata"]["annotations"].keys() == {"kept", "crosscurrent.dev/owners"}


@pytest.mark.parametrize(
    ("group", "change", "expected"),
    [
        ("types.kubefed.io", {"path": "/data/a", "value": encoded("new")}, {"a": "new", "b": "2"}),
        ("types.kubefed.io", {"op": "add", "path": "/data/c", "value": encoded("3")}, {"a": "1", "b": "2", "c": "3"}),
        ("types.kubefed.io", {"op": "remove", "path": "/data/a"}, {"b": "2"}),
        ("types.kubefed.io", {"path": "/data", "value": {"z": encoded("26")}}, {"z": "26"}),
        ("types.kubefed.io", {"op": "add", "path": "/stringData", "value": {"a": "text"}}, {"a": "text", "b": "2"}),
        ("types.kubefed.k8s.io", {"path": "data.a", "value": encoded("new")}, {"a": "new", "b": "2"}),
        ("types.kubefed.k8s.io", {"path": "stringData.a", "value": "new"}, {"a": "new", "b": "2"}),
        ("types.kubefed.k8s.io", {"path": "/data/a", "value": encoded("new")}, {"a": "new", "b": "2"}),
        ("types.kubefed.io", {"op": "add", "path": "/data/v", "value": encoded("${cluster.name}")}, None),
    ],
)
def test_overrides_change_values_without_anybodys_reading_them(
    group: str, change: dict[str, Any], expected: dict[str, str] | None
) -> None:
    override = {"clusterName": C2, "clusterOverrides": [change]}
    found = copies(a_secret(group, template={"data": {"a": encoded("1"), "b": encoded("2")}}, overrides=[override]))
    assert values(found[C3]) == {"a": "1", "b": "2"}
    assert values(found[C2]) == (expected or {"a": "1", "b": "2", "v": "${cluster.name}"})


def test_what_is_no_value_is_overridden_as_in_any_template() -> None:
    changes = [
        {"op": "add", "path": "/metadata/labels", "value": {"where": "${cluster.name}"}},
        {"op": "add", "path": "/type", "value": "x/y"},
        {"op": "add", "path": "/immutable", "value": True},
    ]
    override = {"clusterSelector": {}, "clusterOverrides": changes}
    body = copies(a_secret(template={"data": {"a": ""}}, overrides=[override]))[C2].body
    assert (body["metadata"]["labels"]["where"], body["type"], body["immutable"]) == (C2, "x/y", True)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"template": {"data": {"password": "hunter2!"}}}, "spec.template.data[password]: expected base64"),
        ({"template": {"data": {"password": 42}}}, "spec.template.data[password]: expected text"),
        ({"template": {"stringData": {"pin": 42}}}, "spec.template.stringData[pin]: expected text"),
        ({"template": {"stringData": "hunter2"}}, "spec.template.stringData: expected a mapping"),
        ({"template": {"stringData": {"hunter2 x": "y"}}}, "spec.template.stringData: a key has letters"),
        ({"template": {"stringdata": {"a": "hunter2"}}}, "spec.template.stringdata: a Secret has none"),
        ({"template": {"metadata": {"data": {"a": "hunter2"}}}}, "spec.template.metadata.data: a Secret has no such"),
        ({"template": {"metadata": {"finalizers": [{"a": "hunter2"}]}}}, "spec.template.metadata.finalizers[0]"),
        ({"template": {"type": {"a": "hunter2"}}}, "spec.template.type: a Secret has no such"),
        ({"template": {"kind": "ConfigMap"}}, "spec.template.kind"),
        ({"template": "hunter2"}, "spec.template: expected a mapping"),
    ],
)
def test_what_is_wrong_in_a_template_is_said_with_its_place_and_no_value(spec: dict[str, Any], says: str) -> None:
    said = problem(a_secret(**spec))
    assert says in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("group", "change", "says"),
    [
        ("types.kubefed.io", {"path": "/data/a", "value": "hunter2!"}, "[0].value: expected base64"),
        ("types.kubefed.io", {"path": "/stringData/a", "value": 7}, "[0].value: expected text"),
        ("types.kubefed.io", {"path": "/data", "value": {"a": ["hunter2"]}}, "[0].value[a]: expected text"),
        ("types.kubefed.io", {"path": "/spec/x", "value": "hunter2"}, "[0].path: of a Secret /data, /stringData"),
        ("types.kubefed.io", {"path": "/data/a/b", "value": "hunter2"}, "[0].path: of a Secret /data, /stringData"),
        ("types.kubefed.io", {"path": "hunter2", "value": "/data/a"}, "[0].path: of a Secret /data, /stringData"),
        ("types.kubefed.io", {"path": "/type", "value": ["hunter2"]}, "[0].value: a Secret has no such field"),
        ("types.kubefed.k8s.io", {"path": "data.tls.key", "value": "hunter2"}, "/data/tls.key"),
    ],
)
def test_what_is_wrong_in_an_override_is_said_with_its_place_and_no_value(
    group: str, change: dict[str, Any], says: str
) -> None:
    override = {"clusterName": C2, "clusterOverrides": [change]}
    said = problem(a_secret(group, template={"data": {"a": encoded("1")}}, overrides=[override]))
    assert says in said
    assert "hunter2" not in said


def test_what_was_recorded_before_anybody_copied_is_not_copied() -> None:
    assert "write it once more" in problem(a_secret(seal=False, template={"stringData": {"a": "hunter2"}}))
    ref, body = a_secret(template={})
    for value in ("aHVudGVyMg==", "hmac:0123456789abcdef:8"):  # in the clear, by a watcher of an older version; hashed
        body["spec"]["template"] = {"data": {"a": value}}
        assert "write it once more" in problem((ref, body))


def test_taking_over_reports_keys_and_no_values() -> None:
    ref, body = a_secret(template={"type": "x/y", "stringData": dict.fromkeys("abcdefg", "hunter2")})
    body["metadata"]["annotations"] = {"crosscurrent.dev/adopt": "report"}
    live = {"metadata": {"name": "it", "namespace": "default"}, "type": "Opaque", "data": {"a": encoded("x")}}
    shown = Redactor(KEY, sealed_for=identity(C2)).strip(json.dumps(live).encode())
    there = (ObjectRef(C2, "", "secrets", "default", "it"), json.loads(shown.data))
    actions = decided((ref, body), world((ref, body), there))
    (status,) = of(actions, PatchStatus)
    said = next(one for one in status.status["conditions"] if one["type"] == "Applied")["message"]
    assert '/type: "Opaque" → "x/y"' in said
    assert "/data: a, b, c, d, e and 2 more (values of Secrets are not compared)" in said
    told = msgspec.json.encode([one for one in actions if not isinstance(one, Apply)])
    assert not [word for word in (b"sealed:", b"hmac:", b"hunter2") if word in told]


def test_what_cannot_be_changed_of_a_secret_is_known_for_that_though_its_values_are_not_told() -> None:
    found = a_secret(template={"data": {"a": encoded("1")}})
    apply = copies(found)[C2]
    metadata = {**apply.body["metadata"], "uid": "uid-2", "resourceVersion": "5"}
    live = (apply.ref, {**apply.body, "metadata": metadata})
    message = "Invalid: data, field is immutable (details hidden: it may hold a Secret)"
    refused = Target(ref=apply.ref, slot="apply", attempts=1, code=422, reason="Invalid", message=message)
    actions = decided(found, world(found, live, targets=(refused,)))
    (status,) = of(actions, PatchStatus)
    entry = next(one for one in status.status["clusters"] if one["name"] == C2)
    assert (entry["conditions"][0]["reason"], "recreate" in entry["conditions"][0]["message"]) == ("Immutable", True)


def test_secrets_are_copied_and_watched_only_where_the_configuration_names_them() -> None:
    assert "v1/secrets" not in DEFAULT_TYPES
    assert not federation(FederationConfig()).copies_secrets
    assert federation(CONFIG).copies_secrets
    assert {"types.kubefed.io/v1beta1/federatedsecrets", "types.kubefed.k8s.io/v1alpha1/federatedsecrets"} <= set(
        owned(CONFIG)
    )
    found = a_secret("crosscurrent.dev", template={"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "x"}})
    assert conditions(decide(found[0], world(found)))["Placed"] == ("False", "Invalid")
    assert not applied(*found)


WORDS = st.sampled_from(
    [
        "v1",
        "",
        "/v1",
        "apps/v1",
        "v2",
        "Secret",
        "secret",
        "SECRET",
        "Secrets",
        "ConfigMap",
        "secrets",
        "configmaps",
        " v1",
    ]
)


@given(
    st.fixed_dictionaries(
        {}, optional={"apiVersion": WORDS | st.text(max_size=4), "kind": WORDS | st.text(max_size=4)}
    ),
    st.none() | WORDS | st.text(max_size=3),
)
def test_whatever_becomes_a_secret_was_published_as_one(template: dict[str, str], resource: str | None) -> None:
    spec: dict[str, Any] = {"template": template} | ({} if resource is None else {"resource": resource})
    body = {
        "apiVersion": "crosscurrent.dev/v1alpha1",
        "kind": "FederatedObject",
        "metadata": {"name": "it"},
        "spec": spec,
    }
    parent = KubeObject(ObjectRef(C1, "crosscurrent.dev", "federatedobjects", "default", "it"), body)
    try:
        form = read(parent, CONFIG)
    except Malformed:
        return
    assert form.secret is not is_elsewhere(spec)
