"""The Docker engine that the compose tests run on: the one that answers here, else a `dockerd` of our own.

Our own shares nothing with another on the machine: its images are kept in the user's cache, so that the next run builds
from them; everything else of it ends with the tests. It leaves the firewall and the default bridge alone: containers of
one compose project reach each other without either, published ports go through Docker's proxy, and builds use the
machine's network. Base images are `tests.compose.base_images`' business.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.sandbox.processes import ChildProcess, ProcessFailed

START_TIMEOUT_SECONDS = 60.0
"""One to three seconds on an idle machine."""
STOP_GRACE_SECONDS = 30.0
"""For containers that a failed test left running."""
COMMAND_TIMEOUT_SECONDS = 300.0
"""A build without any cache takes 20 s on two idle cores."""
OUTPUT_TAIL = 4000
"""Characters of a failed command's output: enough for the step of a build that failed."""
_COMPOSE_SHIM = """\
#!/bin/sh
# `docker compose`, where that is a program of its own. That one's `exec` prints nothing without a terminal or an open stdin.
[ "$1" = compose ] || exec {docker} "$@"
shift
[ "$1" = exec ] || exec docker-compose "$@"
shift
[ "$1" != -T ] || shift
container=$(docker-compose ps --quiet "$1" | head -n 1)
shift
exec {docker} exec "$container" "$@"
"""
NEEDED = ("dockerd", "containerd", "runc", "docker-init", "docker-proxy", "iptables")


class EngineUnavailable(Exception):
    """Raised when no Docker engine can be had; says exactly why."""


class CommandFailed(Exception):
    """Raised when a command of ours fails; carries what it printed."""


class Engine:
    """A Docker engine that answers.

    Args:
        environment: variables of every command that is to reach it.
        own: started by us, so its images are ours to make and its leftovers ours to remove.

    """

    def __init__(self, environment: Mapping[str, str], *, own: bool) -> None:
        self.environment = dict(environment)
        self.own = own

    def docker(self, *arguments: str, check: bool = True, stdin: bytes | None = None) -> str:
        """Run the docker client and return what it printed."""
        return run(["docker", *arguments], self.environment, check=check, stdin=stdin)

    def logs(self, container: str) -> str:
        """Return everything that a container has printed, stdout before stderr."""
        done = subprocess.run(["docker", "logs", container], env=self.environment, capture_output=True, check=True)
        return (done.stdout + done.stderr).decode(errors="replace")

    def inspect(self, name: str) -> dict[str, Any]:
        """Return everything that the engine knows of a container or an image."""
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", name))
        return found[0]

    def clean(self) -> None:
        """Remove what an earlier run may have left in an engine of our own: containers, networks, volumes, stale images."""
        if containers := self.docker("ps", "--all", "--quiet").split():
            self.docker("rm", "--force", "--volumes", *containers)
        for kind in ("network", "volume", "image"):
            self.docker(kind, "prune", "--force")


@contextmanager
def docker_engine() -> Iterator[Engine]:
    """Provide an engine for as long as the block runs.

    Raises:
        EngineUnavailable: when none answers and none can be started.

    """
    # A short path: containerd's sockets are below it, and a socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="cc-docker-", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        environment = _environment(Path(scratch))
        try:
            run(["docker", "version"], environment)
        except CommandFailed as error:
            why = f"no Docker engine answers ({str(error).strip().splitlines()[-1]})"
        else:
            yield Engine(environment, own=False)
            return
        if os.environ.get("DOCKER_HOST"):
            raise EngineUnavailable(f"{why}, and DOCKER_HOST says where it must be")
        if os.geteuid() != 0:
            raise EngineUnavailable(f"{why}, and only root can start one")
        if absent := [name for name in NEEDED if shutil.which(name) is None]:
            raise EngineUnavailable(f"{why}, and one cannot be started without {', '.join(absent)}")
        with _own_engine(Path(scratch), environment) as engine:
            yield engine


def _environment(scratch: Path) -> dict[str, str]:
    """Return variables with which `docker compose` works, also where compose is a program of its own."""
    if shutil.which("docker") is None:
        raise EngineUnavailable("there is no Docker client: install docker.io and docker-compose")
    # The classic builder is in every engine; the other one needs a plugin of the client.
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    try:
        run(["docker", "compose", "version"], environment)
    except CommandFailed as error:
        if shutil.which("docker-compose") is None:
            raise EngineUnavailable("the Docker client has no compose: install docker-compose") from error
        programs = scratch / "bin"
        programs.mkdir()
        (programs / "docker").write_text(_COMPOSE_SHIM.format(docker=shutil.which("docker")))
        (programs / "docker").chmod(0o755)
        environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
    return environment


@contextmanager
def _own_engine(scratch: Path, environment: Mapping[str, str]) -> Iterator[Engine]:
    data = cache_directory()
    data.mkdir(parents=True, exist_ok=True)
    endpoint = scratch / "docker.sock"
    daemon = ChildProcess(
        "dockerd",
        [
            str(shutil.which("dockerd")),
            f"--data-root={data / 'data'}",
            f"--exec-root={scratch / 'exec'}",
            f"--pidfile={scratch / 'pid'}",
            f"--host=unix://{endpoint}",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--bridge=none",
        ],
        scratch / "dockerd.log",
        ready=lambda: _pings(endpoint),
        start_timeout=START_TIMEOUT_SECONDS,
    )
    with _locked(data / "lock"):
        try:
            daemon.start()
        except ProcessFailed as error:
            raise EngineUnavailable(f"dockerd cannot be started: {error}") from error
        engine = Engine({**environment, "DOCKER_HOST": f"unix://{endpoint}"}, own=True)
        try:
            engine.clean()
            yield engine
            engine.clean()
        finally:
            daemon.stop(STOP_GRACE_SECONDS)
            _unmount_all(scratch)


def cache_directory() -> Path:
    """Return where our own engine keeps its images."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "crosscurrent" / "docker"


def run(
    command: list[str],
    environment: Mapping[str, str],
    *,
    check: bool = True,
    stdin: bytes | None = None,
    **options: Any,
) -> str:
    """Run a command to its end and return what it printed on stdout.

    Raises:
        CommandFailed: when it fails (unless `check` is off) or takes minutes.

    """
    try:
        done = subprocess.run(
            command,
            env=dict(environment),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
            **options,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{command} took more than {COMMAND_TIMEOUT_SECONDS:g} s: {error.stderr!r}") from error
    output = done.stdout.decode(errors="replace")
    if check and done.returncode:
        errors = done.stderr.decode(errors="replace")
        raise CommandFailed(
            f"{command}: exit code {done.returncode}:\n{output[-OUTPUT_TAIL:]}\n{errors[-OUTPUT_TAIL:]}"
        )
    return output


def _unmount_all(directory: Path) -> None:
    """Unmount what the daemon leaves mounted: the network namespace of builds, which is this machine's."""
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in places:
        if Path(place).is_relative_to(directory):
            run(["umount", place], os.environ, check=False)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until no other run uses this data root."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _pings(endpoint: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(endpoint))
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False
