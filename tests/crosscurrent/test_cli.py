"""The command line: help, exit codes, and errors without stack traces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from crosscurrent import cli, processes
from crosscurrent.commands import up
from crosscurrent.manual import PAGES
from crosscurrent.settings import load
from crosscurrent.stream_report import StreamReport
from engine.sandbox.memory_log import MemoryLog

Capture = pytest.CaptureFixture[str]
HEAD = "apiVersion: crosscurrent.dev/v1alpha1\nkind: Config\n"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty directory, without variables of a fleet that the developer may have."""
    monkeypatch.chdir(tmp_path)
    for name in ("CROSSCURRENT_CONFIG", "CROSSCURRENT_NATS_URL", "CROSSCURRENT_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("command", PAGES)
def test_every_command_explains_itself_with_examples(command: str, capsys: Capture) -> None:
    assert cli.run([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Examples:" in text
    assert f"$ crosscurrent {command}" in text


def test_help_lists_every_command(capsys: Capture) -> None:
    assert cli.run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(page.summary in text for page in PAGES.values())
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("crosscurrent ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["get"],
        ["get", "deploy", "-o", "xml"],
        ["get", "deploy", "--at", "10m", "-w"],
        ["diff"],
        ["diff", "--from", "10m", "-o", "wide"],
        ["get", "deploy", "-A", "-n", "x"],
        ["get", "deploy", "name", "-A"],
        ["get", "deploy", "foo/x"],
        ["get", "a/b/c"],
        ["get", "deploy", "-l", "a in b"],
        ["get", "deploy", "--field-selector", "a"],
        ["get", "deploy", "name", "-l", "a=b"],
        ["get", "deploy", "--output-watch-events"],
        ["events", "--no-watch"],
        ["completion", "tcsh"],
        ["events", "a/b/c/d/e"],
        ["events", "--since", "yesterday"],
        ["clusters", "--zzz"],
        ["watch"],
        ["demo", "--clusters", "1"],
    ],
    ids=" ".join,
)
def test_a_command_called_the_wrong_way_exits_with_1_and_points_to_its_help(
    arguments: list[str], capsys: Capture
) -> None:
    assert cli.run(arguments) == 1
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ")
    command = f" {arguments[0]}" if arguments[0] in PAGES else ""
    assert last == f"See 'crosscurrent{command} --help' for usage."


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [(["evnts"], "events"), (["clusters", "--watc"], "--watch"), (["get", "deploy", "-o", "xml"], "json")],
)
def test_what_was_mistyped_is_answered_with_what_may_be_meant(
    arguments: list[str], suggestion: str, capsys: Capture
) -> None:
    assert cli.run(arguments) == 1
    assert suggestion in capsys.readouterr().err


def test_called_by_kubectl_it_calls_itself_so(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/kubectl-crosscurrent", "get", "--help"])
    assert cli.run() == 0
    text = capsys.readouterr().out
    assert "Usage: kubectl crosscurrent get" in text
    assert "$ kubectl crosscurrent get deployments -A" in text
    assert cli.run(["get"]) == 1
    assert "See 'kubectl crosscurrent get --help'" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["clusters"], ["get", "deploy"], ["events"]])
def test_without_a_running_fleet_the_answer_says_how_to_get_one(command: list[str], capsys: Capture) -> None:
    assert cli.run(command) == 1
    assert capsys.readouterr().err.splitlines()[0] == (
        "error: no running broker found: start `crosscurrent up`, or set nats.url"
    )


def test_doctor_without_a_broker_is_a_finding_not_a_failure(capsys: Capture) -> None:
    assert cli.run(["doctor"]) == 1
    assert "✗ broker: no running broker found" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["up"], ["watch", "a"], ["reconcile"]])
def test_what_runs_a_fleet_needs_a_configuration(command: list[str], capsys: Capture) -> None:
    assert cli.run(command) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: no configuration:")
    assert "kind: Config" in error


