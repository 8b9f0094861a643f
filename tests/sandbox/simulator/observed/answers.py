"""Answers in the form in which they are kept and compared: without what differs from server to server and time to time.

In: an answer's code and body. Out: JSON.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.differential.allowed import without_dumps
from tests.sandbox.simulator.observed.good_objects import Json

DIRECTORY = Path(__file__).parent

_UID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VOLATILE = ("uid", "creationTimestamp", "resourceVersion", "namespace")


@lru_cache
def kept(name: str) -> Any:
    """Return the kept answers of one kind of case."""
    return json.loads((DIRECTORY / f"{name}.json").read_text(encoding="utf-8"))


def keep(name: str, answers: Any) -> None:
    """Write the answers of one kind of case, each on a line."""
    lines = (
        [f"{json.dumps(key)}: {json.dumps(value, sort_keys=True)}" for key, value in answers.items()]
        if isinstance(answers, dict)
        else [json.dumps(value, sort_keys=True) for value in answers]
    )
    text = ",\n".join(lines)
    (DIRECTORY / f"{name}.json").write_text(
        f"{{\n{text}\n}}\n" if isinstance(answers, dict) else f"[\n{text}\n]\n", encoding="utf-8"
    )


def _told(message: str) -> str:
    """Return a message without uids, shown structs, and differences between these."""
    return _UID.sub("<uid>", without_dumps(message).partition("\n@@")[0].rstrip("\n"))


def refusal(code: int, body: Json) -> Json:
    """Return an answer's code, and the causes if it is a refusal, in any order."""
    if code < 400:
        return {"code": code}
    causes = (body.get("details") or {}).get("causes")
    if not causes:
        return {"code": code, "message": _told(body["message"])}
    found = [[cause.get("field", ""), cause.get("reason", ""), _told(cause["message"])] for cause in causes]
    return {"code": code, "causes": sorted(found)}


def written(code: int, body: Json) -> Json:
    """Return an answer's code, and the object if it was written, or what the refusal says."""
    if code >= 400:
        return {"code": code, "message": _told(body["message"]), **refusal(code, body)}
    result = copy.deepcopy(body)
    metadata = result["metadata"]
    for name in _VOLATILE:
        metadata.pop(name, None)
    for entry in metadata.get("managedFields", ()):
        entry.pop("time", None)
    # Entries of the same second are in any order
    metadata["managedFields"] = sorted(
        metadata.get("managedFields", ()),
        key=lambda one: (one["operation"], one["manager"], one.get("subresource", "")),
    )
    return {"code": code, "object": result}


def with_warnings(answer: Json, warnings: Iterable[str]) -> Json:
    """Return an answer with what it warns of, if that is anything."""
    found = [_told(one) for one in warnings]
    return {**answer, "warnings": found} if found else answer


def warning(header: str) -> str:
    """Return the text of a header."""
    return re.sub(r"\\(.)", r"\1", header.partition('"')[2].removesuffix('"'))
