"""Kubeconfigs: kubectl's rules, and errors that say what to do."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.runtime.addresses import DECLARED
from engine.runtime.kubeconfig import (
    Context,
    KubeconfigError,
    load_default,
    load_file,
    parse,
    resolve,
    resolve_cluster,
)
from schemas.config import ClusterConfig
from schemas.names import ClusterName

SERVER = "https://api.example.com:6443"


def document(name: str = "one", *, server: str = SERVER, user: Any = None, cluster: Any = None, **more: Any) -> Any:
    return {
        "clusters": [{"name": name, "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": name, "user": user if user is not None else {"token": "t"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
        **more,
    }


def load(content: Any) -> Any:
    return parse(yaml.safe_dump(content).encode(), source="config", directory=Path("/etc/kube"))


def context_of(content: Any, context: str = "", **options: Any) -> Context:
    return resolve(load(content), context, **options)


def write(path: Path, content: Any) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_current_context_is_taken_if_none_is_named() -> None:
    found = context_of(document())
    assert (found.name, found.server, found.user) == ("one", SERVER, {"token": "t"})


def test_a_context_without_a_user_is_anonymous() -> None:
    content = document(contexts=[{"name": "one", "context": {"cluster": "one"}}])
    assert context_of(content).user == {}


def test_nothing_of_a_context_is_printed_but_its_name_and_server() -> None:
    assert "secret-token" not in repr(context_of(document(user={"token": "secret-token"})))


def test_paths_are_relative_to_the_file_that_holds_them() -> None:
    user = {"client-certificate": "c.pem", "client-key": "/k.pem", "tokenFile": "t"}
    found = context_of(document(user=user, cluster={"certificate-authority": "../ca.pem"}))
    assert found.user == {
        "client-certificate": "/etc/kube/c.pem",
        "client-key": "/k.pem",
        "tokenFile": "/etc/kube/t",
    }
    assert found.cluster["certificate-authority"] == "/etc/kube/../ca.pem"


def test_of_several_files_the_first_one_wins(tmp_path: Path) -> None:
    first = write(tmp_path / "a", {"current-context": "two", **{k: [] for k in ("clusters", "users", "contexts")}})
    second = write(tmp_path / "b", document("two", user={"token": "first"}))
    third = write(tmp_path / "c", document("two", user={"token": "last"}, **{"current-context": "three"}))
    (tmp_path / "empty").touch()
    listed = f"{tmp_path / 'missing'}:{tmp_path / 'empty'}:{first}:{second}:{third}"
    found = resolve(load_default({"KUBECONFIG": listed}))
    assert (found.name, found.user) == ("two", {"token": "first"})


def test_without_kubeconfig_it_is_the_one_at_home(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    write(tmp_path / ".kube" / "config", document())
    assert resolve(load_default({"HOME": str(tmp_path)})).name == "one"


def test_in_a_pod_it_is_the_service_account(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    found = resolve(load_default(environ))
    assert found.server == "https://[fd00::1]:443"
    assert found.user == {"tokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token"}


def test_a_declared_clusters_path_is_relative_to_the_configuration(tmp_path: Path) -> None:
    write(tmp_path / "kc", document())
    config = ClusterConfig(name=ClusterName("c"), kubeconfig="./kc", context="one")
    assert resolve_cluster(config, tmp_path).server == SERVER


def test_https_is_needed_but_on_the_loopback_interface() -> None:
    for server in (
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
        "http://localhost:8080",
        "https://h/k8s/clusters/c-1/",
    ):
        assert context_of(document(server=server)).server == server.rstrip("/")


def test_an_allowed_plugin_is_kept() -> None:
    plugin = {"command": "/usr/bin/aws", "apiVersion": "client.authentication.k8s.io/v1"}
    content = document(user={"exec": plugin})
    assert context_of(content, exec_allow=["/usr/bin/aws"]).user["exec"] == plugin


def test_tls_may_be_skipped_only_by_an_explicit_flag() -> None:
    content = document(cluster={"insecure-skip-tls-verify": True})
    assert context_of(content, allow_insecure=True).cluster["insecure-skip-tls-verify"]


EXEC = {"apiVersion": "client.authentication.k8s.io/v1"}


@pytest.mark.parametrize(
    ("content", "context", "says"),
    [
        (document(), "nope", "config has no context 'nope'; it has one"),
        ({}, "", "config has no current-context; name one in `context` (it has no contexts)"),
        ({}, "nope", "config has no context 'nope'; it has no contexts"),
        (document(clusters=[]), "", "names the cluster 'one', which is not in it; add it to `clusters`"),
        (document(users=[]), "", "names the user 'one', which is not in it; add it to `users`"),
        (document(server=""), "", "its cluster has no `server`"),
        (document(server="http://api.example.com"), "", "is neither https nor on the loopback interface"),
        (document(server="http://127.0.0.1.example.com"), "", "is neither https nor"),
        (document(server="ftp://x"), "", "its `server` is not of the form https://HOST"),
        (document(server="https://user:pw@x"), "", "its `server` is not of the form https://HOST"),
        (document(server="https://x:port"), "", "is no URL"),
        (document(server="https://169.254.169.254"), "", "is a link-local address"),
        (document(server="https://[::ffff:169.254.169.254]"), "", "is a link-local address"),
        (
            document(cluster={"insecure-skip-tls-verify": True}),
            "",
            "give the cluster's CA in certificate-authority-data",
        ),
        (document(cluster={"certificate-authority-data": "%%"}), "", "`certificate-authority-data` is not base64"),
        (document(user={"client-key-data": "%%"}), "", "user 'one': `client-key-data` is not base64"),
        (document(user={"auth-provider": {"name": "gcp"}}), "", "use an `exec` plugin or a token"),
        (document(user={"exec": EXEC}), "", "lacks `command` or `apiVersion`"),
        (document(user={"exec": "aws"}), "", "lacks `command` or `apiVersion`"),
        (document(user={"exec": {**EXEC, "command": "aws"}}), "", "write its absolute path there"),
        (document(user={"exec": {**EXEC, "command": "/bin/aws"}}), "", "add it to the cluster's `exec_allow`"),
        (
            document(user={"exec": {**EXEC, "command": "/ok", "env": ["A=1"]}}),
            "",
            "`args` or `env` of its `exec` plugin",
        ),
        (document(user={"exec": {**EXEC, "command": "/ok", "args": "x"}}), "", "`args` or `env` of its `exec` plugin"),
        (
            document(user={"exec": {**EXEC, "command": "/ok", "interactiveMode": "Always"}}),
            "",
            "wants to talk to a person",
        ),
        (document(user={"as": "a\r\nb"}), "", "is not of the form that kubectl reads"),
        (document(user={"as-groups": "admins"}), "", "is not of the form that kubectl reads"),
        (document(user={"as-user-extra": {"a": "b"}}), "", "is not of the form that kubectl reads"),
        (document(contexts=[{"name": "one", "context": {"cluster": ["one"]}}]), "", "names the cluster ['one']"),
        (document(clusters={"a": 1}), "", "`clusters` is not a list"),
        (document(users=[{"user": {}}]), "", "an entry of `users` has no name"),
        (document(users=[{"name": "one", "user": "token"}]), "", "user 'one' holds no keys and values"),
    ],
)
def test_what_is_wrong_is_said(content: Any, context: str, says: str) -> None:
    with pytest.raises(KubeconfigError) as caught:
        context_of(content, context, exec_allow=["/ok"])
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "config is empty; it should hold a kubeconfig"),
        (b" \n", "config is empty"),
        (b"a: [1,\nb: {", "config is not YAML, line "),
        (b"\x00\x01", "config is not YAML"),
        (b"a: 2020-99-99", "config is not YAML: cannot be parsed"),
        (b"[" * 100_000, "config is nested deeper than 64"),
        (b"- " * 100_000, "config is nested deeper than 64"),
        (b"a: &x [1]\nb: *x", "config uses YAML aliases"),
        (b"just text", "config is not a kubeconfig: it holds a str"),
        (b"- a\n- b", "config is not a kubeconfig: it holds a list"),
        (b"a: " + b"x" * 5_000_000, "more than the 4194304 that a kubeconfig may have"),
    ],
    ids=["empty", "blank", "cut off", "binary", "date", "deep", "deep blocks", "alias", "text", "list", "huge"],
)
def test_what_is_no_kubeconfig_is_said_to_be_none(raw: bytes, says: str) -> None:
    with pytest.raises(KubeconfigError) as caught:
        parse(raw, source="config", directory=None)
    assert says in str(caught.value)


def test_content_from_elsewhere_may_name_no_files() -> None:
    for section, key in (("user", "tokenFile"), ("user", "client-key"), ("cluster", "certificate-authority")):
        raw = yaml.safe_dump(document(**{section: {key: "/etc/passwd"}})).encode()
        with pytest.raises(KubeconfigError, match=f"names a file in `{key}`, which is not allowed here"):
            parse(raw, source="Secret default/cluster1", directory=None)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(
        KubeconfigError, match="nope does not exist; name another file in `kubeconfig`, or set KUBECONFIG"
    ):
        load_file(tmp_path / "nope")
    with pytest.raises(KubeconfigError, match="cannot be read: Is a directory"):
        load_file(tmp_path)
    with pytest.raises(KubeconfigError, match=r"no kubeconfig found .*/\.kube/config\); set `kubeconfig`"):
        load_default({"HOME": str(tmp_path)})
    with pytest.raises(KubeconfigError, match=r"no kubeconfig found \(/nope\)"):
        load_default({"KUBECONFIG": "/nope", "KUBERNETES_SERVICE_HOST": "10.0.0.1"})


def test_data_in_base64_is_accepted() -> None:
    data = b64encode(b"pem").decode()
    assert (
        context_of(document(cluster={"certificate-authority-data": data})).cluster["certificate-authority-data"] == data
    )


@pytest.mark.parametrize(
    ("address", "forbidden"),
    [
        ("169.254.169.254", True),
        ("::ffff:169.254.169.254", True),
        ("fe80::1%eth0", True),
        ("fd00:ec2::254", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("api.example.com", False),
    ],
)
def test_link_local_addresses_are_known(address: str, forbidden: bool) -> None:
    assert bool(DECLARED.refusal(address)) is forbidden
