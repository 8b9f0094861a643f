"""Shells and kubectl complete commands, options, clusters, types and names; and are left in peace where there is no fleet."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from crosscurrent import cli, processes
from engine.sandbox.memory_log import MemoryLog

ROOT = Path(__file__).resolve().parents[2]
Capture = pytest.CaptureFixture[str]
CONFIG = "apiVersion: crosscurrent.dev/v1alpha1\nkind: Config\nclusters: [{name: declared}]\n"


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A directory with our commands as an installation makes them, for PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, place in declared.items():
        module, _, function = place.partition(":")
        (directory / name).write_text(f"#!{sys.executable}\nfrom {module} import {function}\n{function}()\n")
        (directory / name).chmod(0o755)
    return directory


def run(command: list[str], directory: Path, scripts: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(scripts), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "KUBECONFIG": os.devnull}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=directory, env=environment
    )


@pytest.fixture
def completed(
    fleet: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> Callable[[str], list[str]]:
    """Return the dynamic candidates for a line, which a running fleet provides."""

    async def open_log(*_: object) -> MemoryLog:
        return fleet

    monkeypatch.setattr(processes, "open_log", open_log)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crosscurrent.yaml").write_text(f"{CONFIG}nats: {{url: 'nats://localhost:4222'}}\n")

    def complete(line: str) -> list[str]:
        assert cli.run(["__complete", *line.split(" ")]) == 0
        return capsys.readouterr().out.partition("\x1fbegin\n")[2].splitlines()

    return complete


@pytest.mark.parametrize(
    ("line", "candidates"),
    [
        ("get ", ["clusters", "deployments", "foos", "nodes"]),
        ("get deploy ", ["example-foo"]),
        ("get deploy example-foo ", []),
        ("get deploy -n shop ", ["web"]),
        ("get deploy -A ", ["example-foo", "web"]),
        ("get deploy/", ["deploy/example-foo"]),
        ("get zzz ", []),
        ("get deploy -n ", ["default", "shop"]),
        ("get deploy --cluster ", ["declared", "cluster1", "cluster2"]),
        ("clusters ", ["declared", "cluster1", "cluster2"]),
        ("watch ", ["declared"]),
        ("events ", ["declared/", "cluster1/", "cluster2/"]),
        ("events cluster1/", ["cluster1/clusters", "cluster1/deployments", "cluster1/foos", "cluster1/nodes"]),
    ],
)
def test_names_come_from_the_running_fleet(
    completed: Callable[[str], list[str]], line: str, candidates: list[str]
) -> None:
    assert completed(line) == candidates


@pytest.mark.parametrize("line", ["get ", "get deploy ", "get -n ", "clusters ", "events "])
@pytest.mark.parametrize("config", ["", "not: a: config", f"{CONFIG}nats: {{url: 'nats://127.0.0.1:1'}}\n"])
def test_without_a_fleet_a_completion_is_silent(
    line: str, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CROSSCURRENT_NATS_URL", raising=False)
    (tmp_path / "crosscurrent.yaml").write_text(config)
    assert cli.run(["__complete", *line.split(" ")]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert {line.partition("/")[0] for line in out.partition("\x1fbegin\n")[2].splitlines()} <= {"declared"}


def test_kubectl_finds_the_plugin_and_passes_on_its_exit_code(scripts: Path, tmp_path: Path) -> None:
    listed = run(["kubectl", "plugin", "list"], tmp_path, scripts)
    assert f"{scripts}/kubectl-crosscurrent" in listed.stdout
    assert "Usage: kubectl crosscurrent get" in run(["kubectl", "crosscurrent", "get", "-h"], tmp_path, scripts).stdout
    failed = run(["kubectl", "crosscurrent", "clusters"], tmp_path, scripts)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: no running broker found")
    wrong = run(["kubectl", "crosscurrent", "get", "--nonsense"], tmp_path, scripts)
    assert (wrong.returncode, "See 'kubectl crosscurrent get --help'" in wrong.stderr) == (1, True)


def test_a_wrong_call_ends_as_kubectls_own_does(scripts: Path, tmp_path: Path) -> None:
    for arguments in (["nonsense"], ["get", "--nonsense"], ["get"]):
        theirs = run(["kubectl", *arguments], tmp_path, scripts)
        ours = run(["crosscurrent", *arguments], tmp_path, scripts)
        assert ours.returncode == theirs.returncode, arguments
        assert ours.stdout == ""


@pytest.mark.parametrize(
    ("words", "candidate", "directive"),
    [
        ([""], "clusters\t", ":4"),
        (["get", "deploy", "--outp"], "--output\t", ":4"),
        (["get", "deploy", "-o", ""], "json", ":4"),
        (["clusters", ""], "declared", ":4"),
        (["get", "-f", ""], ":0", ":0"),
    ],
)
def test_kubectl_completes_the_plugin(
    words: list[str], candidate: str, directive: str, scripts: Path, tmp_path: Path
) -> None:
    (tmp_path / "crosscurrent.yaml").write_text(CONFIG)
    done = run(["kubectl", "__complete", "crosscurrent", *words], tmp_path, scripts)
    lines = done.stdout.splitlines()
    assert any(line.startswith(candidate) for line in lines), done.stderr
    assert lines[-1] == directive
    assert "Traceback" not in done.stderr


BASH = """
source <(crosscurrent completion bash)
COMP_WORDS=(crosscurrent {words}) COMP_CWORD={index}
_crosscurrent
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "candidate"), [("cl", "clusters"), ("get deploy --outp", "--output"), ("clusters de", "declared")]
)
def test_bash_completes(words: str, candidate: str, scripts: Path, tmp_path: Path) -> None:
    (tmp_path / "crosscurrent.yaml").write_text(CONFIG)
    script = BASH.format(words=words, index=len(words.split()))
    done = run(["bash", "--norc", "-c", script], tmp_path, scripts)
    assert candidate in done.stdout.split(), done.stderr


@pytest.mark.parametrize(
    ("line", "candidate"), [("cl", "clusters"), ("get x --outp", "--output"), ("clusters d", "declared")]
)
def test_fish_completes(line: str, candidate: str, scripts: Path, tmp_path: Path) -> None:
    need("fish")
    (tmp_path / "crosscurrent.yaml").write_text(CONFIG)
    script = f"crosscurrent completion fish | source; complete -C 'crosscurrent {line}'"
    done = run(["fish", "--no-config", "-c", script], tmp_path, scripts)
    assert candidate in [line.partition("\t")[0] for line in done.stdout.splitlines()], done.stderr


def test_zsh_takes_the_script(scripts: Path, tmp_path: Path) -> None:
    need("zsh")
    script = (
        "autoload -Uz compinit && compinit -u && source <(crosscurrent completion zsh) && print $_comps[crosscurrent]"
    )
    done = run(["zsh", "-f", "-c", script], tmp_path, scripts)
    assert done.stdout.strip() == "_cyclopts_crosscurrent", done.stderr


def need(shell: str) -> None:
    """Skip without a shell that the test needs, and say so; CI has them all."""
    if shutil.which(shell) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{shell} is not installed", pytrace=False)
        pytest.skip(f"{shell} is not installed")
