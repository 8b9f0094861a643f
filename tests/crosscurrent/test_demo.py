"""`crosscurrent demo`, whole: it exits with 0 and every promise is kept, on simulated clusters and on real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "crosscurrent", "demo"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a user whose temporary files can be counted afterwards, and who has set variables for a fleet of their own."""
    (tmp_path / "tmp").mkdir()
    return {
        **os.environ,
        "TMPDIR": str(tmp_path / "tmp"),
        "PYTHONPATH": str(ROOT),
        "CROSSCURRENT_NATS_URL": "nats://127.0.0.1:1",
    }


def run(*options: str, seconds: float, environment: Mapping[str, str], directory: Path) -> str:
    """Run a demo to its end, which must be a good one; return what it printed."""
    done = subprocess.run(
        [*COMMAND, *options],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        cwd=directory,
        env=dict(environment),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout
    assert "22 of 22 checks passed" in done.stdout
    assert "\x1b" not in done.stdout  # no terminal, no colours
    assert list((directory / "tmp").iterdir()) == []
    return done.stdout


@pytest.mark.broker
@pytest.mark.timeout(180)
def test_the_demo_keeps_every_promise_on_simulated_clusters(tmp_path: Path, environment: dict[str, str]) -> None:
    printed = run(seconds=170, environment=environment, directory=tmp_path)
    assert "Start 3 simulated clusters" in printed
    assert "cluster3   suspect" in printed  # the picture of the moment in which it was cut off


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_the_demo_keeps_every_promise_on_real_clusters(
    assets: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    real = {**environment, "KUBEBUILDER_ASSETS": str(assets)}
    assert "Start 3 real clusters" in run("--real", seconds=280, environment=real, directory=tmp_path)


@pytest.fixture
def kept(tmp_path: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A demo that is left running; gone after the test."""
    with subprocess.Popen(
        [*COMMAND, "--keep"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as process:
        yield process
        process.kill()


@pytest.mark.broker
@pytest.mark.timeout(180)
def test_what_a_demo_that_is_kept_says_to_try_works(
    kept: subprocess.Popen[str], tmp_path: Path, environment: dict[str, str]
) -> None:
    assert kept.stdout is not None
    printed: list[str] = []
    while not printed or "Ctrl-C ends it" not in printed[-1]:
        line = kept.stdout.readline()
        assert line, kept.communicate()
        printed.append(line)
    tries = [
        line.strip() for line in printed[printed.index("Try next, in another terminal:\n") + 1 :] if line[:2] == "  "
    ]
    assert len(tries) == 3
    terminal = {name: value for name, value in environment.items() if not name.startswith("CROSSCURRENT_")}
    terminal["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    shell = ["bash", "-euc", "\n".join(tries)]
    done = subprocess.run(
        shell,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env=terminal,
    )
    assert done.returncode == 0, done.stderr
    assert "foo.samplecontroller.k8s.io/example-foo created" in done.stdout
    started = time.monotonic()
    kept.send_signal(signal.SIGINT)
    assert kept.wait(30) == 0
    assert time.monotonic() - started < 15
    assert list((tmp_path / "tmp").iterdir()) == []
