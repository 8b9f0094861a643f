"""The layers of DESIGN §3: imports point one way, each network has one door, the core does not suspend."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("schemas", "engine/core", "engine/runtime", "engine/sandbox", "watchers", "reconcilers", "crosscurrent")
ALLOWED = {
    "schemas": {"schemas"},
    "engine/core": {"schemas", "engine/core"},
    "engine/runtime": {"schemas", "engine/core", "engine/runtime"},
    "engine/sandbox": {"schemas", "engine/core", "engine/runtime", "engine/sandbox"},
    "watchers": {"schemas", "engine/core", "engine/runtime", "watchers"},
    "reconcilers": {"schemas", "engine/core", "engine/runtime", "reconcilers"},
    "crosscurrent": {*ROOMS},
}
DOORS = {"nats": "engine/runtime/nats_client.py", "kubernetes_asyncio": "engine/runtime/cluster_api.py"}


def modules() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def room_of(name: str) -> str | None:
    parts = name.split(".")
    if parts[0] == "engine" and len(parts) > 1:
        return f"engine/{parts[1]}"
    return parts[0] if parts[0] in ROOMS else None


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    room = next(room for room in ROOMS if path.is_relative_to(ROOT / room))
    outside = {name for name in imports(path) if (target := room_of(name)) and target not in ALLOWED[room]}
    assert not outside, f"{room} may import {sorted(ALLOWED[room])}"


@pytest.mark.parametrize("library", DOORS)
def test_each_network_has_one_door(library: str) -> None:
    users = {
        str(path.relative_to(ROOT)) for path in modules() if any(n.split(".")[0] == library for n in imports(path))
    }
    assert users <= {DOORS[library]}


@pytest.mark.parametrize("path", sorted((ROOT / "engine/core").rglob("*.py")), ids=lambda path: path.name)
def test_the_core_never_suspends_reads_a_clock_or_draws_a_number(path: Path) -> None:
    tree = ast.parse(path.read_text())
    suspends = [
        n for n in ast.walk(tree) if isinstance(n, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
    ]
    assert not suspends
    impure = {"time", "random", "asyncio", "secrets", "socket", "os"} & {name.split(".")[0] for name in imports(path)}
    assert not impure
    calls = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    assert not {call for call in calls if call.endswith((".now", ".utcnow", ".today", "uuid4"))} | calls & {"hash"}


OWN = ("reconcilers.federation", "schemas.federation", "schemas.config")
"""Modules and settings of a built-in reconciler's own."""
PRIVILEGED = {
    # `Collect` asks for the deletion of objects that the reconciler never made, nominated by an index of everybody's. What is
    # left of it without the engine's proof is a delete on hearsay, so neither can be had by users.
    "garbage": ("engine.core.cascade", {"Collect"}),
    # `Issue` has tokens made by which others act: no user's reconciler can.
    "imports": ("engine.core.importing", {"Issue", "Target", "Withdrawal"}),
}
"""Parts of the engine that are written as reconcilers: their pure half, and the names that only they may have."""


def test_a_built_in_reconciler_uses_nothing_that_users_cannot_import() -> None:
    import crosscurrent

    for path in sorted((ROOT / "reconcilers").rglob("*.py")):
        alone = path.parent.name == "reconcilers"
        if alone and path.stem in {"__init__", "registry", "service"}:
            continue
        half, more = PRIVILEGED.get(path.stem, ("", set[str]())) if alone else ("", set[str]())
        own = (*OWN, half) if half else OWN
        tree = ast.parse(path.read_text())
        names = {
            a.name
            for n in ast.walk(tree)
            if isinstance(n, ast.ImportFrom) and room_of(n.module or "") and not (n.module or "").startswith(own)
            for a in n.names
        }
        assert names <= {*crosscurrent.__all__, *more}, path.name


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_outgrows_its_room(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500
