"""`crosscurrent up` as its users run it: a real broker, real child processes, clusters that are not there."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.sandbox.nats_server import NatsServer
from engine.sandbox.processes import free_port

pytestmark = pytest.mark.broker

HEAD = "apiVersion: crosscurrent.dev/v1alpha1\nkind: Config\n"
KUBECONFIG = (
    "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:PORT'}}]\n"
    "users: [{name: u, user: {token: x}}]\n"
    "contexts: [{name: here, context: {cluster: c, user: u}}]\n"
    "current-context: here\n"
)


class Up:
    """A running `up`."""

    def __init__(self, directory: Path, text: str) -> None:
        self.directory = directory
        self.probe_port, self.metrics_port = free_port(), free_port()
        self.config = directory / "crosscurrent.yaml"
        self.config.write_text(f"{HEAD}probe_port: {self.probe_port}\nmetrics_port: {self.metrics_port}\n{text}\n")
        self.log = directory / "up.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "crosscurrent", "up", "-f", str(self.config)], stdout=log, stderr=log
            )

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> Any:
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            if found := condition():
                return found
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(self.log.read_text())

    def said(self, event: str) -> dict[str, Any] | None:
        return next((line for line in self.lines() if line["event"] == event), None)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run(*arguments, "-f", str(self.config))

    def get(self, port: int, path: str) -> tuple[int, str]:
        answer = fetch(port, path)
        assert answer is not None, self.log.read_text()
        return answer

    def descendants(self) -> set[int]:
        """Pids of every process that it started, their children included."""
        found: set[int] = set()
        todo = [self.process.pid]
        while todo:
            pid = todo.pop()
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                more = [int(text) for text in children.read_text().split()]
                found.update(more)
                todo += more
        return found

    def stop(self, number: signal.Signals = signal.SIGINT) -> tuple[int, float]:
        """End it; return exit code and seconds."""
        started = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(30), time.monotonic() - started


def run(*arguments: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "crosscurrent", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env={**os.environ, **environ},
    )


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Up]]:
    """Start `up` with a configuration; it is gone after the test."""
    running: list[Up] = []

    def begin(text: str = "") -> Up:
        running.append(Up(tmp_path, text))
        return running[-1]

    yield begin
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait(10)


def alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_up_without_clusters_runs_is_found_and_ends_at_ctrl_c_leaving_nothing(start: Callable[[str], Up]) -> None:
    up = start("")
    ready = up.until(lambda: up.said("ready"))
    assert ready["watchers"] == 0
    address = up.directory / ".crosscurrent/broker.json"
    assert address.stat().st_mode & 0o777 == 0o600
    assert up.command("clusters").returncode == 0
    assert up.get(up.probe_port, "/livez") == (200, "ok")
    status, text = up.get(up.probe_port, "/readyz?verbose")
    assert status == 200
    assert "[+]broker ok" in text
    assert "crosscurrent_broker_up 1.0" in up.get(up.metrics_port, "/metrics")[1]
    pids = up.descendants()
    assert pids
    code, seconds = up.stop()
    assert code == 0
    assert seconds < 10
    assert not address.exists()
    assert not any(alive(pid) for pid in pids)
    assert up.command("clusters").returncode == 1


def test_a_cluster_that_is_down_is_no_error_and_is_shown_as_such(start: Callable[[str], Up], tmp_path: Path) -> None:
    (tmp_path / "kube").write_text(KUBECONFIG.replace("PORT", str(free_port())))
    up = start("clusters: [{name: away, kubeconfig: kube}]\nreconcilers: [foo]\nworkers: 2")
    up.until(lambda: up.said("ready"))
    assert len([pid for pid in up.descendants() if alive(pid)]) >= 4
    found = up.until(lambda: json.loads(up.command("clusters", "-o", "json").stdout or "[]"))
    up.until(lambda: json.loads(up.command("clusters", "-o", "json").stdout)[0]["state"] == "suspect")
    assert found[0]["name"] == "away"
    doctor = up.command("doctor")
    assert doctor.returncode == 1
    assert "✗ cluster away: suspect: Unreachable" in doctor.stdout
    metrics = up.get(up.metrics_port, "/metrics")[1]
    assert 'crosscurrent_process_up{cluster="away",kind="watch",process="watch away"} 1.0' in metrics
    assert 'crosscurrent_cluster_state{cluster="away",state="suspect"} 1.0' in metrics
    assert "controller_runtime_active_workers" in metrics or "controller_runtime_reconcile" in metrics
    pids = up.descendants()
    code, seconds = up.stop(signal.SIGTERM)
    assert (code, seconds < 10) == (0, True)
    assert not any(alive(pid) for pid in pids)


def test_any_child_may_be_killed_and_comes_back(start: Callable[[str], Up], tmp_path: Path) -> None:
    (tmp_path / "kube").write_text(KUBECONFIG.replace("PORT", str(free_port())))
    up = start("clusters: [{name: away, kubeconfig: kube}]\nreconcilers: [foo]")
    up.until(lambda: up.said("ready"))
    before = up.descendants()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    up.until(lambda: len(up.descendants() - before) >= 3)
    up.until(lambda: up.get(up.probe_port, "/readyz")[0] == 200)
    assert up.command("clusters").returncode == 0
    assert up.stop()[0] == 0


def test_nothing_outlives_an_up_that_is_killed(start: Callable[[str], Up], tmp_path: Path) -> None:
    (tmp_path / "kube").write_text(KUBECONFIG.replace("PORT", str(free_port())))
    up = start("clusters: [{name: away, kubeconfig: kube}]\nreconcilers: [foo]")
    up.until(lambda: up.said("ready"))
    pids = up.descendants()
    up.process.kill()
    up.process.wait(10)
    limit = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < limit
        time.sleep(0.05)
    answer = up.command("clusters")
    assert answer.returncode == 1
    assert "no running broker found" in answer.stderr
    assert "has ended" in answer.stderr
    again = start("")
    again.until(lambda: again.said("ready"))
    assert again.stop()[0] == 0


def test_a_second_up_in_the_same_place_is_refused(start: Callable[[str], Up]) -> None:
    up = start("")
    up.until(lambda: up.said("ready"))
    second = up.command("up")
    assert second.returncode == 1
    assert "another `crosscurrent up` runs in" in second.stderr
    assert up.stop()[0] == 0


@pytest.mark.parametrize("field", ["probe_port", "metrics_port", "nats.port"])
def test_a_port_that_is_taken_is_named(tmp_path: Path, field: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {"probe_port": 0, "metrics_port": 0} | ({field: port} if "." not in field else {})
        text = "".join(f"{name}: {value}\n" for name, value in ports.items())
        config = tmp_path / "crosscurrent.yaml"
        config.write_text(f"{HEAD}{text}" + (f"nats: {{port: {port}}}\n" if "." in field else ""))
        done = run("up", "-f", str(config))
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1 is taken by another process" in done.stderr
    assert field.partition(".")[2] or field in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / ".crosscurrent/broker.json").exists()


@pytest.mark.parametrize(
    "command", [["up"], ["watch", "a"], ["reconcile"], ["clusters"], ["get", "deploy"], ["doctor"]]
)
def test_a_wrong_nats_address_is_answered_soon(tmp_path: Path, command: list[str]) -> None:
    port = free_port()
    (tmp_path / "kube").write_text(KUBECONFIG.replace("PORT", "1"))
    config = tmp_path / "crosscurrent.yaml"
    config.write_text(
        f"{HEAD}nats: {{url: 'nats://127.0.0.1:{port}'}}\nprobe_port: 0\nmetrics_port: 0\n"
        "clusters: [{name: a, kubeconfig: kube}]\nreconcilers: [foo]\n"
    )
    started = time.monotonic()
    done = run(*command, "-f", str(config))
    assert time.monotonic() - started < 20  # 3 s of trying, and the start of Python on a busy machine
    assert done.returncode == 1
    assert f"nats://127.0.0.1:{port}" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_wrong_token_is_answered_with_what_to_check(tmp_path: Path, nats_server: NatsServer) -> None:
    config = tmp_path / "crosscurrent.yaml"
    config.write_text(f"{HEAD}nats: {{url: '{nats_server.url}', token: wrong}}\n")
    done = run("clusters", "-f", str(config))
    assert done.returncode == 1
    assert "check nats.url and nats.token" in done.stderr  # the broker's own words get lost when it hangs up first
    assert nats_server.token not in done.stderr


def test_an_external_broker_is_used_when_configured(
    start: Callable[[str], Up], nats_server: NatsServer, tmp_path: Path
) -> None:
    up = start(f"nats: {{url: '{nats_server.url}', token: '{nats_server.token}'}}")
    ready = up.until(lambda: up.said("ready"))
    assert ready["broker"] == nats_server.url
    assert not (tmp_path / ".crosscurrent/nats").exists()
    assert up.command("clusters").returncode == 0
    assert up.stop()[0] == 0
    assert nats_server.process.running


@pytest.mark.parametrize(
    ("command", "metric"),
    [(["watch", "a"], "crosscurrent_watch_queue"), (["reconcile"], "controller_runtime_reconcile")],
)
def test_a_process_of_its_own_serves_probes_and_metrics_and_ends_at_sigterm(
    tmp_path: Path, nats_server: NatsServer, command: list[str], metric: str
) -> None:
    (tmp_path / "kube").write_text(KUBECONFIG.replace("PORT", str(free_port())))
    config = tmp_path / "crosscurrent.yaml"
    config.write_text(
        f"{HEAD}nats: {{url: '{nats_server.url}', token: '{nats_server.token}'}}\n"
        "clusters: [{name: a, kubeconfig: kube}]\nreconcilers: [foo]\n"
    )
    probe, metrics = free_port(), free_port()
    ports = ["--probe-port", str(probe), "--metrics-port", str(metrics)]
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "crosscurrent", *command, *ports, "-f", str(config)], stdout=output, stderr=output
        ) as process,
    ):
        try:
            limit = time.monotonic() + 30
            while (answer := fetch(probe, "/readyz?verbose")) is None or answer[0] != 200:
                assert time.monotonic() < limit, log.read_text()
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            assert answer[1] == "[+]ping ok\n[+]started ok\nreadyz check passed\n"
            assert metric in (fetch(metrics, "/metrics") or (0, ""))[1]
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0, log.read_text()
        finally:
            process.kill()


def fetch(port: int, path: str) -> tuple[int, str] | None:
    """Return (status, text), None while nothing listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return None


def test_the_doctor_finds_streams_that_are_missing_or_changed(start: Callable[[str], Up], tmp_path: Path) -> None:
    up = start("")
    up.until(lambda: up.said("ready"))
    assert "7 streams as they should be" in up.command("doctor").stdout
    up.config.write_text(up.config.read_text() + "nats: {fact_days: 3}\n")
    done = up.command("doctor")
    assert done.returncode == 1
    assert "✗ stream FACTS: is configured otherwise than it should be: max_age" in done.stdout
    assert up.stop()[0] == 0
