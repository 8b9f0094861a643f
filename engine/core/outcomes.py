"""What became of an action, from what the server said. Pure."""

from __future__ import annotations

from engine.core.api_errors import Status, result_of
from engine.core.live_object import Metadata
from schemas.actions import Action, Outcome, Result
from schemas.names import ResourceVersion, Uid


def refusal(action: Action, status: Status) -> Outcome:
    """Return what a Status makes of an action."""
    message = status.message
    if status.unserved:
        message = f"{action.ref.group or 'core'}/{action.ref.resource} is not served in {action.ref.cluster}: {message}"
    return outcome_of(
        action,
        result_of(status),
        code=status.code,
        reason=status.reason,
        message=message,
        retry_after=status.retry_after,
    )


def conflict(action: Action, reason: str, message: str, live: Metadata | None = None) -> Outcome:
    """Return the outcome of an action that something real stands in the way of."""
    return outcome_of(action, Result.CONFLICT, live, code=409, reason=reason, message=message)


def gone(action: Action, *, needed: bool = False) -> Outcome:
    """Return the outcome of an action whose object does not exist any more; a conflict if it is needed to go on."""
    if needed:
        return conflict(action, "Gone", "it does not exist any more")
    return outcome_of(action, Result.UNCHANGED, code=404, reason="Gone", message="it does not exist any more")


def skipped(action: Action, message: str) -> Outcome:
    """Return the outcome of an action that was not sent."""
    return outcome_of(action, Result.SKIPPED, reason="Skipped", message=message)


def outcome_of(
    action: Action,
    result: Result,
    live: Metadata | None = None,
    *,
    code: int = 0,
    reason: str = "",
    message: str = "",
    uid: Uid | None = None,
    fields: str = "",
    retry_after: float = 0.0,
) -> Outcome:
    """Return an outcome; `live` is the object after it, if there is one."""
    return Outcome(
        action=type(action).__name__,
        ref=action.ref,
        result=result,
        code=code,
        reason=reason,
        message=message,
        uid=live.uid if live else uid or Uid(""),
        version=live.resource_version if live else ResourceVersion(""),
        fields=fields,
        retry_after=retry_after,
    )


def absent(status: Status, action: Action) -> bool:
    """Return whether a Status proves that the action's object does not exist."""
    return status.absent(action.ref.name, action.ref.resource)


def place(action: Action) -> str:
    """Return `namespace/name`, or the name of what is cluster-scoped."""
    return f"{action.ref.namespace}/{action.ref.name}" if action.ref.namespace else action.ref.name
