"""The images that our files build upon, under the names that the files use, for an engine that can pull nothing.

They stand in for the official ones as far as our files use those: Debian's Python with pip in /usr/local, and the nats-server
of the wheel with a shell and wget beside it. An engine that is not ours keeps what it has, and pulls what it lacks.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import yaml

from engine.sandbox.nats_server import find_nats_server
from tests.compose.engine import CommandFailed, Engine, EngineUnavailable, cache_directory, run

ROOT = Path(__file__).resolve().parents[2]
SUITE = "trixie"
"""The Debian release that has the Dockerfile's Python; the official image is built on it as well."""
PATH = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
RECIPE = "dev.crosscurrent.recipe"
"""Label: what an image was made from, so that it is made again when that changes."""
_TRIMMED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/cache/apt",
    "var/lib/apt/lists",
)
_PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy")
_AUTHORITIES = "etc/ssl/certs/ca-certificates.crt"


def python_image() -> str:
    """Return the image that the Dockerfile begins with."""
    found = re.search(r"^FROM (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found
    return found[1]


def nats_image() -> str:
    """Return the broker's image in compose.yaml."""
    return str(yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["nats"]["image"])


def provide_base_images(engine: Engine) -> None:
    """Make, find or pull the base images.

    Raises:
        EngineUnavailable: when that cannot be done; says why.

    """
    names = (python_image(), nats_image())
    if engine.own:
        recipe = _recipe()
        if any(_made_from(engine, name) != recipe for name in names):
            _make(engine, *names, recipe)
        return
    for name in names:
        try:
            if not engine.docker("images", "--quiet", name).strip():
                engine.docker("pull", name)
        except CommandFailed as error:
            raise EngineUnavailable(f"{name} is not in the Docker engine and cannot be pulled: {error}") from error


def _recipe() -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(find_nats_server().read_bytes())
    return digest.hexdigest()[:16]


def _made_from(engine: Engine, name: str) -> str:
    return engine.docker("inspect", "--format", f'{{{{ index .Config.Labels "{RECIPE}" }}}}', name, check=False).strip()


def _make(engine: Engine, python: str, nats: str, recipe: str) -> None:
    if shutil.which("debootstrap") is None:
        raise EngineUnavailable("the base images cannot be made without debootstrap: install it")
    with tempfile.TemporaryDirectory(dir=cache_directory(), prefix="base-") as scratch:
        root = Path(scratch, "root")
        packages = "--include=python3,python3-pip-whl,busybox-static"
        try:
            run(["debootstrap", "--variant=minbase", packages, SUITE, str(root)], os.environ)
        except CommandFailed as error:
            raise EngineUnavailable(f"the base images cannot be made: {error}") from error
        busybox = (root / "usr/bin/busybox").read_bytes()
        _finish_python(root, python)
        content = Path(scratch, "root.tar")
        run(["tar", "--create", "--file", str(content), "--directory", str(root), "."], os.environ)
        _import(engine, python, content, recipe)
        _nats_root(content, busybox)
        _import(engine, nats, content, recipe)


def _finish_python(root: Path, name: str) -> None:
    """Turn a bare Debian with python3 into what the official image offers: `python` and `pip`, free to install."""
    for path in _TRIMMED:
        shutil.rmtree(root / path, ignore_errors=True)
    (root / "usr/bin/busybox").unlink()
    (library,) = (root / "usr/lib").glob("python3.*")
    wanted = name.partition(":")[2].partition("-")[0]
    if library.name != f"python{wanted}":
        raise EngineUnavailable(f"Debian {SUITE} has {library.name}, the Dockerfile wants {name}: set SUITE to match")
    (library / "EXTERNALLY-MANAGED").unlink()  # which forbids pip to install beside Debian's own packages
    (wheel,) = (root / "usr/share/python-wheels").glob("pip-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(root / "usr/local/lib" / library.name / "dist-packages")
    (root / "usr/local/bin/python").symlink_to(f"/usr/bin/{library.name}")
    pip = root / "usr/local/bin/pip"
    pip.write_text('#!/bin/sh\nexec python -m pip "$@"\n')
    pip.chmod(0o755)
    _pip_as_here(root)


def _pip_as_here(root: Path) -> None:
    """Let pip inside reach the package index as pip does outside: this machine may have its own index and authority."""
    listed = run([sys.executable, "-m", "pip", "config", "list"], os.environ)
    settings = dict(re.findall(r"^[^\s=]*\.([\w-]+)='(.*)'$", listed, re.MULTILINE))
    lines = ["[global]", *(f"{key} = {settings[key]}" for key in _PIP_SETTINGS if key in settings)]
    if authorities := settings.get("cert"):
        (root / _AUTHORITIES).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(authorities, root / _AUTHORITIES)
        lines.append(f"cert = /{_AUTHORITIES}")
    (root / "etc/pip.conf").write_text("\n".join(lines) + "\n")


def _nats_root(target: Path, busybox: bytes) -> None:
    """Write the file system of the broker's image: its program, and a busybox for the shell and the health check."""
    programs = {"usr/local/bin/nats-server": find_nats_server().read_bytes(), "bin/busybox": busybox}
    with tarfile.open(target, "w") as archive:
        for path, content in programs.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
        for name in ("sh", "cat", "wget"):
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(entry)


def _import(engine: Engine, name: str, content: Path, recipe: str) -> None:
    changes = [f"ENV {PATH}", f"LABEL {RECIPE}={recipe}"]
    with content.open("rb") as file:
        done = subprocess.run(
            ["docker", "import", *(f"--change={change}" for change in changes), "-", name],
            env=engine.environment,
            stdin=file,
            capture_output=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
