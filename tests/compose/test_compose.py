"""`docker compose up`, for real: the story is played, workers share the work, whatever stops loses nothing.

Every answer about the clusters is their own, asked for at their published ports. The tests share one project and leave it
whole: one that breaks something mends it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from crosscurrent.connect import connected
from crosscurrent.errors import UserError
from crosscurrent.settings import Settings, load
from engine.sandbox.identities import merged
from engine.sandbox.nats_server import MAX_PAYLOAD_BYTES
from schemas import subjects
from schemas.decisions import decode_entry
from schemas.names import ClusterName, ObjectRef
from tests.compose.base_images import ROOT
from tests.compose.project import CLUSTERS, Project, until
from tests.nats_cli import nats_cli
from tests.readme import Terminal

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]
HOME, *OTHERS = CLUSTERS
LONG_RUNNING = ("nats", *CLUSTERS, *(f"watch-{cluster}" for cluster in CLUSTERS), "reconciler")
FOOS = "/apis/samplecontroller.k8s.io/v1alpha1/namespaces/default/foos"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE_PATCH = "application/merge-patch+json"
SUBSCRIBE = """nats sub -s "nats://$(docker compose exec -T nats cat /broker/token)@127.0.0.1:4222" 'facts.>'"""
SIGKILLED = 137
SETTLE_S = 90.0
"""A cluster that was away is asked again after a watcher's back-off, at most half a minute."""


class Foos:
    """Foos of these tests, and what must have become of them."""

    def __init__(self, project: Project) -> None:
        self.wanted: dict[str, int] = {}
        self._project = project
        self._clusters = {name: project.cluster(name) for name in CLUSTERS}

    def scale(self, prefix: str, count: int, replicas: int) -> None:
        """Create Foos, or change the replicas of those that are there."""
        home = self._clusters[HOME].client
        for number in range(count):
            name = f"{prefix}-{number}"
            spec = {"deploymentName": name, "replicas": replicas}
            if name in self.wanted:
                status, answer = home.request("PATCH", f"{FOOS}/{name}", {"spec": spec}, content_type=MERGE_PATCH)
            else:
                body = {"apiVersion": "samplecontroller.k8s.io/v1alpha1", "kind": "Foo", "metadata": {"name": name}}
                status, answer = home.request("POST", FOOS, {**body, "spec": spec})
            assert status in (200, 201), answer
            self.wanted[name] = replicas

    def delete(self) -> None:
        """Delete them all."""
        for name in self.wanted:
            assert self._clusters[HOME].client.request("DELETE", f"{FOOS}/{name}")[0] == 200
        self.wanted = {}

    def found(self, cluster: str) -> dict[str, int]:
        """Return the replicas of every Deployment in a cluster."""
        status, answer = self._clusters[cluster].client.request("GET", DEPLOYMENTS)
        assert status == 200, answer
        return {item["metadata"]["name"]: item["spec"]["replicas"] for item in answer["items"]}

    def settle(self) -> None:
        """Wait until every cluster holds exactly what is wanted."""
        everywhere = {HOME: {}, **dict.fromkeys(OTHERS, self.wanted)}

        def found() -> dict[str, dict[str, int]]:
            return {cluster: self.found(cluster) for cluster in CLUSTERS}

        until(
            lambda: found() == everywhere,
            seconds=SETTLE_S,
            what=lambda: f"{found()}\nis not {everywhere}\n{self._project.report()}",
        )

    def close(self) -> None:
        """Close the connections to the clusters."""
        for cluster in self._clusters.values():
            cluster.close()


@pytest.fixture(scope="module")
def foos(project: Project) -> Iterator[Foos]:
    """Foos in a project whose story is over."""
    story_is_over(project)
    foos = Foos(project)
    yield foos
    foos.close()


def story_is_over(project: Project) -> Mapping[str, Any]:
    """Wait for the end of the story and return how its container ended."""
    story = project.container("story")
    return until(
        lambda: (state := project.state(story))["Status"] == "exited" and state, seconds=120, what=project.report
    )


def test_the_story_is_played_by_up_and_every_promise_is_kept(project: Project) -> None:
    state = story_is_over(project)
    printed = project.engine.logs(project.container("story"))
    print(printed)
    assert state["ExitCode"] == 0
    assert "✗" not in printed
    assert "checks passed" in printed


def test_every_service_is_healthy_by_its_own_probes(project: Project) -> None:
    project.wait_healthy(LONG_RUNNING)
    assert not project.containers("own", stopped=True)


