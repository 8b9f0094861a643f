"""Configuration errors name the file, the line, the path and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from crosscurrent.errors import SettingsError
from crosscurrent.settings import load
from schemas.config import Config

HEAD = "apiVersion: crosscurrent.dev/v1alpha1\nkind: Config\n"


def write(directory: Path, text: str) -> Path:
    path = directory / "crosscurrent.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clusters:\n  - {name: a, kubeconfg: x}", ":4: clusters[0].kubeconfg: unknown key; did you mean kubeconfig?"),
        ("reconcilrs: [foo]", ":3: reconcilrs: unknown key; did you mean reconcilers?"),
        ("nats: {zzz: 1}", ":3: nats.zzz: unknown key; known keys: url, credentials, token, token_file, port, sync"),
        ("clusters:\n  - {kubeconfig: x}", ":4: clusters[0].name: missing"),
        ("clusters:\n  - name: 5", ":4: clusters[0].name: expected text, got 5"),
        ("workers: many", ":3: workers: expected a whole number, got 'many'"),
        ("workers: 1.5", ":3: workers: expected a whole number, got 1.5"),
        ("workers: yes", ":3: workers: expected a whole number, got True"),
        ("workers: -1", ":3: workers: -1 is not between 0 and 64"),
        ("watch_retry_seconds: 0", ":3: watch_retry_seconds: 0.0 is not between 0.1 and 3600 seconds"),
        (
            "garbage: {give_up_after_seconds: -1}",
            ":3: garbage.give_up_after_seconds: is less than nothing; 0 means never",
        ),
        ("nats: nats://localhost", ":3: nats: expected a mapping, got 'nats://localhost'"),
        ("imports: {look_seconds: 0}", ":3: imports.look_seconds: 0 is not between 1 and 3600 seconds"),
        ("imports: {accounts: [a/b]}", ": imports.accounts[0]: 'a/b' is not CLUSTER/NAMESPACE/NAME"),
        ("imports: {namespaces: [a/b]}", ": imports.namespaces[0]: no cluster 'a' is declared"),
        ("registry: {joins: a}", ": registry.joins: no cluster 'a' is declared"),
        (
            "registry: {joins: a}\nclusters: [{name: a}]\nnats: {port: 4222}",
            ": members.certificate: missing: agents speak",
        ),
        (
            "registry: {joins: a}\nclusters: [{name: a}]\nmembers: {certificate: c, key: k}",
            ": nats.port: missing: agents must know where",
        ),
        (
            "registry: {joins: a}\nnats: {url: 'nats://h:1'}\nmembers: {certificate: c, key: k}",
            ": nats.url: clusters join the embedded broker only",
        ),
        ("nats: {fact_days: week}", ":3: nats.fact_days: expected a number, got 'week'"),
        ("nats: {fact_days: 0}", ":3: nats.fact_days: 0.0 is not between 0 and 3650 days"),
        ("nats: {sync: sometimes}", ":3: nats.sync: 'sometimes' is neither 'always' nor a duration such as 2m"),
        ("nats: {url: localhost:4222}", "nats.url: 'localhost:4222' is not an address such as nats://host:4222"),
        ("nats: {url: 'nats://h:1', port: 4222}", "nats.port: is the embedded broker's"),
        ("nats: {credentials: x.creds}", "nats.url: missing: credentials are for an external broker"),
        ("nats: {token_file: x}", "nats.url: missing: token_file is for an external broker"),
        ("nats: {url: 'nats://h:1', token: x, token_file: y}", ":3: nats.token_file: there is nats.token already"),
        ("nats: {replicas: 9}", "nats.replicas: 9 is not between 1 and 5"),
        ("clusters: {a: b}", ":3: clusters: expected a list, got a mapping"),
        (
            "clusters:\n  - {name: a}\n  - {name: a}",
            ":5: clusters[1].name: duplicate cluster name 'a', already used by",
        ),
        ("clusters:\n  - {name: 'a b'}", ":4: clusters[0].name: 'a b' is not a name"),
        ("clusters:\n  - {name: a, exec_allow: [aws]}", "clusters[0].exec_allow[0]: 'aws' is not an absolute path"),
        ("reconcilers: [foo, foo]", ":3: reconcilers[1]: 'foo' is listed twice"),
        ("resources: [deployments]", ":3: resources[0]: 'deployments' is not GROUP/VERSION/PLURAL"),
        ("resources: [v1/pods, 3]", ":3: resources[1]: expected text, got 3"),
        ("probe_port: 80800", ":3: probe_port: 80800 is not a port"),
        ("probe_port: 8080", "metrics_port: 8080 is the probe_port already"),
        (
            "registry: {secrets: [{cluster: hub, namespace: fleet}]}",
            "registry.secrets[0].cluster: no cluster 'hub' is declared",
        ),
        (
            "clusters: [{name: hub}]\nregistry: {imports: [{cluster: hub, namespace: ''}]}",
            "registry.imports[0].namespace: cannot be empty",
        ),
        (
            "clusters: [{name: h}]\nregistry: {profiles: [{cluster: h, namespace: n, access: [{name: a, command: plugin}]}]}",
            "registry.profiles[0].access[0].command: 'plugin' is not an absolute path",
        ),
        ("registry: {allow_addresses: [localhost]}", "registry.allow_addresses[0]: 'localhost' does not appear to be"),
        ("registry: {secrets: [{cluster: hub}]}", "registry.secrets[0].namespace: missing"),
        ("workers: 1\nworkers: 2", ":4: workers: given twice"),
        ("clusters:\n  - name: a\n name: b", ":5: not valid YAML:"),
        ("clusters: [", ":4: not valid YAML:"),
        ("a: &a {b: *a}", "an alias refers to what contains it"),
        ("? [a, b]\n: c", ":3: a key must be plain text"),
        ("---\nkind: Other", "expected one document, found several"),
    ],
)
def test_each_mistake_is_named_with_its_line_and_path(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, f"{HEAD}{text}\n")
    with pytest.raises(SettingsError) as raised:
        load(path, environ={})
    assert expected in raised.value.message
    assert raised.value.message.startswith(str(path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is empty"),
        ("- a\n", ":1: expected a mapping"),
        ("kind: Config\n", "apiVersion: missing"),
        ("apiVersion: crosscurrent.dev/v1alpha1\n", "kind: missing"),
        ("apiVersion: crosscurrent.dev/v1\nkind: Config\n", ":1: apiVersion: expected crosscurrent.dev/v1alpha1, got"),
        ("apiVersion: crosscurrent.dev/v1alpha1\nkind: Pod\n", ":2: kind: expected Config, got 'Pod'"),
        ("\x00", "not valid YAML"),
    ],
)
def test_a_file_that_is_not_a_configuration_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(write(tmp_path, text), environ={})
    assert expected in raised.value.message


def test_every_finding_has_a_line_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEAD}workers: -1\nprobe_port: -1\n")
    with pytest.raises(SettingsError) as raised:
        load(path, environ={})
    assert raised.value.message.splitlines() == [
        f"{path}:3: workers: -1 is not between 0 and 64",
        f"{path}:4: probe_port: -1 is not a port (0 to 65535)",
    ]


def test_a_missing_file_is_named_with_an_example_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError) as raised:
        load(None, required=True, environ={})
    assert "crosscurrent.yaml does not exist" in raised.value.message
    assert "kind: Config" in raised.value.advice
    with pytest.raises(SettingsError, match=r"other\.yaml: no such file"):
        load(None, environ={"CROSSCURRENT_CONFIG": "other.yaml"})
    with pytest.raises(SettingsError, match=r"mine\.yaml: no such file"):
        load(Path("mine.yaml"), environ={})


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Is a directory"):
        load(tmp_path, environ={})


def test_commands_that_only_look_do_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(environ={"CROSSCURRENT_NATS_URL": "nats://broker:4222"})
    assert settings.path is None
    assert settings.config.nats.url == "nats://broker:4222"
    assert settings.state_directory == tmp_path / ".crosscurrent"


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    path = write(
        tmp_path / "conf",
        f"{HEAD}nats: {{url: 'nats://h:1', credentials: n.creds, token_file: n.token}}\n"
        "clusters: [{name: a, kubeconfig: ../kube}]\n",
    )
    monkeypatch.chdir("/")
    config = load(path, environ={}).config
    assert Path(config.clusters[0].kubeconfig).resolve() == tmp_path / "kube"
    assert config.nats.credentials == str(tmp_path / "conf/n.creds")
    assert config.nats.token_file == str(tmp_path / "conf/n.token")
    assert config.state_directory == str(tmp_path / "conf/.crosscurrent")


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEAD}workers: 3\nreconcilers: [foo]\nnats: {{fact_days: 2}}\n")
    environ = {
        "CROSSCURRENT_WORKERS": "5",
        "CROSSCURRENT_RECONCILERS": "foo, my.module:mine",
        "CROSSCURRENT_NATS_URL": "nats://elsewhere:4222",
        "CROSSCURRENT_STATE_DIRECTORY": "/var/lib/x",
    }
    config = load(path, environ=environ).config
    assert config.workers == 5
    assert config.reconcilers == ("foo", "my.module:mine")
    assert config.nats.url == "nats://elsewhere:4222"
    assert config.nats.fact_days == 2
    assert config.state_directory == "/var/lib/x"


def test_an_override_that_does_not_fit_names_its_variable(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD)
    with pytest.raises(SettingsError, match=r"CROSSCURRENT_WORKERS: expected a whole number, got 'lots'"):
        load(path, environ={"CROSSCURRENT_WORKERS": "lots"})


def test_variables_that_kubernetes_sets_for_a_service_of_that_name_are_not_ours(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD)
    assert load(path, environ={"CROSSCURRENT_METRICS_PORT": "tcp://10.0.0.1:8080"}).config.metrics_port == 8080


def test_a_key_without_a_value_counts_as_not_given(tmp_path: Path) -> None:
    config = load(write(tmp_path, f"{HEAD}nats:\nclusters:\nworkers:\n"), environ={}).config
    assert config.nats == Config(apiVersion="crosscurrent.dev/v1alpha1", kind="Config").nats
    assert config.clusters == ()
    assert config.workers == 1
