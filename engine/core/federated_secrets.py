"""Federated Secrets before they are published: their values are hidden, wherever in them values may stand (SEC-13). Pure.

A FederatedSecret holds values in its template and in its overrides. So may a generic federated object, unless it is certainly
about something else. What is known to hold none is kept: placements, labels, names, types, paths. In the place of each value
stands its sealed form, or its hash if nobody is to copy it; `data` is decoded first, so that a value has one form however it
was written. Everything else is taken for a value in the wrong place, and its hash is all that is left of it: a field that a
Secret does not have, a path that leads nowhere, a number where a text should be. Nobody can write a form of their own: a text
that looks like a sealed one is sealed once more.

The annotations of kubectl and others like it hold all of the object once more. They are hashed in every object of these
types, even in one that is about something else by now: they may tell of what it was before.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import msgspec

from engine.core.objects import ObjectRefused, Stripped, closed, encoded, opened
from engine.core.redaction import Redactor
from engine.core.sealing import Place
from engine.core.secrecy import always_holds_secrets, is_secret, may_hold_secrets
from schemas.federation_forms import APPLIED, KEY, NOT_BASE64, NOT_TEXT, Holds, held_at, is_elsewhere, split_path
from schemas.names import ClusterId, Resource

_FIELD = re.compile(r"[a-zA-Z]{1,63}")
_TOP = ("apiVersion", "kind", "status")
_NAMED = ("name", "namespace", "generateName", "creationTimestamp", "uid", "resourceVersion", "selfLink")

Rule = Callable[[Any], Any]


def redactor_for(resource: Resource, key: bytes, sealed_for: ClusterId | None) -> Redactor | FederatedRedactor | None:
    """Return what objects of a type go through before they are published; None: they hold no values of Secrets.

    Args:
        resource: the type.
        key: of the hashes, at least 16 bytes; empty: there is none.
        sealed_for: identity of the cluster, if values are to be sealed.

    Raises:
        ValueError: for Secrets without a key.

    """
    if not may_hold_secrets(resource.group, resource.plural):
        return None
    if is_secret(resource.group, resource.plural):
        return Redactor(key, sealed_for=sealed_for)
    return FederatedRedactor(resource, Redactor(key, sealed_for=sealed_for) if key else None)


class FederatedRedactor:
    """Takes the values out of federated objects that may hold some.

    Args:
        resource: their type.
        redactor: makes what stands for a value; None: there is no key, and what may hold values is not published.

    """

    def __init__(self, resource: Resource, redactor: Redactor | None) -> None:
        self._resource, self._redactor = resource, redactor
        self._always = always_holds_secrets(resource.group, resource.plural)

    def strip(self, raw: bytes | msgspec.Raw) -> Stripped:
        """Return an object without managedFields, and without any value of a Secret.

        Raises:
            ObjectRefused: when it is too large, too deep, or not understood; it must then not be published at all.

        """
        top, metadata = opened(bytes(raw))
        try:
            self._hide_applied(metadata)
            spec = msgspec.json.decode(top.get("spec", b"null"))
            if self._always or not is_elsewhere(spec):
                place = self._need_redactor().place(self._resource, top["metadata"])
                hidden = _Hiding(self._need_redactor(), place)
                kept = {key: top[key] for key in _TOP if key in top}
                top = kept | {"spec": encoded(hidden.spec(spec))}
        except (msgspec.DecodeError, RecursionError) as error:
            message = "not understood as a federated object"
            raise ObjectRefused(message) from error
        return closed(top, metadata)

    def _hide_applied(self, metadata: dict[str, msgspec.Raw]) -> None:
        if "annotations" not in metadata:
            return
        if self._redactor is not None:
            metadata["annotations"] = self._redactor.annotations(metadata["annotations"])
            return
        annotations = msgspec.json.decode(metadata["annotations"], type=dict[str, str] | None) or {}
        metadata["annotations"] = encoded({key: note for key, note in annotations.items() if key not in APPLIED})

    def _need_redactor(self) -> Redactor:
        if self._redactor is None:
            message = "it may hold values of a Secret, and there is no key to hide them with"
            raise ObjectRefused(message)
        return self._redactor


class _Hiding:
    """Hides what may be a value in one object: rules for the parts of it, each of which returns what is shown of a part.

    Attributes:
        spec: the rule for `spec`.

    """

    def __init__(self, redactor: Redactor, place: Place) -> None:
        self._redactor, self._place = redactor, place
        text, flag, labels = self._keep(str), self._keep(bool), self._labels
        expression = self._fields(key=text, operator=text, values=self._each(text))
        selector = self._fields(matchLabels=labels, matchExpressions=self._each(expression))
        template = self._fields(
            **dict.fromkeys(("apiVersion", "kind", "type"), text),
            immutable=flag,
            metadata=self._fields(
                **dict.fromkeys(_NAMED, text), labels=labels, annotations=labels, finalizers=self._each(text)
            ),
            data=self._encoded_values,
            stringData=self._text_values,
        )
        override = self._fields(
            clusterName=text, clusterSelector=selector, clusterOverrides=self._each(self._operation)
        )
        self.spec = self._fields(
            template=template,
            overrides=self._each(override),
            placement=self._fields(clusters=self._each(self._fields(name=text)), clusterSelector=selector),
            retainReplicas=flag,
            resource=text,
        )

    def hidden(self, value: Any) -> str:
        """Return the hash of anything."""
        return self._redactor.hash(_canonical.encode(value))

    # --- makers of rules; nothing at all is shown as it is ---

    def _keep(self, *types: type) -> Rule:
        return lambda value: value if value is None or type(value) in types else self.hidden(value)

    def _each(self, rule: Rule) -> Rule:
        nothing = self._keep()
        return lambda value: [rule(one) for one in value] if isinstance(value, list) else nothing(value)

    def _fields(self, **rules: Rule) -> Rule:
        hidden: Rule = self.hidden

        def shown(value: Any) -> Any:
            if not isinstance(value, dict):
                return self._keep()(value)
            return {self._name(key, _FIELD): rules.get(key, hidden)(one) for key, one in value.items()}

        return shown

    # --- rules ---

    def _labels(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return self._keep()(value)
        return {key: self.hidden(one) if key in APPLIED else self._keep(str)(one) for key, one in value.items()}

    def _encoded_values(self, value: Any) -> Any:
        return self._values(value, self._encoded_value)

    def _text_values(self, value: Any) -> Any:
        return self._values(value, self._text_value)

    def _values(self, value: Any, rule: Rule) -> Any:
        if not isinstance(value, dict):
            return self._keep()(value)
        return {self._name(key, KEY): rule(one) for key, one in value.items()}

    def _encoded_value(self, value: Any) -> str:
        if not isinstance(value, str):
            return NOT_TEXT
        try:
            # Go's decoder, which the API server reads it with, passes over line ends.
            plain = b64decode(value.translate(_NO_LINES), validate=True)
        except ValueError:
            return NOT_BASE64
        return self._redactor.stand_in(plain, self._place)

    def _text_value(self, value: Any) -> str:
        return self._redactor.stand_in(value.encode(), self._place) if isinstance(value, str) else NOT_TEXT

    def _operation(self, value: Any) -> Any:
        pointer = split_path(value.get("path")) if isinstance(value, dict) else None
        holds = held_at(pointer)
        written = self._keep(str) if holds else self.hidden
        return self._fields(op=self._keep(str), path=written, value=self._overriding(pointer, holds))(value)

    def _overriding(self, pointer: tuple[str, ...] | None, holds: Holds | None) -> Rule:
        encoded = pointer is not None and pointer[0] == "data"
        match holds:
            case "value":
                return self._encoded_value if encoded else self._text_value
            case "values":
                return self._encoded_values if encoded else self._text_values
            case "labels":
                return self._labels
            case "flag":
                return self._keep(bool)
            case "text":
                return self._keep(str)
            case _:
                return self.hidden

    def _name(self, key: str, pattern: re.Pattern[str]) -> str:
        """Return a key, or its hash if it can be none: it may be a value that lost its key."""
        return key if pattern.fullmatch(key) else self.hidden(key)


_NO_LINES = str.maketrans("", "", "\r\n")
_canonical = msgspec.json.Encoder(order="sorted")
