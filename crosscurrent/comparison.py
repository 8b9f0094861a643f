"""What replay found: which decisions are as they were, which changed and how; as a report for people, in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from crosscurrent.recording import Recording
from engine.core.authoring import Reconciler
from engine.core.differences import field_changes
from engine.core.plan import slot_of
from engine.core.replay import Answer, Case, ask, expected
from schemas.actions import Action

_LONGEST = 120


class Compared(msgspec.Struct, frozen=True):
    """One recorded decision, and what was made of it now."""

    case: Case
    before: Answer
    after: Answer

    @property
    def verdict(self) -> str:
        """`equal`, `changed`, or `lost` where it could not be asked again."""
        if self.after.missing:
            return "lost"
        return "equal" if self.before.bytes == self.after.bytes else "changed"


def compare(recording: Recording, reconcilers: Mapping[str, Reconciler]) -> list[Compared]:
    """Ask every recorded decision of these reconcilers again.

    Args:
        recording: what was decided, and on which facts.
        reconcilers: by the name under which they decided then.

    """
    recorded = recording.recorded()
    return [
        Compared(case, expected(case), ask(recorded, case, reconcilers[case.request.reconciler]))
        for case in recording.cases()
        if case.request.reconciler in reconcilers
    ]


def digest(found: Sequence[Compared]) -> str:
    """Return what tells two replays apart by a single byte of any decision."""
    total = blake2b(digest_size=16)
    for one in found:
        total.update(one.after.bytes)
    return total.hexdigest()


def report(found: Sequence[Compared], reconcilers: Mapping[str, Reconciler]) -> Iterator[str]:
    """Iterate over the lines of a report in Markdown."""
    counts = Counter(one.verdict for one in found)
    yield f"## {counts['changed']} of {len(found)} decisions changed"
    yield ""
    for name, reconciler in sorted(reconcilers.items()):
        mine = [one for one in found if one.case.request.reconciler == name]
        codes = ", ".join(sorted({one.case.entry.code for one in mine}))
        if mine:
            yield f"- `{name}`: {len(mine)} decisions by code {codes}, asked again of code {reconciler.code}"
    if counts["lost"]:
        yield f"- {counts['lost']} could not be asked again: what they read is not in the recording"
    yield f"- digest of all answers: {digest(found)}"
    for one in found:
        if one.verdict == "changed":
            yield ""
            yield from _change(one)


def document(found: Sequence[Compared]) -> dict[str, Any]:
    """Return the same for JSON."""
    return {
        "decisions": len(found),
        **{verdict: sum(one.verdict == verdict for one in found) for verdict in ("equal", "changed", "lost")},
        "digest": digest(found),
        "changes": [
            {
                "reconciler": one.case.request.reconciler,
                "object": str(one.case.request.object),
                "decision": one.case.seq,
                "time": one.case.time,
                "before": _answer(one.before),
                "after": _answer(one.after),
            }
            for one in found
            if one.verdict == "changed"
        ],
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {"error": answer.error, "actions": msgspec.to_builtins(answer.actions)}


def _change(one: Compared) -> Iterator[str]:
    yield f"### `{one.case.request.reconciler}` {one.case.request.object}, decision {one.case.seq} at {one.case.time}"
    yield ""
    for when, answer in (("Before", one.before), ("Now", one.after)):
        if answer.error:
            yield f"- {when} it raised `{answer.error}`"
    before = {slot_of(action): action for action in one.before.actions}
    after = {slot_of(action): action for action in one.after.actions}
    for slot in {**before, **after}:
        old, new = before.get(slot), after.get(slot)
        if old is None or new is None:
            action = old or new
            assert action is not None  # noqa: S101 - it is in one of them
            yield f"- {'no more' if new is None else 'new'}: {name_of(action)}"
        elif old != new:
            yield f"- changed: {name_of(new)}"
            for field in field_changes(msgspec.to_builtins(old), msgspec.to_builtins(new)):
                yield f"    - `{field.path}`: {shown(field.before)} → {shown(field.after)}"
    if list(before) != list(after) and before == after:
        yield "- the order of its actions"


def name_of(action: Action) -> str:
    """Return an action in a few words."""
    return f"{type(action).__name__} {action.ref}"


def shown(value: Any) -> str:
    """Return a value for people, cut where it is long."""
    if value is msgspec.UNSET:
        return "(none)"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
