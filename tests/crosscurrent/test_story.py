"""`crosscurrent demo --attach`: the story in a fleet that others started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.runtime.kubeconfig import load_file, resolve
from engine.sandbox.processes import free_port
from engine.sandbox.remote_cluster import RemoteCluster

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]
NAMES = ("cluster1", "cluster2", "cluster3")
FOOS = "/apis/samplecontroller.k8s.io/v1alpha1/namespaces/default/foos"


@contextmanager
def command(directory: Path, *arguments: str) -> Iterator[None]:
    """Run one of our commands in a directory for as long as the block runs."""
    with (directory / f"{arguments[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "crosscurrent", *arguments], cwd=directory, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0, (directory / f"{arguments[0]}.log").read_text()


def play(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "crosscurrent", "demo", "--attach"],
        check=False,
        capture_output=True,
        text=True,
        timeout=150,
        cwd=directory,
        env=dict(os.environ),
    )


def write_config(directory: Path, *names: str) -> None:
    document: dict[str, Any] = {
        "apiVersion": "crosscurrent.dev/v1alpha1",
        "kind": "Config",
        "clusters": [{"name": name, "kubeconfig": "sandbox.kubeconfig", "context": name} for name in names],
        "reconcilers": ["foo"],
        "probe_port": free_port(),
        "metrics_port": 0,
    }
    (directory / "crosscurrent.yaml").write_text(yaml.safe_dump(document))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Path]:
    """A directory in which a sandbox and a fleet for its clusters run."""
    write_config(tmp_path, *NAMES)
    with ExitStack() as stack:
        named = [part for name in NAMES for part in ("--name", name)]
        stack.enter_context(command(tmp_path, "sandbox", *named))
        limit = time.monotonic() + 30
        while not (tmp_path / "sandbox-control.kubeconfig").exists():
            assert time.monotonic() < limit, (tmp_path / "sandbox.log").read_text()
            time.sleep(0.05)
        stack.enter_context(command(tmp_path, "up"))
        while not list(tmp_path.glob(".crosscurrent/broker.json")):
            assert time.monotonic() < limit, (tmp_path / "up.log").read_text()
            time.sleep(0.05)
        yield tmp_path


def test_the_story_is_played_in_a_running_fleet_and_leaves_nothing(fleet: Path) -> None:
    first = play(fleet)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "✗" not in first.stdout
    assert "a cluster that comes back catches up by itself" in first.stdout
    home = RemoteCluster("cluster1", resolve(load_file(fleet / "sandbox.kubeconfig"), "cluster1"))
    # A story that was broken off has left its Foo, with other replicas than this one begins with.
    foo = {
        "apiVersion": "samplecontroller.k8s.io/v1alpha1",
        "kind": "Foo",
        "metadata": {"name": "example-foo"},
        "spec": {"deploymentName": "example-foo", "replicas": 7},
    }
    assert home.client.request("POST", FOOS, foo)[0] == 201
    again = play(fleet)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "a Foo is left of an earlier time" in again.stdout
    assert home.client.request("GET", FOOS)[1]["items"] == []
    home.close()


def test_the_story_is_not_played_in_clusters_that_are_not_for_it(tmp_path: Path) -> None:
    write_config(tmp_path, "cluster2", "cluster3")
    done = play(tmp_path)
    assert done.returncode == 1
    assert "names no clusters for the story: cluster2, cluster3" in done.stderr


def test_the_story_is_not_played_in_clusters_that_no_sandbox_runs(tmp_path: Path) -> None:
    write_config(tmp_path, *NAMES)
    user = {"name": "someone", "user": {"token": "t"}}
    clusters = [{"name": name, "cluster": {"server": "https://127.0.0.1:1"}} for name in NAMES]
    contexts = [{"name": name, "context": {"cluster": name, "user": "someone"}} for name in NAMES]
    document = {"apiVersion": "v1", "kind": "Config", "users": [user], "clusters": clusters, "contexts": contexts}
    (tmp_path / "sandbox.kubeconfig").write_text(yaml.safe_dump(document))
    done = play(tmp_path)
    assert done.returncode == 1
    assert "cluster1 is not run by `crosscurrent sandbox`" in done.stderr
    assert "Traceback" not in done.stderr
