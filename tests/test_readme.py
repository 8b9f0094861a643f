"""Every block of the README is executed: on simulated clusters, in a copy of the checkout, as a newcomer would."""

from __future__ import annotations

import ast
import html
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.nats_cli import nats_cli
from tests.readme import Block, Command, Terminal, blocks, missing, shown

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = list(blocks(README))
EXECUTED = ("run", "run as", "stays", "writes", "output of")
PLAIN = ("", "text")
"""Languages of blocks in which there is nothing to execute: the picture."""


def test_every_block_is_executed_or_claimed_by_another_test() -> None:
    for block in BLOCKS:
        if block.verb == "by":
            assert not unclaimed(block), f"line {block.line}: {block.what} does not do it"
        elif block.verb == "file":
            assert (ROOT / block.what).read_text() == block.text, f"line {block.line}: {block.what} has another text"
        elif block.language in PLAIN:
            assert "$ " not in block.text, f"line {block.line}: a command that nobody executes"
        else:
            assert block.verb in EXECUTED, f"line {block.line}"
            assert block.language == "console" or block.verb == "writes", f"line {block.line}: nobody executes it"
    named = [block.what for block in BLOCKS if block.verb == "file"]
    done = "\n".join(block.text for block in BLOCKS if block.verb in EXECUTED)
    for path in named:
        used = Path(path).parent.name if Path(path).parent.name != "examples" else path
        assert used in done, f"{path} is shown and not used"


def test_every_link_within_the_repository_leads_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif "://" not in target:
            assert (ROOT / target).exists(), target


def test_the_picture_and_the_text_are_of_one_run() -> None:
    (recorded,) = [block for block in BLOCKS if block.verb == "output of"]
    (command,) = recorded.commands()
    drawn = html.unescape(re.sub(r"<[^>]*>", " ", (ROOT / "docs/demo.svg").read_text())).split()
    assert not {word for line in command.output for word in line.split()} - set(drawn)


