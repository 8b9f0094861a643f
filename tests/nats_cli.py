"""The nats CLI for tests: the one on PATH, or built once from its Go module into the user's cache."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from engine.sandbox.go_toolchain import find_go

VERSION = "v0.5.0"
GO = (1, 26)
BUILD_LIMIT_S = 900
"""Two cores need two minutes."""


def nats_cli() -> Path:
    """Return the program.

    Raises:
        AssetsUnavailable: when there is no Go to build it with.
        subprocess.SubprocessError: when it cannot be built.

    """
    if found := shutil.which("nats"):
        return Path(found)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crosscurrent"
    directory = cache / f"natscli-{VERSION}-{platform.machine().lower()}"
    if not (directory / "nats").exists():
        go = find_go(GO, cache, print)
        subprocess.run(
            [str(go), "install", f"github.com/nats-io/natscli/nats@{VERSION}"],
            env={**os.environ, "GOBIN": str(directory), "GOFLAGS": "", "GOTOOLCHAIN": "local"},
            check=True,
            timeout=BUILD_LIMIT_S,
        )
    return directory / "nats"
