"""For tests of reconcilers: a decision from a recording, to be asked again. `replay --write-test` makes such tests.

case = recorded_case(Path("decision.jsonl"), 41)
decision = my_reconciler(case.view, case.request)
assert case.planned(decision) == case.actions
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from crosscurrent.recording import read
from engine.core.authoring import Reconciler
from engine.core.replay import Answer, Scene, planned, stage
from engine.core.view import View
from reconcilers.registry import find
from schemas.actions import Action, Decision, Request

__all__ = ["RecordedCase", "find_reconciler", "recorded_case"]


class RecordedCase(msgspec.Struct, frozen=True):
    """What a reconciler was shown, and what was planned from its answer."""

    view: View
    request: Request
    actions: tuple[Action, ...]
    """What was planned then; nothing where it raised."""
    error: str
    """What it raised then."""
    scene: Scene

    def planned(self, decision: Decision) -> tuple[Action, ...]:
        """Return the actions that the engine plans from a decision."""
        return planned(self.scene, decision)


def recorded_case(path: Path, decision: int) -> RecordedCase:
    """Return a recorded decision.

    Args:
        path: of a recording.
        decision: its sequence, as `crosscurrent why` and `replay` show it.

    Raises:
        UserError: when the file cannot be read.
        LookupError: when it does not hold that decision, or not all that it read.

    """
    recording = read(path)
    case = next((one for one in recording.cases() if one.seq == decision), None)
    if case is None:
        raise LookupError(f"{path} holds no decision {decision}; there are {[one.seq for one in recording.cases()]}")
    scene = stage(recording.recorded(), case)
    if isinstance(scene, Answer):
        raise LookupError(f"{path} lacks what decision {decision} read: {', '.join(scene.missing)}")
    error = case.entry.reason if case.entry.failures else ""
    return RecordedCase(scene.view, case.request, case.entry.actions, error, scene)


def find_reconciler(name: str, search: Path | None = None) -> Reconciler:
    """Return a reconciler by `module:attribute`, or a built-in one by its name.

    Raises:
        UnknownReconciler: when there is none.

    """
    return find(name, search=search)
