"""The demo's own judgement: a check that cannot fail would prove nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from crosscurrent.errors import UserError
from crosscurrent.stage import Stage
from crosscurrent.talk import cluster_entry, condition, difference, each_within, milliseconds, shipped, within

SEEDS = Path(__file__).resolve().parents[2] / "examples/talk"


def test_the_shipped_files_are_found() -> None:
    assert yaml.safe_load(shipped("examples/talk/foo.yaml").read_text())["kind"] == "Foo"
    assert (shipped("deploy/crds") / "foos.samplecontroller.k8s.io.yaml").exists()
    with pytest.raises(UserError, match="not part of this installation"):
        shipped("nowhere.yaml")


@pytest.mark.parametrize(
    ("actual", "problem"),
    [
        ({"a": 1, "b": [{"c": 2}], "more": 3}, ""),
        ({"a": 2, "b": [{"c": 2}]}, ".a: 2 instead of 1"),
        ({"a": 1}, ".b: None instead of [{'c': 2}]"),
        ({"a": 1, "b": []}, ".b: [] instead of [{'c': 2}]"),
        ({"a": 1, "b": [{"c": 2}, {}]}, ".b: [{'c': 2}, {}] instead of [{'c': 2}]"),
        ({"a": 1, "b": [7]}, ".b[0]: 7 is not a mapping"),
    ],
)
def test_a_difference_is_found_wherever_it_is(actual: object, problem: str) -> None:
    assert difference({"a": 1, "b": [{"c": 2}]}, actual) == problem


async def test_waiting_ends_when_it_holds_or_never() -> None:
    looks = 0

    async def third() -> bool:
        nonlocal looks
        looks += 1
        return looks >= 3

    assert await within(5, third) is not None
    assert looks == 3

    async def only_a(name: str) -> bool:
        return name == "a"

    times = await each_within(0.03, ["a", "b"], only_a)
    assert times["a"] is not None
    assert times["b"] is None


def test_what_a_status_says_is_read_where_there_is_any() -> None:
    foo = {"status": {"clusters": [{"name": "b", "conditions": [{"type": "Applied", "status": "True"}]}]}}
    assert condition(cluster_entry(foo, "b"), "Applied")["status"] == "True"
    assert condition(cluster_entry(None, "b"), "Applied") == {}
    assert condition(None, "Ready") == {}


def test_times_read_well() -> None:
    assert [milliseconds(value) for value in (None, 0.0123, 12.3)] == ["never", "12 ms", "12 s"]


def test_one_broken_promise_fails_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage()
    assert stage.summary() is False
    stage.step("do it")
    stage.check("it works", kept=True, detail="3 ms")
    assert stage.summary() is True
    stage.check("it lasts", kept=False, detail="never")
    assert stage.summary() is False
    out = capsys.readouterr().out
    assert "✓ it works  (3 ms)" in out
    assert "✗ it lasts  (never)" in out
    assert "1 of 2 checks passed" in out
