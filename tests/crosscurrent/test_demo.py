"""`crosscurrent demo --real`, whole: it exits with 0 and every promise is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_the_demo_keeps_every_promise(assets: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "crosscurrent", "demo", "--real"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path), "KUBEBUILDER_ASSETS": str(assets)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout
    assert "checks passed" in done.stdout
    assert list(tmp_path.iterdir()) == []
