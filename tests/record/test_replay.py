"""Recorded decisions are answered again byte for byte, wherever and whenever they are asked."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crosscurrent import recording
from crosscurrent.comparison import compare, digest
from crosscurrent.errors import UserError
from crosscurrent.recording import Slice
from crosscurrent.testing import recorded_case
from engine.core.authoring import reconciler
from engine.core.history import Cut
from engine.core.view import View
from engine.runtime.past import read_horizon
from engine.runtime.ports import EventLog
from engine.sandbox.memory_log import MemoryLog
from reconcilers.foo import foo
from schemas.actions import Decision, Request
from schemas.clusters import ClusterState
from tests.builders import C2, C3, deployment_ref, foo_body, foo_ref
from tests.record.conftest import Use
from tests.record.engine_run import CLUSTERS, a_story, at_rest, working
from tests.world import eventually

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = sorted((ROOT / "tests/golden").glob("*.jsonl*"))


async def record_all(log: EventLog) -> recording.Recording:
    horizon = await read_horizon(log)
    whole = Slice(Cut(horizon.begin.seq, 0.0), Cut(horizon.end.seq, float("inf")))
    return await recording.record(log, whole, CLUSTERS, horizon)


@pytest.fixture(scope="module")
def story() -> MemoryLog:
    return asyncio.run(a_story())


@pytest.fixture
def file(story: MemoryLog, tmp_path: Path) -> Path:
    recording.write(asyncio.run(record_all(story)), tmp_path / "story.jsonl")
    return tmp_path / "story.jsonl"


def test_every_decision_of_a_story_is_answered_as_it_was(file: Path) -> None:
    compared = compare(recording.read(file), {"foo": foo})
    assert len(compared) >= 4
    assert [one.verdict for one in compared] == ["equal"] * len(compared)
    assert any(one.case.entry.foreseen for one in compared), "one was made with its own writes in view"


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_golden_histories_are_answered_as_they_were(path: Path) -> None:
    compared = compare(recording.read(path), {"foo": foo})
    assert compared
    assert {one.verdict for one in compared} == {"equal"}


def test_there_are_golden_histories() -> None:
    assert GOLDEN


def test_a_replay_is_the_same_at_any_hash_seed(tmp_path: Path) -> None:
    found = set()
    for seed in ("0", "1", "4711"):
        command = [sys.executable, "-m", "crosscurrent", "replay", str(GOLDEN[0]), "-o", "json"]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found.add(json.loads(done.stdout)["digest"])
    assert len(found) == 1


def test_a_file_that_is_written_again_is_the_same_to_the_byte(file: Path, tmp_path: Path) -> None:
    for name in ("again.jsonl", "one.jsonl.gz", "two.jsonl.gz"):
        recording.write(recording.read(file), tmp_path / name)
    assert (tmp_path / "again.jsonl").read_bytes() == file.read_bytes()
    assert gzip.decompress((tmp_path / "one.jsonl.gz").read_bytes()) == file.read_bytes()
    one, two = (recording.read(tmp_path / f"{name}.jsonl.gz") for name in ("one", "two"))
    assert digest(compare(one, {"foo": foo})) == digest(compare(two, {"foo": foo}))


MORE = """
from crosscurrent import Decision, reconciler
from reconcilers.foo import foo as old


@reconciler("foo", watches="samplecontroller.k8s.io/v1alpha1/foos", owns=["apps/v1/deployments"])
def foo(view, request):
    decision = old(view, request)
    for action in decision.actions:
        if type(action).__name__ == "Apply":
            action.body["spec"]["replicas"] += 1
    return Decision.do(*(a for a in decision.actions if type(a).__name__ != "AddFinalizer"))
