"""Which kind an object says it is: what bodies may leave out, and how the wrong kind is refused.

In: bodies, and what patches made of objects. Out: the same with apiVersion and kind, or a refusal in the real server's words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.sandbox.simulator import objects
from engine.sandbox.simulator.decoding_problems import WrongType
from engine.sandbox.simulator.errors import ApiError, bad_request, internal_error, invalid
from engine.sandbox.simulator.field_errors import invalid as invalid_value
from engine.sandbox.simulator.go_text import json_text, quoted
from engine.sandbox.simulator.resource_types import ResourceType, TypeRegistry

Json = dict[str, Any]

_META_KINDS = frozenset(("CreateOptions", "DeleteOptions", "ListOptions", "PatchOptions", "Status", "UpdateOptions"))
"""Kinds that every version of every group knows."""

_SUMMARY_LENGTH = 30
_UNPARSED = "couldn't get version/kind; json parse error: json: cannot unmarshal"
_KIND_STRUCT = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'


@dataclass(frozen=True, slots=True)
class _Kind:
    group: str
    kind: str


@dataclass(frozen=True, slots=True)
class ObjectKinds:
    """What objects of one type may say.

    Attributes:
        rtype: the type.
        types: all that the cluster serves.

    """

    rtype: ResourceType
    types: TypeRegistry

    def of_body(self, body: Json, raw: bytes) -> Json:
        """Return the body of a create or replace with its apiVersion and kind, which built-in types may leave out.

        Args:
            body: as sent.
            raw: the same as bytes; empty: unknown.

        Raises:
            ApiError: 400.

        """
        api_version, kind = body.get("apiVersion") or "", body.get("kind") or ""
        if api_version == self.rtype.group_version and kind == self.rtype.kind:
            return body
        shown = raw.decode("utf-8", "replace") if raw else json_text(body)
        if why := self._unreadable((("kind", kind), ("apiVersion", api_version)), shown):
            raise self._unrecognized(shown, why)
        if self.rtype.custom:
            expected = self.rtype.group_version
            if api_version != expected:
                text = (
                    f"the API version in the data ({api_version}) does not match the expected API version ({expected})"
                )
                raise bad_request(text)
            return body
        api_version, kind = api_version or self.rtype.group_version, kind or self.rtype.kind
        if why := self._unfit(api_version, kind):
            raise objects.undecodable(self.rtype, {"apiVersion": api_version, "kind": kind}, why)
        return {**body, "apiVersion": api_version, "kind": kind}

    def of_patched(self, obj: Any) -> Json:
        """Return what a JSON or merge patch made, with its apiVersion and kind.

        Raises:
            WrongType: for what is no object of this type.
            ApiError: 500 for a custom resource without apiVersion.

        """
        if not isinstance(obj, dict):
            raise WrongType(f"{_UNPARSED} array into Go value of type {_KIND_STRUCT}")
        api_version, kind = obj.get("apiVersion") or "", obj.get("kind") or ""
        if api_version == self.rtype.group_version and kind == self.rtype.kind:
            return obj
        if why := self._unreadable((("apiVersion", api_version), ("kind", kind)), json_text(obj)):
            raise WrongType(why)
        if self.rtype.custom:
            if not api_version:
                raise internal_error("Object 'apiVersion' is missing in 'object has no apiVersion field'")
            return obj
        if not api_version:
            # The real server reads it as its internal version, in which nothing has a name in JSON.
            return self.named({})
        if why := self._unfit(api_version, kind or self.rtype.kind):
            raise WrongType(why)
        return self.named(obj)

    def named(self, obj: Json) -> Json:
        """Return an object as one of this type, whatever it says."""
        said = obj.get("apiVersion"), obj.get("kind")
        if said == (self.rtype.group_version, self.rtype.kind):
            return obj
        return {**obj, "apiVersion": self.rtype.group_version, "kind": self.rtype.kind}

    def check(self, obj: Json) -> None:
        """Refuse an object to be stored that is of another kind.

        Raises:
            ApiError: 422.

        """
        api_version, kind = obj.get("apiVersion", ""), obj.get("kind", "")
        causes = []
        if kind != self.rtype.kind:
            causes.append(invalid_value("kind", kind, f"must be {self.rtype.kind}"))
        if api_version != self.rtype.group_version:
            causes.append(invalid_value("apiVersion", api_version, f"must be {self.rtype.group_version}"))
        if causes:
            raise invalid(_Kind(api_version.rpartition("/")[0], kind), obj["metadata"].get("name", ""), causes)

    def _unreadable(self, fields: tuple[tuple[str, Any], ...], shown: str) -> str:
        """Return why an object does not say what it is; empty: it does, or leaves that to the path."""
        for name, value in fields:
            if not isinstance(value, str):
                what = {bool: "bool", list: "array", dict: "object"}.get(type(value), "number")
                return f"{_UNPARSED} {what} into Go struct field .{name} of type string"
        said = dict(fields)
        if said["apiVersion"].count("/") > 1:
            return f"unexpected GroupVersion string: {said['apiVersion']}"
        return f"Object 'Kind' is missing in '{shown}'" if self.rtype.custom and not said["kind"] else ""

    def _unfit(self, api_version: str, kind: str) -> str:
        """Return why an object of a kind does not fit this type; empty: it does."""
        if (api_version, kind) == (self.rtype.group_version, self.rtype.kind):
            return ""
        group, _, version = api_version.rpartition("/")
        if self.types.find_kind(group, version, kind) is None and kind not in _META_KINDS:
            where = 'in scheme "pkg/runtime/scheme.go:111"'
            return f"no kind {quoted(kind)} is registered for version {quoted(api_version)} {where}"
        package = self.rtype.group.partition(".")[0] or "core"
        return f"converting ({version}.{kind}) to ({package}.{self.rtype.kind}): unknown conversion"

    def _unrecognized(self, text: str, why: str) -> ApiError:
        shown = text if text.startswith("{") else text.encode().hex()
        most = _SUMMARY_LENGTH if text.startswith("{") else 2 * _SUMMARY_LENGTH
        summary = shown if len(shown) <= most else f"{shown[:most]} ..."
        return bad_request(
            f"the object provided is unrecognized (must be of type {self.rtype.kind}): {why} ({summary})"
        )
