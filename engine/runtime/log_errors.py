"""The event log's errors, sorted by what is known of what was asked: nothing, nobody there, refused."""

from __future__ import annotations

from engine.runtime.ports import EventLogError


class NoAnswer(EventLogError):
    """Raised when no answer came: timed out, or the connection was lost. What was asked may or may not have happened."""


class NobodyListens(EventLogError):
    """Raised when the broker says that no stream or consumer is behind a subject."""


class Refused(EventLogError):
    """Raised when the broker answered with an error; nothing was done."""

    def __init__(self, what: str, code: int, err_code: int, description: str) -> None:
        """Keep the broker's numbers beside its words."""
        super().__init__(f"{what}: {description} ({err_code or code})")
        self.code = code
        self.err_code = err_code
        self.description = description
