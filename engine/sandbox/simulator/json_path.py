"""The JSON paths of printer columns: `.spec.replicas`, `.status.conditions[?(@.type=="Ready")].status`.

In: a path and an object. Out: the values found. What Kubernetes allows in additionalPrinterColumns, no more: no
recursion, no ranges.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

_STEP: Final = re.compile(
    r"""\.(?P<name>[^.\[\]]+)                                                # .spec
    |\[['"](?P<quoted>[^'"]*)['"]\]                                          # ['a.b']
    |\[(?P<index>-?\d+)\]                                                    # [0]
    |\[\*\]|\.\*                                                             # [*]
    |\[\?\(\s*@\.(?P<key>[^\s=!<>)]+)\s*(?P<op>==|!=)\s*(?P<value>'[^']*'|"[^"]*"|[^\s)]+)\s*\)\]  # [?(@.type=="Ready")]
    """,
    re.VERBOSE,
)

Step = Callable[[Any], list[Any]]


@lru_cache(maxsize=1000)
def compiled(path: str) -> Callable[[Any], list[Any]]:
    """Return a function from an object to the values at a path, in order; none where the path leads nowhere.

    Raises:
        ValueError: when the path is not understood.

    """
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    text = text.replace("\\.", "\0")  # an escaped dot belongs to a name
    if text and text[0] not in ".[":
        text = f".{text}"
    steps = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise ValueError(f"unrecognized JSON path: {path}")
        steps.append(_step(match))
        position = match.end()

    def values(obj: Any) -> list[Any]:
        found = [obj]
        for step in steps:
            found = [value for one in found for value in step(one)]
        return found

    return values


def _step(match: re.Match[str]) -> Step:
    name = match["name"] if match["name"] is not None else match["quoted"]
    if name is not None:
        key = name.replace("\0", ".")
        return lambda one: [one[key]] if isinstance(one, dict) and key in one else []
    if match["index"] is not None:
        index = int(match["index"])
        return lambda one: one[index:][:1] if isinstance(one, list) else []
    if match["key"] is not None:
        return _filter(match["key"].split("."), match["op"] == "==", match["value"])
    return _children


def _filter(keys: list[str], equal: bool, literal: str) -> Step:
    wanted = literal[1:-1] if literal[0] in "'\"" else literal

    def matches(item: Any) -> bool:
        for key in keys:
            item = item.get(key) if isinstance(item, dict) else None
        shown = str(item).lower() if isinstance(item, bool) else str(item)
        return item is not None and (shown == wanted) is equal

    return lambda one: [item for item in _children(one) if matches(item)]


def _children(one: Any) -> list[Any]:
    if isinstance(one, dict):
        return list(one.values())
    return list(one) if isinstance(one, list) else []