"""


def test_against_another_version_the_changed_decisions_are_a_report(story: MemoryLog, use: Use, file: Path) -> None:
    (file.parent / "moresure.py").write_text(MORE)
    code, out, _ = use(story, f"replay {file} --against moresure:foo")
    assert code == 1
    lines = out.splitlines()
    assert lines[0].startswith("## ")
    assert " decisions changed" in lines[0]
    assert "- no more: AddFinalizer cluster1: foos.samplecontroller.k8s.io default/example-foo" in lines
    at = lines.index("- changed: Apply cluster2: deployments.apps default/example-foo")
    assert lines[at + 1] == "    - `.body.spec.replicas`: 1 → 2"
    code, out, _ = use(story, f"replay {file} --against foo")
    assert code == 0
    assert out.startswith("## 0 of ")


@reconciler("foo", watches="samplecontroller.k8s.io/v1alpha1/foos", owns=["apps/v1/deployments"])
def careless(view: View, request: Request) -> Decision:
    """Fall over a Foo without replicas."""
    parent = view.get(request.object)
    assert parent is not None
    if parent.spec["replicas"] > 2:
        raise ValueError("too many for me")
    return Decision.wait()


async def a_failure() -> MemoryLog:
    log = MemoryLog()
    async with working(log, what=careless) as world:
        await world.put(foo_ref(), {**foo_body(), "spec": {"deploymentName": "x", "replicas": 3}})
        await eventually(lambda: bool(log.records("DECISIONS")))
    return log


def test_a_failing_decision_is_exported_replayed_in_a_test_fixed_and_green(use: Use, tmp_path: Path) -> None:
    log = asyncio.run(a_failure())
    broken = (
        "from crosscurrent import Decision, reconciler\n\n"
        '@reconciler("foo", watches="samplecontroller.k8s.io/v1alpha1/foos", owns=["apps/v1/deployments"])\n'
        "def foo(view, request):\n"
        '    if view.get(request.object).spec["replicas"] > LIMIT:\n'
        '        raise ValueError("too many for me")\n'
        "    return Decision.wait()\n"
    )
    (tmp_path / "carelessly.py").write_text(broken.replace("LIMIT", "2"))
    (tmp_path / "crosscurrent.yaml").write_text(
        "apiVersion: crosscurrent.dev/v1alpha1\nkind: Config\nreconcilers: ['carelessly:foo']\n"
    )
    assert use(log, "record failing.jsonl cluster1/foos/default/example-foo")[0] == 0
    code, out, _ = use(log, "replay failing.jsonl")
    assert (code, out.splitlines()[0].startswith("## 0 of ")) == (0, True), "it fails again as it failed"
    code, _, err = use(log, "replay failing.jsonl --write-test test_failing.py")
    assert code == 0, err

    def run_the_test() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_failing.py"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)

    failed = run_the_test()
    assert failed.returncode == 1
    assert "ValueError: too many for me" in failed.stdout
    assert "carelessly.py:6" in failed.stdout, "a debugger stops in the reconciler"
    (tmp_path / "carelessly.py").write_text(broken.replace("LIMIT", "20"))
    passed = run_the_test()
    assert passed.returncode == 0, passed.stdout


def test_a_slice_of_one_key_holds_what_it_read_and_no_more(story: MemoryLog, use: Use, tmp_path: Path) -> None:
    assert use(story, "record one.jsonl */foos/default/example-foo")[0] == 0
    assert use(story, "replay one.jsonl")[0] == 0
    assert len(recording.read(tmp_path / "one.jsonl").facts) <= len(asyncio.run(record_all(story)).facts)
    code, _, err = use(story, "record none.jsonl */foos/default/nobody")
    assert code == 1
    assert "no decision in the record is of that time and those keys" in err


def test_a_decision_can_be_had_in_a_test(file: Path) -> None:
    first = recording.read(file).cases()[0]
    case = recorded_case(file, first.seq)
    assert case.planned(foo(case.view, case.request)) == case.actions
    with pytest.raises(LookupError, match="holds no decision 999"):
        recorded_case(file, 999)


def changed(lines: list[str], number: int, text: str) -> str:
    return "\n".join([*lines[:number], text, *lines[number + 1 :]]) + "\n"


def test_bad_files_are_answered_with_what_is_wrong(file: Path, tmp_path: Path) -> None:
    lines = file.read_text().splitlines()
    bad = tmp_path / "bad.jsonl"
    header = json.loads(lines[0])
    for content, message in (
        ("\n".join(lines[:-1]) + "\n", "is cut: .* and its end is missing"),
        ("\n".join([*lines[:3], *lines[5:]]) + "\n", "is cut: "),
        ("\n".join(lines)[:-200], "line .*|is cut"),
        (
            changed(lines, 0, json.dumps({**header, "version": 2})),
            "has version 2 of the format, this program reads up to 1",
        ),
        ("hello\n", "is not a recording"),
        ("", "is cut"),
        (changed(lines, 2, "{}"), "line 3"),
    ):
        bad.write_text(content)
        with pytest.raises(UserError, match=message):
            recording.read(bad)
    packed = gzip.compress(file.read_bytes())
    bad.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UserError, match="is cut"):
        recording.read(bad)
    with pytest.raises(UserError, match="No such file"):
        recording.read(tmp_path / "nowhere.jsonl")


def test_an_unknown_reconciler_and_a_lost_input_are_said(story: MemoryLog, use: Use, file: Path) -> None:
    code, _, err = use(story, f"replay {file} --against nowhere:foo")
    assert code == 1
    assert "nowhere" in err
    found = recording.read(file)
    some = recording.Recording(found.header, found.facts[5:], found.entries)
    assert {one.verdict for one in compare(some, {"foo": foo})} == {"lost"}
    code, _, err = use(story, f"record {file} --from 2020-01-01T00:00:00Z")
    assert code == 1
    assert "the record begins at sequence 1" in err
    code, _, err = use(story, f"record {file} clutser1/foos")
    assert code == 1
    assert "did you mean cluster1" in err


async def test_what_was_decided_about_a_lost_cluster_is_answered_as_it_was() -> None:
    log = MemoryLog()
    async with working(log) as world:
        await world.put(foo_ref(), foo_body())
        await eventually(lambda: deployment_ref(C3) in world.objects)
        await at_rest(log, world)
        await world.set_state(C2, ClusterState.SUSPECT)
        await at_rest(log, world)
        await world.set_state(C2, ClusterState.LIVE)
        await at_rest(log, world)
    compared = compare(await record_all(log), {"foo": foo})
    assert compared
    assert {one.verdict for one in compared} == {"equal"}
