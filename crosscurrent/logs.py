"""Logs of our processes: JSON lines, or for a person at a terminal a line a person can read. Always on stderr.

`up` runs many processes whose lines come through one terminal: each says which process it is of, and `up` decides the
form for all of them by `CROSSCURRENT_LOG_FORMAT`.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Final, TextIO, cast

import structlog

FORMAT_VARIABLE: Final = "CROSSCURRENT_LOG_FORMAT"
LEVEL_VARIABLE: Final = "CROSSCURRENT_LOG_LEVEL"
JSON: Final = "json"
CONSOLE: Final = "console"
_TRACES: Final = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
"""Without the variables of the frames, which may be values of a Secret, or tokens."""


def log_format() -> str:
    """Return `json` or `console`: as asked for, else by whether a person is looking."""
    chosen = os.environ.get(FORMAT_VARIABLE, "")
    if chosen in (JSON, CONSOLE):
        return chosen
    return CONSOLE if sys.stderr.isatty() else JSON


def configure(process: str, stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Set up logging of this process, once, before anything logs.

    Args:
        process: its name, e.g. `watch cluster1`; on every line.
        stream: where to write; None: stderr.
        level: least level to write, unless the environment says otherwise.

    """
    level = getattr(logging, os.environ.get(LEVEL_VARIABLE, "").upper(), level)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True)
        if log_format() == JSON
        else structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
    ]
    if log_format() == JSON:
        ending: list[structlog.typing.Processor] = [
            structlog.processors.ExceptionRenderer(_TRACES),
            structlog.processors.JSONRenderer(),
        ]
    else:
        # A person is told what happened; the frames of a trace are for CROSSCURRENT_DEBUG. `up` labels the lines itself.
        ending = [_without_process, _one_line_errors, structlog.dev.ConsoleRenderer(colors=_colours(), pad_event_to=32)]
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream or cast("TextIO", _Stderr())),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    # Libraries' own lines are rare and matter only when something is wrong.
    logging.basicConfig(
        level=logging.WARNING, stream=stream or sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )


class _Stderr:
    """Whatever stderr is when a line is written."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _without_process(
    _logger: structlog.typing.WrappedLogger, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    event.pop("process", None)
    return event


def _one_line_errors(
    _logger: structlog.typing.WrappedLogger, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    problem = event.pop("exc_info", None)
    if problem is True:
        problem = sys.exc_info()[1]
    if isinstance(problem, BaseException) and not os.environ.get("CROSSCURRENT_DEBUG"):
        event["error"] = f"{type(problem).__name__}: {problem}"
    elif problem:
        event["exc_info"] = problem
    return event


def _colours() -> bool:
    # Children of `up` write into a pipe; the format variable says that a person reads it at the other end.
    return "NO_COLOR" not in os.environ and (sys.stderr.isatty() or os.environ.get(FORMAT_VARIABLE) == CONSOLE)
