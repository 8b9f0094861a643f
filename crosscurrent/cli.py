"""The command line: which commands there are, and how their failures end (DESIGN §10).

Exit codes as kubectl's: 0 fine, 1 it did not work, 2 called the wrong way, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import cyclopts
from cyclopts import App
from cyclopts.exceptions import CycloptsError

from crosscurrent.errors import UserError
from crosscurrent.manual import OVERVIEW, PAGES

DEBUG_VARIABLE = "CROSSCURRENT_DEBUG"
INTERRUPTED: Final = 130


def build_app() -> App:
    """Return the application with every command registered by import path."""
    app = App(
        name="crosscurrent",
        help="Event-sourced reconciliation across Kubernetes clusters.",
        help_epilogue=OVERVIEW,
        help_format="plaintext",  # as it stands; also 50 ms faster than markdown
        version=_version,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for name, page in PAGES.items():
        where = f"crosscurrent.commands.{name}:{name}"
        app.command(where, name=name, help=page.summary, help_epilogue=page.epilogue(), group=page.group)
    app.register_install_completion_command(help="Install completion for this shell.")
    return app


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; nothing but CROSSCURRENT_DEBUG shows a stack trace."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = build_app()(tokens, exit_on_error=False, print_error=True)
    except CycloptsError:
        return 2
    except UserError as error:
        return _failed(error)
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


def _failed(error: UserError) -> int:
    if os.environ.get(DEBUG_VARIABLE):
        raise error
    first, *rest = error.message.splitlines() or [""]
    sys.stderr.write(f"error: {first}\n")
    for line in rest:
        sys.stderr.write(f"error: {line}\n")
    for line in error.advice.splitlines():
        sys.stderr.write(f"  {line}".rstrip() + "\n")
    return error.exit_code


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - 20 ms that only --version pays

    try:
        return f"crosscurrent {version('crosscurrent')} (cyclopts {cyclopts.__version__})"
    except PackageNotFoundError:
        return "crosscurrent, not installed"
