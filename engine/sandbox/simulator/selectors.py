"""Label and field selectors: parsed once, checked against many objects.

In: the texts of queries, or a LabelSelector from an object. Out: functions of an object, and refusals in the words of
`k8s.io/apimachinery/pkg/labels` and `fields`. Which fields of a type can be selected is a table here; those of a custom
resource come with its type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.sandbox.simulator.errors import ApiError, bad_request
from engine.sandbox.simulator.go_text import quoted
from engine.sandbox.simulator.names import label_key_problems, label_value_problems
from engine.sandbox.simulator.resource_types import ResourceType, TypeKey

Json = dict[str, Any]
Labels = Mapping[str, str]

_CACHED = 1024
"""Parsed selectors kept: clients ask with the same few texts."""

_SPECIAL = "=!(),><"
_LEXEME = re.compile(r"[ \t\r\n]*(==|!=|[=!(),><]|[^ \t\r\n=!(),><]+)")
_WORDS_ONLY_BETWEEN = ("in", "notin")
_BINARY = ("in", "notin", "=", "==", "!=", ">", "<")
_INTEGER = re.compile(r"[+-]?\d+")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label.

    Attributes:
        key: of the label.
        operator: in, notin, exists, !, > or <; equality is `in` with one value.
        values: none for exists and !.

    """

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """Return whether labels fulfil it."""
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value in self.values if value is not None else False
            case "notin":
                return value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
        if value is None or not _INTEGER.fullmatch(value):
            return False
        return int(value) > int(self.values[0]) if self.operator == ">" else int(value) < int(self.values[0])

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" if len(self.values) == 1:
                return f"{self.key}={self.values[0]}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
        return f"{self.key}{self.operator}{self.values[0]}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Requirements that labels must all fulfil; none: everything matches."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Labels | None) -> bool:
        """Return whether labels fulfil all of it."""
        return all(one.matches(labels or {}) for one in self.requirements)

    def __str__(self) -> str:
        return ",".join(str(one) for one in sorted(self.requirements, key=lambda one: one.key))


@lru_cache(_CACHED)
def parse_label_selector(text: str) -> LabelSelector:
    """Return the selector that a query's text means.

    Raises:
        ApiError: 400.

    """
    return LabelSelector(tuple(sorted(_Parser(text).parse(), key=lambda one: one.key)))


