"""What a script was answered, with what differs between any two servers replaced by tokens in order of appearance.

A token keeps what matters: that the same uid comes again, that a write made a new version, that an address is kept.
Replaced are uids, resourceVersions, times, addresses and ports that the server picked, generated names, continue tokens.

What two real servers would differ in is put right here:
    managedFields are sorted by the second of their time, so two quick writes may come either way: sorted without it.
    The finalizers that a deletion adds come out of a Go set, in any order among the others: sorted when one is there.
    Conflicts are collected from a Go map of managers, so their order is random: sorted by manager.
    A list's own resourceVersion counts all writes of the cluster, those of other scripts too: it is only said to be there.
    An age in a table is the second that has just passed: it is only said to be one.
"""

from __future__ import annotations

import json
import re
from typing import Any

UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
PICKED_PORT = re.compile(r"(?<=:)3[0-2]\d{3}(?=/)")
AGE = re.compile(r"\d+s")
ADDRESS = re.compile(r"\b10\.(?:0|96)\.\d+\.\d+\b")
ABOUT_VERSIONS = re.compile(r"(?i)resource ?version")
NUMBER = re.compile(r"\b\d{3,}\b")
GENERATED = re.compile(r"\bzy-[a-z0-9]{5}\b")
_VERSION_KEYS = {"resourceVersion"}
_PORT_KEYS = {"nodePort", "healthCheckNodePort"}
_DELETION_FINALIZERS = {"foregroundDeletion", "orphan"}
_COLLECTIONS = ("List", "Table")


class Normaliser:
    """The tokens of one server's side of a script. Feed it answers and events in order."""

    def __init__(self) -> None:
        self._tokens: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._owner = ""
        """uid of the object at hand: an address or port that it gave back may by chance be picked again for another."""

    def answer(self, status: int, body: Any, warnings: tuple[str, ...]) -> dict[str, Any]:
        """Return an answer to compare."""
        said: dict[str, Any] = {"status": status, "body": self._value(body, "")}
        if warnings:
            said["warnings"] = [self._text(one) for one in warnings]
        return said

    def event(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return a watch event to compare."""
        return {"type": event["type"], "object": self._value(event["object"], "")}

    def _value(self, value: Any, key: str) -> Any:
        match value:
            case dict():
                return self._object(value)
            case list() if key == "managedFields":
                return sorted((self._value(one, "") for one in value), key=_manager_order)
            case list() if key == "finalizers" and _DELETION_FINALIZERS & set(map(str, value)):
                return sorted(map(str, value))
            case list() if key == "causes":
                return sorted((self._value(one, "") for one in value), key=_conflict_order)
            case list():
                return [self._value(one, key) for one in value]
            case str() if key in _VERSION_KEYS and value.isdigit():
                return self._token("version", value)
            case str():
                return self._text(value)
            case int() if key in _PORT_KEYS and value >= 30000:
                return self._picked("port", str(value))
        return value

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        if str(value.get("kind", "")).endswith(_COLLECTIONS) and isinstance(metadata := value.get("metadata"), dict):
            said_only = {one: f"<{one}>" for one in ("resourceVersion", "continue") if one in metadata}
            value = {**value, "metadata": {**metadata, **said_only}}
        if isinstance(metadata := value.get("metadata"), dict) and "uid" in metadata:
            self._owner = metadata["uid"]
        order = sorted(value, key=lambda key: (key != "metadata", key))
        return {self._text(key): self._value(value[key], key) for key in order}

    def _text(self, text: str) -> str:
        if AGE.fullmatch(text):
            return "<age>"
        if TIME.fullmatch(text):
            return "<time with fraction>" if "." in text else "<time>"
        text = UID.sub(lambda found: self._token("uid", found[0]), text)
        text = TIME.sub("<time>", text)
        text = ADDRESS.sub(lambda found: self._picked("address", found[0]), text)
        text = PICKED_PORT.sub(lambda found: self._picked("port", found[0]), text)
        text = GENERATED.sub("<generated>", text)
        if not ABOUT_VERSIONS.search(text):
            return text
        return NUMBER.sub(lambda found: self._tokens.get(f"version {found[0]}", found[0]), text)

    def _picked(self, sort: str, raw: str) -> str:
        return self._token(sort, f"{raw} of {self._owner}")

    def _token(self, sort: str, raw: str) -> str:
        known = f"{sort} {raw}"
        if known not in self._tokens:
            self._counts[sort] = self._counts.get(sort, 0) + 1
            self._tokens[known] = f"<{sort} {self._counts[sort]}>"
        return self._tokens[known]


def _manager_order(entry: Any) -> str:
    return json.dumps({key: value for key, value in entry.items() if key not in {"time", "fieldsV1"}}, sort_keys=True)


def _conflict_order(cause: Any) -> str:
    return str(cause["message"]) if cause.get("reason") == "FieldManagerConflict" else ""
