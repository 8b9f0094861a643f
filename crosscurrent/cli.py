"""The command line: which commands there are, and how their failures end (DESIGN §10).

Exit codes as kubectl's: 0 fine; 1 it did not work, or was called the wrong way; 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final

import cyclopts
from cyclopts import App
from cyclopts.exceptions import CycloptsError

from crosscurrent.errors import UsageError, UserError
from crosscurrent.manual import PAGES, overview

DEBUG_VARIABLE = "CROSSCURRENT_DEBUG"
INTERRUPTED: Final = 130
PROGRAM: Final = "crosscurrent"
_PLUGIN_PREFIX = "kubectl-"
_NO_FILES: Final = ":4"
"""Cobra's ShellCompDirectiveNoFileComp, the last line of what kubectl asks of a plugin's completion."""
_FILES: Final = ":0"
_WORDS_VARIABLE = "CYCLOPTS_COMPLETION_WORDS"


def program() -> str:
    """Return what the user typed to call us: `crosscurrent`, or `kubectl crosscurrent`."""
    return f"kubectl {PROGRAM}" if Path(sys.argv[0]).name.startswith(_PLUGIN_PREFIX) else PROGRAM


def build_app(name: str = PROGRAM) -> App:
    """Return the application with every command registered by import path."""
    app = App(
        name=name,
        help="Event-sourced reconciliation across Kubernetes clusters.",
        help_epilogue=overview(name),
        help_format="plaintext",  # as it stands; also 50 ms faster than markdown
        version=_version,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for command, page in PAGES.items():
        module = command.replace("-", "_")
        where = f"crosscurrent.commands.{module}:{module}"
        app.command(where, name=command, help=page.summary, help_epilogue=page.epilogue(name), group=page.group)
    return app


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; nothing but CROSSCURRENT_DEBUG shows a stack trace."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = build_app(program())(tokens, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except CycloptsError as error:
        return _failed(UsageError(str(error)), error.command_chain or ())
    except UserError as error:
        return _failed(error, tokens[:1])
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has gone (`| head`): nobody is left to tell. Keep the interpreter from flushing into it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        sys.stderr.write(f"error: {type(error).__name__}: {error}\n  this is a bug; {DEBUG_VARIABLE}=1 shows where\n")
        return 1
    return result if isinstance(result, int) else 0


def complete_for_kubectl(arguments: Sequence[str] | None = None) -> int:
    """Answer kubectl, which calls `kubectl_complete-crosscurrent` with the words after `kubectl crosscurrent`.

    What comes back is a candidate a line, with a tab before its description, and cobra's directive as the last line.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    os.environ[_WORDS_VARIABLE] = "".join(f"{word}\x1f" for word in words or [""])
    answer = io.StringIO()
    with redirect_stdout(answer):
        build_app()(["__complete"], exit_on_error=False, print_error=False)
    records = answer.getvalue().rpartition("\x1fbegin\n")[2].splitlines()
    for record in records:
        if not record.startswith("\x1f"):
            sys.stdout.write(f"{record}\n")
    sys.stdout.write(f"{_FILES if chr(0x1F) + 'files' in records else _NO_FILES}\n")
    return 0


def _failed(error: UserError, command: Sequence[str]) -> int:
    if os.environ.get(DEBUG_VARIABLE):
        raise error
    for line in error.message.splitlines() or [""]:
        sys.stderr.write(f"error: {line}\n")
    for line in error.advice.splitlines():
        sys.stderr.write(f"  {line}".rstrip() + "\n")
    if isinstance(error, UsageError):
        sys.stderr.write(f"See '{' '.join([program(), *command])} --help' for usage.\n")
    return 1


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - 20 ms that only --version pays

    try:
        return f"crosscurrent {version('crosscurrent')} (cyclopts {cyclopts.__version__})"
    except PackageNotFoundError:
        return "crosscurrent, not installed"