def unclaimed(block: Block) -> list[str]:
    """Return the commands of a block that the test or script which it names does not mention."""
    path, _, test = block.what.partition("::")
    text = (ROOT / path).read_text()
    if test:
        functions = [
            node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        assert test in [function.name for function in functions], f"line {block.line}: there is no {block.what}"
    commands = [re.split(r"\s+#", command.text)[0] for command in block.commands()]
    return [command for command in commands if " ".join(command.split()) not in " ".join(text.split())]


def test_a_command_that_the_named_script_does_not_run_is_noticed() -> None:
    assert unclaimed(Block(1, "console", "$ make check   # all\n$ make tea\n", "by", ".ci/run")) == ["make tea"]


def test_output_is_compared_but_for_what_changes_from_run_to_run() -> None:
    printed = "[   1.2s] ✓ it is there  (cluster2 12 ms)\nage 4s\nend\n"
    assert missing(("[  10.9s]   ✓ it is there  (cluster7 9 ms)", "", "end"), printed) == ""
    assert missing(("age 4s", "[ 1.2s] ✓ it is there (cluster2 12 ms)"), printed).startswith("[ 1.2s]")
    assert missing(("age young",), printed) == "age young"
    assert shown("a  4s b") == "a # b"


def test_blocks_are_found_with_what_is_said_of_them() -> None:
    page = 'x\n<!-- test: stays, until "ready" -->\n```console\n$ a\n$ b\nc\n```\n\n```\npicture\n```\n'
    first, second = blocks(page)
    assert (first.verb, first.what, first.line) == ("stays", "ready", 3)
    assert first.commands() == [Command("a"), Command("b", ("c",))]
    assert (second.language, second.verb) == ("", "run")
    with pytest.raises(AssertionError, match="unknown directive"):
        list(blocks("<!-- test: nothing -->\n```console\n$ a\n```\n"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository, with a `.venv` that holds what this one's does, so that nothing is downloaded."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    copy = tmp_path / "checkout"
    for name in filter(None, names):
        if (ROOT / name).is_file():  # not one that is deleted and not committed yet
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    binaries = copy / ".venv/bin"
    binaries.mkdir(parents=True)
    for name, place in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].items():
        module, _, function = place.partition(":")
        _script(binaries / name, f"#!{sys.executable}\nfrom {module} import {function}\n{function}()\n")
    _script(binaries / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    _script(binaries / "pip", f'#!/bin/sh\nexec {sys.executable} -m pip "$@"\n')
    (binaries / "kubectl").symlink_to(shutil.which("kubectl", path=Path(sys.executable).parent) or "/nowhere")
    (binaries / "activate").write_text(f'PATH="{binaries}:$PATH"\n')
    for stamp in (".installed", ".installed-dev"):
        (copy / ".venv" / stamp).touch()
    return copy


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def terminal(checkout: Path, tmp_path: Path) -> Iterator[Terminal]:
    """A shell in the copy, of a user who has the nats CLI, a home of their own and no variables of ours."""
    home, tools = tmp_path / "home", tmp_path / "tools"
    home.mkdir()
    tools.mkdir()
    (tools / "nats").symlink_to(nats_cli())
    ours = ("CROSSCURRENT_", "KUBE", "PYTHON")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {"HOME": str(home), "PYTHONPATH": str(checkout), "PATH": f"{tools}:{os.environ['PATH']}"}
    # The ports of probes and metrics may be taken on this machine.
    environment |= {"CROSSCURRENT_PROBE_PORT": "0", "CROSSCURRENT_METRICS_PORT": "0"}
    with Terminal(checkout, environment, tmp_path) as shell:
        yield shell


@pytest.mark.broker
@pytest.mark.timeout(420)
def test_the_readme_does_what_it_says(checkout: Path, terminal: Terminal, tmp_path: Path) -> None:
    printed: dict[str, str] = {}
    for block in BLOCKS:
        if block.language == "console":
            play(block, terminal, printed)
        elif block.verb == "writes":
            (checkout / block.what).write_text(block.text)
        if (checkout / "sandbox.kubeconfig").exists():
            give_the_user_clusters(checkout / "sandbox.kubeconfig", tmp_path / "home/.kube/config")
    ended = dict(terminal.interrupt_all())
    for command, text in ended.items():
        assert "Traceback" not in text, command
        if command.startswith(("python examples/subscribe.py", "nats sub")):
            assert "default/colours" in text, f"{command} saw nothing: {text}"
    assert not (checkout / "sandbox.kubeconfig").exists()


def play(block: Block, terminal: Terminal, printed: dict[str, str]) -> None:
    """Do what a console block says, and compare what it shows with what happens."""
    *commands, last = block.commands()
    if block.verb == "output of":
        assert not commands
        check(block, last, printed[block.what])
        return
    if block.verb == "by":
        return
    for command in commands if block.verb == "stays" else [*commands, last]:
        code, text = terminal.run(command.text)
        assert code == 0, f"line {block.line}: $ {command.text}\n{text}\n(exit code {code})"
        check(block, command, text)
        if block.verb == "run as":
            printed[block.what] = text
    if block.verb == "stays":
        terminal.stay(last.text, block.what)


def check(block: Block, command: Command, text: str) -> None:
    line = missing(command.output, text)
    assert not line, f"line {block.line}: $ {command.text}\n{text}\n(lacks {line!r})"


def give_the_user_clusters(simulated: Path, kubeconfig: Path) -> None:
    """Write the kubeconfig of a user with two clusters, which are simulated ones."""
    document = yaml.safe_load(simulated.read_text())
    names = {"sim1": "kind-one", "sim2": "kind-two"}
    contexts = [{**item, "name": names[item["name"]]} for item in document["contexts"] if item["name"] in names]
    kubeconfig.parent.mkdir(exist_ok=True)
    kubeconfig.write_text(yaml.safe_dump({**document, "contexts": contexts, "current-context": "kind-one"}))