def label_selector(selector: Json | None) -> LabelSelector | None:
    """Return what a LabelSelector object means; None, which matches nothing, for None."""
    if selector is None:
        return None
    requirements = [Requirement(key, "in", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
    requirements += [
        Requirement(one["key"], operators[one["operator"]], tuple(one.get("values") or ()))
        for one in selector.get("matchExpressions") or ()
    ]
    return LabelSelector(tuple(requirements))


class _Parser:
    """The recursive descent of `labels.Parse`, symbol by symbol, so that its messages come out the same."""

    def __init__(self, text: str) -> None:
        self._lexemes = _lexemes(text)
        self._next = 0

    def parse(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        while True:
            lexeme = self._look()
            if not lexeme:
                return requirements
            if lexeme in _SPECIAL_TOKENS and lexeme != "!":
                raise bad_request(f"found '{lexeme}', expected: !, identifier, or 'end of string'")
            requirements.append(self._requirement())
            lexeme = self._take()
            if not lexeme:
                return requirements
            if lexeme != ",":
                raise bad_request(f"found '{lexeme}', expected: ',' or 'end of string'")
            if not _is_word(self._look()) and self._look() != "!":
                raise bad_request(f"found '{self._look()}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        negated = self._look() == "!"
        if negated:
            self._take()
        key = self._take()
        if not _is_word(key):
            raise _unparsed(f"found '{key}', expected: identifier")
        if problems := label_key_problems(key):
            raise _unparsed(f"<nil>: Invalid value: {quoted(key)}: {'; '.join(problems)}")
        if negated or self._look() in ("", ","):
            return Requirement(key, "!" if negated else "exists")
        operator = self._take()
        if operator not in _BINARY:
            raise _unparsed(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")
        values = self._values() if operator in _WORDS_ONLY_BETWEEN else self._exact_value()
        return _checked(key, operator, sorted(set(values)))

    def _values(self) -> list[str]:
        lexeme = self._take()
        if lexeme != "(":
            raise _unparsed(f"found '{lexeme}' expected: '('")
        first = self._look()
        if first == ")":
            self._take()
            return [""]
        if not _is_word(first) and first != ",":
            raise _unparsed(f"found '{first}', expected: ',', ')' or identifier")
        values = self._identifiers()
        self._take()  # the closing parenthesis, which ended them
        return values

    def _identifiers(self) -> list[str]:
        values: list[str] = []
        while True:
            lexeme = self._take()
            if _is_word(lexeme):
                values.append(lexeme)
                if self._look() == ")":
                    return values
                if self._look() != ",":
                    raise _unparsed(f"found '{self._look()}', expected: ',' or ')'")
            elif lexeme == ",":
                if not values or self._look() in (")", ","):
                    values.append("")
                if self._look() == ")":
                    return values
            else:
                raise _unparsed(f"found '{lexeme}', expected: ',', or identifier")

    def _exact_value(self) -> list[str]:
        if self._look() in ("", ","):
            return [""]
        lexeme = self._take()
        if not _is_word(lexeme):
            raise _unparsed(f"found '{lexeme}', expected: identifier")
        return [lexeme]

    def _look(self) -> str:
        return self._lexemes[self._next]

    def _take(self) -> str:
        lexeme = self._lexemes[self._next]
        self._next = min(self._next + 1, len(self._lexemes) - 1)  # what follows the end is the end
        return lexeme


_SPECIAL_TOKENS = frozenset((*_SPECIAL, "==", "!="))


def _lexemes(text: str) -> list[str]:
    """Return the lexemes, the end as an empty one."""
    return [*(found[1] for found in _LEXEME.finditer(text)), ""]


def _is_word(lexeme: str) -> bool:
    return bool(lexeme) and lexeme not in _SPECIAL_TOKENS


def _checked(key: str, operator: str, values: list[str]) -> Requirement:
    if operator in "<>":
        for index, value in enumerate(values):
            if not _INTEGER.fullmatch(value):
                why = "for 'Gt', 'Lt' operators, the value must be an integer"
                raise _unparsed(f"values[{index}]: Invalid value: {quoted(value)}: {why}")
    problems = [
        f"values[{index}][{key}]: Invalid value: {quoted(value)}: {'; '.join(found)}"
        for index, value in enumerate(values)
        if (found := label_value_problems(value))
    ]
    if problems:
        raise _unparsed(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
    normal = {"=": "in", "==": "in", "!=": "notin"}.get(operator, operator)
    return Requirement(key, normal, tuple(values))


def _unparsed(why: str) -> ApiError:
    return bad_request(f"unable to parse requirement: {why}")


# Fields

_Getter = Callable[[Json], str]


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One condition on one field: `field` equals `value`, or not if `negated`."""

    field: str
    value: str
    negated: bool
    get: _Getter

    def matches(self, obj: Json) -> bool:
        """Return whether an object fulfils it."""
        return (self.get(obj) == self.value) is not self.negated


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Terms that an object must all fulfil; none: everything matches."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, obj: Json) -> bool:
        """Return whether an object fulfils all of it."""
        return all(one.matches(obj) for one in self.terms)

    def exact(self, field: str) -> str:
        """Return the value that a field must have; empty: any."""
        return next((one.value for one in self.terms if one.field == field and not one.negated), "")


def parse_field_selector(text: str, rtype: ResourceType) -> FieldSelector:
    """Return the selector that a query's text means for a type.

    Raises:
        ApiError: 400, also for a field that cannot be selected.

    """
    if not text:
        return FieldSelector()
    getters = _getters(rtype)
    terms = []
    for field, value, negated in field_terms(text):
        get = getters.get(field)
        if get is None:
            raise bad_request(_unknown_field(rtype, field))
        terms.append(FieldTerm(field, value, negated, get))
    return FieldSelector(tuple(terms))


@lru_cache(_CACHED)
def field_terms(text: str) -> tuple[tuple[str, str, bool], ...]:
    """Return (field, value, negated) of each condition in a query's text.

    Raises:
        ApiError: 400.

    """
    terms = []
    for part in sorted(_split(text)):
        if not part:
            continue
        found = re.search("!=|==|=", part)
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        terms.append((part[: found.start()], _unescaped(part[found.end() :]), found[0] == "!="))
    return tuple(terms)


def _split(text: str) -> Iterable[str]:
    return re.findall(r"(?:\\.|[^,\\]|\\$)+", text, re.DOTALL)


def _unescaped(value: str) -> str:
    result, escaped = [], False
    for one in value:
        if escaped:
            if one not in "\\,=":
                raise bad_request(f"invalid field selector: invalid escape sequence: \\{one}")
            result.append(one)
            escaped = False
        elif one == "\\":
            escaped = True
        elif one in ",=":
            raise bad_request(f"invalid field selector: unescaped character in value: {ord(one)}")
        else:
            result.append(one)
    if escaped:
        raise bad_request("invalid field selector: invalid escape sequence: \\")
    return "".join(result)


def _text_at(*path: str, default: str = "") -> _Getter:
    def get(obj: Json) -> str:
        value: Any = obj
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            return default
        return str(value).lower() if isinstance(value, bool) else str(value)

    return get


def _pod_ip(obj: Json) -> str:
    ips = (obj.get("status") or {}).get("podIPs") or ()
    return str(ips[0].get("ip", "")) if ips else ""


def _event_source(obj: Json) -> str:
    source = (obj.get("source") or obj.get("deprecatedSource") or {}).get("component")
    return str(source or obj.get("reportingComponent") or obj.get("reportingController") or "")


def _paths(*fields: str, default: str = "") -> dict[str, _Getter]:
    return {field: _text_at(*field.split("."), default=default) for field in fields}


_NAME, _BOTH = _paths("metadata.name"), _paths("metadata.name", "metadata.namespace")
_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")

_SELECTABLE: dict[TypeKey, dict[str, _Getter]] = {
    ("", "pods"): {
        **_BOTH,
        **_paths("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName"),
        **_paths("status.phase", "status.nominatedNodeName"),
        **_paths("spec.hostNetwork", default="false"),
        "spec.host": _text_at("spec", "nodeName"),
        "status.podIP": _pod_ip,
    },
    ("", "nodes"): {**_NAME, **_paths("spec.unschedulable", default="false")},
    ("", "namespaces"): {**_NAME, **_paths("status.phase")},
    ("", "secrets"): {**_BOTH, **_paths("type")},
    ("", "services"): {**_BOTH, **_paths("spec.clusterIP", "spec.type")},
    ("", "replicationcontrollers"): {**_BOTH, **_paths("status.replicas", default="0")},
    ("", "events"): {
        **_BOTH,
        **_paths(*(f"involvedObject.{one}" for one in _INVOLVED), "reason", "reportingComponent", "type"),
        "source": _event_source,
    },
    ("events.k8s.io", "events"): {
        **_BOTH,
        **_paths(*(f"regarding.{one}" for one in _INVOLVED), "reason", "reportingController", "type"),
    },
    ("batch", "jobs"): {**_BOTH, "status.successful": _text_at("status", "succeeded", default="0")},
}


def _getters(rtype: ResourceType) -> dict[str, _Getter]:
    if found := _SELECTABLE.get(rtype.key):
        return found
    if rtype.custom:
        return {**(_BOTH if rtype.namespaced else _NAME), **_paths(*rtype.selectable_fields)}
    return _BOTH


def _unknown_field(rtype: ResourceType, field: str) -> str:
    if rtype.key == ("batch", "jobs"):
        return f"field label {quoted(field)} not supported for Job"
    if rtype.custom or rtype.key in _SELECTABLE:
        return f"field label not supported: {field}"
    return f'{quoted(field)} is not a known field selector: only "metadata.name", "metadata.namespace"'
