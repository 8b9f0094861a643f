"""What goes wrong for a user, said in one line with what to do about it. Never a stack trace.

Every command raises these; `crosscurrent.cli` prints them and picks the exit code, which is 1 for all of them, as kubectl's.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_NEAR = 0.6
"""difflib's own threshold: one or two letters of a short word."""


class UserError(Exception):
    """Raised when something the user gave or runs is not as it must be: a line that says what, and what to do."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice


class UsageError(UserError):
    """Raised when a command is called in a way that cannot be meant; its help is pointed to."""


class SettingsError(UserError):
    """Raised when the configuration file or an environment override is wrong; one line per finding."""


class BrokerNotFound(UserError):
    """Raised when there is neither a configured broker nor a running `crosscurrent up`."""


class BrokerUnreachable(UserError):
    """Raised when the broker does not answer or refuses our credentials."""


class PortTaken(UserError):
    """Raised when a port that is needed is held by another process."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `did you mean a or b?` for the known words that are near, empty when none is."""
    near = difflib.get_close_matches(word, list(known), n=3, cutoff=_NEAR)
    return f"did you mean {' or '.join(near)}?" if near else ""