@pytest.mark.parametrize("service", LONG_RUNNING)
def test_no_container_has_more_rights_than_it_needs(project: Project, service: str) -> None:
    (container,) = project.containers(service)
    known = project.engine.inspect(container)
    assert known["Config"]["User"].startswith("65532")
    assert known["HostConfig"]["ReadonlyRootfs"] is True
    assert known["HostConfig"]["CapDrop"] == ["ALL"]
    assert known["HostConfig"]["Privileged"] is False
    assert "no-new-privileges:true" in known["HostConfig"]["SecurityOpt"]
    status = project.execute(container, "cat", "/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["65532"] * 4
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    written = project.execute(container, "sh", "-c", "echo x > /etc/passwd || echo refused", check=False)
    assert written.strip() == "refused"


def test_what_is_published_is_published_to_this_machine_alone(project: Project) -> None:
    published: dict[str, set[str]] = {}
    for service in LONG_RUNNING:
        ports = project.engine.inspect(project.container(service))["NetworkSettings"]["Ports"] or {}
        published[service] = {bound["HostIp"] for all_bound in ports.values() for bound in all_bound or ()}
    assert published == {service: {"127.0.0.1"} if service in ("nats", *CLUSTERS) else set() for service in published}


def test_the_broker_wants_the_token_and_takes_what_the_embedded_one_takes(project: Project) -> None:
    with pytest.raises(UserError, match="Authorization Violation"):
        asyncio.run(performers(settings(project, token="another")))
    varz = project.execute(project.container("nats"), "wget", "-q", "-O", "-", "http://127.0.0.1:8222/varz")
    known = yaml.safe_load(varz)
    assert known["max_payload"] == MAX_PAYLOAD_BYTES
    assert known["jetstream"]["config"]["sync_always"] is True


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("service", ["reconciler", "watch-cluster1", "watch-cluster3", "nats", "cluster3", "cluster1"])
def test_whatever_is_stopped_or_killed_loses_nothing(project: Project, foos: Foos, service: str, how: str) -> None:
    foos.scale("kept", 4, replicas=1)
    foos.settle()
    started = time.monotonic()
    container = project.containers(service)[0]
    foos.scale("kept", 2, replicas=5)  # under way, or just acknowledged, when it goes
    project.engine.docker(how, container)
    exit_code = project.state(container)["ExitCode"]
    assert (exit_code == SIGKILLED) == (how == "kill")
    if service != HOME:
        foos.scale("kept", 4, replicas=6)
    project.engine.docker("start", container)
    if service in CLUSTERS:
        project.wait_healthy([service])
    if service == HOME:
        foos.scale("kept", 4, replicas=6)
    foos.settle()
    print(f"{how} of {service} (exit code {exit_code}): all as wanted after {time.monotonic() - started:.1f} s")


def test_what_crashes_is_started_again(project: Project, foos: Foos) -> None:
    for service in ("reconciler", "watch-cluster2", "cluster2"):
        # The first process of a container is its init; what that started is ours.
        crash = ["sh", "-c", "kill -9 $(cat /proc/1/task/1/children)"]
        project.execute(project.containers(service)[0], *crash, check=False)
        until(partial(restarted, project, service), what=project.report)
    project.wait_healthy(LONG_RUNNING)
    foos.scale("kept", 4, replicas=7)
    foos.settle()


def test_the_commands_of_the_readme(project: Project, foos: Foos, tmp_path: Path) -> None:
    with terminal(project, tmp_path) as shell:
        shell.stay("docker compose up", "checks passed")
        do(shell, "docker compose up -d --scale reconciler=4")
        project.wait_healthy(LONG_RUNNING)
        four_workers_share_the_work(project, foos)
        story = do(shell, "docker compose run --rm story")
        assert "✗" not in story
        shell.stay(SUBSCRIBE.replace("4222", str(project.nats_port)), "Subscribing")
        do(shell, "docker compose stop cluster3")
        foos.scale("kept", 4, replicas=8)
        do(shell, "docker compose start cluster3")
        project.wait_healthy(["cluster3"])
        foos.settle()
        until(lambda: holders(shell, "kept-0") == set(OTHERS), what=project.report)  # what the watchers saw follows
        printed = dict(shell.interrupt_all(seconds=60))
    foo = ObjectRef(ClusterName(HOME), "samplecontroller.k8s.io", "foos", "default", "kept-0")
    assert subjects.fact(foo) in next(text for command, text in printed.items() if command.startswith("nats sub"))


def holders(shell: Terminal, name: str) -> set[str]:
    """Return the clusters in which our own listing shows a Deployment."""
    listed = do(shell, "docker compose exec reconciler crosscurrent get deployments -A")
    return {line.split()[0] for line in listed.splitlines() if f" {name} " in line}


def four_workers_share_the_work(project: Project, foos: Foos) -> None:
    """Make work, and see in the entries of DECISIONS who did it."""
    workers = {container[:12] for container in project.containers("reconciler")}
    assert len(workers) == 4
    before = asyncio.run(performers(settings(project)))
    foos.scale("shared", 24, replicas=2)
    foos.settle()
    performed = asyncio.run(performers(settings(project))) - before
    print(f"entries by worker: {dict(performed)}")
    assert len(workers & performed.keys()) > 1
    assert performed.keys() <= workers


def test_the_same_in_clusters_of_ones_own(project: Project, foos: Foos, tmp_path: Path) -> None:
    """The demo clusters stand in for a user's: reached by a kubeconfig that only its owner can read."""
    project.compose("stop", "reconciler", *(f"watch-{cluster}" for cluster in CLUSTERS))
    project.compose("up", "--detach", *CLUSTERS)
    project.wait_healthy(CLUSTERS)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(yaml.safe_dump(merged([yaml.safe_load(project.kubeconfig(name)) for name in CLUSTERS])))
    config = tmp_path / "crosscurrent.yaml"
    clusters = [{"name": name, "context": name} for name in CLUSTERS]
    head = {"apiVersion": "crosscurrent.dev/v1alpha1", "kind": "Config"}
    config.write_text(yaml.safe_dump({**head, "clusters": clusters, "reconcilers": ["foo"]}))
    project.environment |= {"CROSSCURRENT_FILE": str(config), "CROSSCURRENT_KUBECONFIG": str(kubeconfig)}
    with terminal(project, tmp_path) as shell:
        shell.stay("CROSSCURRENT_UID=$(id -u) docker compose up --scale own=4 own", "")
        until(lambda: len(project.containers("own")) == 4, what=project.report)
        # All four: one still loading its modules has no handler yet, and a stop would end it as SIGTERM does.
        project.wait_healthy(["own-watchers", "own"])
        foos.scale("kept", 4, replicas=9)
        foos.settle()
        shell.interrupt_all(seconds=60)
    project.compose("--profile", "own", "stop")  # what `up own` only depended on


def test_stopped_in_order_every_process_of_ours_ends_by_itself(project: Project) -> None:
    ours = ("own", "own-watchers", *CLUSTERS)
    codes = {
        (service, project.state(one)["ExitCode"])
        for service in ours
        for one in project.containers(service, stopped=True)
    }
    assert codes == {(service, 0) for service in ours}, project.report()


def test_down_leaves_nothing(project: Project, tmp_path: Path) -> None:
    assert project.left()
    with terminal(project, tmp_path) as shell:
        do(shell, "docker compose --profile own down -v")
    assert project.left() == {}


@contextmanager
def terminal(project: Project, directory: Path) -> Iterator[Terminal]:
    """Provide a shell in the checkout, of a user who has the nats CLI."""
    tools = directory / "tools"
    tools.mkdir()
    (tools / "nats").symlink_to(nats_cli())
    path = f"{tools}{os.pathsep}{project.environment['PATH']}"
    with Terminal(ROOT, {**project.environment, "PATH": path}, directory) as shell:
        yield shell


def do(shell: Terminal, command: str) -> str:
    """Run a command that must not fail, and return what it printed."""
    code, printed = shell.run(command)
    assert code == 0, f"$ {command}\n{printed}"
    return printed


def restarted(project: Project, service: str) -> bool:
    """Return whether the engine has started a service's first container again."""
    return bool(project.engine.inspect(project.containers(service, stopped=True)[0])["RestartCount"])


def settings(project: Project, token: str = "") -> Settings:
    """Return how a command on this machine reaches the project's broker."""
    return load(
        environ={
            "CROSSCURRENT_NATS_URL": f"nats://127.0.0.1:{project.nats_port}",
            "CROSSCURRENT_NATS_TOKEN": token or project.token(),
        }
    )


async def performers(broker: Settings) -> Counter[str]:
    """Return how many entries each worker has appended, by the name of its container."""
    async with connected(broker) as log:
        return Counter(
            [
                decode_entry(record.body).worker.partition("-")[0]
                async for record in log.scan("DECISIONS", ["decisions.>"])
            ]
        )
