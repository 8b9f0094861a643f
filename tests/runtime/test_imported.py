"""Finding the clusters that a program was given: order, rotation, and what is broken."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
import yaml

from crosscurrent.cli import run
from engine.core.importing import Endpoint, ServiceAccountGrant, Wanted, issue, secret_body
from engine.core.view import KubeObject
from engine.runtime.credentials import CredentialSource
from engine.runtime.imported import NoClusterAccess, Origin, all_cluster_access, find_cluster_access, merged_kubeconfig
from engine.runtime.kubeconfig import resolve
from schemas.names import ClusterName, ObjectRef

AUTHORITY = b"-----BEGIN CERTIFICATE-----"


def mount(directory: Path, name: str, token: str = "t1") -> Path:
    """Lay out an import's Secret as the webhook mounts it."""
    ref = ObjectRef(ClusterName("c"), "", "", "foo", name)
    found = KubeObject(ref, {"metadata": {"name": name, "namespace": "foo", "uid": f"uid-{name}"}})
    action = issue(found, Wanted(ClusterName("cluster1"), "there", "account"), ServiceAccountGrant())
    body = secret_body(action, "a-1", Endpoint("https://10.0.0.1:6443", AUTHORITY), token)
    place = directory / name
    place.mkdir(parents=True, exist_ok=True)
    for key, value in body["data"].items():
        (place / key).write_bytes(b64decode(value))
    return place


def a_kubeconfig(path: Path, *names: str) -> dict[str, str]:
    user: dict[str, Any] = {"token": "user"}
    document = {
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}:6443"}} for name in names],
        "users": [{"name": "me", "user": user}],
        "contexts": [{"name": n, "context": {"cluster": n, "user": "me", "namespace": f"ns-{n}"}} for n in names],
        "current-context": names[0],
    }
    path.write_text(yaml.safe_dump(document))
    return {"KUBECONFIG": str(path)}


def pod(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "nobody"), "KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def test_mounted_comes_before_context_and_context_before_the_pods_own(tmp_path: Path) -> None:
    mounts, kubeconfig = tmp_path / "mounts", a_kubeconfig(tmp_path / "kubeconfig", "a", "b")
    assert find_cluster_access(environ=pod(tmp_path), mounts=mounts).origin is Origin.IN_CLUSTER
    environ = {**pod(tmp_path), **kubeconfig}
    assert find_cluster_access(environ=environ, mounts=mounts).name == "a"
    mount(mounts, "a")
    found = find_cluster_access(environ=environ, mounts=mounts)
    assert (found.name, found.origin, found.namespace) == ("a", Origin.MOUNTED, "there")
    assert find_cluster_access("b", environ=environ, mounts=mounts).namespace == "ns-b"


def test_several_mounted_imports_must_be_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        mount(tmp_path, name)
    with pytest.raises(NoClusterAccess, match="one, two"):
        find_cluster_access(environ={"HOME": "/nowhere"}, mounts=tmp_path)
    assert find_cluster_access("two", environ={"HOME": "/nowhere"}, mounts=tmp_path).name == "two"
    with pytest.raises(NoClusterAccess, match="three"):
        find_cluster_access("three", environ={"HOME": "/nowhere"}, mounts=tmp_path)


async def test_a_rotated_token_is_read_from_the_same_configuration(tmp_path: Path) -> None:
    mount(tmp_path, "one", "first")
    found = find_cluster_access(environ={"HOME": "/nowhere"}, mounts=tmp_path)
    assert "first" not in repr(found)
    source = CredentialSource(resolve({**found.kubeconfig, "source": "it"}))
    assert (await source.read()).user["token"] == "first"
    mount(tmp_path, "one", "second")
    assert (await source.read()).user["token"] == "second"


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "\0\1\2",
        "clusters: 7",
        "{}",
        yaml.safe_dump(
            {
                "clusters": [{"name": "c", "cluster": {"server": "https://c"}}],
                "users": [{"name": "c", "user": {"exec": {"apiVersion": "v1", "command": "/bin/sh"}}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
                "current-context": "c",
            }
        ),
        yaml.safe_dump(
            {
                "clusters": [{"name": "c", "cluster": {"server": "https://169.254.169.254"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c"}}],
                "current-context": "c",
            }
        ),
    ],
)
def test_one_that_is_broken_does_not_hide_the_others(tmp_path: Path, garbage: str) -> None:
    mount(tmp_path / "mounts", "good")
    bad = mount(tmp_path / "mounts", "bad")
    (bad / "kubeconfig").write_text(garbage)
    environ = a_kubeconfig(tmp_path / "kubeconfig", "good", "b")
    found, broken = all_cluster_access(environ=environ, mounts=tmp_path / "mounts")
    assert {name: access.origin for name, access in found.items()} == {"good": Origin.MOUNTED, "b": Origin.CONTEXT}
    assert set(broken) == {"bad"}
    with pytest.raises(NoClusterAccess):
        find_cluster_access("bad", environ=environ, mounts=tmp_path / "mounts")


def test_the_plain_kubeconfig_has_a_context_for_each_and_names_rotating_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    place = mount(mounts, "one")
    environ = a_kubeconfig(tmp_path / "kubeconfig", "b")
    monkeypatch.setenv("KUBECONFIG", environ["KUBECONFIG"])
    output = tmp_path / "merged"
    assert run(["kubeconfig", "--output", str(output), "--mounts", str(mounts), "--context", "b"]) == 0
    written = yaml.safe_load(output.read_text())
    assert written == merged_kubeconfig(all_cluster_access(environ=environ, mounts=mounts)[0], "b")
    assert output.stat().st_mode & 0o777 == 0o600
    assert [one["name"] for one in written["contexts"]] == ["one", "b"]
    assert written["users"][0]["user"] == {"tokenFile": str(place / "token")}
    assert resolve({**written, "source": "it"}, "one").server == "https://10.0.0.1:6443"


def test_nothing_to_be_found_says_where_was_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    assert run(["kubeconfig", "--mounts", str(tmp_path / "none")]) == 1
    assert "no usable configuration" in capsys.readouterr().err
