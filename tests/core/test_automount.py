"""Mounting imports into pods: whatever the pod, everything asked for is there, nothing else changes, and twice is as once."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from engine.core.automount import (
    CONTAINERS,
    BadAnnotation,
    imports_of,
    mount_path,
    mounted,
    patch_of,
    volume_name,
)
from engine.core.importing import IMPORT_LABEL
from engine.sandbox.simulator.json_patch import json_patch
from tests.e2e.system import ROOT

names = st.text("abc-.", min_size=1, max_size=12)
env = st.lists(
    st.one_of(
        st.builds(lambda value: {"name": "KUBECONFIG", "value": value}, st.sampled_from(["", "/a", "/a:/b", ":/a:"])),
        st.just({"name": "KUBECONFIG", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
        st.just({"name": "OTHER", "value": "x"}),
    ),
    max_size=2,
    unique_by=lambda one: one["name"],
)
mounts = st.lists(st.builds(lambda name: {"name": name, "mountPath": f"/{name}"}, names), max_size=2)
containers = st.lists(
    st.fixed_dictionaries({"name": names, "image": names}, optional={"env": env, "volumeMounts": mounts}), max_size=3
)
pods = st.fixed_dictionaries(
    {"metadata": st.just({"name": "p"})},
    optional={
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "containers": containers,
                "initContainers": containers,
                "volumes": st.lists(st.builds(lambda name: {"name": name, "emptyDir": {}}, names), max_size=2),
                "nodeName": names,
            },
        )
    },
)
secrets = st.dictionaries(names, names, max_size=3)


@given(pods, secrets)
def test_twice_is_as_once_and_the_patch_leads_there(pod: dict[str, Any], found: dict[str, str]) -> None:
    before = copy.deepcopy(pod)
    once = mounted(pod, found)
    assert pod == before
    assert mounted(once, found) == once
    assert patch_of(once, mounted(once, found)) == []
    patched: Any = json_patch(copy.deepcopy({"spec": {}, **pod}), patch_of(pod, once))
    assert patched == {"spec": {}, **once}


@given(pods, secrets)
def test_every_container_has_every_import_and_keeps_what_it_had(pod: dict[str, Any], found: dict[str, str]) -> None:
    after = mounted(pod, found)
    spec, old = after.get("spec", {}), pod.get("spec", {})
    volumes = {one["name"]: one for one in spec.get("volumes", [])}
    for name, secret in found.items():
        assert volumes[volume_name(name)]["secret"]["secretName"] == secret
    assert [one for one in spec.get("volumes", []) if "secret" not in one] == old.get("volumes", [])
    for section in CONTAINERS:
        assert len(spec.get(section, [])) == len(old.get(section, []))
        for new, was in zip(spec.get(section, []), old.get(section, []), strict=True):
            paths = [one["mountPath"] for one in new.get("volumeMounts", [])]
            assert set(map(mount_path, found)) <= set(paths)
            assert len(paths) - len(found) == len(was.get("volumeMounts", []))
            assert {key: value for key, value in new.items() if key not in ("env", "volumeMounts")} == {
                key: value for key, value in was.items() if key not in ("env", "volumeMounts")
            }
            assert_kubeconfig(new.get("env", []), was.get("env", []), list(found))


def assert_kubeconfig(env: list[dict[str, Any]], was: list[dict[str, Any]], found: list[str]) -> None:
    own = next((one for one in was if one["name"] == "KUBECONFIG"), {"value": ""})
    new = next((one for one in env if one["name"] == "KUBECONFIG"), None)
    assert [one for one in env if one["name"] != "KUBECONFIG"] == [one for one in was if one["name"] != "KUBECONFIG"]
    if "valueFrom" in own or not found:
        assert new == (own if own in was else None)
        return
    assert new is not None
    ours = [f"{mount_path(name)}/kubeconfig" for name in found]
    assert new["value"].split(":") == [part for part in own["value"].split(":") if part] + ours


def test_the_talks_pod_gets_both_imports() -> None:
    template = list(yaml.safe_load_all((ROOT / "examples/talk/automount.yaml").read_text()))[1]["spec"]["template"]
    wanted = imports_of(template)
    assert wanted == ["foo-controller-remote-cluster1", "foo-controller-remote-cluster2"]
    pod = mounted(template, {name: f"{name}-token-6456p" for name in wanted})
    assert [one["mountPath"] for one in pod["spec"]["containers"][0]["volumeMounts"]] == [
        f"/var/run/secrets/admiralty.io/serviceaccountimports/{name}" for name in wanted
    ]


@pytest.mark.parametrize(
    ("text", "expected"), [("", []), (" a , b,,a ", ["a", "b"]), (",", []), (None, []), ("a\n,b", ["a", "b"])]
)
def test_spaces_and_repetitions_do_not_count(text: str | None, expected: list[str]) -> None:
    assert imports_of({"metadata": {"annotations": {IMPORT_LABEL: text}}}) == expected


def test_too_many_imports_are_said_to_be_too_many() -> None:
    with pytest.raises(BadAnnotation, match="at most 32"):
        imports_of({"metadata": {"annotations": {IMPORT_LABEL: ",".join(f"i{n}" for n in range(33))}}})


@given(st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=20), max_size=3) | st.none())
def test_any_annotations_can_be_read(annotations: dict[str, Any] | None) -> None:
    assert isinstance(imports_of({"metadata": {"annotations": annotations}}), list)
