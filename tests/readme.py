"""The README as a list of things to do: its blocks, what is said of each, and a shell that does them.

A fenced block is preceded, where it is not simply to be run, by a comment that says how it is dealt with:

    <!-- test: run as "NAME" -->             run; its output is kept under that name
    <!-- test: output of "NAME" -->          not run: it shows commands that were, with what they printed
    <!-- test: stays -->                     the last command goes on running in a terminal of its own, to the end
    <!-- test: stays, until "TEXT" -->       the same, and the next block begins once it has printed that
    <!-- test: file PATH -->                 the text of this file, which other blocks use
    <!-- test: writes PATH -->               is written to this file
    <!-- test: by PATH[::TEST] -->           done by another test (or script), which must be there and name each command

What stands after `; ` is for people. A line of a console block that begins with `$ ` is a command. The lines behind it are
what it prints: a word or parenthesis that holds a digit stands for any such, spaces do not count. No lines mean any output.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_FENCE = re.compile(
    r"(?:<!-- test: (?P<said>.*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_DIRECTIVE = re.compile(
    r'(?P<verb>run as|output of|stays|file|writes|by)(?:,? (?:until )?"?(?P<what>[^";]*)"?)?(?:; .*)?'
)
_MARK = "@done@"
_PLACE = re.compile(r"[^\s`]*/bin/(?=crosscurrent\b|kubectl\b)")


@dataclass(frozen=True)
class Command:
    """A command and what it is shown to print."""

    text: str
    output: tuple[str, ...] = ()


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    line: int
    language: str
    text: str
    verb: str = "run"
    what: str = ""

    def commands(self) -> list[Command]:
        """Return the commands of a console block."""
        found: list[Command] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append(Command(line[2:]))
            elif found:
                found[-1] = Command(found[-1].text, (*found[-1].output, line))
            else:
                raise AssertionError(f"line {self.line}: a console block begins with a command")
        return found


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a page in order.

    Raises:
        AssertionError: for a comment about a block that says nothing known.

    """
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        said = found["said"]
        directive = _DIRECTIVE.fullmatch(said) if said is not None else None
        assert said is None or directive, f"line {line}: unknown directive {said!r}"
        verb, what = (directive["verb"], directive["what"] or "") if directive else ("run", "")
        yield Block(line, found["language"], found["text"], verb, what)


def shown(line: str) -> str:
    """Return a line of output as it is compared."""
    measured = re.sub(r"\([^()]*\d[^()]*\)", "#", line)
    measured = _PLACE.sub("", measured)  # a program that is not on PATH is called by where it lies
    return " ".join("#" if re.search(r"\d", word) else word for word in measured.split())


def missing(expected: tuple[str, ...], printed: str) -> str:
    """Return the first expected line that does not follow the ones before it in what was printed; empty: all are there."""
    lines = iter([shown(line) for line in printed.splitlines()])
    return next((line for line in expected if line.strip() and shown(line) not in lines), "")


@dataclass
class Terminal:
    """A shell in a directory. Commands run one after another; some stay, and are interrupted at the end."""

    directory: Path
    environment: Mapping[str, str]
    log: Path
    staying: list[tuple[str, int, Path]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            env=dict(self.environment),
            preexec_fn=_heed_interrupts,  # noqa: PLW1509 - nothing else runs in this process
        )
        self._buffer = b""
        self.run("set -m")  # or what runs in the background would ignore Ctrl-C
        return self

    def __exit__(self, *_: object) -> None:
        for _, pid, _ in self.staying:
            _signal(pid, signal.SIGKILL)
        self._shell.kill()
        self._shell.communicate()

    def run(self, command: str, *, seconds: float = 90.0) -> tuple[int, str]:
        """Run a command to its end; return its exit code and what it printed.

        Raises:
            AssertionError: when that takes longer.

        """
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{{ {command}\n}} </dev/null\necho {_MARK} $?\n".encode())
        self._shell.stdin.flush()
        limit = time.monotonic() + seconds
        end = re.compile(rb"^" + _MARK.encode() + rb" (\d+)\n", re.MULTILINE)
        while not (ended := end.search(self._buffer)):
            left = limit - time.monotonic()
            ready, _, _ = select.select([self._shell.stdout], [], [], max(0.0, left))
            assert ready, f"$ {command}\n{self._buffer.decode(errors='replace')}\n(still running after {seconds:.0f} s)"
            more = os.read(self._shell.stdout.fileno(), 65536)
            assert more, f"$ {command}: it ended the shell"
            self._buffer += more
        printed = self._buffer[: ended.start()].decode(errors="replace")
        self._buffer = self._buffer[ended.end() :]
        return int(ended[1]), printed

    def stay(self, command: str, until: str, *, seconds: float = 60.0) -> None:
        """Start a command that goes on, and return once it has printed a text (empty: once it runs).

        Raises:
            AssertionError: when it ends, or does not print that in time.

        """
        log = self.log / f"stays-{len(self.staying)}.log"
        _, printed = self.run(f"{{ {command}; }} > {log} 2>&1 & echo $!")
        pid = int(printed.split()[-1])
        self.staying.append((command, pid, log))
        limit = time.monotonic() + seconds
        while until not in (text := log.read_text(errors="replace") if log.exists() else ""):
            assert _alive(pid), f"$ {command}\n{text}\n(it ended)"
            assert time.monotonic() < limit, f"$ {command}\n{text}\n(never printed {until!r})"
            time.sleep(0.05)

    def interrupt_all(self, *, seconds: float = 20.0) -> list[tuple[str, str]]:
        """Press Ctrl-C in every terminal, the last one first; return (command, what it printed) of each.

        Raises:
            AssertionError: when one does not end, or fails otherwise than by the interrupt.

        """
        found = []
        while self.staying:
            command, pid, log = self.staying.pop()
            _signal(pid, signal.SIGINT)
            try:
                code, _ = self.run(f"wait {pid}", seconds=seconds)
            except AssertionError as problem:
                shown = ["ps", "-eo", "pid,ppid,pgid,stat,wchan:32,args"]
                processes = subprocess.run(shown, capture_output=True, text=True, check=False).stdout.splitlines()
                left = "\n".join(line for line in processes if str(pid) in line)
                problem.add_note(f"$ {command}\n{log.read_text(errors='replace')}\n{left}")
                raise
            text = log.read_text(errors="replace")
            assert code in (0, 130), f"$ {command}\n{text}\n(exit code {code} after Ctrl-C)"
            found.append((command, text))
        return found


def _heed_interrupts() -> None:
    """Undo what whoever runs in the background of a script inherits: there Ctrl-C is ignored, by all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, number)