def test_a_mistake_in_the_file_is_printed_line_by_line(elsewhere: Path, capsys: Capture) -> None:
    (elsewhere / "crosscurrent.yaml").write_text(f"{HEAD}workers: -1\nprobe_port: -1\n")
    assert cli.run(["up"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: ") for line in lines] == [True, True]
    assert "crosscurrent.yaml:3: workers" in lines[0]


@pytest.mark.parametrize(
    ("clusters", "expected"),
    [
        ("[{name: a, kubeconfig: missing}]", "clusters[0] (a): {dir}/missing does not exist"),
        ("[{name: a, kubeconfig: broken}]", "broken is not YAML, line 2"),
        ("[{name: a, kubeconfig: empty}]", "empty is empty"),
        ("[{name: a, kubeconfig: good, context: nope}]", "good has no context 'nope'; it has here"),
    ],
)
def test_a_cluster_that_cannot_be_meant_stops_up_before_anything_starts(
    elsewhere: Path, capsys: Capture, clusters: str, expected: str
) -> None:
    (elsewhere / "broken").write_text("{")
    (elsewhere / "empty").write_text("")
    (elsewhere / "good").write_text(
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n"
        "contexts: [{name: here, context: {cluster: c}}]\n"
    )
    (elsewhere / "crosscurrent.yaml").write_text(f"{HEAD}clusters: {clusters}\n")
    assert cli.run(["up"]) == 1
    assert expected.format(dir=elsewhere) in capsys.readouterr().err
    assert not (elsewhere / ".crosscurrent").exists()


@pytest.mark.parametrize(
    ("reconcilers", "expected"),
    [
        ("[fooo]", "no built-in reconciler 'fooo'; there are federation, foo"),
        ("['nowhere:it']", "No module named 'nowhere'"),
        ("['bad:it']", "ZeroDivisionError while importing"),
    ],
)
def test_a_reconciler_that_cannot_be_found_stops_up(
    elsewhere: Path, capsys: Capture, reconcilers: str, expected: str
) -> None:
    (elsewhere / "bad.py").write_text("1 / 0\n")
    (elsewhere / "crosscurrent.yaml").write_text(f"{HEAD}reconcilers: {reconcilers}\n")
    before = list(sys.path)
    try:
        assert cli.run(["up"]) == 1
    finally:
        sys.path[:] = before
    assert expected in capsys.readouterr().err


def test_watch_names_the_clusters_that_there_are(elsewhere: Path, capsys: Capture) -> None:
    (elsewhere / "crosscurrent.yaml").write_text(f"{HEAD}clusters: [{{name: a}}, {{name: b}}]\n")
    assert cli.run(["watch", "c"]) == 1
    assert "no cluster 'c'" in (error := capsys.readouterr().err)
    assert "configured: a, b" in error


def test_the_number_of_workers_can_be_overridden_within_reason(elsewhere: Path, capsys: Capture) -> None:
    (elsewhere / "crosscurrent.yaml").write_text(HEAD)
    assert up.with_workers(load(required=True), 4).config.workers == 4
    assert cli.run(["up", "--workers", "1000"]) == 1
    assert "1000 is not between 0 and 64" in capsys.readouterr().err


def test_a_bug_is_one_line_unless_debugging(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("oh")

    monkeypatch.setattr("crosscurrent.settings.load", broken)
    assert cli.run(["clusters"]) == 1
    assert capsys.readouterr().err == "error: RuntimeError: oh\n  this is a bug; CROSSCURRENT_DEBUG=1 shows where\n"
    monkeypatch.setenv("CROSSCURRENT_DEBUG", "1")
    with pytest.raises(RuntimeError):
        cli.run(["clusters"])


def test_commands_read_the_log_that_they_are_connected_to(
    fleet: MemoryLog, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    async def open_log(*_: object) -> MemoryLog:
        return fleet

    async def stream_report(*_: object) -> StreamReport:
        return StreamReport((), (), 0, 0, ())

    monkeypatch.setattr(processes, "open_log", open_log)
    monkeypatch.setattr(processes, "stream_report", stream_report)
    monkeypatch.setenv("CROSSCURRENT_NATS_URL", "nats://localhost:4222")
    assert cli.run(["get", "deploy", "-A", "-o", "name"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert cli.run(["get", "deploy", "nope"]) == 1
    assert cli.run(["clusters", "-o", "name"]) == 0
    assert cli.run(["doctor"]) == 1
    assert "cluster cluster3" in capsys.readouterr().out
    fleet.lose_streams()
    assert cli.run(["clusters"]) == 1
    assert "stream STATE not found" in capsys.readouterr().err


def test_the_command_line_starts_fast_because_heavy_modules_are_left_out() -> None:
    heavy = ("aiohttp", "nats", "kubernetes_asyncio", "prometheus_client", "structlog", "rich.markdown")
    code = (
        "import sys; from crosscurrent.cli import run; code = run(['--help']);"
        f"print(code, [name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "0 []"
