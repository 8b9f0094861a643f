"""`crosscurrent completion SHELL`: the script that lets a shell complete our commands."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from cyclopts import Parameter

from crosscurrent.output import say


class Shell(StrEnum):
    """A shell that can be helped."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, Parameter(help="Which.")], /) -> int:
    """Print a script that makes a shell complete commands, options, clusters, types and names."""
    from crosscurrent.cli import build_app  # noqa: PLC0415 - it imports this module's neighbours

    say(build_app().generate_completion(shell=shell.value).rstrip("\n"))
    if shell is Shell.ZSH:
        say("compdef _cyclopts_crosscurrent crosscurrent")  # cyclopts' script is made for $fpath; ours is sourced
    return 0
