"""`crosscurrent sandbox`, as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from crosscurrent.cli import run
from engine.sandbox.processes import free_port

READY_SECONDS = 60.0


@contextmanager
def running(directory: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Run the command in a directory; give its process and kubeconfig once it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "crosscurrent", "sandbox", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    path = directory / "sandbox.kubeconfig"
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not path.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise AssertionError(process.communicate()[0])
            time.sleep(0.05)
        yield process, yaml.safe_load(path.read_text())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def get(kubeconfig: dict[str, Any], context: str, path: str, method: str = "GET", body: object = None) -> Any:
    cluster = next(one["cluster"] for one in kubeconfig["clusters"] if one["name"] == context)
    user = next(one["user"] for one in kubeconfig["users"] if one["name"] == f"{context}-user")
    trust = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
    request = urllib.request.Request(
        cluster["server"] + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {user['token']}", "Content-Type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, context=trust, timeout=30) as answer:
        return json.load(answer)


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    return process.returncode, output


def test_it_serves_clusters_until_interrupted_and_leaves_nothing(tmp_path: Path) -> None:
    with running(tmp_path, "--clusters", "2") as (process, kubeconfig):
        assert [one["name"] for one in kubeconfig["contexts"]] == ["sim1", "sim2"]
        assert (tmp_path / "sandbox.kubeconfig").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "sandbox-control.kubeconfig").stat().st_mode & 0o777 == 0o600
        assert get(kubeconfig, "sim1", "/version")["gitVersion"].startswith("v1.")
        control = yaml.safe_load((tmp_path / "sandbox-control.kubeconfig").read_text())
        get(control, "sandbox", "/clusters/sim1/kill", "POST")
        with pytest.raises(urllib.error.URLError):
            get(kubeconfig, "sim1", "/version")
        assert get(kubeconfig, "sim2", "/version")
        code, output = interrupt(process)
    assert code == 0
    assert "2 simulated clusters are ready" in output
    assert "kubectl --context sim1" in output
    assert "Traceback" not in output
    assert list(tmp_path.iterdir()) == []


def test_what_it_keeps_comes_back(tmp_path: Path) -> None:
    port = free_port()
    arguments = ("--name", "one", "--data", "kept", "--port", str(port), "--seed", "3")
    maps = "/api/v1/namespaces/default/configmaps"
    with running(tmp_path, *arguments) as (process, kubeconfig):
        get(kubeconfig, "one", maps, "POST", {"metadata": {"name": "a"}})
        assert interrupt(process)[0] == 0
    kept = yaml.safe_load((tmp_path / "sandbox.kubeconfig").read_text())
    with running(tmp_path, *arguments) as (process, _):
        deadline = time.monotonic() + READY_SECONDS
        while True:  # the kubeconfig was there before, so it does not say that the cluster is
            try:
                found = get(kept, "one", maps)
                break
            except urllib.error.URLError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert "a" in {item["metadata"]["name"] for item in found["items"]}
        assert interrupt(process)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--clusters", "0"), "0 clusters are not between 1 and 100"),
        (("--name", "a", "--name", "a"), "two clusters have the same name"),
        (("--port", "65536"), "there are no 3 ports from there on"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(("sandbox", *arguments)) == 1
    assert message in capsys.readouterr().err


def test_a_file_of_somebody_else_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config"
    path.write_text("apiVersion: v1\nkind: Config\n")
    assert run(("sandbox", "--kubeconfig", str(path))) == 1
    assert "is not ours to replace" in capsys.readouterr().err
    assert path.read_text() == "apiVersion: v1\nkind: Config\n"


def test_its_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    run(("sandbox", "--help"))
    shown = capsys.readouterr().out
    assert "$ crosscurrent sandbox --clusters 5 --data ./clusters" in shown
    assert "--control-port" in shown
