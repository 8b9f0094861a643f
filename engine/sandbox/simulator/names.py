"""The rules for names: label keys and values, DNS labels and subdomains, path segments.

In: a text. Out: what is wrong with it, in the words of `k8s.io/apimachinery/pkg/api/validate/content`; nothing: it is
right. Lengths count bytes of UTF-8, as there. Which rule a type's name follows is decided in `builtin`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

NameRule = Callable[[str], Sequence[str]]
"""Returns what is wrong with a name."""

_LABEL_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_LABEL_KEY})?"
_DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_SUBDOMAIN = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"

_LABEL_KEY_PATTERN = re.compile(_LABEL_KEY)
_LABEL_VALUE_PATTERN = re.compile(_LABEL_VALUE)
_DNS_LABEL_PATTERN = re.compile(_DNS_LABEL)
_DNS_SUBDOMAIN_PATTERN = re.compile(_DNS_SUBDOMAIN)

_ENDS = "and must start and end with an alphanumeric character"
_LABEL_CHARACTERS = f"consist of alphanumeric characters, '-', '_' or '.', {_ENDS}"
_KEY_ERROR = (
    f"must {_LABEL_CHARACTERS} "
    f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_LABEL_KEY}')"
)
_VALUE_ERROR = (
    f"a valid label must be an empty string or {_LABEL_CHARACTERS} "
    f"(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '{_LABEL_VALUE}')"
)
_DNS_LABEL_ERROR = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    f"{_ENDS} (e.g. 'my-name',  or '123-abc', regex used for validation is '{_DNS_LABEL}')"
)
_DNS_SUBDOMAIN_ERROR = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    f"{_ENDS} (e.g. 'example.com', regex used for validation is '{_DNS_SUBDOMAIN}')"
)

_CACHED = 4096
"""Answers kept: keys and values of labels come again and again, names once."""


@lru_cache(_CACHED)
def label_key_problems(key: str) -> tuple[str, ...]:
    """Return what is wrong with a label's or annotation's key."""
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return (
            f"a valid label key {_KEY_ERROR} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
        )
    problems = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif slash:
        problems += [f"prefix part {problem}" for problem in dns_subdomain_problems(prefix)]
    if not name:
        problems.append("name part must be non-empty")
    elif too_long := _longer_than(name, 63, "bytes"):
        problems.append(f"name part {too_long}")
    if not _LABEL_KEY_PATTERN.fullmatch(name):
        problems.append(f"name part {_KEY_ERROR}")
    return tuple(problems)


@lru_cache(_CACHED)
def label_value_problems(value: str) -> tuple[str, ...]:
    """Return what is wrong with a label's value."""
    too_long = _longer_than(value, 63, "bytes")
    wrong = "" if _LABEL_VALUE_PATTERN.fullmatch(value) else _VALUE_ERROR
    return tuple(problem for problem in (too_long, wrong) if problem)


def dns_label_problems(name: str) -> tuple[str, ...]:
    """Return what is wrong with an RFC 1123 label, such as a namespace's name."""
    wrong = ""
    if not _DNS_LABEL_PATTERN.fullmatch(name):
        wrong = "must not contain dots" if _DNS_SUBDOMAIN_PATTERN.fullmatch(name) else _DNS_LABEL_ERROR
    return tuple(problem for problem in (_longer_than(name, 63), wrong) if problem)


def dns_subdomain_problems(name: str) -> tuple[str, ...]:
    """Return what is wrong with an RFC 1123 subdomain, such as most names."""
    wrong = "" if _DNS_SUBDOMAIN_PATTERN.fullmatch(name) else _DNS_SUBDOMAIN_ERROR
    return tuple(problem for problem in (_longer_than(name, 253), wrong) if problem)


def path_segment_problems(name: str) -> tuple[str, ...]:
    """Return why a name cannot be a segment of a URL's path."""
    if name in (".", ".."):
        return (f"may not be '{name}'",)
    return tuple(f"may not contain '{character}'" for character in "/%" if character in name)


def _longer_than(text: str, most: int, unit: str = "characters") -> str:
    """Say that a text has more than so many bytes, which the server calls characters in names."""
    return f"must be no more than {most} {unit}" if len(text.encode()) > most else ""
