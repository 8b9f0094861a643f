"""The differences that are allowed, each with its reason. Anything that is not here fails the suite."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.differential.operations import Operation


@dataclass(frozen=True)
class Allowed:
    """One allowed difference.

    Args:
        name: for the report.
        reason: why it is allowed.
        matches: (operation or None, path in the answer, real value, simulated value) -> whether this is it.

    """

    name: str
    reason: str
    matches: Callable[[Operation | None, str, Any, Any], bool]


ALLOWED: tuple[Allowed, ...] = (
    Allowed(
        "documentation",
        "Table columns carry sentences of the API's documentation, which no client acts on and kubectl does not show: "
        "the simulator's data leaves documentation out, for it is three quarters of the size.",
        lambda _, path, __, simulated: (
            re.fullmatch(r"body\.columnDefinitions\[\d+\]\.description", path) is not None and simulated == ""
        ),
    ),
)


def allowance(operation: Operation | None, path: str, real: Any, simulated: Any) -> Allowed | None:
    """Return the entry that allows a difference, or None."""
    return next((one for one in ALLOWED if one.matches(operation, path, real, simulated)), None)
