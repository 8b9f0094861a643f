"""The differences that are allowed, each with its reason. Anything that is not here fails the suite."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Allowed:
    """One allowed difference.

    Args:
        name: for the report.
        reason: why it is allowed.
        matches: (path of the request, or what was watched; path in the answer, real value, simulated value) -> whether this
            is it.

    """

    name: str
    reason: str
    matches: Callable[[str, str, Any, Any], bool]


ALLOWED: tuple[Allowed, ...] = (
    Allowed(
        "documentation",
        "Table columns carry sentences of the API's documentation, which no client acts on and kubectl does not show: "
        "the simulator's data leaves documentation out, for it is three quarters of the size.",
        lambda _, path, __, simulated: (
            re.fullmatch(r"body\.columnDefinitions\[\d+\]\.description", path) is not None and simulated == ""
        ),
    ),
    Allowed(
        "dump",
        "Some messages show a whole object as Go prints its internal structs, in the byte order that a patch library left, "
        "or as a diff of two such prints. What is said around the dump is compared; the dump itself is for a human's eye.",
        lambda _, path, real, simulated: (
            path.endswith("message")
            and isinstance(real, str)
            and isinstance(simulated, str)
            and without_dumps(real) == without_dumps(simulated)
        ),
    ),
)

_SHOWN = "Invalid value: "


def without_dumps(message: str) -> str:
    """Return a message with `<dump>` for every object that is shown in it, and without the lines of diffs."""
    if "pod updates may not change" in message or "spec is immutable after creation" in message:
        message = "".join(line for line in message.split("\n") if not line.startswith(("@@", " ", "+", "-")))
    parts = message.split(_SHOWN)
    return _SHOWN.join([parts[0], *map(_without_dump, parts[1:])])


def _without_dump(text: str) -> str:
    if text.startswith(("{", '"{', "[{", '"map[', "null:")):
        try:
            _, end = json.JSONDecoder().raw_decode(text)
        except ValueError:
            return text
        return f"<dump>{text[end:]}"
    return text


def allowance(subject: str, path: str, real: Any, simulated: Any) -> Allowed | None:
    """Return the entry that allows a difference, or None."""
    return next((one for one in ALLOWED if one.matches(subject, path, real, simulated)), None)
