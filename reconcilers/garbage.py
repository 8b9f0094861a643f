"""Cross-cluster garbage collection: nominates dependents, and lets deleted owners go (docs/garbage-collection.md)."""

from __future__ import annotations

from engine.core.authoring import reconciler
from engine.core.cascade import (
    LATELY_SECONDS,
    UNREGISTERED_SECONDS,
    UNWATCHED_SECONDS,
    GarbageView,
    Hint,
    collect_held,
    is_asked_already,
    let_go,
    orphan_late,
    settle,
)
from engine.core.view import View
from schemas.actions import Apply, Collect, Decision, Request

ENTOMBED_SECONDS = 0.1
"""A tombstone is nobody's dependent, so that nothing wakes its owner's key once it is there."""


@reconciler("garbage", watches="*/*/*")
def garbage(view: View, request: Request) -> Decision:
    """Look after one object, as a dependent and as an owner."""
    assert isinstance(view, GarbageView)  # noqa: S101 - its loader makes no other
    found = view.get(request.object)
    if late := orphan_late(view, request.object):
        return Decision.do(*late, again_after=ENTOMBED_SECONDS)
    actions = collect_held(view, request.object)
    if found is not None:
        actions = [*settle(view, found), *actions, *let_go(view, found)]
    if any(isinstance(action, Apply) for action in actions):
        return Decision.do(*actions, again_after=ENTOMBED_SECONDS)
    asked = [one for action in actions if isinstance(action, Collect) for one in action.hints]
    again = UNWATCHED_SECONDS if any(one.startswith(Hint.UNWATCHED) for one in asked) else None
    if view.asked or view.more:
        again = LATELY_SECONDS  # what was asked to go may be there still, after all
    if any(one.startswith(Hint.UNREGISTERED) for one in asked) and all(is_asked_already(view, one) for one in actions):
        again = UNREGISTERED_SECONDS  # what woke it may be the very decision that it waits for
    return Decision.do(*actions, again_after=again)
