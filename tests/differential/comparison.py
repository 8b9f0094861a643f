"""Where two transcripts part: the first entry that differs, and in it every field that does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.differential.allowed import Allowed, allowance
from tests.differential.operations import Operation, Script
from tests.differential.replay import Transcript

_MISSING = "<missing>"
_LONGEST = 600
_MOST_LINES = 14


@dataclass(frozen=True)
class Difference:
    """The first difference of a script's two transcripts.

    Args:
        script: what was replayed.
        where: number of the operation, or which watch or list.
        paths: in the answer, of what differs.
        lines: what differs, path by path: real, then simulated.

    """

    script: Script
    where: str
    paths: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def operation(self) -> Operation | None:
        return self.script.operations[int(self.where)] if self.where.isdigit() else None

    @property
    def listing(self) -> str:
        """The script's requests, a line each."""
        return "\n".join(f"  {number}: {said(one)}" for number, one in enumerate(self.script.operations))

    def __str__(self) -> str:
        at = f"operation {self.where}: {said(self.operation)}" if self.operation else self.where
        more = [f"  … and {len(self.lines) - _MOST_LINES} more"] if len(self.lines) > _MOST_LINES else []
        return "\n".join([f"{self.script.namespace}: {at}", *self.lines[:_MOST_LINES], *more])


@dataclass
class Tally:
    """How many operations were compared, and how often each allowed difference was met."""

    operations: int = 0
    allowed: dict[str, int] = field(default_factory=dict)


def first_difference(script: Script, real: Transcript, simulated: Transcript, tally: Tally) -> Difference | None:
    """Return where the two part, or None; `tally` is told of what was allowed."""
    for (where, expected), (_, got) in zip(real.entries, simulated.entries, strict=True):
        if expected == got:
            continue
        subject = script.operations[int(where)].path if where.isdigit() else where
        paths, lines = [], []
        for path, one, other in differences(*_outlines(expected, got)):
            found = allowance(subject, path, one, other)
            if found is None:
                paths.append(path)
                lines.append(f"  {path or '.'}\n    real       {_shown(one)}\n    simulated  {_shown(other)}")
            else:
                _count(tally, found)
        if lines:
            return Difference(script, where, tuple(paths), tuple(lines))
    return None


def _outlines(expected: Any, got: Any) -> tuple[Any, Any]:
    """Return both sides as they are, unless one was refused and the other was not: then what each says of that."""
    if isinstance(expected, list) or expected["status"] == got["status"]:
        return expected, got
    return _outline(expected), _outline(got)


def _outline(answer: Any) -> Any:
    body = answer["body"]
    return {"status": f"{answer['status']} {body.get('message', '') if isinstance(body, dict) else body}"}


def differences(expected: Any, got: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, expected, got) of each leaf that differs; a missing one as `<missing>`."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in sorted(expected.keys() | got.keys()):
            yield from differences(
                expected.get(key, _MISSING), got.get(key, _MISSING), f"{path}.{key}" if path else key
            )
    elif isinstance(expected, list) and isinstance(got, list):
        for number in range(max(len(expected), len(got))):
            one, other = (side[number] if number < len(side) else _MISSING for side in (expected, got))
            yield from differences(one, other, f"{path}[{number}]")
    elif expected != got or type(expected) is not type(got):
        yield path, expected, got


def said(operation: Operation | None) -> str:
    """Return a request on one line, to read and to paste."""
    if operation is None:
        return ""
    query = "&".join(f"{key}={value}" for key, value in operation.query.items())
    body = operation.raw if operation.raw is not None else "" if operation.body is None else json.dumps(operation.body)
    kinds = [one for one in (operation.content_type, operation.accept) if one != "application/json"]
    return " ".join(part for part in (operation.method, operation.path, query and f"?{query}", *kinds, body) if part)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


def _count(tally: Tally, found: Allowed) -> None:
    tally.allowed[found.name] = tally.allowed.get(found.name, 0) + 1
