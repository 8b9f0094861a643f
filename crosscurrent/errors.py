"""What goes wrong for a user, said in one line with what to do about it. Never a stack trace.

Every command raises these; `crosscurrent.__main__` prints them and picks the exit code.
"""

from __future__ import annotations


class UserError(Exception):
    """Raised when something the user gave or runs is not as it must be: a line that says what, and what to do."""

    exit_code = 1

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice


class UsageError(UserError):
    """Raised when a command is called in a way that cannot be meant."""

    exit_code = 2


class SettingsError(UserError):
    """Raised when the configuration file or an environment override is wrong; one line per finding."""


class BrokerNotFound(UserError):
    """Raised when there is neither a configured broker nor a running `crosscurrent up`."""


class BrokerUnreachable(UserError):
    """Raised when the broker does not answer or refuses our credentials."""


class PortTaken(UserError):
    """Raised when a port that is needed is held by another process."""
