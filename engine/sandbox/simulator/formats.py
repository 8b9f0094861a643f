"""The string formats of custom resources' schemas that the API server checks; it ignores all others.

In: the name of a format and a text. Out: whether the text has it. The rules are those of kube-openapi's `strfmt`.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import date
from urllib.parse import urlsplit

from engine.sandbox.simulator.names import dns_label_problems, dns_subdomain_problems

_UUID = "[0-9a-f]{8}-?[0-9a-f]{4}-?%s-?%s-?[0-9a-f]{12}"
_ANY = "[0-9a-f]{4}"
_VARIANT = "[89ab][0-9a-f]{3}"
_DATE_TIME = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|[+-][0-9]{2}:[0-9]{2})", re.ASCII)
_GO_DURATION = re.compile(r"[+-]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)
_SCALA_DURATION = re.compile(
    r"(?i)\d+\s*(ns|nano|micro|us|µs|ms|milli|s|sec|m|min|h|hr|hour|d|day|w|week|wk)", re.ASCII
)
_HOST_LABEL = r"[^\W_](?:[^\W_]|-){0,62}"
_BYTE = r"(\d{1,2}|1\d\d|2[0-4]\d|25[0-5])"
_PATTERNS = {
    "bsonobjectid": r"(?i)[0-9a-f]{24}",
    "creditcard": r"(?:4\d{12}(?:\d{3})?|5[1-5]\d{14}|6(?:011|5\d\d)\d{12}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}"
    r"|(?:2131|1800|35\d{3})\d{11})",
    "email": r"[^@\s<>]+@[^@\s<>]+",
    "hexcolor": r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})",
    "hostname": rf"(?:{_HOST_LABEL}\.)*{_HOST_LABEL}",
    "mac": r"(?i)([0-9a-f]{2}([:-][0-9a-f]{2}){5}|[0-9a-f]{2}([:-][0-9a-f]{2}){7}|[0-9a-f]{4}(\.[0-9a-f]{4}){2,3})",
    "rgbcolor": rf"rgb\(\s*{_BYTE}\s*,\s*{_BYTE}\s*,\s*{_BYTE}\s*\)",
    "ssn": r"\d{3}[- ]?\d{2}[- ]?\d{4}",
    "uuid": f"(?i){_UUID % (_ANY, _ANY)}",
    "uuid3": f"(?i){_UUID % ('3[0-9a-f]{3}', _ANY)}",
    "uuid4": f"(?i){_UUID % ('4[0-9a-f]{3}', _VARIANT)}",
    "uuid5": f"(?i){_UUID % ('5[0-9a-f]{3}', _VARIANT)}",
}


def _is_date(text: str) -> bool:
    try:
        return len(text) == 10 and date.fromisoformat(text) is not None
    except ValueError:
        return False


def _is_date_time(text: str) -> bool:
    day, separator, moment = text.lower().partition("t")
    match = _DATE_TIME.fullmatch(moment) if separator and _is_date(day) else None
    return match is not None and match[1] <= "23" and match[2] <= "59" and match[3] <= "59"


def is_go_duration(text: str) -> bool:
    """Return whether Go's time.ParseDuration takes a text."""
    return _GO_DURATION.fullmatch(text) is not None


def _is_duration(text: str) -> bool:
    return is_go_duration(text) or _SCALA_DURATION.search(text) is not None


def _is_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(text) and " " not in text and (text.startswith("/") or bool(parts.scheme))


def _is_address(*versions: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version in versions
        except ValueError:
            return False

    return check


def _is_cidr(text: str) -> bool:
    try:
        return "/" in text and ipaddress.ip_interface(text) is not None
    except ValueError:
        return False


def _is_base64(text: str) -> bool:
    try:
        return base64.b64decode(text, validate=True) is not None and len(text) % 4 == 0
    except (binascii.Error, ValueError):
        return False


def _is_isbn(*lengths: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        digits = re.sub(r"[\s-]+", "", text)
        if len(digits) == 10 and 10 in lengths and re.fullmatch(r"\d{9}[\dX]", digits, re.ASCII):
            return sum((index + 1) * (10 if one == "X" else int(one)) for index, one in enumerate(digits)) % 11 == 0
        if len(digits) == 13 and 13 in lengths and digits.isdecimal():
            return sum((1, 3)[index % 2] * int(one) for index, one in enumerate(digits)) % 10 == 0
        return False

    return check


def _is_pattern(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


_CHECKS: dict[str, Callable[[str], bool]] = {
    **{name: _is_pattern(pattern) for name, pattern in _PATTERNS.items()},
    "byte": _is_base64,
    "cidr": _is_cidr,
    "date": _is_date,
    "datetime": _is_date_time,
    "duration": _is_duration,
    "ipv4": _is_address(4),
    "ipv6": _is_address(6),
    "isbn": _is_isbn(10, 13),
    "isbn10": _is_isbn(10),
    "isbn13": _is_isbn(13),
    "k8slongname": lambda text: not dns_subdomain_problems(text),
    "k8sshortname": lambda text: not dns_label_problems(text),
    "password": lambda _: True,
    "uri": _is_uri,
}


def is_known(name: str) -> bool:
    """Return whether a format of strings is checked; dashes in its name do not count."""
    return name.replace("-", "") in _CHECKS


def has_format(name: str, text: str) -> bool:
    """Return whether a text has a format; all have one that is not known."""
    check = _CHECKS.get(name.replace("-", ""))
    return check is None or check(text)
