"""Label and field selectors in Kubernetes' text form: read once, asked often.

A label selector is requirements that must all hold: `app=web`, `tier!=db`, `env in (a, b)`, `env notin (a, b)`, `app` (has
it), `!app` (lacks it), `rank>3`, `rank<3`. As in Kubernetes, `!=` and `notin` also select what lacks the label.
A field selector compares the text of fields: `metadata.name=web,spec.replicas!=3`; any path into the object may be named,
and a field that is not there is the empty text.

Not here: which fields an API server would let one select by. The grammar is that of
k8s.io/apimachinery: labels/selector.go, fields/selector.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

_TOKEN = re.compile(r"\s*(?:(?P<sign>!=|==|=|!|>|<|\(|\)|,)|(?P<word>[^\s!=<>(),]+))")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_FIELD = re.compile(r"(?P<path>(?:\\.|[^\\=!,])+?)(?P<sign>==|!=|=)(?P<value>(?:\\.|[^\\,=])*)(?:,|$)")
_ESCAPED = re.compile(r"\\([\\,=])")
_WHOLE = re.compile(r"-?[0-9]{1,18}")
"""What fits into the 64 bits that Kubernetes compares."""

Labels = Mapping[str, str]


class SelectorError(ValueError):
    """Raised when a text is not a selector; says where and why."""


class Requirement(msgspec.Struct, frozen=True):
    """One condition on one label or field."""

    key: str
    operator: str
    """`in`, `notin`, `exists`, `!`, `gt` or `lt`."""
    values: tuple[str, ...] = ()

    def holds(self, value: str | None) -> bool:
        """Return whether a value satisfies it; None: there is none."""
        match self.operator:
            case "exists":
                return value is not None
            case "!":
                return value is None
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case _:
                return value is not None and _compares(value, self.operator, int(self.values[0]))


class LabelSelector(msgspec.Struct, frozen=True):
    """Requirements on labels; none select everything."""

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> LabelSelector:
        """Read a selector; the empty text selects everything.

        Raises:
            SelectorError: when it is not one.

        """
        return cls(tuple(_Parser(text).requirements()))

    def matches(self, labels: Labels) -> bool:
        """Return whether labels satisfy every requirement."""
        return all(one.holds(labels.get(one.key)) for one in self.requirements)


class FieldSelector(msgspec.Struct, frozen=True):
    """Requirements on fields; none select everything."""

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> FieldSelector:
        r"""Read a selector; `\,`, `\=` and `\\` stand for themselves in a value.

        Raises:
            SelectorError: when it is not one.

        """
        found = []
        place = 0
        while place < len(text):
            term = _FIELD.match(text, place)
            if term is None:
                raise SelectorError(
                    f"invalid field selector {text!r} at {text[place:]!r}: a field, then =, == or !=, then a value"
                )
            operator = "notin" if term["sign"] == "!=" else "in"
            value = _ESCAPED.sub(r"\1", term["value"])
            found.append(Requirement(term["path"].strip(), operator, (value,)))
            place = term.end()
        return cls(tuple(found))

    def matches(self, body: Mapping[str, Any]) -> bool:
        """Return whether an object satisfies every requirement."""
        return all(one.holds(field_text(body, one.key)) for one in self.requirements)


def field_text(body: Mapping[str, Any], path: str) -> str:
    """Return the text of a field, `spec.replicas`; empty where it is not there, or is no single value."""
    value: Any = body
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    match value:
        case None | Mapping() | list():
            return ""
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)


class _Parser:
    """Reads a label selector from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._place = 0

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        while self._place < len(self._tokens):
            found.append(self._requirement())
            if self._place < len(self._tokens):
                self._expect(",")
                if self._place == len(self._tokens):
                    raise self._error("nothing", "a label after ','")
        return found

    def _requirement(self) -> Requirement:
        if self._peek() == "!":
            self._next()
            return Requirement(self._key(), "!")
        key = self._key()
        match self._peek():
            case "" | ",":
                return Requirement(key, "exists")
            case "=" | "==":
                self._next()
                return Requirement(key, "in", (self._value(),))
            case "!=":
                self._next()
                return Requirement(key, "notin", (self._value(),))
            case ">" | "<" as sign:
                self._next()
                return Requirement(key, "gt" if sign == ">" else "lt", (self._number(),))
            case "in" | "notin" as operator:
                self._next()
                return Requirement(key, operator, self._values())
            case other:
                raise self._error(other, "one of: in, notin, =, ==, !=, <, >, or ','")

    def _values(self) -> tuple[str, ...]:
        self._expect("(")
        found = [self._value()]
        while self._peek() == ",":
            self._next()
            found.append(self._value())
        self._expect(")")
        return tuple(found)

    def _key(self) -> str:
        key = self._next()
        prefix, slash, name = key.rpartition("/")
        good = _NAME.fullmatch(name) and (not slash or (len(prefix) <= 253 and _PREFIX.fullmatch(prefix)))
        if not good:
            raise self._error(key or "nothing", "a label's key")
        return key

    def _value(self) -> str:
        """Return a value; it may be empty, which shows in what follows."""
        if self._peek() in ("", ",", ")"):
            return ""
        value = self._next()
        if not _NAME.fullmatch(value):
            raise self._error(value, "a label's value")
        return value

    def _number(self) -> str:
        value = self._next()
        if not _WHOLE.fullmatch(value):
            raise self._error(value or "nothing", "a whole number")
        return value

    def _expect(self, wanted: str) -> None:
        if (found := self._next()) != wanted:
            raise self._error(found or "nothing", repr(wanted))

    def _peek(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._place += 1
        return token

    def _error(self, found: str, wanted: str) -> SelectorError:
        return SelectorError(f"invalid label selector {self._text!r}: found {found!r}, expected {wanted}")


def _tokens(text: str) -> list[str]:
    found, place = [], 0
    text = text.rstrip()
    while place < len(text):
        token = _TOKEN.match(text, place)
        assert token is not None  # noqa: S101 - every character that is not a sign or a space is part of a word
        found.append(token["sign"] or token["word"])
        place = token.end()
    return found


def _compares(value: str, operator: str, limit: int) -> bool:
    compare: Callable[[int, int], bool] = int.__gt__ if operator == "gt" else int.__lt__
    return _WHOLE.fullmatch(value) is not None and compare(int(value), limit)
